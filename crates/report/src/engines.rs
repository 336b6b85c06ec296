//! Engines that were started for a measurement, in words that the terminal and the page share.

use stopwatt_core::engine_run::{EngineCause, EngineOutcome, EngineRun};
use stopwatt_core::metrics_doc::MetricsDoc;
use stopwatt_core::text::{Lang, Text};

use crate::quantity::{Kind, Scale, count};

/// Headers of the table.
pub(crate) const HEADERS: [Text; 4] =
    [Text::EngineSettings, Text::EngineOutcomeColumn, Text::EngineReady, Text::EngineLogLines];

/// A row for each engine.
pub(crate) fn rows(doc: &MetricsDoc, lang: Lang) -> Vec<[String; 4]> {
    let row = |e: &EngineRun| {
        let settings: Vec<String> = e.settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let ready = e.ready_s.map_or_else(|| "–".to_owned(), |s| Scale::of(Kind::Time, s).with_unit(s));
        [settings.join(" "), outcome(e, lang), ready, count(e.log.lines)]
    };
    doc.engines.iter().map(row).collect()
}

/// `died (exit status 1, oom)`, with what stood in the way.
fn outcome(engine: &EngineRun, lang: Lang) -> String {
    let word = match engine.outcome {
        EngineOutcome::Measured => Text::EngineMeasured,
        EngineOutcome::Died => Text::EngineDied,
        EngineOutcome::NotReady => Text::EngineNotReady,
        EngineOutcome::Refused => Text::EngineRefused,
        EngineOutcome::Interrupted => Text::EngineInterrupted,
    };
    let cause = engine.cause.map(|c| match c {
        EngineCause::Oom => "oom",
        EngineCause::Port => "port",
        EngineCause::Model => "model",
        EngineCause::Arguments => "arguments",
        EngineCause::Other => "other",
    });
    let more: Vec<&str> =
        [engine.exit.as_deref(), cause, engine.detail.as_deref()].into_iter().flatten().collect();
    let word = word.get(lang);
    if more.is_empty() { word.to_owned() } else { format!("{word} ({})", more.join(", ")) }
}

/// The best point under the objectives, or why there is none; `None` where the question was not asked.
pub(crate) fn best(doc: &MetricsDoc) -> Option<String> {
    let best = doc.best.as_ref()?;
    let point = best.point.and_then(|i| doc.points.get(usize::try_from(i).ok()?));
    let parts = [point.map(|p| p.label.as_str()), best.reason.as_deref()];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}
