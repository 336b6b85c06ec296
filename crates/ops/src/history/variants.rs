//! Whether the sides of a split differ, with intervals.
//!
//! Requests of one moment share the load of that moment, so they are no independent observations. The unit here is a
//! block of ten seconds in which both sides had requests: its difference is that of the two medians, which the common
//! load does not move, and the interval is Student's over blocks.

use std::collections::BTreeMap;

use serde::Serialize;
use stopwatt_stats::interval::t_mean;
use stopwatt_stats::proportion;
use stopwatt_stats::quantile::median;

use crate::store::RequestRow;

/// Length of a block, nanoseconds.
const BLOCK: i64 = 10_000_000_000;
/// Blocks below which nothing is said.
const FEWEST: usize = 6;
/// Coverage of intervals.
const LEVEL: f64 = 0.95;

/// One thing by which two variants may differ.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Difference {
    /// `ttft_s`, `tpot_s`, `e2e_s` or `failed_share`.
    pub metric: &'static str,
    /// Median (or share) of the baseline.
    pub baseline: Option<f64>,
    /// Median (or share) of the candidate.
    pub candidate: Option<f64>,
    /// Candidate less baseline: the mean over blocks, or the difference of shares; null with `reason`.
    pub difference: Option<f64>,
    /// 95 % interval of it.
    pub interval: Option<[f64; 2]>,
    /// Blocks, or requests of both sides for a share.
    pub n: u64,
    /// Why there is no difference.
    pub reason: Option<String>,
}

/// Two variants beside each other.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct VariantDifference {
    /// The variant named first.
    pub baseline: String,
    /// The other.
    pub candidate: String,
    /// Requests of each.
    pub requests: [u64; 2],
    /// By what they may differ.
    pub differences: Vec<Difference>,
}

#[derive(Default)]
struct Side {
    requests: u64,
    failed: u64,
    judged: u64,
    /// By metric and block.
    blocks: [BTreeMap<i64, Vec<f64>>; 3],
}

const METRICS: [&str; 3] = ["ttft_s", "tpot_s", "e2e_s"];

/// Adds up the requests of each variant.
#[derive(Default)]
pub(crate) struct Sides {
    names: Vec<String>,
    sides: Vec<Side>,
}

impl Sides {
    pub(crate) fn new(names: &[String]) -> Self {
        Self { names: names.to_vec(), sides: names.iter().map(|_| Side::default()).collect() }
    }

    pub(crate) fn add(&mut self, row: &RequestRow) {
        let variant = row.variant.as_deref();
        let Some(i) = self.names.iter().position(|n| Some(n.as_str()) == variant) else { return };
        let side = &mut self.sides[i];
        side.requests += 1;
        if let Some(good) = row.is_good() {
            side.judged += 1;
            side.failed += u64::from(!good);
        }
        let e2e = (row.is_good() == Some(true) && row.status < 400).then_some(row.e2e_s);
        for (blocks, value) in side.blocks.iter_mut().zip([row.ttft_s, row.tpot_s, e2e]) {
            if let Some(value) = value {
                blocks.entry(row.received_unix_ns.div_euclid(BLOCK)).or_default().push(value);
            }
        }
    }

    /// Every other variant beside the first; empty when there is one only.
    pub(crate) fn differences(&self) -> Vec<VariantDifference> {
        let Some((base, others)) = self.sides.split_first() else { return Vec::new() };
        let beside = |(other, name): (&Side, &String)| VariantDifference {
            baseline: self.names[0].clone(),
            candidate: name.clone(),
            requests: [base.requests, other.requests],
            differences: (0..METRICS.len())
                .map(|m| latency(m, base, other))
                .chain([failed(base, other)])
                .collect(),
        };
        others.iter().zip(&self.names[1..]).map(beside).collect()
    }
}

fn latency(m: usize, base: &Side, other: &Side) -> Difference {
    let all = |side: &Side| {
        let values: Vec<f64> = side.blocks[m].values().flatten().copied().collect();
        (!values.is_empty()).then(|| median(&values))
    };
    let paired: Vec<f64> = base.blocks[m]
        .iter()
        .filter_map(|(block, a)| Some(median(other.blocks[m].get(block)?) - median(a)))
        .collect();
    let n = paired.len();
    let result = if n < FEWEST {
        Err(format!("needs {FEWEST} blocks of 10 s with both variants, has {n}"))
    } else {
        t_mean(&paired, LEVEL).map_err(|e| e.to_string())
    };
    Difference {
        metric: METRICS[m],
        baseline: all(base),
        candidate: all(other),
        difference: result.is_ok().then(|| paired.iter().sum::<f64>() / n as f64),
        interval: result.as_ref().ok().map(|ci| [ci.lo, ci.hi]),
        n: n as u64,
        reason: result.err(),
    }
}

fn failed(base: &Side, other: &Side) -> Difference {
    let share = |side: &Side| (side.judged > 0).then(|| side.failed as f64 / side.judged as f64);
    let result = proportion::difference((base.failed, base.judged), (other.failed, other.judged), LEVEL);
    Difference {
        metric: "failed_share",
        baseline: share(base),
        candidate: share(other),
        difference: result.as_ref().ok().map(|(d, _)| *d),
        interval: result.as_ref().ok().map(|(_, ci)| [ci.lo, ci.hi]),
        n: base.judged + other.judged,
        reason: result.err().map(|e| e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` blocks in which the load moves both sides together, and `b` takes `more` seconds longer.
    fn rows(n: i64, more: f64) -> Vec<RequestRow> {
        let mut rows = Vec::new();
        for block in 0..n {
            let load = 0.1 + 0.05 * (block % 5) as f64;
            for i in 0..4 {
                for (variant, extra) in [("a", 0.0), ("b", more)] {
                    rows.push(RequestRow {
                        received_unix_ns: block * BLOCK + i,
                        ttft_s: Some(load + extra + 0.001 * ((block * 7 + i * 3) % 5) as f64),
                        variant: Some(variant.into()),
                        end: Some(if variant == "b" && i == 0 { "reset".into() } else { "answered".into() }),
                        status: 200,
                        e2e_s: 1.0,
                        ..RequestRow::default()
                    });
                }
            }
        }
        rows
    }

    fn differences<'a>(
        names: &[String],
        rows: impl Iterator<Item = &'a RequestRow>,
    ) -> Vec<VariantDifference> {
        let mut sides = Sides::new(names);
        rows.for_each(|row| sides.add(row));
        sides.differences()
    }

    #[test]
    fn a_difference_below_the_swings_of_the_load_is_found() {
        let names = ["a".to_owned(), "b".to_owned()];
        let seen = differences(&names, rows(30, 0.01).iter());
        let ttft = &seen[0].differences[0];
        let [lo, hi] = ttft.interval.unwrap();
        assert!(lo > 0.005 && hi < 0.015 && (ttft.difference.unwrap() - 0.01).abs() < 1e-3, "{ttft:?}");
        assert_eq!((seen[0].requests, ttft.n), ([120, 120], 30));
        let failed = &seen[0].differences[3];
        assert_eq!((failed.baseline, failed.candidate), (Some(0.0), Some(0.25)));
        assert!(failed.interval.unwrap()[0] > 0.1);
    }

    #[test]
    fn too_few_blocks_say_why() {
        let names = ["a".to_owned(), "b".to_owned()];
        let seen = differences(&names, rows(2, 0.5).iter());
        assert!(seen[0].differences[0].difference.is_none());
        assert!(seen[0].differences[0].reason.as_ref().unwrap().contains("has 2"));
        assert!(differences(&names[..1], rows(2, 0.5).iter()).is_empty());
        assert!(differences(&[], [].iter()).is_empty());
    }
}
