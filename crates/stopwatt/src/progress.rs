//! Progress on a terminal: where the run is, how long it will take, and what the trial says so far. Quiet in a pipe.
//!
//! Requests are counted on the thread that records them; a line that nobody sees costs nothing.

mod live;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::engine_run::EngineOutcome;
use stopwatt_core::search::Verdict;
use stopwatt_experiment::bench;

use live::Live;

/// How often the line is written: more often than an eye follows.
const EVERY: Nanos = 200_000_000;

/// The line, or nothing.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    point: String,
    trial: String,
    failed: u64,
    live: Live,
    /// When the line was last written.
    shown: Nanos,
}

impl Progress {
    /// A line on stderr when `visible`.
    pub(crate) fn new(visible: bool) -> Self {
        let bar = visible.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            bar.set_style(style("{spinner} {msg}"));
            bar.enable_steady_tick(std::time::Duration::from_millis(125));
            bar
        });
        Self { bar, point: String::new(), trial: String::new(), failed: 0, live: Live::default(), shown: 0 }
    }

    /// Shows a step.
    pub(crate) fn show(&mut self, event: bench::Progress<'_>) {
        use bench::Progress as P;
        let Some(bar) = &self.bar else { return };
        match event {
            P::EngineStarting => bar.set_message("starting the built-in engine"),
            P::EngineReady { model, url } => bar.println(format!("engine   {model} at {url}")),
            P::Calibrating => bar.set_message("measuring what the load client can do"),
            P::Capacity => bar.set_message("measuring capacity"),
            P::CapacityFound(found) => bar.println(format!(
                "capacity {:.3} requests/s with {} in flight",
                found.rate_rps, found.concurrency
            )),
            P::Engine { index, of, label } => {
                bar.set_style(style("{spinner} {msg}"));
                bar.set_message(format!("starting engine {}/{of} {label}", index + 1));
            }
            P::EngineEnded(engine) => {
                if engine.outcome != EngineOutcome::Measured {
                    let why = engine.exit.or(engine.detail).unwrap_or_else(|| "no token in time".to_owned());
                    let settings: Vec<_> = engine.settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
                    bar.println(format!("engine   {} was not measured: {why}", settings.join(" ")));
                }
            }
            P::Looked(look) => {
                let what = match look.verdict {
                    Verdict::Holds => "holds",
                    Verdict::Fails => "fails",
                    Verdict::Unclear => "is unclear",
                };
                let why = look.veto.map(|v| format!(" ({v})")).unwrap_or_default();
                bar.println(format!("load     {:.3} {what}{why} after {} trials", look.load, look.trials));
            }
            P::Point { index, of, label } => {
                self.point = if of > 1 { format!("point {}/{of} {label}", index + 1) } else { label };
            }
            P::WarmupStarted => {
                bar.set_style(style("{spinner} {msg}: {pos} requests"));
                bar.set_length(0);
                bar.set_position(0);
                bar.set_message(format!("{} warm-up", self.point));
            }
            P::WarmupEnded { steady, requests } => {
                if steady == Some(false) {
                    bar.println(format!("{}: no steady state after {requests} warm-up requests", self.point));
                }
            }
            P::Trial { index, of, requests, seconds } => {
                bar.set_position(0);
                bar.reset_eta();
                self.trial = format!("{} trial {}/{of}", self.point, index + 1);
                self.live = Live::default();
                bar.set_message(self.trial.clone());
                match (requests, seconds) {
                    (Some(n), _) => {
                        bar.set_length(n);
                        bar.set_style(style("{spinner} {pos}/{len} {bar:12} {eta} left  {wide_msg}"));
                    }
                    (None, Some(s)) => bar.set_style(style(&format!(
                        "{{spinner}} {{pos}} requests, {{elapsed}} of {s:.0}s in all  {{wide_msg}}"
                    ))),
                    (None, None) => bar.set_style(style("{spinner} {pos} requests  {wide_msg}")),
                }
            }
            P::Request(record) => {
                bar.inc(1);
                self.live.ended(record);
                if monotonic_raw() - self.shown >= EVERY {
                    self.shown = monotonic_raw();
                    bar.set_message(format!("{} {}", self.trial, self.live.line()));
                }
                if record.end.is_failure() {
                    self.failed += 1;
                    // The first is news, the rest is a count in the report.
                    if self.failed == 1 {
                        bar.println("a request failed; failures are counted by kind in the report");
                    }
                }
            }
            P::Warning(text) => bar.println(format!("note     {text}")),
        }
    }

    /// Takes the line away.
    pub(crate) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
