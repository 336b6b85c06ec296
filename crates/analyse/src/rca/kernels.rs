//! Kernel change: other kernels ran, or the same ones took another time.

use std::collections::{BTreeMap, BTreeSet};

use stopwatt_core::cache_counters::{KernelCounters, NcuDocument};
use stopwatt_core::cause::CauseCode;

use super::{Case, Found, Look, POSSIBLE, percent, short};

/// Part of the time of all kernels below which a kernel is not looked at.
const PART: f64 = 0.01;
/// Change of a kernel's time that counts.
const STEP: f64 = 0.05;
/// Kernels that are named, at most.
const NAMED: usize = 5;
/// The quantity of `ncu.json` that is time.
const TIME_NS: &str = "gpu_time_ns";
/// Letters of a kernel's name that are shown: those of templates go on for lines.
const LETTERS: usize = 80;

/// Every kernel of a run, by name. Both sides must have been profiled over the same number of iterations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kernels(pub BTreeMap<String, KernelUse>);

/// What one kernel did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KernelUse {
    /// How often it was launched.
    pub launches: u64,
    /// Time of all launches, in seconds; `None` when it was not measured.
    pub time_s: Option<f64>,
    /// Counters by the profiler's name, each summed over the launches.
    pub metrics: BTreeMap<String, f64>,
}

/// Of what a profiler measured: counters go by their own names, so that those of several architectures stay apart.
impl From<&NcuDocument> for Kernels {
    fn from(doc: &NcuDocument) -> Self {
        let kernel = |k: &KernelCounters| {
            let one = KernelUse {
                launches: k.launches.round() as u64,
                time_s: k.metrics.get(TIME_NS).map(|v| v.mean / 1e9),
                metrics: k.metrics.values().map(|v| (v.counter.clone(), v.mean)).collect(),
            };
            (k.name.clone(), one)
        };
        Self(doc.kernels.iter().map(kernel).collect())
    }
}

impl Kernels {
    /// Time of all kernels; `None` when one was not measured.
    fn time_s(&self) -> Option<f64> {
        self.0.values().map(|k| k.time_s).sum()
    }

    /// Sum of every counter whose name begins so; `None` when no kernel has one.
    pub(super) fn sum(&self, prefix: &str) -> Option<f64> {
        let values = self.0.values().flat_map(|k| &k.metrics).filter(|(name, _)| name.starts_with(prefix));
        values.map(|(_, v)| *v).reduce(|a, b| a + b)
    }
}

pub(super) fn look(case: &Case<'_>) -> Look {
    let (Some(a), Some(b)) = (case.a.kernels, case.b.kernels) else {
        return Look::blind(CauseCode::NoKernels);
    };
    let mut found = changes(case, a, b);
    found.sort_by(|x, y| y.weight.total_cmp(&x.weight));
    found.truncate(NAMED);
    Look::of(found)
}

fn changes(case: &Case<'_>, a: &Kernels, b: &Kernels) -> Vec<Found> {
    let totals = a.time_s().zip(b.time_s()).filter(|(x, y)| *x > 0.0 && *y > 0.0);
    // How much of the latency's change the time of all kernels explains; each kernel has its part of that.
    let explained = totals.map(|(x, y)| case.explained((y / x).ln(), case.symptoms.iter().copied()));
    let names: BTreeSet<&String> = a.0.keys().chain(b.0.keys()).collect();
    let one = |name: &String| {
        let (x, y) = (a.0.get(name), b.0.get(name));
        let time = |k: Option<&KernelUse>| k.map_or(Some(0.0), |k| k.time_s);
        let (tx, ty) = (time(x), time(y));
        let ms = |t: Option<f64>| t.map_or_else(|| "?".to_owned(), |t| short(t * 1e3));
        let mut shown: String = name.chars().take(LETTERS).collect();
        if shown.len() < name.len() {
            shown.push('…');
        }
        let launches = |k: &KernelUse| k.launches.to_string();
        let (code, values) = match (x, y) {
            (None, Some(k)) => (CauseCode::KernelAppeared, vec![shown, launches(k), ms(ty)]),
            (Some(k), None) => (CauseCode::KernelGone, vec![shown, launches(k), ms(tx)]),
            (Some(k), Some(l)) => {
                let change = ty? / tx? - 1.0;
                if change.abs() < STEP || !change.is_finite() {
                    return None;
                }
                (
                    CauseCode::KernelTime,
                    vec![shown, ms(tx), ms(ty), percent(change), launches(k), launches(l)],
                )
            }
            (None, None) => return None,
        };
        let Some((((x, y), explained), (tx, ty))) = totals.zip(explained).zip(tx.zip(ty)) else {
            return Some(Found::ranked(code, POSSIBLE, values));
        };
        if tx.max(ty) < PART * x.max(y) {
            return None;
        }
        let part = (ty - tx) / (y - x);
        let share = if part.is_finite() { explained * part.clamp(0.0, 1.0) } else { 0.0 };
        // Work that moved from one kernel to another is one change: the half that became less is named beside the other.
        let moved = explained > 0.0 && code != CauseCode::KernelTime;
        (share > 0.0 || moved).then(|| Found::explaining(code, share, values))
    };
    names.into_iter().filter_map(one).collect()
}
