//! Runs that went wrong, and runs that mean harm.

use stopwatt_analyse::Recorded;
use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::{MetricsDoc, RunStatus, Validity, ValidityReason};
use stopwatt_core::text::Lang;
use stopwatt_core::verdict::{CUT_OFF, Case, Code, sentences};

use super::{Plan, Sample};

/// Texts that would become markup, styles, addresses or terminal codes where somebody forgot to escape.
pub const HOSTILE: [&str; 6] = [
    "<script>document.title='owned'</script>",
    "\" onload=\"document.title='owned'",
    "</style></script><img src=x onerror=\"document.title='owned'\">",
    "'><svg/onload=document.title='owned'>",
    "\u{1b}]0;owned\u{7}\u{1b}[31m",
    "=HYPERLINK(\"http://example.invalid\")",
];

impl Sample {
    /// A run with hostile texts in every place that comes from outside.
    pub fn hostile() -> Self {
        let mut run = Self::new(&Plan { model: HOSTILE[..4].join(" "), failure_every: 9, ..Plan::single() });
        let bad = || HOSTILE.join(" ");
        run.doc.validity = Validity {
            valid: false,
            reasons: vec![ValidityReason {
                code: HOSTILE[0].into(),
                fatal: true,
                detail: bad(),
                hint: Some(bad()),
                cases: vec![],
                more: 0,
            }],
        };
        run.doc.pipeline.mode = bad();
        run.doc.env.hash = HOSTILE[1].into();
        run.doc.reasons.insert(HOSTILE[2].into(), bad());
        for point in &mut run.doc.points {
            point.label = HOSTILE[5].into();
            point.errors.insert(HOSTILE[3].into(), 2);
        }
        for summary in run.doc.metrics.values_mut() {
            (summary.p99.interval, summary.p99.reason) = (None, Some(bad()));
        }
        for event in &mut run.log {
            match &mut event.fact {
                Fact::Fingerprint { fingerprint } => {
                    fingerprint.cpu = Some(bad());
                    fingerprint.engine.insert(HOSTILE[0].into(), bad());
                }
                Fact::EngineProbed { features, .. } => drop(features.insert(HOSTILE[1].into(), bad())),
                Fact::WarmupEnded { detail, .. } => *detail = bad(),
                _ => {}
            }
        }
        for request in run.requests.iter_mut().filter(|r| r.error_hash.is_some()) {
            request.error_hash = Some(HOSTILE[0].into());
        }
        run.record = Recorded::of(&run.requests);
        run.config["settings"][HOSTILE[4]] =
            serde_json::json!({ "value": bad(), "origin": { "from": "flag", "name": HOSTILE[2] } });
        run
    }

    /// A run that was cut off in its second trial and never became steady.
    pub fn cut_off() -> Self {
        let mut run = Self::new(&Plan { trials: 1, ..Plan::single() });
        run.log.retain(|e| !matches!(e.fact, Fact::RunEnded { .. }));
        run.doc.status = RunStatus::Incomplete;
        let finding = |code: Code, values: &[&str]| {
            let cases = vec![Case { point: None, values: values.iter().map(|v| (*v).to_owned()).collect() }];
            ValidityReason {
                code: code.name().into(),
                fatal: code.fatal(),
                detail: sentences(code, &cases, 0, Lang::En),
                hint: Some(code.hint(Lang::En).into()),
                cases,
                more: 0,
            }
        };
        let still = "the level drifts by 31 % over the last 200 values";
        let reasons = vec![
            finding(Code::Incomplete, &[CUT_OFF]),
            finding(Code::NoSteadyState, &["200", still]),
            finding(Code::TooFewTrials, &["1"]),
        ];
        run.doc.validity = Validity { valid: false, reasons };
        run
    }

    /// A run that ended before anything was measured.
    pub fn empty() -> Self {
        let run = Self::new(&Plan::single());
        let doc = MetricsDoc {
            points: vec![],
            metrics: Default::default(),
            headline_point: None,
            status: RunStatus::Incomplete,
            ..run.doc
        };
        Self {
            doc,
            log: run.log.into_iter().take(1).collect(),
            requests: vec![],
            record: Recorded::of(&[]),
            config: serde_json::Value::Null,
            trace: run.trace,
            hardware: run.hardware,
        }
    }
}
