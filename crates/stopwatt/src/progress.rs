//! Progress on a terminal: one line that says where the run is and how long it will take. Quiet in a pipe.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stopwatt_experiment::bench;

/// The line, or nothing.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    point: String,
    failed: u64,
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
        Self { bar, point: String::new(), failed: 0 }
    }

    /// Shows a step.
    pub(crate) fn show(&mut self, event: bench::Progress) {
        use bench::Progress as P;
        let Some(bar) = &self.bar else { return };
        match event {
            P::EngineStarting => bar.set_message("starting the built-in engine"),
            P::EngineReady { model, url } => bar.println(format!("engine   {model} at {url}")),
            P::Calibrating => bar.set_message("measuring what the load client can do"),
            P::Capacity => bar.set_message("measuring capacity"),
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
                bar.set_message(format!("{} trial {}/{of}", self.point, index + 1));
                match (requests, seconds) {
                    (Some(n), _) => {
                        bar.set_length(n);
                        bar.set_style(style("{spinner} {msg} {bar:20} {pos}/{len}, {eta} left"));
                    }
                    (None, Some(s)) => bar.set_style(style(&format!(
                        "{{spinner}} {{msg}}: {{pos}} requests, {{elapsed}} of {s:.0}s in all"
                    ))),
                    (None, None) => bar.set_style(style("{spinner} {msg}: {pos} requests")),
                }
            }
            P::Request { failed } => {
                bar.inc(1);
                if failed {
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
