//! What the load client used, and how far that is from what it can do.

use stopwatt_core::ceiling::ClientCeiling;
use stopwatt_core::log::{Fact, LogEvent, ReadStamps};
use stopwatt_core::metrics_doc::ClientUse;

use crate::measured::{Measured, Trial};

/// The ceiling that the run knew of.
pub(crate) fn ceiling(log: &[LogEvent]) -> Option<&ClientCeiling> {
    log.iter().find_map(|e| match &e.fact {
        Fact::ClientCeiling { ceiling } => Some(ceiling),
        _ => None,
    })
}

/// How many clients sent the load together.
pub(crate) fn clients(log: &[LogEvent]) -> usize {
    let shares = log.iter().find_map(|e| match &e.fact {
        Fact::Merged { shards } => Some(shards.len()),
        _ => None,
    });
    shares.unwrap_or(1).max(1)
}

/// Share of a core that each client used in a trial; its sockets are read by one thread.
pub(crate) fn cores(trial: &Trial<'_>, clients: usize) -> Option<f64> {
    Some(trial.end?.client_cpu_s? / trial.window_s()? / clients as f64)
}

/// Share of the ceiling that a trial came to, by reads or by events, whichever is nearer.
pub(crate) fn ceiling_share(trial: &Trial<'_>, ceiling: &ClientCeiling, clients: usize) -> Option<f64> {
    let (reads, window) = (trial.end?.reads?, trial.window_s()?);
    let share = |n: u64, most: f64| (most > 0.0).then(|| n as f64 / window / most / clients as f64);
    let by_reads = share(reads.kernel + reads.user, ceiling.reads_per_s)?;
    Some(by_reads.max(share(reads.pieces, ceiling.events_per_s)?))
}

/// What `metrics.json` says of the client.
pub(crate) fn used(measured: &Measured<'_>, log: &[LogEvent], rss_bytes: Option<u64>) -> ClientUse {
    let trials = || measured.points.iter().flat_map(|p| &p.trials);
    let cpu_s = trials().filter_map(|t| t.end?.client_cpu_s).reduce(|a, b| a + b);
    let reads = trials().filter_map(|t| t.end?.reads).reduce(ReadStamps::and);
    let (ceiling, clients) = (ceiling(log), clients(log));
    ClientUse {
        cpu_s,
        rss_bytes,
        cores: trials().filter_map(|t| cores(t, clients)).reduce(f64::max),
        cpu_s_per_million_events: cpu_s
            .zip(reads)
            .and_then(|(s, r)| (r.pieces > 0).then(|| s * 1e6 / r.pieces as f64)),
        ceiling_share: ceiling
            .and_then(|c| trials().filter_map(|t| ceiling_share(t, c, clients)).reduce(f64::max)),
        reads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::Recorded;
    use crate::testing::{log, trial_ended};

    fn reads(kernel: u64, pieces: u64, lag: Option<f64>) -> ReadStamps {
        ReadStamps { kernel, user: 10, pieces, lag_p99_s: lag, ..ReadStamps::default() }
    }

    fn trial(index: u32, cpu_s: f64, stamps: ReadStamps) -> Fact {
        let mut fact = trial_ended(0, index, 1000 * i64::from(index), 1000 * i64::from(index) + 500);
        if let Fact::TrialEnded { client_cpu_s, reads, .. } = &mut fact {
            (*client_cpu_s, *reads) = (Some(cpu_s), Some(stamps));
        }
        fact
    }

    #[test]
    fn counts_add_up_and_the_worst_trial_stands_for_lag_and_load() {
        let ceiling = ClientCeiling {
            stopwatt: String::new(),
            measured_unix_ns: 0,
            quick: true,
            events_per_s: 10_000.0,
            reads_per_s: 4_000.0,
            streams: None,
            stages: vec![],
        };
        let facts = [
            Fact::ClientCeiling { ceiling },
            trial(0, 0.1, reads(490, 500, None)),
            trial(1, 0.2, reads(990, 2500, Some(0.001))),
        ];
        let log = log(&facts);
        let used = used(&Measured::sort(&log, &Recorded::of(&[])), &log, Some(7));
        assert_eq!((used.cpu_s, used.rss_bytes, used.cores), (Some(0.1 + 0.2), Some(7), Some(0.4)));
        // 0.3 s for 3000 events.
        assert!((used.cpu_s_per_million_events.unwrap() - 100.0).abs() < 1e-9);
        // The second trial: 1000 reads in half a second are half of 4000/s, 2500 events half of 10,000/s.
        assert_eq!(used.ceiling_share, Some(0.5));
        let reads = used.reads.unwrap();
        assert_eq!((reads.kernel, reads.user, reads.pieces, reads.lag_p99_s), (1480, 20, 3000, Some(0.001)));
    }

    #[test]
    fn records_of_before_say_nothing_of_reads() {
        let log = log(&[trial_ended(0, 0, 0, 1000)]);
        let used = used(&Measured::sort(&log, &Recorded::of(&[])), &log, None);
        assert_eq!(used, ClientUse::default());
    }
}
