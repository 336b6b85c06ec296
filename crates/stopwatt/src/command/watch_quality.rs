//! Judging answers in `stopwatt watch`.

use std::path::PathBuf;

use clap::Args;
use stopwatt_ops::fleet::Fleet;
use stopwatt_ops::quality::{Judge, Settings};

use super::Failure;
use super::watch::percent;
use crate::exit::Outcome;

// No doc comment: clap would show it in place of the command's own.
#[derive(Debug, Args)]
pub(crate) struct WatchQualityArgs {
    /// Judge finished answers in memory: what is wrong with them, and whether they are as they were
    #[arg(long, help_heading = "Quality")]
    quality: bool,
    /// File that keeps what answers were like, as numbers and hashes; one that is there is gone on with
    #[arg(long, value_name = "FILE", requires = "quality", help_heading = "Quality")]
    quality_baseline: Option<PathBuf>,
    /// Answers of the first upstream's variant that later ones are compared with
    #[arg(long, value_name = "N", default_value_t = 400, requires = "quality", value_parser = clap::value_parser!(u32).range(50..=100_000), help_heading = "Quality")]
    quality_answers: u32,
    /// Answers that are compared together, at most half of --quality-answers
    #[arg(long, value_name = "N", default_value_t = 100, requires = "quality", value_parser = clap::value_parser!(u32).range(10..=50_000), help_heading = "Quality")]
    quality_window: u32,
    /// Windows that may alarm without a change, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, requires = "quality", value_parser = percent, help_heading = "Quality")]
    quality_false_alarms: f64,
}

impl WatchQualityArgs {
    /// Starts judging where that is asked for.
    pub(crate) fn start(&self, fleet: &Fleet) -> anyhow::Result<Option<Judge>> {
        if !self.quality {
            return Ok(None);
        }
        let wrong = |problem: &'static str, hint: &'static str| {
            Failure::new(Outcome::Configuration, anyhow::anyhow!(problem)).hint(hint)
        };
        if 2 * self.quality_window > self.quality_answers {
            let hint = "ask for more with --quality-answers, or for a smaller --quality-window";
            return Err(wrong("the window is longer than half of what it is compared with", hint).into());
        }
        let false_alarms = self.quality_false_alarms / 100.0;
        if !(0.001..=0.5).contains(&false_alarms) {
            let hint = "a rarer alarm needs more resamples than are drawn";
            return Err(wrong("the share of false alarms lies between 0.1 and 50 percent", hint).into());
        }
        let settings = Settings {
            reference: self.quality_answers as usize,
            window: self.quality_window as usize,
            false_alarms,
        };
        let judge = Judge::start(settings, fleet, self.quality_baseline.clone()).map_err(|error| {
            let hint = error.hint();
            let failure = Failure::new(Outcome::Configuration, error.into());
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        Ok(Some(judge))
    }
}
