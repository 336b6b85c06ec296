//! The `command` target: any program, as words without a shell.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use stopwatt_load::Stop;

use super::config::{Protocol, TargetConfig};
use super::error::SopError;
use super::lines::{Lines, Values};
use super::target::{Launch, Occasion, Target, TargetError};
use super::wall::Wall;
use crate::bench::CommandTemplate;
use crate::targets::Witness;

/// Starts a program as a target.
#[derive(Debug, Clone)]
pub struct Program {
    template: CommandTemplate,
    settings: TargetConfig,
    keep_log: bool,
    values: Option<Values>,
    stop: Stop,
}

impl Program {
    /// Reads the command of the settings.
    ///
    /// # Errors
    /// There is none, or it cannot be split into words.
    pub fn of(settings: &TargetConfig, keep_log: bool, stop: &Stop) -> Result<Self, SopError> {
        let refuse =
            |problem: &str| SopError::Setting { setting: "target.command", problem: problem.to_owned() };
        let text = settings.command.as_deref().ok_or_else(|| {
            refuse("there is nothing to measure; give a program, for instance `target.command: python3 target.py`")
        })?;
        let template = CommandTemplate::split(text).map_err(refuse)?;
        if settings.tokens.is_some() && settings.protocol == Protocol::JsonLines {
            let problem = "a program that speaks JSON lines tells its tokens itself".to_owned();
            return Err(SopError::Setting { setting: "target.tokens", problem });
        }
        Ok(Self { template, settings: settings.clone(), keep_log, values: None, stop: stop.clone() })
    }

    /// The same as a side of a workload pair: it writes its outputs into `folder`, which must be there, and `witness` keeps
    /// those that were timed.
    #[must_use]
    pub fn with_witness(self, folder: PathBuf, witness: Arc<Witness>) -> Self {
        Self { values: Some(Values { folder, witness }), ..self }
    }

    /// The words that will be started, for the first trial.
    pub fn words(&self, occasion: &Occasion) -> Vec<String> {
        Words { template: self.template.clone(), prefix: Vec::new() }.fill(occasion)
    }
}

impl Launch for Program {
    fn launch(&self, prefix: &[String]) -> Result<Box<dyn Target>, TargetError> {
        let words = Words { template: self.template.clone(), prefix: prefix.to_vec() };
        let (settings, stop) = (self.settings.clone(), self.stop.clone());
        Ok(match self.settings.protocol {
            Protocol::JsonLines => {
                Box::new(Lines::new(words, settings, self.keep_log, self.values.clone(), stop))
            }
            Protocol::Wall => Box::new(Wall::new(words, settings, self.keep_log, stop)),
        })
    }
}

/// A command with its places, and what stands in front of it.
#[derive(Debug, Clone)]
pub(super) struct Words {
    template: CommandTemplate,
    prefix: Vec<String>,
}

impl Words {
    /// The words for an occasion.
    fn fill(&self, occasion: &Occasion) -> Vec<String> {
        let places = BTreeMap::from([
            ("seed".to_owned(), occasion.seed.to_string()),
            ("iterations".to_owned(), occasion.iterations.to_string()),
            ("mode".to_owned(), occasion.mode.clone()),
            ("trial".to_owned(), trial(occasion)),
        ]);
        self.prefix.iter().cloned().chain(self.template.fill(&places)).collect()
    }

    /// The command in a process group of its own, so that Ctrl-C asks this program alone, which then ends it in order.
    pub(super) fn command(&self, occasion: &Occasion) -> Command {
        let words = self.fill(occasion);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).process_group(0);
        command.env("STOPWATT_SEED", occasion.seed.to_string());
        command.env("STOPWATT_MODE", &occasion.mode);
        command.env("STOPWATT_TRIAL", trial(occasion));
        command
    }

    /// Name of the program, or of the script that it runs: `python3 -u a/b.py` is `b.py`.
    pub(super) fn name(&self) -> String {
        let base = |word: &str| Path::new(word).file_name().map(|n| n.to_string_lossy().into_owned());
        let words = self.template.fill(&BTreeMap::new());
        let program = words.first().and_then(|w| base(w)).unwrap_or_default();
        let interpreter = program.starts_with("python") || matches!(program.as_str(), "sh" | "bash" | "node");
        let script = words.iter().skip(1).find(|w| !w.starts_with('-')).and_then(|w| base(w));
        script.filter(|s| interpreter && s.contains('.') && !s.contains(' ')).unwrap_or(program)
    }
}

fn trial(occasion: &Occasion) -> String {
    occasion.trial.map(|t| t.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        Words {
            template: CommandTemplate::split(text).unwrap(),
            prefix: vec!["ncu".to_owned(), "-o".to_owned()],
        }
    }

    fn occasion() -> Occasion {
        Occasion { seed: 7, mode: "linear; rm".to_owned(), trial: Some(2), iterations: 40 }
    }

    #[test]
    fn places_are_filled_and_a_profiler_stands_in_front() {
        let words = words("run --seed={seed} -n {iterations} {mode} {trial} {other}");
        assert_eq!(
            words.fill(&occasion()),
            ["ncu", "-o", "run", "--seed=7", "-n", "40", "linear; rm", "2", "{other}"]
        );
    }

    #[test]
    fn a_script_gives_its_name() {
        for (command, name) in
            [("python3 -u dir/b.py --x 3", "b.py"), ("/opt/bin/tool a b", "tool"), ("sh -c 'exit 1'", "sh")]
        {
            assert_eq!(words(command).name(), name);
        }
    }

    #[test]
    fn without_a_command_there_is_nothing_to_measure() {
        let of = |settings: TargetConfig| Program::of(&settings, false, &Stop::new());
        assert!(matches!(
            of(TargetConfig::default()),
            Err(SopError::Setting { setting: "target.command", .. })
        ));
        let with =
            |command: &str| TargetConfig { command: Some(command.to_owned()), ..TargetConfig::default() };
        assert!(matches!(of(with("a 'b")), Err(SopError::Setting { setting: "target.command", .. })));
        let tokens = TargetConfig { tokens: Some(3), ..with("a") };
        assert!(matches!(of(tokens), Err(SopError::Setting { setting: "target.tokens", .. })));
        assert!(of(with("a")).is_ok());
    }
}
