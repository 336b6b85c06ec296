//! Routed experts: gate and up products, SiLU·mul, down product, and the sum over a token's experts.
//!
//! Tokens are sorted by expert in the plan, as an engine's routing step does: each tile of rows belongs to one expert.

use stopwatt_core::kernel_table::{Dtype, Op, Shape};

use super::{Format, count, length, unsupported};
use crate::case::CaseError;
use crate::cuda::plan::{Argument, Contents, Element, Expectation, Fill, Operand, Plan, Step, Target};
use crate::cuda::source;

/// Columns of a tile and length of a part of the sum, as in the source.
const TILE_COLUMNS: u32 = 128;
const DEPTH: u32 = 64;

/// A shape of tiles of the grouped product.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tile {
    rows: u32,
    warps_m: u32,
    warps_n: u32,
    stages: u32,
}

/// Few rows an expert: reading the weights is all there is. Many: the matrix units are.
const TILES: [Tile; 3] = [
    Tile { rows: 16, warps_m: 1, warps_n: 4, stages: 4 },
    Tile { rows: 64, warps_m: 2, warps_n: 2, stages: 3 },
    Tile { rows: 128, warps_m: 2, warps_n: 4, stages: 3 },
];

impl Tile {
    /// The tile for this many rows of an expert on average.
    fn of(rows: f64) -> Self {
        TILES[if rows <= 16.0 {
            0
        } else if rows <= 96.0 {
            1
        } else {
            2
        }]
    }

    fn shared_bytes(self) -> u32 {
        self.stages * (self.rows + TILE_COLUMNS) * DEPTH * 2
    }
}

/// Which experts each token goes to; `top_k` different ones, by a power law of the given exponent.
fn routing(tokens: u32, experts: u32, top_k: u32, exponent: f64) -> Vec<u32> {
    let popularity: Vec<f64> = (1..=experts).map(|rank| f64::from(rank).powf(-exponent)).collect();
    // The popular experts are not neighbours: an odd factor without a common divisor scatters them.
    let step = (1..).map(|i| 2 * i + 1).find(|step| gcd(*step, experts) == 1).unwrap_or(1);
    let mut state = 0x5eed_u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut chosen = Vec::with_capacity((tokens * top_k) as usize);
    for _ in 0..tokens {
        let mut left = popularity.clone();
        for _ in 0..top_k {
            let mut rest = uniform() * left.iter().sum::<f64>();
            let free = |left: &[f64]| left.iter().rposition(|&p| p > 0.0).unwrap_or(0);
            let drawn = left
                .iter()
                .position(|&p| {
                    rest -= p;
                    rest < 0.0 && p > 0.0
                })
                .unwrap_or_else(|| free(&left));
            left[drawn] = 0.0;
            chosen.push(drawn as u32 * step % experts);
        }
    }
    chosen
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Tokens in the order of their experts.
#[derive(Debug, Clone)]
struct Sorted {
    /// Expert, first slot and number of slots of each tile of rows.
    tiles: Vec<i32>,
    /// Token of each slot.
    sources: Vec<i32>,
    /// Slots of each token, in the order of its experts.
    slots: Vec<i32>,
}

fn sorted(chosen: &[u32], experts: u32, top_k: u32, rows: u32) -> Sorted {
    let mut order: Vec<usize> = (0..chosen.len()).collect();
    order.sort_by_key(|&pair| chosen[pair]);
    let mut slots = vec![0; chosen.len()];
    for (slot, &pair) in order.iter().enumerate() {
        slots[pair] = slot as i32;
    }
    let mut tiles = Vec::new();
    let mut first = 0;
    for expert in 0..experts {
        let len = order[first..].iter().take_while(|&&pair| chosen[pair] == expert).count();
        for begin in (0..len).step_by(rows as usize) {
            tiles.extend([expert as i32, (first + begin) as i32, (len - begin).min(rows as usize) as i32]);
        }
        first += len;
    }
    let sources = order.iter().map(|&pair| (pair / top_k as usize) as i32).collect();
    Sorted { tiles, sources, slots }
}

pub(super) fn plan(op: &Op, target: &Target) -> Result<Plan, CaseError> {
    let Shape::Experts { tokens, experts, top_k, hidden, intermediate, skew_percent } = op.shape else {
        return Err(unsupported("a shape without experts"));
    };
    let format = Format::of(op)?;
    if op.dtypes.input == Dtype::F32 {
        return Err(unsupported("experts in f32"));
    }
    if top_k == 0 || top_k > experts {
        return Err(unsupported("each token needs at least one expert, and no more than there are"));
    }
    if !hidden.is_multiple_of(DEPTH) || !intermediate.is_multiple_of(DEPTH) {
        return Err(unsupported("widths that are not multiples of 64"));
    }
    let input_len = length(&[tokens, hidden])?;
    let weights_len = length(&[experts, 2 * intermediate, hidden])?;
    let pairs = length(&[tokens, top_k])?;
    count(length(&[tokens, top_k, hidden.max(2 * intermediate)])?)?;
    let tile = Tile::of(pairs as f64 / f64::from(experts));
    if tile.shared_bytes() > target.shared_bytes_per_block {
        return Err(unsupported(format!(
            "{} bytes of shared memory a block are needed",
            tile.shared_bytes()
        )));
    }
    let chosen = routing(tokens, experts, top_k, f64::from(skew_percent) / 100.0);
    let Sorted { tiles, sources, slots } = sorted(&chosen, experts, top_k, tile.rows);
    let row_tiles = (tiles.len() / 3) as u32;
    if row_tiles > 65_535 {
        return Err(unsupported("more than 65535 tiles of rows"));
    }
    // Shares of a token's experts add up to one.
    let shares: Vec<f32> = (0..pairs)
        .map(|pair| (pair as u32 % top_k + 1) as f32 * 2.0 / (top_k * (top_k + 1)) as f32)
        .collect();
    let element = format.element;
    let operands = vec![
        Operand::input(element, input_len, Fill::UNIT),
        // As wide as weights of trained models, so that results stay near one.
        Operand::input(element, weights_len, Fill::Uniform { scale: 3.0 / (hidden as f32).sqrt() }),
        Operand::input(element, weights_len / 2, Fill::Uniform { scale: 3.0 / (intermediate as f32).sqrt() }),
        Operand::table(Element::I32, tiles.len(), Fill::Integers(tiles)),
        Operand::table(Element::I32, pairs, Fill::Integers(sources)),
        Operand::table(Element::I32, pairs, Fill::Integers((0..pairs as i32).collect())),
        Operand::table(Element::I32, pairs, Fill::Integers(slots)),
        Operand::table(Element::F32, pairs, Fill::Numbers(shares)),
        Operand::scratch(element, pairs * 2 * intermediate as usize),
        Operand::scratch(element, pairs * intermediate as usize),
        Operand::scratch(element, pairs * hidden as usize),
        Operand::result(element, input_len),
    ];
    let [input, gate_up, down, tiles, sources, slots_in_order, slots, shares, wide, narrow, rows, out] =
        std::array::from_fn(Argument::Operand);
    let product = |from, weights, sources, to, columns: u32, depth: u32| Step {
        source: source::EXPERTS,
        entry: "grouped",
        defines: vec![
            ("ELEMENT", format.name.to_owned()),
            ("TILE_ROWS", tile.rows.to_string()),
            ("WARPS_M", tile.warps_m.to_string()),
            ("WARPS_N", tile.warps_n.to_string()),
            ("STAGES", tile.stages.to_string()),
        ],
        grid: [columns.div_ceil(TILE_COLUMNS), row_tiles, 1],
        block: [tile.warps_m * tile.warps_n * 32, 1, 1],
        shared_bytes: tile.shared_bytes(),
        arguments: vec![
            from,
            weights,
            tiles,
            sources,
            to,
            Argument::I32(columns as i32),
            Argument::I32(depth as i32),
        ],
    };
    let first = product(input, gate_up, sources, wide, 2 * intermediate, hidden);
    let second = product(narrow, down, slots_in_order, rows, hidden, intermediate);
    // Widths are multiples of 64: an access always takes 8 elements.
    let (activated, summed) = (pairs * intermediate as usize / 8, input_len / 8);
    let activation = Step {
        source: source::ACTIVATION,
        entry: "silu_mul",
        defines: vec![
            ("ELEMENT", format.name.to_owned()),
            ("LANES", "8".to_owned()),
            ("UNROLL", "1".to_owned()),
        ],
        grid: [activated.div_ceil(256) as u32, 1, 1],
        block: [256, 1, 1],
        shared_bytes: 0,
        arguments: vec![
            wide,
            narrow,
            Argument::I32(count(activated)?),
            Argument::I32((intermediate / 8) as i32),
        ],
    };
    let sum = Step {
        source: source::EXPERTS,
        entry: "gather_sum",
        defines: first.defines.clone(),
        grid: [summed.div_ceil(256) as u32, 1, 1],
        block: [256, 1, 1],
        shared_bytes: 0,
        arguments: vec![
            rows,
            slots,
            shares,
            out,
            Argument::I32(count(summed)?),
            Argument::I32((hidden / 8) as i32),
            Argument::I32(top_k as i32),
        ],
    };
    let expected = Layer {
        format,
        chosen,
        top_k: top_k as usize,
        hidden: hidden as usize,
        intermediate: intermediate as usize,
    };
    Ok(Plan {
        operands,
        steps: vec![first, activation, second, sum],
        ways: Vec::new(),
        expected: Box::new(move |contents, _, index, _| expected.expected(contents, index)),
    })
}

/// What the layer computes, in double precision.
struct Layer {
    format: Format,
    chosen: Vec<u32>,
    top_k: usize,
    hidden: usize,
    intermediate: usize,
}

impl Layer {
    fn expected(&self, contents: &Contents<'_>, index: usize) -> Expectation {
        // Positions of the operands in the plan.
        let (input, gate_up, down, shares) = (0, 1, 2, 7);
        let (token, column) = (index / self.hidden, index % self.hidden);
        let x = contents.row(input, token * self.hidden, self.hidden);
        let dot = |row: usize| -> f64 {
            let weights = contents.row(gate_up, row * self.hidden, self.hidden);
            x.iter().zip(&weights).map(|(x, w)| x * w).sum()
        };
        let (mut value, mut size) = (0.0, 0.0);
        for k in 0..self.top_k {
            let expert = self.chosen[token * self.top_k + k] as usize;
            let share = contents.number(shares, token * self.top_k + k);
            let from = (expert * self.hidden + column) * self.intermediate;
            let weights = contents.row(down, from, self.intermediate);
            for (i, weight) in weights.iter().enumerate() {
                let row = expert * 2 * self.intermediate + i;
                let gate = self.format.round(dot(row));
                let up = self.format.round(dot(row + self.intermediate));
                let term = share * self.format.round(gate / (1.0 + (-gate).exp()) * up) * weight;
                value += term;
                size += term.abs();
            }
        }
        // What is rounded between the launches may fall to the other side: one unit each of both factors and of
        // their product, relative, in every term.
        let unit = if self.format.element == Element::Bf16 { 2f64.powi(-8) } else { 2f64.powi(-11) };
        self.format.expect(
            value,
            size * (2e-5 + unit / (self.intermediate as f64).sqrt() * 4.0) + unit * value.abs(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_pair_once_and_keep_to_one_expert() {
        let (tokens, experts, top_k) = (100, 7, 3);
        for (exponent, rows) in [(0.0, 16), (1.2, 64)] {
            let chosen = routing(tokens, experts, top_k, exponent);
            for pairs in chosen.chunks(top_k as usize) {
                let mut different = pairs.to_vec();
                different.sort_unstable();
                different.dedup();
                assert_eq!(different.len(), top_k as usize, "{pairs:?}");
            }
            let sorted = sorted(&chosen, experts, top_k, rows);
            let mut covered = vec![0; chosen.len()];
            let mut expert_of = vec![0; chosen.len()];
            for tile in sorted.tiles.chunks(3) {
                assert!((1..=rows as i32).contains(&tile[2]));
                for slot in tile[1]..tile[1] + tile[2] {
                    covered[slot as usize] += 1;
                    expert_of[slot as usize] = tile[0];
                }
            }
            assert!(covered.iter().all(|&times| times == 1));
            for (pair, &slot) in sorted.slots.iter().enumerate() {
                assert_eq!(expert_of[slot as usize], chosen[pair] as i32);
                assert_eq!(sorted.sources[slot as usize], (pair / top_k as usize) as i32);
            }
        }
    }

    #[test]
    fn skew_makes_some_experts_busy() {
        let busiest = |exponent| {
            let mut times = [0u32; 16];
            routing(4000, 16, 2, exponent).iter().for_each(|&expert| times[expert as usize] += 1);
            times.into_iter().max().unwrap_or(0)
        };
        // Evenly, each expert gets 500 of 8000, with a standard deviation near 22.
        assert!(busiest(0.0) < 600, "{}", busiest(0.0));
        assert!(busiest(1.2) > 2000, "{}", busiest(1.2));
    }
}
