//! How far the rows of two kernel tables lie apart, and whether their intervals said so.
//!
//! The claim under test is repeatability: on two occasions a median moves by less than `within`. Where it moves by more,
//! the interval of the movement (Welch, with rounds as units, see [`stopwatt_stats::rounds::moved`]) has to reach into
//! that range: then the tables said themselves that the row is not known so well.

use std::collections::HashMap;

use stopwatt_core::kernel_table::{
    CacheState, KernelMovement, KernelRow, Launch, Moved, MovedPoints, MovedRow, Op, Outcome, Sampled,
};
use stopwatt_stats::quantile::{quantile, sorted};
use stopwatt_stats::rounds::{Occasion, moved};

/// Time of a kernel from which on it counts, in seconds: shorter ones hang on the clock's resolution.
pub const ABOVE_S: f64 = 20e-6;

/// What tells rows apart. Threads count on a CPU, whose rows name no blocks.
type Key = (Op, Launch, CacheState, Option<u32>);

fn threads(row: &KernelRow) -> Option<u32> {
    row.block.filter(|_| row.grid.is_none() && row.launch == Launch::Eager)
}

fn times(rows: &[KernelRow]) -> Vec<(Key, &KernelRow, Sampled)> {
    let time = |row: &KernelRow| match row.outcome {
        Outcome::Measured { time, .. } => Some(time),
        Outcome::Skipped { .. } => None,
    };
    let all = rows.iter().filter_map(|row| Some((row, time(row)?)));
    all.map(|(row, time)| ((row.op, row.launch, row.cache, threads(row)), row, time)).collect()
}

/// Compares two tables with their names. Kernels of less than `above_s` in the first are not counted.
#[must_use]
pub fn movement(
    baseline: (&str, &[KernelRow]),
    candidate: (&str, &[KernelRow]),
    within: f64,
    above_s: f64,
) -> KernelMovement {
    let (before, after) = (times(baseline.1), times(candidate.1));
    let found: HashMap<Key, (&KernelRow, Sampled)> = after.iter().map(|(k, r, t)| (*k, (*r, *t))).collect();
    let rows: Vec<MovedRow> = before
        .iter()
        .filter_map(|(key, row, time)| {
            let (other, second) = found.get(key)?;
            Some(one(*key, (row, *time), (other, *second), within, above_s))
        })
        .collect();
    KernelMovement {
        stopwatt: env!("CARGO_PKG_VERSION").to_owned(),
        baseline: baseline.0.to_owned(),
        candidate: candidate.0.to_owned(),
        within,
        above_s,
        baseline_only: (before.len() - rows.len()) as u64,
        candidate_only: after.len().saturating_sub(rows.len()) as u64,
        points: points(&rows),
        rows,
    }
}

fn one(
    (op, launch, cache, threads): Key,
    (row, first): (&KernelRow, Sampled),
    (other, second): (&KernelRow, Sampled),
    within: f64,
    above_s: f64,
) -> MovedRow {
    let occasion = |time: Sampled| Occasion {
        median: time.median_s,
        half: time.lo_s.zip(time.hi_s).map(|(lo, hi)| (hi - lo) / 2.0),
        rounds: time.rounds,
    };
    let far = moved(occasion(first), occasion(second));
    let verdict = if first.median_s < above_s {
        Moved::Short
    } else if far.by.abs() < within {
        Moved::Within
    } else if far.ci.is_some_and(|ci| ci.lo < within && ci.hi > -within) {
        Moved::Admitted
    } else {
        Moved::Denied
    };
    MovedRow {
        op,
        launch,
        cache,
        threads,
        baseline_s: first.median_s,
        candidate_s: second.median_s,
        moved: far.by,
        lo: far.ci.map(|ci| ci.lo),
        hi: far.ci.map(|ci| ci.hi),
        verdict,
        unsteady: row.unsteady.clone().or_else(|| other.unsteady.clone()),
        same_kernel: row.kernel.as_ref().zip(other.kernel.as_ref()).map(|(a, b)| a == b),
    }
}

fn points(rows: &[MovedRow]) -> MovedPoints {
    let counted = || rows.iter().filter(|r| r.verdict != Moved::Short);
    let count = |what: &dyn Fn(&MovedRow) -> bool| counted().filter(|r| what(r)).count() as u64;
    let far = sorted(&counted().map(|r| r.moved.abs()).collect::<Vec<_>>());
    let at = |p: f64| (!far.is_empty()).then(|| quantile(&far, p));
    MovedPoints {
        all: count(&|_| true),
        within: count(&|r| r.verdict == Moved::Within),
        admitted: count(&|r| r.verdict == Moved::Admitted),
        denied: count(&|r| r.verdict == Moved::Denied),
        unsteady: count(&|r| r.unsteady.is_some()),
        other_kernel: count(&|r| r.same_kernel == Some(false)),
        median: at(0.5),
        p90: at(0.9),
        largest: far.last().copied(),
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::kernel_table::{Clocks, Dtype, Dtypes, OpKind, Provider, Shape};

    use super::*;

    fn row(m: u32, k: u32, median_s: f64, half: f64) -> KernelRow {
        let time = Sampled {
            n: 36,
            calls: 1,
            discarded: 0,
            median_s,
            mad_s: 0.0,
            mean_s: median_s,
            lo_s: Some(median_s * (1.0 - half)),
            hi_s: Some(median_s * (1.0 + half)),
            settled: true,
            rounds: 3,
            between: Some(half),
        };
        KernelRow {
            op: Op {
                kind: OpKind::Linear,
                shape: Shape::Matrix { m, n: 4096, k },
                dtypes: Dtypes::all(Dtype::Bf16),
            },
            provider: Provider::Native,
            kernel: Some("k".to_owned()),
            grid: Some(10),
            block: Some(128),
            launch: Launch::Graph,
            cache: CacheState::Cold,
            clocks: Clocks::default(),
            outcome: Outcome::Measured { time, deviation: 0.1 },
            unsteady: None,
        }
    }

    #[test]
    fn rows_are_counted_by_what_their_intervals_say() {
        let before = [
            row(1, 4096, 100e-6, 0.001),
            row(2, 4096, 100e-6, 0.05),
            row(3, 4096, 100e-6, 0.001),
            row(4, 4096, 10e-6, 0.001),
            row(5, 4096, 100e-6, 0.001),
        ];
        let after = [
            row(1, 4096, 100.5e-6, 0.001),
            row(2, 4096, 104e-6, 0.05),
            row(3, 4096, 104e-6, 0.001),
            row(4, 4096, 20e-6, 0.001),
            row(6, 4096, 100e-6, 0.001),
        ];
        let doc = movement(("a", &before), ("b", &after), 0.01, ABOVE_S);
        let verdicts: Vec<Moved> = doc.rows.iter().map(|r| r.verdict).collect();
        assert_eq!(verdicts, [Moved::Within, Moved::Admitted, Moved::Denied, Moved::Short]);
        let p = doc.points;
        assert_eq!((p.all, p.within, p.admitted, p.denied), (3, 1, 1, 1));
        assert_eq!((doc.baseline_only, doc.candidate_only), (1, 1));
        assert!((p.largest.unwrap() - 0.04).abs() < 1e-9);
    }

    #[test]
    fn products_that_differ_in_one_size_only_are_not_mixed_up() {
        // Twice the same kernel: a join without k would find a movement by 3.5 here.
        let before = [row(1, 4096, 40e-6, 0.001), row(1, 14_336, 140e-6, 0.001)];
        let after = [row(1, 14_336, 140e-6, 0.001), row(1, 4096, 40e-6, 0.001)];
        let doc = movement(("a", &before), ("b", &after), 0.01, ABOVE_S);
        assert_eq!((doc.points.all, doc.points.within, doc.points.largest), (2, 2, Some(0.0)));
    }

    #[test]
    fn nothing_in_common_is_no_error() {
        let doc = movement(("a", &[row(1, 1, 1e-4, 0.1)]), ("b", &[]), 0.01, ABOVE_S);
        assert_eq!((doc.rows.len(), doc.points.median, doc.baseline_only), (0, None, 1));
    }
}
