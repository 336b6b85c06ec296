//! The `bench` target: an inference engine, measured by `stopwatt bench` with the procedure's warm-up and repeats.

use super::config::SopConfig;
use super::error::SopError;
use crate::bench::BenchConfig;

/// The settings of the benchmark: those under `target.bench`, with trials, warm-up and seed of the procedure. Requests
/// come from `pipeline.repeats` unless the benchmark says how much it measures.
///
/// # Errors
/// The procedure asks for what a benchmark does not have.
pub fn bench_config(config: &SopConfig) -> Result<BenchConfig, SopError> {
    let refuse = |setting, problem: &str| Err(SopError::Setting { setting, problem: problem.to_owned() });
    if config.target.command.is_some() {
        return refuse(
            "target.command",
            "an engine is started by `target.bench.serve.command`, or runs already",
        );
    }
    if config.pipeline.no_measure {
        return refuse("pipeline.no_measure", "a benchmark of an engine has no part without measuring");
    }
    let mut bench = config.target.bench.as_deref().cloned().unwrap_or_default();
    bench.seed = config.seed;
    bench.analysis = config.analysis.clone();
    bench.record = config.record.clone();
    bench.input = config.input.clone();
    bench.measure.gpus = config.measure.gpus.clone().or(bench.measure.gpus);
    bench.measure.repeats = config.pipeline.trials;
    bench.measure.warmup = config.pipeline.warmup_iter;
    bench.measure.warmup_max_s = config.pipeline.warmup_max_s;
    if bench.measure.requests.is_none() && bench.measure.duration_s.is_none() {
        bench.measure.requests = Some(config.iterations());
    }
    Ok(bench)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sop::config::TargetKind;

    #[test]
    fn a_benchmark_gets_the_procedures_warm_up_and_repeats() {
        let mut config = SopConfig { seed: 3, ..SopConfig::default() };
        config.target.kind = TargetKind::Bench;
        let bench = bench_config(&config).unwrap();
        let m = &bench.measure;
        assert_eq!((bench.seed, m.repeats, m.warmup, m.requests), (3, 5, 50, Some(200)));
        let mut own = BenchConfig::default();
        own.measure.duration_s = Some(30.0);
        config.target.bench = Some(Box::new(own));
        assert_eq!(bench_config(&config).unwrap().measure.requests, None);
        config.target.command = Some("x".to_owned());
        assert!(bench_config(&config).is_err());
    }
}
