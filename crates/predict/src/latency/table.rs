//! Times from the measured rows of one device.
//!
//! Rows of one operator that differ in their sizes of work alone (tokens, sequences, context) form a *line*. Each row is
//! kept as its *ratio* to a law of its kind ([`Law`]): tiles and waves for matrix products, a launch and the roof for
//! the others. Between two rows of a line the ratio is blended over the logarithm of the size, since it changes far less
//! than the time does. Where the rows ran different kernels, times jump: a law of tiles knows where, other kinds take
//! the nearer row. Beyond the last row its ratio holds. A shape without a line takes the ratios of the nearest lines.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use stopwatt_core::kernel_table::{
    CacheState, Dtypes, KernelRow, Launch, Op, OpKind, Outcome, Provider, Shape,
};

use super::imported;
use super::law::Law;
use super::screen::{self, Defect, FlaggedRow, Seen};
use super::spread::Spread;
use super::tile::{self, Product, TileModel};
use super::{Tier, Timed, datasheet};
use crate::hardware::Gpu;
use crate::operators::{Call, Part, What};

/// Change of a median between two runs, as a share, where a table does not hold rows twice: 90 % of the products of an
/// H100 whose clocks were free changed by less (benchmarks/gpu-kernels).
const RUN_TO_RUN: f64 = 0.054;
/// Lines that a shape without one takes its ratio from.
const NEAREST: usize = 4;
/// Most points of a line that are left out one by one, and most lines of a kind that are left out, of imported rows.
const MOST_LEFT_OUT: usize = 24;
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

#[derive(Debug, Clone, PartialEq)]
struct Point {
    sizes: Sizes,
    /// Roof, in seconds.
    roof: f64,
    /// Median of what runs measured, in seconds.
    time: f64,
    /// Half of the interval of the median, in seconds.
    half: f64,
    /// Time over the law, as a logarithm.
    ratio: f64,
    /// Number of the kernel's name; 0 where it has none.
    kernel: u32,
    /// How well its conditions fit those of an engine; 0 is best.
    rank: u8,
    /// Times of each run.
    runs: Vec<f64>,
}

/// Points of one operator, by their sizes.
#[derive(Debug, Clone)]
struct Line {
    /// The operator with its sizes set to 0.
    op: Op,
    points: Vec<Point>,
}

/// Rows of equal behaviour, whose residuals count together: a kind of operator, and for products how many rows.
pub(super) type Group = (OpKind, u8);

/// A row that was left out and predicted from the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Residual {
    pub group: Group,
    pub tier: Tier,
    /// Whether its whole line was left out, and not the row alone.
    pub whole_line: bool,
    /// Measured over predicted.
    pub ratio: f64,
}

/// Measured rows of one device, ready to be asked.
#[derive(Debug, Clone)]
pub struct KernelTable {
    gpu: Gpu,
    /// Whether somebody else measured the rows.
    imported: bool,
    lines: Vec<Line>,
    by_op: HashMap<Op, usize>,
    by_kind: BTreeMap<(OpKind, Dtypes), Vec<usize>>,
    laws: HashMap<(OpKind, Dtypes), Law>,
    /// Tiles that kernels of products have in their names.
    tiles: BTreeSet<(u32, u32)>,
    /// Roof of what only moves bytes and its time over it, by roof.
    moving: Vec<(f64, f64)>,
    residuals: HashMap<(Group, Tier), Spread>,
    flagged: Vec<FlaggedRow>,
    rows: usize,
}

/// What a line says about a size.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    /// Logarithm of time over law.
    ratio: f64,
    exact: Option<&'a Point>,
    /// Measured on both sides.
    inside: bool,
    /// On the way from one kernel to another; the ratio on the other side.
    other: Option<f64>,
    kernel: u32,
}

impl KernelTable {
    /// A table of these rows. Where one operator was measured several times, cold caches count before warm ones, graphs
    /// before single launches, and Stopwatt's own provider before others; of equal ones the median counts. Rows that
    /// cannot be right are left out, see [`Self::flagged`].
    pub fn new(rows: &[KernelRow], gpu: &Gpu) -> Result<Self, TierError> {
        Self::of(rows, gpu, false)
    }

    /// A table of rows that somebody else measured: screened more strictly, in wider intervals, and of tier
    /// [`Tier::Imported`].
    pub fn imported(rows: &[KernelRow], gpu: &Gpu) -> Result<Self, TierError> {
        Self::of(rows, gpu, true)
    }

    fn of(rows: &[KernelRow], gpu: &Gpu, imported: bool) -> Result<Self, TierError> {
        let mut table = Self {
            gpu: gpu.clone(),
            imported,
            lines: Vec::new(),
            by_op: HashMap::new(),
            by_kind: BTreeMap::new(),
            laws: HashMap::new(),
            tiles: BTreeSet::new(),
            moving: Vec::new(),
            residuals: HashMap::new(),
            flagged: Vec::new(),
            rows: 0,
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
            if row.op.kind == OpKind::Linear {
                table.tiles.extend(row.kernel.as_deref().and_then(tile::tile_of));
            }
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
            let (time, runs) = (time.median_s, vec![time.median_s]);
            table.insert(line, Point { sizes, roof, time, half, ratio: 0.0, kernel, rank, runs });
        }
        table.screen();
        if table.lines.is_empty() {
            return Err(TierError::Empty { rows: rows.len() });
        }
        table.rows = table.lines.iter().map(|line| line.points.len()).sum();
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
            Ok(at) if points[at].rank == point.rank => {
                points[at].runs.extend(point.runs);
                points[at].half = points[at].half.max(point.half);
                points[at].time = median(&points[at].runs);
            }
            Ok(_) => {}
            Err(at) => points.insert(at, point),
        }
    }

    /// Takes out what cannot be right.
    fn screen(&mut self) {
        let imported = self.imported;
        let limit = if imported { screen::IMPORTED_LIMIT } else { screen::LIMIT };
        for line in &mut self.lines {
            if imported {
                let op = line.op;
                let flagged = &mut self.flagged;
                line.points.retain(|point| {
                    let found = defect(point);
                    flagged.extend(found.map(|(defect, ratio)| FlaggedRow {
                        op: op.kind,
                        shape: join(&op, &point.sizes).shape.label(),
                        time_s: point.time,
                        ratio,
                        defect,
                    }));
                    found.is_none()
                });
            }
            let seen: Vec<Seen> =
                line.points.iter().map(|p| Seen { sizes: p.sizes, roof: p.roof, time: p.time }).collect();
            for &(index, ratio) in screen::too_long(&seen, limit).iter().rev() {
                let point = line.points.remove(index);
                let op = join(&line.op, &point.sizes);
                let shape = op.shape.label();
                let defect = Defect::TooLong;
                self.flagged.push(FlaggedRow { op: op.kind, shape, time_s: point.time, ratio, defect });
            }
        }
        self.lines.retain(|line| !line.points.is_empty());
        self.by_op = self.lines.iter().enumerate().map(|(index, line)| (line.op, index)).collect();
    }

    fn prepare(&mut self) {
        for (index, line) in self.lines.iter().enumerate() {
            self.by_kind.entry((line.op.kind, line.op.dtypes)).or_default().push(index);
            if matches!(line.op.kind, OpKind::RmsNorm | OpKind::AddRmsNorm | OpKind::SiluMul | OpKind::Rope) {
                self.moving.extend(line.points.iter().map(|p| (p.roof, p.time / p.roof)));
            }
        }
        self.moving.sort_by(|a, b| a.0.total_cmp(&b.0));
        for &(kind, dtypes) in self.by_kind.keys() {
            self.laws.insert((kind, dtypes), self.law(kind, dtypes, None));
        }
        let laws = &self.laws;
        for line in &mut self.lines {
            let Some(law) = laws.get(&(line.op.kind, line.op.dtypes)) else { continue };
            for point in &mut line.points {
                let op = join(&line.op, &point.sizes);
                point.ratio = (point.time / law.time(&op, point.roof, bytes(&op))).ln();
            }
        }
        let mut ratios: HashMap<(Group, Tier), Vec<f64>> = HashMap::new();
        for r in self.left_out() {
            ratios.entry((r.group, r.tier)).or_default().push(r.ratio);
        }
        self.residuals = ratios.into_iter().map(|(key, values)| (key, Spread::of(values))).collect();
    }

    /// The law of a kind, fitted to its lines but one.
    fn law(&self, kind: OpKind, dtypes: Dtypes, without: Option<usize>) -> Law {
        let lines = self.by_kind.get(&(kind, dtypes)).into_iter().flatten().filter(|&&i| Some(i) != without);
        let points = lines.flat_map(|&i| self.lines[i].points.iter().map(move |p| (&self.lines[i].op, p)));
        // Without the names of kernels there is nothing to fit tiles to.
        if kind == OpKind::Linear
            && !self.imported
            && let (Some(sms), Ok(peak)) = (self.gpu.sms, self.gpu.peak(dtypes.input))
        {
            let rows: Vec<_> =
                points.clone().filter_map(|(op, p)| Some((product(&join(op, &p.sizes))?, p.time))).collect();
            let device = tile::Device { sms, rate: peak / f64::from(sms), bandwidth: self.gpu.bandwidth };
            if let Some(model) = TileModel::fit(device, &rows, &self.tiles) {
                return Law::Tile(model);
            }
        }
        Law::floor(&points.map(|(_, p)| (p.roof, p.time)).collect::<Vec<_>>())
    }

    /// Every row predicted without itself, and some of each line predicted without the line.
    pub(super) fn left_out(&self) -> Vec<Residual> {
        let mut all = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            let (kind, dtypes) = (line.op.kind, line.op.dtypes);
            let tiles = self.laws.get(&(kind, dtypes)).is_some_and(Law::has_tiles);
            let every = self.every(line.points.len());
            for (i, point) in line.points.iter().enumerate().step_by(every) {
                let group = group(&join(&line.op, &point.sizes));
                // Each run is predicted from the others.
                for (j, time) in point.runs.iter().enumerate().filter(|_| point.runs.len() > 1) {
                    let mut others = point.runs.clone();
                    others.remove(j);
                    let ratio = time / median(&others);
                    all.push(Residual { group, tier: Tier::Measured, whole_line: false, ratio });
                }
                let mut others = line.points.clone();
                others.remove(i);
                if let Some(found) = look_up(&others, &point.sizes, 0, tiles) {
                    let ratio = (point.ratio - found.ratio).exp();
                    all.push(Residual { group, tier: found.tier(tiles), whole_line: false, ratio });
                }
            }
            let of_kind = self.by_kind.get(&(kind, dtypes)).map_or(1, Vec::len);
            if !index.is_multiple_of(self.every(of_kind)) {
                continue;
            }
            let law = self.law(kind, dtypes, Some(index));
            let every = line.points.len().div_ceil(SAMPLED).max(1);
            for point in line.points.iter().step_by(every) {
                let op = join(&line.op, &point.sizes);
                if let Some(nearby) = self.nearby(&line.op, &point.sizes, Some((index, &law))) {
                    let predicted = law.time(&op, point.roof, bytes(&op)) * nearby.exp();
                    let tier = if law.has_tiles() { Tier::Tile } else { Tier::Roofline };
                    let ratio = point.time / predicted;
                    all.push(Residual { group: group(&op), tier, whole_line: true, ratio });
                }
            }
        }
        all
    }

    /// Of so many rows or lines, each how manieth is left out: imported ones are too many for all.
    fn every(&self, n: usize) -> usize {
        if self.imported { n.div_ceil(MOST_LEFT_OUT).max(1) } else { 1 }
    }

    /// Time of an operator; `roof` is its least time with everything counted, `extra` bytes beyond its operands
    /// included. `None` when no row is of its kind.
    pub(super) fn time(&self, op: &Op, roof: f64, extra: f64) -> Option<Timed> {
        let law = self.laws.get(&(op.kind, op.dtypes))?;
        let (line, sizes) = split(op);
        let found = self
            .by_op
            .get(&line)
            .and_then(|&index| look_up(&self.lines[index].points, &sizes, 0, law.has_tiles()));
        let by_law = law.time(op, roof, bytes(op) + extra);
        let Some(found) = found else {
            let ratio = self.nearby(&line, &sizes, None)?;
            let tier = if law.has_tiles() { Tier::Tile } else { Tier::Roofline };
            return Some(self.spread(group(op), tier, by_law * ratio.exp(), None));
        };
        if let Some(point) = found.exact.filter(|_| !self.imported) {
            let between = self.residuals.get(&(group(op), Tier::Measured)).map_or(
                Spread { lo: 1.0 - RUN_TO_RUN, hi: 1.0 + RUN_TO_RUN },
                |s| Spread { lo: s.lo.min(1.0), hi: s.hi.max(1.0) },
            );
            return Some(Timed {
                s: point.time,
                lo: point.time - point.half.hypot((1.0 - between.lo) * point.time),
                hi: point.time + point.half.hypot((between.hi - 1.0) * point.time),
                tier: Tier::Measured,
            });
        }
        let other = found.other.map(|ratio| by_law * ratio.exp());
        Some(self.spread(group(op), found.tier(law.has_tiles()), by_law * found.ratio.exp(), other))
    }

    /// Time of copying what takes `roof` at best: the slowness of the row operator nearest in size.
    pub(super) fn copy(&self, roof: f64) -> Option<Timed> {
        let at = self.moving.partition_point(|(other, _)| *other < roof);
        let candidates =
            [at.checked_sub(1), Some(at)].into_iter().flatten().filter_map(|i| self.moving.get(i));
        let (_, slowness) = candidates.min_by(|a, b| {
            let far = |point: &(f64, f64)| (point.0 / roof).ln().abs();
            far(a).total_cmp(&far(b))
        })?;
        Some(self.spread((OpKind::Rope, 0), Tier::Roofline, roof * slowness, None))
    }

    /// Every operator with a row, its least time, and its time. Seconds.
    pub(crate) fn points(&self) -> impl Iterator<Item = (Op, f64, f64)> + '_ {
        self.lines
            .iter()
            .flat_map(|line| line.points.iter().map(|p| (join(&line.op, &p.sizes), p.roof, p.time)))
    }

    /// Rows that are used.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that were left out since they cannot be right.
    #[must_use]
    pub fn flagged(&self) -> Vec<FlaggedRow> {
        self.flagged.clone()
    }

    /// A time with the spread of its tier; `other` is the time on the other side of a change of kernel.
    fn spread(&self, group: Group, tier: Tier, s: f64, other: Option<f64>) -> Timed {
        let of = |tier| self.residuals.get(&(group, tier)).copied();
        let known = of(tier).or(of(Tier::Tile)).or(of(Tier::Roofline)).or(of(Tier::Blend));
        let known = known.unwrap_or(Spread { lo: 0.6, hi: 1.4 });
        let (Spread { lo, hi }, tier) = match self.imported {
            true => (imported::widened(known, group.0), Tier::Imported),
            false => (known, tier),
        };
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

    /// Ratio of the nearest lines of the same kind and formats, weighted by distance; of all but one line under another
    /// law, where given.
    fn nearby(&self, line: &Op, sizes: &Sizes, without: Option<(usize, &Law)>) -> Option<f64> {
        let candidates = self.by_kind.get(&(line.kind, line.dtypes))?;
        let law = self.laws.get(&(line.kind, line.dtypes))?;
        let mut near: Vec<(f64, usize)> = candidates
            .iter()
            .filter(|&&index| without.is_none_or(|(other, _)| other != index))
            .map(|&index| (distance(&line.shape, &self.lines[index].op.shape), index))
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut sum, mut weights) = (0.0, 0.0);
        for (far, index) in near.into_iter().take(NEAREST) {
            let other = &self.lines[index];
            let Some(found) = look_up(&other.points, sizes, 0, law.has_tiles()) else { continue };
            let ratio = match without {
                None => found.ratio,
                Some((_, changed)) => {
                    let op = join(&other.op, sizes);
                    let (roof, bytes) = (self.roof(&op).unwrap_or(0.0), bytes(&op));
                    found.ratio + (law.time(&op, roof, bytes) / changed.time(&op, roof, bytes)).ln()
                }
            };
            let weight = 1.0 / (far + 1e-3);
            sum += weight * ratio;
            weights += weight;
        }
        (weights > 0.0).then(|| sum / weights)
    }
}

impl Found<'_> {
    fn tier(&self, tiles: bool) -> Tier {
        match (self.inside, self.other, tiles) {
            (true, None, _) => Tier::Blend,
            (_, _, true) => Tier::Tile,
            _ => Tier::Roofline,
        }
    }
}

/// What is wrong with an imported row by itself, and by how much.
fn defect(point: &Point) -> Option<(Defect, f64)> {
    let ends = |f: fn(f64, f64) -> f64, start| point.runs.iter().copied().fold(start, f);
    let apart = ends(f64::max, 0.0) / ends(f64::min, f64::INFINITY);
    if apart > screen::MOST_APART {
        return Some((Defect::Disagrees, apart));
    }
    let faster = point.roof / point.time;
    (faster * screen::LEAST_OF_ROOF > 1.0).then_some((Defect::AboveRoof, faster))
}

/// Median; of two, their mean.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0
}

/// Residuals differ by how many rows a product has: few are bound by memory, many by arithmetic, and waves bite between.
pub(super) fn group(op: &Op) -> Group {
    let band = match op.shape {
        Shape::Matrix { m, .. } => [64, 256, 1024].iter().filter(|limit| m > **limit).count() as u8,
        _ => 0,
    };
    (op.kind, band)
}

fn product(op: &Op) -> Option<Product> {
    match op.shape {
        Shape::Matrix { m, n, k } => Some(Product { m, n, k, bytes: bytes(op) }),
        _ => None,
    }
}

fn bytes(op: &Op) -> f64 {
    op.work().map_or(0.0, |work| work.bytes())
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

/// The operator of a line at these sizes: the reverse of [`split`].
fn join(line: &Op, sizes: &Sizes) -> Op {
    let mut op = *line;
    match &mut op.shape {
        Shape::Matrix { m: size, .. }
        | Shape::Image { batch: size, .. }
        | Shape::Rows { rows: size, .. }
        | Shape::Heads { tokens: size, .. }
        | Shape::Lookup { tokens: size, .. }
        | Shape::Experts { tokens: size, .. }
        | Shape::Message { elements: size, .. }
        | Shape::Launches { kernels: size } => *size = sizes[0],
        Shape::Sequence { batch, steps, .. } => [*batch, *steps] = [sizes[0], sizes[1]],
        Shape::Attention { sequences, new_tokens, cached, .. } => [*sequences, *new_tokens, *cached] = *sizes,
    }
    op
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

/// Ratio at these sizes, from points that agree in the sizes before `axis`. With `tiles`, a change of kernel is in the law.
fn look_up<'a>(points: &'a [Point], sizes: &Sizes, axis: usize, tiles: bool) -> Option<Found<'a>> {
    let first = points.first()?;
    if axis == sizes.len() {
        return Some(Found {
            ratio: first.ratio,
            exact: Some(first),
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
        return look_up(group(wanted), sizes, axis + 1, tiles);
    }
    let below = points[..points.partition_point(|p| p.sizes[axis] < wanted)].last().map(|p| p.sizes[axis]);
    let at = |value: Option<u32>| {
        value.and_then(|v| look_up(group(v), sizes, axis + 1, tiles).map(|found| (v, found)))
    };
    match (at(below), at(above)) {
        (Some((lo, low)), Some((hi, high))) => {
            let log = |v: u32| f64::from(v).ln_1p();
            let share = (log(wanted) - log(lo)) / (log(hi) - log(lo));
            let one_kernel = low.kernel == high.kernel || low.kernel == 0 || high.kernel == 0;
            if one_kernel || tiles {
                return Some(Found {
                    ratio: low.ratio + share * (high.ratio - low.ratio),
                    exact: None,
                    inside: one_kernel && low.inside && high.inside,
                    other: low.other.or(high.other),
                    kernel: low.kernel.max(high.kernel),
                });
            }
            let (near, far) = if share < 0.5 { (low, high) } else { (high, low) };
            Some(Found { exact: None, inside: false, other: Some(far.ratio), ..near })
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
        table.time(&op, table.roof(&op).unwrap(), 0.0).unwrap()
    }

    #[test]
    fn a_measured_row_answers_for_itself() {
        let t = ask(
            &table(&[row(linear(8, 4096, 4096), 20e-6, "a"), row(linear(16, 4096, 4096), 22e-6, "a")]),
            linear(8, 4096, 4096),
        );
        assert_eq!((t.s, t.tier), (20e-6, Tier::Measured));
        // 5.4 % between runs and 0.1 % within one.
        assert!((t.hi - 20e-6 * (1.0 + 0.054_01)).abs() < 1e-10);
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
        // Halfway over the logarithm of 1 + m between 50 % and 70 %, m = √(257·1025) − 1 = 512.25: √(0.5·0.7) = 59.16 %.
        let rows = [
            row(linear(256, 4096, 4096), roof(256) / 0.5, "a"),
            row(linear(1024, 4096, 4096), roof(1024) / 0.7, "a"),
        ];
        let t = ask(&table(&rows), linear(512, 4096, 4096));
        assert!((t.s - roof(512) / 0.5916).abs() < 1e-3 * t.s, "{}", roof(512) / t.s);
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
        assert!(
            table.time(&other, 1e-6, 0.0).is_none(),
            "formats that were not measured are not guessed here"
        );
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
        let t = ask(&table, linear(1017, 4096, 4096));
        assert!(t.tier == Tier::Blend && t.lo > 0.75 * t.s && t.hi < 1.3 * t.s, "{t:?}");
    }

    fn other_table(rows: &[KernelRow]) -> KernelTable {
        KernelTable::imported(rows, preset("h100").unwrap()).unwrap()
    }

    #[test]
    fn defects_of_imported_rows_are_named_and_left_out() {
        let roof = |m| table(&[row(linear(1, 4096, 4096), 1e-5, "a")]).roof(&linear(m, 4096, 4096)).unwrap();
        let of = |m: u32, slow: f64| row(linear(m, 4096, 4096), slow * roof(m), "");
        // 2.5 times as long as half of the rows beside it; twice measured; faster than the peak.
        let mut rows: Vec<_> = (1..=16).map(|i| of(1024 * i, 1.3)).collect();
        rows[4] = of(5 * 1024, 2.6);
        rows.push(of(2048, 1.7));
        rows[9] = of(10 * 1024, 0.8);
        let other = other_table(&rows);
        let mut found: Vec<_> = other.flagged().iter().map(|f| (f.defect, f.shape.clone())).collect();
        found.sort();
        let shape = |m: u32| linear(m, 4096, 4096).shape.label();
        let expected = [
            (Defect::TooLong, shape(5 * 1024)),
            (Defect::AboveRoof, shape(10 * 1024)),
            (Defect::Disagrees, shape(2048)),
        ];
        assert_eq!((found.as_slice(), other.rows()), (&expected[..], 13));
    }

    #[test]
    fn imported_rows_answer_in_a_wider_interval_and_after_measured_ones() {
        use super::super::Latency;
        let rows: Vec<_> = (1..40).map(|i| row(linear(8 * i, 4096, 4096), 20e-6, "")).collect();
        let (own, other) = (table(&rows), other_table(&rows));
        let op = linear(8, 4096, 4096);
        let (a, b) = (ask(&own, op), ask(&other, op));
        assert_eq!((a.tier, b.tier), (Tier::Measured, Tier::Imported));
        assert!((b.s / a.s - 1.0).abs() < 1e-9 && b.lo < a.lo && b.hi > a.hi);
        let gpu = preset("h100").unwrap();
        let of = |latency: &Latency, dtype| {
            let op = Op { dtypes: Dtypes::all(dtype), ..op };
            let call = Call { part: Part::Norm, what: What::Op(op), count: 1, extra_bytes: 0.0 };
            latency.of(&call).unwrap().tier
        };
        let alone = Latency::of_datasheet(gpu.clone()).with_imported(other.clone());
        assert_eq!((of(&alone, Dtype::Bf16), of(&alone, Dtype::F16)), (Tier::Imported, Tier::Datasheet));
        assert_eq!(
            of(&Latency::of_table(gpu.clone(), own).with_imported(other), Dtype::Bf16),
            Tier::Measured
        );
    }

    #[test]
    fn intervals_of_imported_rows_hold_measured_ones() {
        // The truth is off by a factor that a whole shape has in common, drawn from what tables of an H100 differ by,
        // and by a ripple of its own.
        let plain = table(&[row(linear(1, 4096, 4096), 1e-5, "a")]);
        let mut draws = Draws::new(Purpose::Order, [9, 0, 0, 0]);
        let Spread { lo, hi } = imported::between(OpKind::Linear);
        let (mut inside, mut all) = (0, 0);
        for _ in 0..40 {
            let rows: Vec<_> = (1..60)
                .map(|i| {
                    let op = linear(i * 40, 4096, 4096);
                    row(op, plain.roof(&op).unwrap() / 0.6 * (0.04 * draws.normal()).exp(), "")
                })
                .collect();
            let other = other_table(&rows);
            // 90 % of these factors lie between the two ends.
            let shared = (lo.ln() + hi.ln()) / 2.0 + (hi / lo).ln() / 3.29 * draws.normal();
            for i in 1..58 {
                let op = linear(i * 40 + 17, 4096, 4096);
                let truth = plain.roof(&op).unwrap() / 0.6 * (shared + 0.04 * draws.normal()).exp();
                let t = ask(&other, op);
                inside += u32::from((t.lo..=t.hi).contains(&truth));
                all += 1;
            }
        }
        // Wider than they need be: the parts are added as if a row left out were as far from the rest as a shape can be.
        let share = f64::from(inside) / f64::from(all);
        assert!((0.9..1.0).contains(&share), "{share}");
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
