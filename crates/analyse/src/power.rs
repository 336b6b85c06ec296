//! Power, energy and cache counters of a point, from what sensors said of its trials.

use stopwatt_core::Metric;
use stopwatt_core::cpu_counters::CpuTrial;
use stopwatt_core::power::{GpuTrial, PowerUse, TrialEnergy};

use crate::measured::{CacheRun, Point, Row, Trial};

/// The values a trial of a sensor's metric, or why there is none; `None` for metrics that no sensor gives.
pub(crate) fn values(point: &Point<'_>, metric: Metric) -> Option<Result<Vec<f64>, String>> {
    let output = |t: &Trial<'_>| {
        t.ok_in_window().map(|r| r.values.output_tokens).sum::<Option<f64>>().filter(|n| *n > 0.0)
    };
    let all = |t: &Trial<'_>| {
        let both = |r: Row<'_>| Some(r.values.output_tokens? + r.values.input_tokens?);
        t.ok_in_window().map(both).sum::<Option<f64>>().filter(|n| *n > 0.0)
    };
    let requests = |t: &Trial<'_>| Some(t.ok_in_window().count() as f64).filter(|n| *n > 0.0);
    let gross = |e: &TrialEnergy| Some(e.gross_j);
    let idle_w = point.idle_w.ok();
    let net = |e: &TrialEnergy| Some(e.gross_j - idle_w? * e.duration_s);
    const NO_TOKENS: &str = "no output tokens are known of the requests that ended in the window";
    const NO_TOTAL: &str = "input or output tokens are not known of the requests that ended in the window";
    const NO_REQUESTS: &str = "no request ended in the window";
    Some(match metric {
        Metric::Power => energies(point, |e, _| Some(e.gross_j / e.duration_s), ""),
        Metric::EnergyPerToken => energies(point, |e, t| Some(gross(e)? / output(t)?), NO_TOKENS),
        Metric::NetEnergyPerToken => match point.idle_w {
            Err(Some(reason)) if has_energy(point) => Err(format!("power of the idle machine: {reason}")),
            Err(None) if has_energy(point) => {
                Err("the power of the idle machine was not measured".to_owned())
            }
            _ => energies(point, |e, t| Some(net(e)? / output(t)?), NO_TOKENS),
        },
        Metric::EnergyPerTotalToken => energies(point, |e, t| Some(gross(e)? / all(t)?), NO_TOTAL),
        Metric::EnergyPerRequest => energies(point, |e, t| Some(gross(e)? / requests(t)?), NO_REQUESTS),
        Metric::GpuMemory => of_gpu(point, |g| Some(g.memory_peak_bytes? as f64)),
        Metric::GpuUse => of_gpu(point, |g| g.sm_use),
        Metric::L2HitRate => of_cache(point, |run| run.l2_hit, "the profiler did not count L2 sectors"),
        Metric::DramBytes => of_cache(
            point,
            |run| run.dram_bytes,
            "bytes of the memory were not counted, or not over whole iterations (measure.ncu_launch_skip and measure.ncu_launch_count choose a part)",
        ),
        Metric::L1dHitRate => of_cpu(point, CpuTrial::l1d_hit, "L1d reads"),
        Metric::LlcHitRate => of_cpu(point, CpuTrial::llc_hit, "accesses of the last cache"),
        _ => return None,
    })
}

fn has_energy(point: &Point<'_>) -> bool {
    point.trials.iter().any(|t| t.power.is_some_and(|p| p.energy.is_some()))
}

fn energies(
    point: &Point<'_>,
    of: impl Fn(&TrialEnergy, &Trial<'_>) -> Option<f64>,
    absent: &str,
) -> Result<Vec<f64>, String> {
    let values: Vec<f64> =
        point.trials.iter().filter_map(|t| of(t.power?.energy?, t)).filter(|v| v.is_finite()).collect();
    match values.is_empty() {
        false => Ok(values),
        true if has_energy(point) => Err(absent.to_owned()),
        true => Err(first_reason(point)),
    }
}

fn first_reason(point: &Point<'_>) -> String {
    let reason = point.trials.iter().find_map(|t| t.power?.reason);
    reason.unwrap_or("no power was measured").to_owned()
}

fn of_cache(
    point: &Point<'_>,
    of: fn(&CacheRun) -> Option<f64>,
    uncounted: &str,
) -> Result<Vec<f64>, String> {
    let values: Vec<f64> = point.cache_runs.iter().filter_map(of).collect();
    match (values.is_empty(), point.cache_runs.is_empty()) {
        (false, _) => Ok(values),
        (true, false) => Err(uncounted.to_owned()),
        (true, true) => Err(point.no_cache.unwrap_or("no cache counters were read").to_owned()),
    }
}

fn of_cpu(point: &Point<'_>, of: fn(&CpuTrial) -> Option<f64>, what: &str) -> Result<Vec<f64>, String> {
    let told = || point.trials.iter().filter_map(|t| t.cpu);
    let values: Vec<f64> = told().filter_map(Result::ok).filter_map(of).collect();
    match (values.is_empty(), told().find_map(Result::err), told().next()) {
        (false, ..) => Ok(values),
        (true, Some(reason), _) => Err(reason.to_owned()),
        (true, None, Some(_)) => Err(format!("the CPU does not count {what}")),
        (true, None, None) => Err("no CPU counters were read".to_owned()),
    }
}

fn of_gpu(point: &Point<'_>, of: impl Fn(&GpuTrial) -> Option<f64>) -> Result<Vec<f64>, String> {
    let gpus: Vec<&GpuTrial> = point.trials.iter().filter_map(|t| t.power?.gpu).collect();
    let values: Vec<f64> = gpus.iter().filter_map(|g| of(g)).collect();
    match (values.is_empty(), gpus.is_empty()) {
        (false, _) => Ok(values),
        (true, false) => Err("the GPU has no such sensor".to_owned()),
        (true, true) => Err("no GPU was sampled".to_owned()),
    }
}

/// All trials together.
pub(crate) fn power_use(point: &Point<'_>) -> PowerUse {
    let powers = || point.trials.iter().filter_map(|t| t.power);
    let energies = || powers().filter_map(|p| p.energy);
    let largest = |values: &mut dyn Iterator<Item = f64>| values.reduce(f64::max);
    let differences = || energies().flat_map(|e| &e.checks).filter_map(|c| c.difference);
    let mut reasons: Vec<String> = powers().filter_map(|p| p.reason).map(str::to_owned).collect();
    reasons.dedup();
    if let (Err(Some(reason)), true) = (point.idle_w, has_energy(point)) {
        reasons.push(format!("power of the idle machine: {reason}"));
    }
    PowerUse {
        source: energies().next().map(|e| e.source),
        method: energies().next().map(|e| e.method),
        idle_w: point.idle_w.ok(),
        largest_difference: differences().reduce(|a, b| if b.abs() > a.abs() { b } else { a }),
        disagreement: energies().any(|e| e.disagreement),
        edge_share: largest(&mut energies().filter(|e| e.gross_j > 0.0).map(|e| e.edge_j / e.gross_j)),
        gain_share: largest(&mut energies().filter(|e| e.gross_j > 0.0).map(|e| e.gain_j / e.gross_j)),
        reasons,
        gpu: powers().filter_map(|p| p.gpu).cloned().reduce(join),
    }
}

/// Two stretches of time together. Means are of trials, which are as long as each other as a rule.
fn join(a: GpuTrial, b: GpuTrial) -> GpuTrial {
    let mean = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| f64::midpoint(a, b)).or(a).or(b);
    let mut throttle = a.throttle;
    for (word, share) in b.throttle {
        match throttle.iter_mut().find(|(w, _)| *w == word) {
            Some((_, known)) => *known = known.max(share),
            None => throttle.push((word, share)),
        }
    }
    GpuTrial {
        memory_peak_bytes: a.memory_peak_bytes.max(b.memory_peak_bytes),
        sm_use: mean(a.sm_use, b.sm_use),
        dram_use: mean(a.dram_use, b.dram_use),
        sm_clock_mhz: mean(a.sm_clock_mhz, b.sm_clock_mhz),
        sm_clock_range_mhz: match (a.sm_clock_range_mhz, b.sm_clock_range_mhz) {
            (Some((lo, hi)), Some((lo2, hi2))) => Some((lo.min(lo2), hi.max(hi2))),
            (a, b) => a.or(b),
        },
        temperature_c: a.temperature_c.max(b.temperature_c),
        throttle,
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::log::{Fact, LogEvent};
    use stopwatt_core::metrics_doc::MetricsDoc;
    use stopwatt_core::power::{EnergyMethod, PowerSource};

    use super::*;
    use crate::testing::{log, whole_requests, whole_run};
    use crate::{Input, Recorded, Settings, analyse};

    fn doc(more: Vec<Fact>) -> MetricsDoc {
        let facts: Vec<Fact> = whole_run().into_iter().chain(more).collect();
        let log: Vec<LogEvent> = log(&facts);
        let record = Recorded::of(&whole_requests());
        analyse(&Input { log: &log, record: &record, settings: &Settings::default() })
    }

    fn mean(doc: &MetricsDoc, metric: Metric) -> (Option<f64>, Option<String>) {
        let mean = &doc.points[0].metrics[metric.name()].mean;
        (mean.value, mean.reason.clone())
    }

    #[test]
    fn energy_is_divided_by_tokens_never_by_iterations() {
        let energy = TrialEnergy {
            source: PowerSource::Gpu,
            method: EnergyMethod::Counter,
            gross_j: 80.0,
            duration_s: 2.0,
            tick_s: 0.1,
            edge_j: 0.0,
            gain_j: 0.0,
            checks: Vec::new(),
            disagreement: false,
        };
        let told = Fact::TrialPower { point: 0, trial: 0, energy: Some(energy), reason: None, gpu: None };
        let doc = doc(vec![told]);
        // Two requests of four tokens each ended in the trial.
        assert_eq!(mean(&doc, Metric::EnergyPerToken).0, Some(10.0));
        assert_eq!(mean(&doc, Metric::EnergyPerRequest).0, Some(40.0));
        assert_eq!(mean(&doc, Metric::Power).0, Some(40.0));
    }

    #[test]
    fn bytes_of_the_memory_are_those_of_an_iteration() {
        let run = |run, iterations| Fact::CacheRun {
            point: 0,
            run,
            l2_hit: Some(0.5),
            dram_read_bytes: Some(3e6),
            dram_write_bytes: Some(1e6),
            iterations,
        };
        let counted = doc(vec![run(0, Some(4)), run(1, Some(4))]);
        assert_eq!(mean(&counted, Metric::DramBytes).0, Some(1e6));
        // A record of before iterations were kept has a rate, and no bytes.
        let old = doc(vec![run(0, None)]);
        assert_eq!((mean(&old, Metric::L2HitRate).0, mean(&old, Metric::DramBytes).0), (Some(0.5), None));
    }

    #[test]
    fn counters_of_the_cpu_are_a_share_or_a_reason() {
        let told = |trial, counts, reason: Option<&str>| Fact::TrialCpu {
            point: 0,
            trial,
            counts,
            reason: reason.map(str::to_owned),
        };
        let counts = CpuTrial { l1d_reads: Some(100.0), l1d_read_misses: Some(4.0), ..CpuTrial::default() };
        let counted = doc(vec![told(0, Some(counts), None), told(1, Some(counts), None)]);
        assert_eq!(mean(&counted, Metric::L1dHitRate).0, Some(0.96));
        let (value, reason) = mean(&counted, Metric::LlcHitRate);
        assert!(value.is_none() && reason.unwrap().contains("last cache"));
        let refused = doc(vec![told(0, None, Some("not allowed"))]);
        assert_eq!(mean(&refused, Metric::L1dHitRate), (None, Some("not allowed".to_owned())));
    }
}
