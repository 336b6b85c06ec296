//! Which pairs are run, on which device, and how their sides are started.

use std::path::Path;

use anyhow::anyhow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_experiment::targets::{self, Form, PAIRS, Pair};
use stopwatt_record::config::Layers;

use super::super::Failure;
use super::RunArgs;
use crate::exit::Outcome;

/// A pair that is to be measured, on one device.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) modes: [String; 2],
    pub(super) variable: String,
    /// `cpu` or `cuda:N`.
    pub(super) device: String,
    pub(super) what: What,
    /// Largest difference between outputs, relative to the largest number of the baseline's.
    pub(super) tolerance: f64,
}

/// How the sides of a pair are started.
#[derive(Debug)]
pub(super) enum What {
    /// In this program.
    BuiltIn,
    /// A program of Stopwatt's: its file.
    Program(&'static str),
    /// A command of this program, which makes one run: its words.
    Own(&'static [&'static str]),
    /// A program of the user's: its command.
    External(String),
    /// It cannot be run here.
    Missing(String),
}

impl Chosen {
    /// Name of its folder.
    pub(super) fn folder(&self) -> String {
        self.id.replace([':', '/'], "-")
    }

    /// `built-in` or `program`.
    pub(super) fn form(&self) -> &'static str {
        match self.what {
            What::BuiltIn => "built-in",
            What::Own(_) => "own command",
            _ => "program",
        }
    }
}

/// A pair of the user's own.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct External {
    /// Its name: letters, digits, `_` and `-`.
    name: String,
    /// One line for people.
    title: String,
    /// The program of both sides; `{device}` and `{mode}` are replaced.
    command: String,
    /// What the baseline and the optimised side are told as `mode`.
    modes: Vec<String>,
    /// The one thing that differs between the sides.
    variable: String,
    /// Largest difference between outputs, relative to the largest number of the baseline's.
    #[schemars(range(min = 0.0))]
    tolerance: f64,
}

/// The pairs that a word names.
pub(super) fn find(word: &str) -> anyhow::Result<Vec<&'static Pair>> {
    let found = targets::find(word);
    if !found.is_empty() {
        return Ok(found);
    }
    let name = word.rsplit(':').next().unwrap_or(word);
    let near = PAIRS
        .iter()
        .map(|p| (strsim::normalized_damerau_levenshtein(name, p.name), p))
        .filter(|(near, _)| *near > 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let problem = match near {
        Some((_, pair)) => anyhow!("there is no target `{word}`; did you mean `{}`?", pair.id()),
        None => anyhow!("there is no target `{word}`"),
    };
    Err(Failure::new(Outcome::Configuration, problem).hint("`stopwatt targets list` shows them all").into())
}

/// Where to run.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    /// A GPU where there is one and the pair runs on it.
    Either,
    Cpu,
    Cuda(u32),
}

fn wanted(device: Option<&str>) -> anyhow::Result<Wanted> {
    let refuse = |text: &str| {
        let problem = anyhow!("`{text}` is no device");
        Failure::new(Outcome::Configuration, problem).hint("give cpu, cuda or cuda:N")
    };
    Ok(match device {
        None => Wanted::Either,
        Some("cpu") => Wanted::Cpu,
        Some("cuda") => Wanted::Cuda(0),
        Some(text) => {
            let number = text.strip_prefix("cuda:").and_then(|n| n.parse().ok());
            Wanted::Cuda(number.ok_or_else(|| refuse(text))?)
        }
    })
}

/// Every pair that the command line names, once, in the order of the list, then those of files.
pub(super) fn chosen(args: &RunArgs) -> anyhow::Result<Vec<Chosen>> {
    let wanted = wanted(args.device.as_deref())?;
    let mut names: Vec<&Pair> = Vec::new();
    for word in args.targets.iter().chain(&args.also) {
        for pair in find(word)? {
            if !names.iter().any(|known| known.name == pair.name) {
                names.push(pair);
            }
        }
    }
    let gpus = stopwatt_experiment::gpus(None).map_or(0, |gpus| gpus.len() as u32);
    let mut all: Vec<Chosen> =
        names.into_iter().map(|pair| built_in(pair, &wanted, gpus, args.small)).collect();
    for file in &args.external {
        all.push(external(file, &wanted, gpus, args.allow_commands)?);
    }
    Ok(all)
}

fn device(wanted: &Wanted, gpus: u32, on_cuda: bool) -> String {
    match wanted {
        Wanted::Cpu => "cpu".to_owned(),
        Wanted::Cuda(n) => format!("cuda:{n}"),
        Wanted::Either if gpus > 0 && on_cuda => "cuda:0".to_owned(),
        Wanted::Either => "cpu".to_owned(),
    }
}

fn built_in(pair: &'static Pair, wanted: &Wanted, gpus: u32, is_small: bool) -> Chosen {
    let device = device(wanted, gpus, !matches!(pair.cuda, Form::Missing(_)));
    let form = if device == "cpu" { &pair.cpu } else { &pair.cuda };
    let (what, tolerance) = match form {
        Form::BuiltIn { tolerance, .. } => (What::BuiltIn, *tolerance),
        Form::Program { file, gpus: needed, tolerance } if device == "cpu" || gpus >= *needed => {
            (What::Program(file), *tolerance)
        }
        Form::Program { gpus: needed, tolerance, .. } => {
            let s = if *needed == 1 { "" } else { "s" };
            (What::Missing(format!("it needs {needed} NVIDIA GPU{s}, and {gpus} can be seen")), *tolerance)
        }
        Form::Own { words, small } => (What::Own(if is_small { small } else { words }), 0.0),
        Form::Missing(why) => (What::Missing((*why).to_owned()), 0.0),
        _ => (What::Missing("this version does not know its form".to_owned()), 0.0),
    };
    Chosen {
        id: pair.id(),
        title: pair.title.to_owned(),
        modes: pair.modes.map(str::to_owned),
        variable: pair.variable.to_owned(),
        device,
        what,
        tolerance,
    }
}

fn external(file: &Path, wanted: &Wanted, gpus: u32, allowed: bool) -> anyhow::Result<Chosen> {
    let refuse =
        |problem: String| Failure::new(Outcome::Configuration, anyhow!("{}: {problem}", file.display()));
    let pair = Layers::<External>::new().file(file).resolve()?.value;
    let plain = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    if !plain(&pair.name) || PAIRS.iter().any(|p| p.name == pair.name) {
        return Err(refuse(format!(
            "`{}` is no name for a pair: letters, digits, `_` and `-`, and not one of \
                                   Stopwatt's own",
            pair.name
        ))
        .into());
    }
    let [baseline, optimised] = &pair.modes[..] else {
        return Err(refuse("`modes` names two sides, the baseline first".to_owned()).into());
    };
    if baseline == optimised {
        return Err(refuse("both modes are the same".to_owned()).into());
    }
    if pair.command.is_empty() || pair.variable.is_empty() {
        return Err(refuse("`command` and `variable` must be there".to_owned()).into());
    }
    let device = device(wanted, gpus, true);
    let command = pair.command.replace("{device}", &device);
    if !allowed {
        eprintln!("command: {command}");
        return Err(refuse("it starts a command".to_owned())
            .hint("look at the command above; add --allow-commands to run it")
            .into());
    }
    let title = if pair.title.is_empty() { pair.variable.clone() } else { pair.title.clone() };
    Ok(Chosen {
        id: format!("external:{}", pair.name),
        title,
        modes: [baseline.clone(), optimised.clone()],
        variable: pair.variable,
        device,
        what: What::External(command),
        tolerance: pair.tolerance,
    })
}
