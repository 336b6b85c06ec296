//! Launches of several runs to one document: sums within a run, mean and standard deviation between runs.

use std::collections::BTreeMap;

use stopwatt_core::cache_counters::{CounterValue, KernelCounters, NCU_VERSION, NcuDocument};
use stopwatt_stats::describe;

use super::counters::{Kind, Quantity};
use super::raw::Launch;

/// Fills kernels, totals and missing of `frame`, whose other fields say how the runs were made.
pub(crate) fn document(mut frame: NcuDocument, runs: &[Vec<Launch>], quantities: &[Quantity]) -> NcuDocument {
    let mut names: Vec<&str> = runs.iter().flatten().map(|l| l.kernel.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let over_runs = |pick: &dyn Fn(&Launch) -> bool| -> BTreeMap<String, CounterValue> {
        let picked: Vec<Vec<&Launch>> =
            runs.iter().map(|run| run.iter().filter(|l| pick(l)).collect()).collect();
        quantities.iter().filter_map(|q| Some((q.name.clone(), value(q, &picked, quantities)?))).collect()
    };
    frame.version = NCU_VERSION;
    frame.runs = u32::try_from(runs.len()).unwrap_or(u32::MAX);
    frame.kernels = names
        .into_iter()
        .map(|name| KernelCounters {
            name: name.to_owned(),
            launches: runs.iter().flatten().filter(|l| l.kernel == name).count() as f64 / runs.len() as f64,
            metrics: over_runs(&|l| l.kernel == name),
        })
        .collect();
    let time = |k: &KernelCounters| k.metrics.get("gpu_time_ns").map_or(0.0, |v| v.mean);
    frame.kernels.sort_by(|a, b| time(b).total_cmp(&time(a)));
    frame.totals = over_runs(&|_| true);
    frame.missing = quantities
        .iter()
        .filter(|q| !frame.totals.contains_key(&q.name))
        .map(|q| (q.name.clone(), format!("the tool gave no value of {} for every launch", q.counter)))
        .collect();
    frame
}

/// One quantity over all runs; `None` when a run that has launches lacks it: a mean over the rest would be of other work.
fn value(quantity: &Quantity, runs: &[Vec<&Launch>], all: &[Quantity]) -> Option<CounterValue> {
    let values: Vec<f64> = runs
        .iter()
        .filter(|run| !run.is_empty())
        .map(|run| of_run(quantity, run, all))
        .collect::<Option<_>>()?;
    if values.is_empty() {
        return None;
    }
    Some(CounterValue {
        counter: quantity.counter.clone(),
        unit: quantity.unit.clone(),
        mean: describe::mean(&values),
        sd: describe::sd(&values),
        runs: u32::try_from(values.len()).unwrap_or(u32::MAX),
    })
}

fn of_run(quantity: &Quantity, run: &[&Launch], all: &[Quantity]) -> Option<f64> {
    let named = |name: &str| all.iter().find(|q| q.name == name);
    let of_launch = |q: &Quantity, l: &Launch| l.values.get(&q.counter).copied();
    let sum = |q: &Quantity| run.iter().map(|l| of_launch(q, l)).sum::<Option<f64>>();
    match &quantity.kind {
        Kind::Sum => sum(quantity),
        Kind::Ratio { of, rest } => {
            let (of, rest) = (sum(named(of)?)?, sum(named(rest)?)?);
            (of + rest > 0.0).then(|| 100.0 * of / (of + rest))
        }
        Kind::Weighted { weight } => {
            let weight = named(weight)?;
            let (mut top, mut bottom) = (0.0, 0.0);
            for launch in run {
                let w = of_launch(weight, launch)?;
                // A launch without accesses has no percentage and no weight.
                if w > 0.0 {
                    top += w * of_launch(quantity, launch)?;
                    bottom += w;
                }
            }
            (bottom > 0.0).then(|| top / bottom)
        }
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::cache_counters::{CacheControl, CounterSource, ReplayMode};

    use super::super::counters::quantities;
    use super::*;

    fn launch(kernel: &str, hits: f64, misses: f64, ns: f64) -> Launch {
        let values = [
            ("lts__t_sectors_lookup_hit.sum", hits),
            ("lts__t_sectors_lookup_miss.sum", misses),
            ("lts__t_sector_hit_rate.pct", 100.0 * hits / (hits + misses)),
            ("gpu__time_duration.sum", ns),
        ];
        Launch {
            kernel: kernel.to_owned(),
            values: values.map(|(k, v)| (k.to_owned(), v)).into(),
            ..Launch::default()
        }
    }

    fn frame() -> NcuDocument {
        NcuDocument {
            version: 0,
            source: CounterSource::Ncu,
            tool: "2025.3.1.0".into(),
            program: "runner".into(),
            compute_capability: None,
            cache_control: CacheControl::None,
            replay_mode: ReplayMode::Kernel,
            clocks_locked: false,
            runs: 0,
            kernels: Vec::new(),
            totals: BTreeMap::new(),
            missing: BTreeMap::new(),
        }
    }

    #[test]
    fn hit_rates_are_ratios_of_sums() {
        // 90 of 100 sectors in a small kernel, 100 of 1000 in a large one: 190 / 1100 = 17.27 %, not the mean 50 %.
        let run = vec![launch("small", 90.0, 10.0, 1.0), launch("large", 100.0, 900.0, 9.0)];
        let doc = document(frame(), &[run.clone(), run.clone(), run], &quantities(None));
        let total = doc.l2_hit_pct().unwrap();
        assert!((total.mean - 17.272_727).abs() < 1e-6, "{total:?}");
        assert_eq!((total.sd, total.runs, doc.runs), (Some(0.0), 3, 3));
        assert_eq!(doc.kernels[0].name, "large", "most time first");
        assert_eq!(doc.kernels[1].metrics["l2_hit_pct"].mean, 90.0);
        assert_eq!(doc.totals["gpu_time_ns"].mean, 10.0);
        assert!(doc.missing.contains_key("dram_read_bytes"));
        assert!(!doc.totals.contains_key("dram_read_bytes"), "no value is not zero");
    }

    #[test]
    fn the_spread_between_runs_is_told() {
        let runs = [80.0, 82.0, 84.0].map(|hits| vec![launch("k", hits, 100.0 - hits, 1.0)]);
        let doc = document(frame(), &runs, &quantities(None));
        let total = doc.l2_hit_pct().unwrap();
        assert_eq!((total.mean, total.sd), (82.0, Some(2.0)));
    }

    #[test]
    fn a_counter_that_one_launch_lacks_is_missing() {
        let mut second = launch("k", 1.0, 1.0, 1.0);
        second.values.remove("lts__t_sectors_lookup_hit.sum");
        let doc = document(frame(), &[vec![launch("k", 1.0, 1.0, 1.0), second]], &quantities(None));
        assert_eq!(doc.l2_hit_pct(), None);
        assert!(doc.missing.contains_key("l2_hit_pct"));
        assert_eq!(doc.totals["gpu_time_ns"].sd, None, "one run has no spread");
    }
}
