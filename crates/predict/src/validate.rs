//! Predictions held against measurements of loads, each from its own recorded load.
//!
//! A measurement that cannot be true, or that its own repeats contradict, judges nothing: it stays in the table with the
//! reason, and counts in no error.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_stats::quantile::{quantile, sorted};

use crate::built_in::BEST_SEEN;
use crate::fit::{Asked, CalibrationDoc, FitError, calibrate};
use crate::observed::Observed;
use crate::predict::{LatencyDoc, PredictError, PredictionDoc, Question, predict};

/// Largest share of the peak that an engine is believed to reach.
const MOST_UTILISATION: f64 = 0.6;
/// Largest coefficient of variation between repeats of a load that judges.
const MOST_CV: f64 = 0.05;

/// One number of one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValidationRow {
    /// The run.
    pub run: String,
    /// The load.
    pub label: String,
    /// Clients of a closed loop; `null` in an open one.
    pub concurrency: Option<u32>,
    /// Mean prompt tokens.
    pub input: f64,
    /// Mean output tokens.
    pub output: f64,
    /// Trials that were measured.
    pub trials: usize,
    /// Whether the constants were fitted to this load.
    pub fitted: bool,
    /// `ttft`, `tpot`, `e2e` or `output_throughput`.
    pub metric: String,
    /// What was measured, in seconds or tokens a second.
    pub measured: f64,
    /// What is predicted; `null` where there is no prediction.
    pub predicted: Option<f64>,
    /// Its 90 % interval.
    pub interval90: Option<[f64; 2]>,
    /// Predicted over measured, less 1.
    pub error: Option<f64>,
    /// Why this row judges nothing.
    pub refused: Option<String>,
}

/// Errors of one metric over loads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorSummary {
    /// The metric.
    pub metric: String,
    /// Whether the loads were those of the fit.
    pub fitted: bool,
    /// Loads that judge.
    pub n: usize,
    /// Loads that do not.
    pub refused: usize,
    /// Mean of the absolute errors.
    pub mape: f64,
    /// Mean error with its sign; above 0 is too much.
    pub bias: f64,
    /// Median of the absolute errors.
    pub median: f64,
    /// 90th percentile of them.
    pub p90: f64,
    /// Share of loads within 5 %.
    pub within_5: f64,
    /// Share within 10 %.
    pub within_10: f64,
    /// Share of measurements inside the 90 % interval.
    pub coverage90: f64,
}

/// What the prefix cache served of one load, in all its trials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrefixRow {
    /// The run.
    pub run: String,
    /// The load.
    pub label: String,
    /// Prompt tokens that were sent.
    pub prompt_tokens: u64,
    /// Those that the server said it found; `null` where it said nothing of a request.
    pub measured_tokens: Option<u64>,
    /// Those that are found in simulation.
    pub predicted_tokens: u64,
}

/// Predictions against measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValidationDoc {
    /// The model.
    pub model: String,
    /// The device.
    pub gpu: String,
    /// The engine.
    #[serde(default)]
    pub engine: String,
    /// Version of its rules.
    pub engine_version: String,
    /// Where times of kernels are from; empty where from the data sheet.
    pub kernels: Vec<String>,
    /// The model whose runs the constants were fitted to; `null` without a calibration.
    pub calibrated_on: Option<String>,
    /// Every load and metric.
    pub rows: Vec<ValidationRow>,
    /// The prefix cache, of every load that shares anything or whose server spoke of it.
    #[serde(default)]
    pub prefix_cache: Vec<PrefixRow>,
    /// Errors, loads of the fit apart from the others.
    pub summaries: Vec<ErrorSummary>,
}

/// Why a measurement cannot be true on this device; `None` when nothing speaks against it.
fn impossible(q: &Question, load: &Observed) -> Option<String> {
    if load.failed > 0 {
        return Some(format!("{} requests failed", load.failed));
    }
    let gpu = q.latency.gpu();
    if gpu.basis == BEST_SEEN {
        // The rates are what its own kernels reached: they bound nothing.
        return None;
    }
    let devices = f64::from(q.deployment.tp * q.deployment.pp);
    let model = &q.deployment.model;
    // Of the embedding a step reads some rows alone, unless the head is the same matrix.
    let embedding = if model.tied { 0.0 } else { 2.0 * f64::from(model.vocab) * f64::from(model.hidden) };
    let reading = (q.deployment.weight_bytes() - embedding / devices) / gpu.bandwidth;
    if let Some(tpot) = load.measured.tpot_s.filter(|t| *t < reading) {
        return Some(format!("{:.3} ms a token is less than reading the weights takes", tpot * 1e3));
    }
    let [input, output] = load.mean_lengths();
    let tokens_per_s = load.measured.output_tokens_per_s * (input + output) / output.max(1.0);
    let flop = 2.0 * model.active_parameters() * tokens_per_s;
    let peak = gpu.peak(q.deployment.precision.product().input).ok()? * devices;
    (flop > MOST_UTILISATION * peak)
        .then(|| format!("{:.0} % of the peak is more than engines reach", 100.0 * flop / peak))
}

/// Predicts every load and holds it against what was measured. `question` says model, device, engine, kernels and
/// constants; its load is not looked at.
pub fn validate(
    question: &Question,
    loads: &[Observed],
    calibration: Option<&CalibrationDoc>,
) -> Result<ValidationDoc, PredictError> {
    let (mut rows, mut prefixes) = (Vec::new(), Vec::new());
    for load in loads {
        let predicted = of_load(question, load)?;
        prefixes.extend(prefix_row(load, &predicted));
        // Every trial is predicted from its own requests; what was measured is their mean.
        let mean = |of: &dyn Fn(&PredictionDoc) -> f64| {
            predicted.iter().map(of).sum::<f64>() / predicted.len() as f64
        };
        let latency = |of: &dyn Fn(&PredictionDoc) -> LatencyDoc| {
            let interval = [0, 1].map(|end| mean(&|p| of(p).interval90[end]));
            Some((mean(&|p| of(p).mean), interval))
        };
        let fitted =
            calibration.is_some_and(|c| c.loads.iter().any(|l| l.run == load.run && l.label == load.label));
        let unsteady = load.repeat_cv.filter(|cv| *cv > MOST_CV);
        let refused = impossible(question, load)
            .or(unsteady.map(|cv| format!("its repeats vary by {:.0} %", 100.0 * cv)));
        // A client sees a token by its text.
        let unseen = (load.without_text > 0)
            .then(|| format!("{} requests had tokens without text", load.without_text));
        let [input, output] = load.mean_lengths();
        let mut add = |metric: &str, measured: f64, said: Option<(f64, [f64; 2])>| {
            rows.push(ValidationRow {
                run: load.run.clone(),
                label: load.label.clone(),
                concurrency: load.concurrency,
                input,
                output,
                trials: load.trials.len(),
                fitted,
                metric: metric.to_owned(),
                measured,
                predicted: said.map(|(mean, _)| mean),
                interval90: said.map(|(_, interval)| interval),
                error: said.map(|(mean, _)| mean / measured - 1.0),
                refused: refused.clone().or(unseen.clone().filter(|_| ["ttft", "tpot"].contains(&metric))),
            });
        };
        let m = &load.measured;
        add("ttft", m.ttft_s, latency(&|p| p.ttft_s));
        if let (Some(tpot), Some(none)) = (m.tpot_s, predicted.first().map(|p| p.ttft_s)) {
            let known = predicted.iter().all(|p| p.tpot_s.is_some());
            add("tpot", tpot, latency(&|p| p.tpot_s.unwrap_or(none)).filter(|_| known));
        }
        add("e2e", m.e2e_s, latency(&|p| p.e2e_s));
        let interval = [0, 1].map(|end| mean(&|p| p.output_tokens_per_s_interval90[end]));
        add("output_throughput", m.output_tokens_per_s, Some((mean(&|p| p.output_tokens_per_s), interval)));
    }
    Ok(document(question, calibration.map(|c| c.model.clone()), rows, prefixes))
}

/// The same with every load predicted by a fit to the others.
pub fn cross_validate(asked: &[Asked<'_>]) -> Result<ValidationDoc, FitError> {
    let (mut rows, mut prefixes) = (Vec::new(), Vec::new());
    for (i, &(question, load)) in asked.iter().enumerate() {
        let others: Vec<Asked<'_>> =
            asked.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, asked)| *asked).collect();
        let fit = calibrate(&others)?;
        let calibrated = Question {
            corrector: fit.corrector,
            frontend: fit.frontend,
            spreads: Some(fit.spreads.clone()),
            ..question.clone()
        };
        let doc = validate(&calibrated, std::slice::from_ref(load), Some(&fit)).map_err(|source| {
            FitError::Predict { run: load.run.clone(), label: load.label.clone(), source: Box::new(source) }
        })?;
        rows.extend(doc.rows);
        prefixes.extend(doc.prefix_cache);
    }
    let Some((question, _)) = asked.first() else { return Err(FitError::TooFew { found: 0 }) };
    Ok(document(
        question,
        Some(format!("{}, each load left out", question.deployment.model.name)),
        rows,
        prefixes,
    ))
}

/// What the prefix cache served; `None` of a load that shares nothing and whose server said nothing.
fn prefix_row(load: &Observed, predicted: &[PredictionDoc]) -> Option<PrefixRow> {
    let sent = || load.trials.iter().flatten();
    let measured_tokens: Option<u64> = sent().map(|s| s.cached.map(u64::from)).sum();
    let shares = sent().any(|s| s.talk.is_some() || s.prefix.is_some());
    (shares || measured_tokens.is_some_and(|n| n > 0)).then(|| PrefixRow {
        run: load.run.clone(),
        label: load.label.clone(),
        prompt_tokens: sent().map(|s| u64::from(s.input)).sum(),
        measured_tokens,
        predicted_tokens: predicted.iter().map(|p| p.prefix_cache.hit_tokens).sum(),
    })
}

/// Rows with their summaries.
fn document(
    question: &Question,
    calibrated_on: Option<String>,
    rows: Vec<ValidationRow>,
    prefix_cache: Vec<PrefixRow>,
) -> ValidationDoc {
    let mut summaries = Vec::new();
    for fitted in [false, true] {
        for metric in ["ttft", "tpot", "e2e", "output_throughput"] {
            let of: Vec<&ValidationRow> =
                rows.iter().filter(|r| r.metric == metric && r.fitted == fitted).collect();
            summaries.extend(summary(metric, fitted, &of));
        }
    }
    ValidationDoc {
        model: question.deployment.model.name.clone(),
        gpu: question.latency.gpu().name.clone(),
        engine: question.deployment.engine.name().to_owned(),
        engine_version: question.engine_version(),
        kernels: question.table.as_ref().map(|t| t.sources.clone()).unwrap_or_default(),
        calibrated_on,
        rows,
        prefix_cache,
        summaries,
    }
}

/// A load as each of its trials sent it.
fn of_load(question: &Question, load: &Observed) -> Result<Vec<PredictionDoc>, PredictError> {
    let trials = (0..load.trials.len()).filter_map(|trial| load.replay(trial));
    let all: Vec<PredictionDoc> = trials
        .map(|(workload, when, requests)| {
            let question = question.clone();
            predict(&Question {
                workload,
                load: when,
                requests,
                duration_s: None,
                drop_first_wave: false,
                ..question
            })
        })
        .collect::<Result<_, _>>()?;
    if all.is_empty() { Err(PredictError::NoneLeft) } else { Ok(all) }
}

/// Errors of rows that judge; `None` without any.
fn summary(metric: &str, fitted: bool, rows: &[&ValidationRow]) -> Option<ErrorSummary> {
    let judges = || rows.iter().filter(|r| r.refused.is_none());
    let errors: Vec<f64> = judges().filter_map(|r| r.error).collect();
    if errors.is_empty() {
        return None;
    }
    let n = errors.len() as f64;
    let size: Vec<f64> = errors.iter().map(|e| e.abs()).collect();
    let share = |limit: f64| size.iter().filter(|e| **e <= limit).count() as f64 / n;
    let inside =
        judges().filter(|r| r.interval90.is_some_and(|[lo, hi]| (lo..=hi).contains(&r.measured))).count();
    let in_order = sorted(&size);
    Some(ErrorSummary {
        metric: metric.to_owned(),
        fitted,
        n: errors.len(),
        refused: rows.iter().filter(|r| r.refused.is_some()).count(),
        mape: size.iter().sum::<f64>() / n,
        bias: errors.iter().sum::<f64>() / n,
        median: quantile(&in_order, 0.5),
        p90: quantile(&in_order, 0.9),
        within_5: share(0.05),
        within_10: share(0.10),
        coverage90: inside as f64 / n,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{Means, Sent};
    use crate::predict::tests::question;
    use crate::simulate::Load;

    fn load(concurrency: u32, tpot_s: f64, ttft_s: f64) -> Observed {
        Observed {
            run: "a".to_owned(),
            label: format!("c={concurrency}"),
            concurrency: Some(concurrency),
            trials: vec![vec![
                Sent { input: 1024, output: 128, ..Sent::default() };
                2 * concurrency as usize
            ]],
            measured: Means {
                ttft_s,
                tpot_s: Some(tpot_s),
                e2e_s: ttft_s + 127.0 * tpot_s,
                output_tokens_per_s: 128.0 * f64::from(concurrency) / (ttft_s + 127.0 * tpot_s),
            },
            repeat_cv: Some(0.02),
            failed: 0,
            without_text: 0,
        }
    }

    #[test]
    fn errors_by_hand() {
        let row = |error: f64, refused: bool, measured: f64| ValidationRow {
            run: "a".to_owned(),
            label: "x".to_owned(),
            concurrency: None,
            input: 1.0,
            output: 1.0,
            trials: 1,
            fitted: false,
            metric: "ttft".to_owned(),
            measured,
            predicted: Some(measured * (1.0 + error)),
            interval90: Some([0.9, 1.1]),
            error: Some(error),
            refused: refused.then(|| "x".to_owned()),
        };
        let rows =
            [row(0.04, false, 1.0), row(-0.08, false, 1.05), row(0.3, false, 2.0), row(9.0, true, 1.0)];
        let s = summary("ttft", false, &rows.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!((s.n, s.refused), (3, 1));
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(s.mape, 0.14) && close(s.bias, 0.26 / 3.0) && close(s.median, 0.08), "{s:?}");
        assert!(
            close(s.within_5, 1.0 / 3.0) && close(s.within_10, 2.0 / 3.0) && close(s.coverage90, 2.0 / 3.0)
        );
    }

    #[test]
    fn every_trial_is_predicted_from_its_own_requests() {
        let q = question("llama-3.1-8b", "h100", 1, Load::Closed { concurrency: 1 }, 1);
        let mut both = load(1, 7e-3, 30e-3);
        both.trials.push(vec![Sent { input: 4096, output: 64, ..Sent::default() }]);
        let single = |trial: usize| {
            let one = Observed { trials: vec![both.trials[trial].clone()], ..both.clone() };
            validate(&q, &[one], None).unwrap().rows[0].predicted.unwrap()
        };
        let mean = validate(&q, std::slice::from_ref(&both), None).unwrap().rows[0].predicted.unwrap();
        assert!((mean - (single(0) + single(1)) / 2.0).abs() < 1e-12 && single(1) > 2.0 * single(0));
    }

    #[test]
    fn what_cannot_be_true_judges_nothing() {
        let q = question("llama-3.1-8b", "h100", 1, Load::Closed { concurrency: 1 }, 1);
        // 16 GB at 3.35 TB/s take 4.8 ms.
        let mut loads = vec![load(1, 7e-3, 30e-3), load(2, 3e-3, 30e-3), load(64, 10e-3, 10e-3)];
        loads.push(Observed { failed: 1, ..load(3, 7e-3, 30e-3) });
        loads.push(Observed { repeat_cv: Some(0.2), ..load(4, 7e-3, 30e-3) });
        let doc = validate(&q, &loads, None).unwrap();
        let refused = |label: &str, metric: &str| {
            doc.rows.iter().find(|r| r.label == label && r.metric == metric).unwrap().refused.clone()
        };
        assert_eq!(refused("c=1", "ttft"), None);
        assert!(refused("c=2", "tpot").unwrap().contains("reading the weights"));
        // 64 · 1,152 tokens in 1.28 s at 16 GFLOP are 925 TFLOP/s.
        assert!(refused("c=64", "e2e").unwrap().contains("of the peak"));
        assert!(refused("c=3", "e2e").unwrap().contains("failed"));
        assert!(refused("c=4", "ttft").unwrap().contains("20 %"));
        let tpot = doc.summaries.iter().find(|s| s.metric == "tpot").unwrap();
        assert_eq!((tpot.n, tpot.refused, tpot.fitted), (1, 4, false));
    }
}
