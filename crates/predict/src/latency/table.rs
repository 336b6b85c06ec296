//! Times from the measured rows of one device.
//!
//! Rows of one operator that differ in their sizes of work alone (tokens, sequences, context) form a *line*. Between two
//! rows of a line the *utilisation* (roof over time) is blended over the logarithm of the size, since it changes far less
//! than the time does; where the rows ran different kernels nothing is blended, since times jump there. Beyond the last
//! row its utilisation holds. A shape without a line takes the utilisation of the nearest lines.

use std::collections::HashMap;

use stopwatt_core::kernel_table::{
    CacheState, Dtypes, Family, KernelRow, Launch, Op, OpKind, Outcome, Provider, Shape,
};

use super::{Tier, Timed, datasheet};
use crate::hardware::Gpu;
use crate::operators::{Call, Part, What};

/// Change of a median between two runs at equal clocks, as a share: part of the interval of a measured point.
const RUN_TO_RUN: f64 = 0.01;
/// Fewest residuals that support a 90 % interval on both sides.
const ENOUGH: usize = 19;
/// Lines that a shape without one takes its utilisation from.
const NEAREST: usize = 4;
/// Points of a line that are predicted from other lines.
const SAMPLED: usize = 8;

/// Why rows make no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TierError {
    /// Not one row was measured.
    #[error("none of the {rows} rows of the kernel table was measured")]
    Empty {
        /// Rows given.
        rows: usize,
    },
}

/// Sizes of work, outermost first; unused ones are 0.
type Sizes = [u32; 3];

#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    sizes: Sizes,
    /// Roof over time.
    utilisation: f64,
    time: f64,
    /// Half of the interval of the median, in seconds.
    half: f64,
    /// Number of the kernel's name; 0 where it has none.
    kernel: u32,
    rank: u8,
}

/// Points of one operator, by their sizes.
#[derive(Debug, Clone)]
struct Line {
    /// The operator with its sizes set to 0.
    op: Op,
    points: Vec<Point>,
}

/// Measured rows of one device, ready to be asked.
#[derive(Debug, Clone)]
pub struct KernelTable {
    gpu: Gpu,
    lines: Vec<Line>,
    by_op: HashMap<Op, usize>,
    by_kind: HashMap<(OpKind, Dtypes), Vec<usize>>,
    /// Roof and utilisation of what only moves bytes, by roof.
    moving: Vec<(f64, f64)>,
    residuals: HashMap<(Family, Tier), Spread>,
}

/// Factors on a predicted time within which 90 % of the left-out rows lay.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    lo: f64,
    hi: f64,
}

/// What a line says about a size.
#[derive(Debug, Clone, Copy)]
struct Found {
    utilisation: f64,
    exact: Option<Point>,
    /// Measured on both sides, under one kernel.
    inside: bool,
    /// The utilisation on the other side of a change of kernel.
    other: Option<f64>,
    kernel: u32,
}

impl KernelTable {
    /// A table of these rows. Where one operator was measured several times, cold caches count before warm ones, graphs
    /// before single launches, and Stopwatt's own provider before others.
    pub fn new(rows: &[KernelRow], gpu: &Gpu) -> Result<Self, TierError> {
        let mut table = Self {
            gpu: gpu.clone(),
            lines: Vec::new(),
            by_op: HashMap::new(),
            by_kind: HashMap::new(),
            moving: Vec::new(),
            residuals: HashMap::new(),
        };
        let mut names: HashMap<&str, u32> = HashMap::new();
        for row in rows {
            let Outcome::Measured { time, .. } = &row.outcome else { continue };
            let Some(roof) = table.roof(&row.op).filter(|_| time.median_s.is_finite() && time.median_s > 0.0)
            else {
                continue;
            };
            let next = names.len() as u32 + 1;
            let kernel = row.kernel.as_deref().map_or(0, |name| *names.entry(name).or_insert(next));
            let half = match (time.lo_s, time.hi_s) {
                (Some(lo), Some(hi)) => (hi - lo) / 2.0,
                _ => 1.4826 * time.mad_s,
            };
            let (line, sizes) = split(&row.op);
            let rank = u8::from(row.cache != CacheState::Cold) * 6
                + u8::from(row.launch != Launch::Graph) * 3
                + match row.provider {
                    Provider::Native => 0,
                    Provider::Torch => 1,
                    Provider::Imported => 2,
                };
            let point =
                Point { sizes, utilisation: roof / time.median_s, time: time.median_s, half, kernel, rank };
            table.insert(line, point);
        }
        if table.lines.is_empty() {
            return Err(TierError::Empty { rows: rows.len() });
        }
        table.prepare();
        Ok(table)
    }

    fn insert(&mut self, op: Op, point: Point) {
        let index = *self.by_op.entry(op).or_insert_with(|| {
            self.lines.push(Line { op, points: Vec::new() });
            self.lines.len() - 1
        });
        let points = &mut self.lines[index].points;
        match points.binary_search_by(|p| p.sizes.cmp(&point.sizes)) {
            Ok(at) if points[at].rank > point.rank => points[at] = point,
            Ok(_) => {}
            Err(at) => points.insert(at, point),
        }
    }

    fn prepare(&mut self) {
        for (index, line) in self.lines.iter().enumerate() {
            self.by_kind.entry((line.op.kind, line.op.dtypes)).or_default().push(index);
            if matches!(line.op.kind, OpKind::RmsNorm | OpKind::AddRmsNorm | OpKind::SiluMul | OpKind::Rope) {
                let roofs = line.points.iter().map(|p| (p.utilisation * p.time, p.utilisation));
                self.moving.extend(roofs.filter(|(roof, _)| *roof > 0.0));
            }
        }
        self.moving.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut ratios: HashMap<(Family, Tier), Vec<f64>> = HashMap::new();
        for (index, line) in self.lines.iter().enumerate() {
            let family = line.op.kind.family();
            for (i, point) in line.points.iter().enumerate() {
                let mut others = line.points.clone();
                others.remove(i);
                if let Some(found) = look_up(&others, &point.sizes, 0) {
                    let tier = if found.inside { Tier::Blend } else { Tier::Roofline };
                    ratios.entry((family, tier)).or_default().push(found.utilisation / point.utilisation);
                }
            }
            let every = line.points.len().div_ceil(SAMPLED).max(1);
            for point in line.points.iter().step_by(every) {
                if let Some(utilisation) = self.nearby(&line.op, &point.sizes, Some(index)) {
                    let ratio = utilisation / point.utilisation;
                    ratios.entry((family, Tier::Roofline)).or_default().push(ratio);
                }
            }
        }
        self.residuals = ratios.into_iter().map(|(key, values)| (key, Spread::of(values))).collect();
    }

    /// Time of an operator; `roof` is its least time with everything counted. `None` when no row is of its kind.
    pub(super) fn time(&self, op: &Op, roof: f64) -> Option<Timed> {
        let (line, sizes) = split(op);
        let family = op.kind.family();
        let found = self.by_op.get(&line).and_then(|&index| look_up(&self.lines[index].points, &sizes, 0));
        let Some(found) = found else {
            let utilisation = self.nearby(&line, &sizes, None)?;
            return Some(self.spread(family, Tier::Roofline, roof / utilisation, None));
        };
        if let Some(point) = found.exact {
            let half = point.half.hypot(RUN_TO_RUN * point.time);
            return Some(Timed {
                s: point.time,
                lo: point.time - half,
                hi: point.time + half,
                tier: Tier::Measured,
            });
        }
        let tier = if found.inside { Tier::Blend } else { Tier::Roofline };
        Some(self.spread(family, tier, roof / found.utilisation, found.other.map(|u| roof / u)))
    }

    /// Time of copying what takes `roof` at best: the utilisation of the row operator nearest in size.
    pub(super) fn copy(&self, roof: f64) -> Option<Timed> {
        let at = self.moving.partition_point(|(other, _)| *other < roof);
        let candidates =
            [at.checked_sub(1), Some(at)].into_iter().flatten().filter_map(|i| self.moving.get(i));
        let (_, utilisation) = candidates.min_by(|a, b| {
            let far = |point: &(f64, f64)| (point.0 / roof).ln().abs();
            far(a).total_cmp(&far(b))
        })?;
        Some(self.spread(Family::Memory, Tier::Roofline, roof / utilisation, None))
    }

    /// Families and tiers whose spread rests on left-out rows, for reports: factors on the predicted time.
    #[must_use]
    pub fn spreads(&self) -> Vec<(Family, Tier, f64, f64)> {
        let mut all: Vec<_> = self.residuals.iter().map(|((f, t), s)| (*f, *t, s.lo, s.hi)).collect();
        all.sort_by_key(|(family, tier, ..)| (*family, *tier));
        all
    }

    /// A time with the spread of its tier; `other` is the time on the other side of a change of kernel.
    fn spread(&self, family: Family, tier: Tier, s: f64, other: Option<f64>) -> Timed {
        let known = self.residuals.get(&(family, tier)).or(self.residuals.get(&(family, Tier::Roofline)));
        let Spread { lo, hi } = known.copied().unwrap_or(Spread { lo: 0.6, hi: 1.4 });
        let (mut low, mut high) = (s * lo.min(1.0), s * hi.max(1.0));
        if let Some(other) = other {
            (low, high) = (low.min(other), high.max(other));
        }
        Timed { s, lo: low, hi: high, tier }
    }

    fn roof(&self, op: &Op) -> Option<f64> {
        op.work()?;
        let call = Call { part: Part::Norm, what: What::Op(*op), count: 1, extra_bytes: 0.0 };
        datasheet::roof(&self.gpu, &call).ok().filter(|roof| *roof > 0.0)
    }

    /// Utilisation of the nearest lines of the same kind and formats, weighted by distance.
    fn nearby(&self, line: &Op, sizes: &Sizes, without: Option<usize>) -> Option<f64> {
        let candidates = self.by_kind.get(&(line.kind, line.dtypes))?;
        let mut near: Vec<(f64, usize)> = candidates
            .iter()
            .filter(|&&index| Some(index) != without)
            .map(|&index| (distance(&line.shape, &self.lines[index].op.shape), index))
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut sum, mut weights) = (0.0, 0.0);
        for (far, index) in near.into_iter().take(NEAREST) {
            if let Some(found) = look_up(&self.lines[index].points, sizes, 0) {
                let weight = 1.0 / (far + 1e-3);
                sum += weight * found.utilisation;
                weights += weight;
            }
        }
        (weights > 0.0).then(|| sum / weights)
    }
}

impl Spread {
    /// The middle 90 % of actual over predicted, by order statistics of `n + 1`; with too few, the extremes and half as
    /// much again.
    fn of(mut ratios: Vec<f64>) -> Self {
        ratios.retain(|r| r.is_finite() && *r > 0.0);
        ratios.sort_by(f64::total_cmp);
        let n = ratios.len();
        if n >= ENOUGH {
            let place = |share: f64| share * (n + 1) as f64;
            let lo = (place(0.05).floor() as usize).clamp(1, n) - 1;
            let hi = (place(0.95).ceil() as usize).clamp(1, n) - 1;
            return Self { lo: ratios[lo], hi: ratios[hi] };
        }
        let extreme = ratios.iter().map(|r| r.ln().abs()).fold(0.1, f64::max) * 1.5;
        Self { lo: (-extreme).exp(), hi: extreme.exp() }
    }
}

/// The operator with its sizes of work set to 0, and those sizes.
fn split(op: &Op) -> (Op, Sizes) {
    let mut shape = op.shape;
    let sizes = match &mut shape {
        Shape::Matrix { m, .. } => [std::mem::take(m), 0, 0],
        Shape::Image { batch, .. } => [std::mem::take(batch), 0, 0],
        Shape::Sequence { batch, steps, .. } => [std::mem::take(batch), std::mem::take(steps), 0],
        Shape::Rows { rows, .. } => [std::mem::take(rows), 0, 0],
        Shape::Heads { tokens, .. } | Shape::Lookup { tokens, .. } | Shape::Experts { tokens, .. } => {
            [std::mem::take(tokens), 0, 0]
        }
        Shape::Attention { sequences, new_tokens, cached, .. } => {
            [std::mem::take(sequences), std::mem::take(new_tokens), std::mem::take(cached)]
        }
        Shape::Message { elements, .. } => [std::mem::take(elements), 0, 0],
        Shape::Launches { kernels } => [std::mem::take(kernels), 0, 0],
    };
    (Op { shape, ..*op }, sizes)
}

/// How far shapes of one kind are apart: the root of the squared logarithms of what stays in a line.
fn distance(a: &Shape, b: &Shape) -> f64 {
    let far = |pairs: &[(u32, u32)]| {
        pairs
            .iter()
            .map(|&(x, y)| (f64::from(x.max(1)) / f64::from(y.max(1))).ln().powi(2))
            .sum::<f64>()
            .sqrt()
    };
    match (*a, *b) {
        (Shape::Matrix { n, k, .. }, Shape::Matrix { n: n2, k: k2, .. }) => far(&[(n, n2), (k, k2)]),
        (Shape::Rows { cols, .. }, Shape::Rows { cols: cols2, .. }) => far(&[(cols, cols2)]),
        (
            Shape::Heads { heads, kv_heads, head_dim, .. },
            Shape::Heads { heads: h2, kv_heads: k2, head_dim: d2, .. },
        ) => far(&[(heads, h2), (kv_heads, k2), (head_dim, d2)]),
        (Shape::Lookup { hidden, .. }, Shape::Lookup { hidden: h2, .. }) => far(&[(hidden, h2)]),
        (
            Shape::Attention { heads, kv_heads, head_dim, .. },
            Shape::Attention { heads: h2, kv_heads: k2, head_dim: d2, .. },
        ) => far(&[(heads, h2), (kv_heads, k2), (head_dim, d2)]),
        (
            Shape::Experts { experts, top_k, hidden, intermediate, .. },
            Shape::Experts { experts: e2, top_k: t2, hidden: h2, intermediate: i2, .. },
        ) => far(&[(experts, e2), (top_k, t2), (hidden, h2), (intermediate, i2)]),
        // Another number of ranks is another algorithm.
        (Shape::Message { ranks, .. }, Shape::Message { ranks: r2, .. }) => 10.0 * far(&[(ranks, r2)]),
        _ => 100.0,
    }
}

/// Utilisation at these sizes, from points that agree in the sizes before `axis`.
fn look_up(points: &[Point], sizes: &Sizes, axis: usize) -> Option<Found> {
    let first = points.first()?;
    if axis == sizes.len() {
        return Some(Found {
            utilisation: first.utilisation,
            exact: Some(*first),
            inside: true,
            other: None,
            kernel: first.kernel,
        });
    }
    let wanted = sizes[axis];
    let group = |value: u32| {
        let from = points.partition_point(|p| p.sizes[axis] < value);
        let to = points.partition_point(|p| p.sizes[axis] <= value);
        &points[from..to]
    };
    let above = points.get(points.partition_point(|p| p.sizes[axis] < wanted)).map(|p| p.sizes[axis]);
    if above == Some(wanted) {
        return look_up(group(wanted), sizes, axis + 1);
    }
    let below = points[..points.partition_point(|p| p.sizes[axis] < wanted)].last().map(|p| p.sizes[axis]);
    let at =
        |value: Option<u32>| value.and_then(|v| look_up(group(v), sizes, axis + 1).map(|found| (v, found)));
    match (at(below), at(above)) {
        (Some((lo, low)), Some((hi, high))) => {
            let log = |v: u32| f64::from(v).ln_1p();
            let share = (log(wanted) - log(lo)) / (log(hi) - log(lo));
            let one_kernel = low.kernel == high.kernel || low.kernel == 0 || high.kernel == 0;
            if one_kernel {
                return Some(Found {
                    utilisation: low.utilisation + share * (high.utilisation - low.utilisation),
                    exact: None,
                    inside: low.inside && high.inside,
                    other: low.other.or(high.other),
                    kernel: low.kernel.max(high.kernel),
                });
            }
            let (near, far) = if share < 0.5 { (low, high) } else { (high, low) };
            Some(Found { exact: None, inside: false, other: Some(far.utilisation), ..near })
        }
        (Some((_, end)), None) | (None, Some((_, end))) => Some(Found { exact: None, inside: false, ..end }),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::kernel_table::{Clocks, Dtype, Sampled};
    use stopwatt_serving::random::{Draws, Purpose};

    use super::*;
    use crate::hardware::preset;

    fn linear(m: u32, n: u32, k: u32) -> Op {
        Op { kind: OpKind::Linear, shape: Shape::Matrix { m, n, k }, dtypes: Dtypes::all(Dtype::Bf16) }
    }

    fn row(op: Op, time: f64, kernel: &str) -> KernelRow {
        let time = Sampled {
            n: 30,
            calls: 10,
            discarded: 0,
            median_s: time,
            mad_s: 0.0,
            mean_s: time,
            lo_s: Some(time * 0.999),
            hi_s: Some(time * 1.001),
            settled: true,
            rounds: 1,
            between: None,
        };
        KernelRow {
            op,
            provider: Provider::Native,
            kernel: Some(kernel.to_owned()),
            grid: None,
            block: None,
            launch: Launch::Graph,
            cache: CacheState::Cold,
            clocks: Clocks::default(),
            outcome: Outcome::Measured { time, deviation: 0.0 },
            unsteady: None,
        }
    }

    fn table(rows: &[KernelRow]) -> KernelTable {
        KernelTable::new(rows, preset("h100").unwrap()).unwrap()
    }

    #[track_caller]
    fn ask(table: &KernelTable, op: Op) -> Timed {
        table.time(&op, table.roof(&op).unwrap()).unwrap()
    }

    #[test]
    fn a_measured_row_answers_for_itself() {
        let t = ask(
            &table(&[row(linear(8, 4096, 4096), 20e-6, "a"), row(linear(16, 4096, 4096), 22e-6, "a")]),
            linear(8, 4096, 4096),
        );
        assert_eq!((t.s, t.tier), (20e-6, Tier::Measured));
        // 1 % between runs and 0.1 % within one.
        assert!((t.hi - 20e-6 * (1.0 + 0.010_05)).abs() < 1e-10);
    }

    #[test]
    fn between_rows_of_one_kernel_utilisation_is_blended() {
        let roof = |m| table(&[row(linear(1, 4096, 4096), 1e-5, "a")]).roof(&linear(m, 4096, 4096)).unwrap();
        // Both rows reach 60 % of the roof, so anything between does.
        let rows = [
            row(linear(256, 4096, 4096), roof(256) / 0.6, "a"),
            row(linear(1024, 4096, 4096), roof(1024) / 0.6, "a"),
        ];
        let t = ask(&table(&rows), linear(600, 4096, 4096));
        assert!((t.s - roof(600) / 0.6).abs() < 1e-12 && t.tier == Tier::Blend);
        // Halfway over the logarithm of 1 + m between 50 % and 70 %: m = √(257·1025) − 1 = 512.25.
        let rows = [
            row(linear(256, 4096, 4096), roof(256) / 0.5, "a"),
            row(linear(1024, 4096, 4096), roof(1024) / 0.7, "a"),
        ];
        let t = ask(&table(&rows), linear(512, 4096, 4096));
        assert!((t.s - roof(512) / 0.6).abs() < 1e-3 * t.s, "{}", roof(512) / t.s);
    }

    #[test]
    fn a_change_of_kernel_is_not_smoothed() {
        let rows = [row(linear(1024, 6144, 4096), 65.3e-6, "a"), row(linear(1536, 6144, 4096), 130e-6, "b")];
        let t = ask(&table(&rows), linear(1025, 6144, 4096));
        // The nearer row's utilisation, with the other side inside the interval.
        assert!((t.s - 65.3e-6 * 1025.0 / 1024.0).abs() < 0.2e-6 && t.tier == Tier::Roofline);
        assert!(t.hi > 85e-6, "{}", t.hi);
    }

    #[test]
    fn beyond_the_last_row_its_utilisation_holds() {
        let t = ask(&table(&[row(linear(4096, 4096, 4096), 200e-6, "a")]), linear(8192, 4096, 4096));
        assert!((t.s / 400e-6 - 1.0).abs() < 1e-6 && t.tier == Tier::Roofline);
    }

    #[test]
    fn a_shape_without_rows_takes_its_neighbours() {
        let table =
            table(&[row(linear(8192, 4096, 4096), 400e-6, "a"), row(linear(8192, 8192, 4096), 800e-6, "a")]);
        let t = ask(&table, linear(8192, 6144, 4096));
        assert!((t.s / 600e-6 - 1.0).abs() < 0.02 && t.tier == Tier::Roofline, "{}", t.s);
        let other = Op { dtypes: Dtypes::all(Dtype::F8E4m3), ..linear(1, 4096, 4096) };
        assert!(table.time(&other, 1e-6).is_none(), "formats that were not measured are not guessed here");
    }

    #[test]
    fn two_sizes_are_blended_at_once() {
        let decode = |sequences, cached| Op {
            kind: OpKind::AttentionDecode,
            shape: Shape::Attention {
                sequences,
                new_tokens: 1,
                cached,
                heads: 32,
                kv_heads: 8,
                head_dim: 128,
                page: 16,
            },
            dtypes: Dtypes::all(Dtype::Bf16),
        };
        let plain = table(&[row(decode(1, 1), 1e-5, "a")]);
        let mut rows = Vec::new();
        for sequences in [1, 8, 64] {
            for cached in [127, 1023, 8191] {
                let op = decode(sequences, cached);
                rows.push(row(op, plain.roof(&op).unwrap() / 0.5, "fa"));
            }
        }
        let (table, op) = (table(&rows), decode(20, 3000));
        let t = ask(&table, op);
        assert!((t.s - plain.roof(&op).unwrap() / 0.5).abs() < 1e-12 && t.tier == Tier::Blend);
    }

    #[test]
    fn intervals_hold_what_they_promise() {
        // Times at 70 % of the roof with a ripple of up to ±10 % that no neighbour tells: 90 % of new points lie inside.
        let plain = table(&[row(linear(1, 4096, 4096), 1e-5, "a")]);
        let ripple = |m: u32| 0.9 + 0.2 * Draws::new(Purpose::Order, [m.into(), 0, 0, 0]).unit();
        let truth = |m: u32| plain.roof(&linear(m, 4096, 4096)).unwrap() / 0.7 * ripple(m);
        let rows: Vec<_> = (1..100).map(|i| row(linear(i * 40, 4096, 4096), truth(i * 40), "a")).collect();
        let table = table(&rows);
        let asked: Vec<u32> = (1..99).map(|i| i * 40 + 17).collect();
        let inside = asked.iter().filter(|&&m| {
            let t = ask(&table, linear(m, 4096, 4096));
            (t.lo..=t.hi).contains(&truth(m))
        });
        let share = inside.count() as f64 / asked.len() as f64;
        assert!((0.85..=1.0).contains(&share), "{share}");
        assert!(
            table
                .spreads()
                .iter()
                .any(|(f, t, lo, hi)| *f == Family::Linear && *t == Tier::Blend && *lo > 0.8 && *hi < 1.25)
        );
    }

    #[test]
    fn cold_rows_count_before_warm_ones_and_skipped_ones_not_at_all() {
        let op = linear(8, 4096, 4096);
        let warm = KernelRow { cache: CacheState::Warm, ..row(op, 10e-6, "a") };
        assert_eq!(ask(&table(&[warm.clone(), row(op, 20e-6, "a")]), op).s, 20e-6);
        assert_eq!(ask(&table(&[row(op, 20e-6, "a"), warm]), op).s, 20e-6);
        let skipped = KernelRow {
            outcome: Outcome::Skipped { reason: "out of memory".to_owned() },
            ..row(op, 1.0, "a")
        };
        assert_eq!(
            KernelTable::new(&[skipped], preset("h100").unwrap()).unwrap_err(),
            TierError::Empty { rows: 1 }
        );
    }
}
