//! `stopwatt ocr run`: a program or a service reads documents.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use stopwatt_core::text::{Text, fill};
use stopwatt_load::{LoadError, Stop, Target};
use stopwatt_ocr::input::{self, Line, Page};
use stopwatt_ocr::profile::DocType;
use stopwatt_ocr::read::Mode;
use stopwatt_ocr::read::endpoint::Endpoint;
use stopwatt_ocr::read::exec::{IMAGE, Program};
use stopwatt_ocr::run::{PageResult, Plan, Reader, RunDoc, RunError};
use stopwatt_ocr::verdict::{LatencyStat, Rule, Terms, Verdict};
use stopwatt_ocr::{evidence, rows, score};
use stopwatt_quality::Profile;
use stopwatt_record::config::environment;
use stopwatt_record::redact::{self, file_name};
use stopwatt_wire::openai::{ImageForm, Options, Template};

use super::recording::{self, OcrSettings, Recording, Source};
use super::report::{self, Wanted};
use super::resources::Watched;
use super::table;
use crate::command::{Failure, Format, Language};
use crate::exit::Outcome;
use crate::stop::Signals;

/// What a model is asked for the text of a page.
const TEXT: &str = "Transcribe all text of this document exactly as printed, line by line, in reading order. \
Keep numbers, units and codes unchanged. Output the text only.";
/// What it is asked for text and fields.
const JSON: &str = "Read this document. Answer with one JSON object only: {\"text\": all text exactly as printed, line by \
line, \"fields\": an object of the values by their Korean labels; for tables a list of objects, one for each row}. Keep \
numbers, units and codes unchanged.";

/// Let a program or a service read documents, and judge accuracy, fields and time together
///
/// Exits with 0 when every type meets its limits with confidence (PASS), with 10 when one misses them (FAIL) and with 11
/// when the sample supports neither (INCONCLUSIVE); docs/ocr.md has the limits. Text is kept only of pages that are
/// marked as made up, or with --store-text.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt ocr run --data data --exec 'tesseract {image} - -l kor+eng --psm 4'
  stopwatt ocr run --data data --url http://127.0.0.1:8000 --model M --concurrency 16 --out read
  stopwatt ocr run --data data --url http://127.0.0.1:8000 --model M --concurrency 8,16,32 --repeat 3 --out read
  stopwatt ocr run --data data --url http://127.0.0.1:8000 --model M --mode json --dpi 150,300 --types 처방전")]
pub(crate) struct RunArgs {
    /// Folder with `truth.jsonl` and its images
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Program that prints what it reads; {image} stands for the path of the image. No shell is used
    #[arg(long, value_name = "COMMAND", required_unless_present = "url", conflicts_with = "url")]
    exec: Option<String>,
    /// OpenAI-compatible service that takes images
    #[arg(long, value_name = "URL", requires = "model")]
    url: Option<String>,
    /// Its model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Environment variable with its key
    #[arg(long, value_name = "VAR")]
    api_key_env: Option<String>,
    /// What is asked for
    #[arg(long, value_enum, default_value_t)]
    mode: ModeName,
    /// File with an instruction of your own [default: transcribe the page]
    #[arg(long, value_name = "FILE")]
    instruction: Option<PathBuf>,
    /// Most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_tokens: u32,
    /// Types that are read and must pass [default: those that the data has]
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = super::generate::doc_type)]
    types: Vec<DocType>,
    /// Resolutions that are read [default: all]
    #[arg(long, value_name = "DPI", value_delimiter = ',')]
    dpi: Vec<u32>,
    /// Degradations that are read [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    degrade: Vec<String>,
    /// Pages read at once; of several, as 8,16,32, all pages are read at each and the last is judged [default: 1 with --exec,
    /// 8 with --url]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1024))]
    concurrency: Vec<u32>,
    /// Times that each page is read. Accuracy is that of the first, a page's time that of the slowest; a service gets the
    /// page with other pixels in its margin each time, so that no cache knows it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// How requests carry the image
    #[arg(long, value_enum, default_value_t)]
    image_form: FormName,
    /// Pages read before anything counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    warmup: usize,
    /// Longest time of a page
    #[arg(long, value_name = "TIME", value_parser = crate::command::bench::parse_time_or_zero, default_value = "120s")]
    timeout: Duration,
    /// Documents that each type needs for a verdict
    #[arg(long, value_name = "N", default_value_t = 50)]
    min_samples: u64,
    /// Judge limits by the interval, or by the value alone
    #[arg(long, value_enum, default_value_t)]
    verdict: RuleName,
    /// Which latency is judged
    #[arg(long, value_enum, default_value_t)]
    latency_stat: StatName,
    /// Normalisation of the rates of characters and words, as for `ocr score`
    #[arg(long, value_name = "ID", value_parser = super::score::profile, default_value = "text@1")]
    norm: Profile,
    /// Seed of the intervals
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Folder of the run and its report; nothing may be there. What was read is kept only of made-up pages
    ///
    /// Without it the run goes into a folder of its own under ./stopwatt-runs, or $STOPWATT_RUNS.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Keep what was read also of pages that are not marked as made up
    #[arg(long)]
    store_text: bool,
    /// Send pages that are not marked as made up to a service that is not on this machine
    #[arg(long)]
    allow_remote: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Language of the result
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum ModeName {
    /// The text of the page
    #[default]
    Text,
    /// Its text and fields, as JSON
    Json,
}

/// How requests carry an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum FormName {
    /// `image_url` with an object: OpenAI's chats, vLLM, SGLang, llama.cpp
    #[default]
    ImageUrl,
    /// `image_url` with a string
    ImageUrlString,
    /// `input_image`: OpenAI's responses
    InputImage,
    /// `image` with a `source`: Anthropic
    Source,
    /// `inline_data`: Gemini
    InlineData,
    /// `images` beside the text: Ollama
    Base64,
}

impl From<FormName> for ImageForm {
    fn from(form: FormName) -> Self {
        match form {
            FormName::ImageUrl => Self::ImageUrl,
            FormName::ImageUrlString => Self::ImageUrlString,
            FormName::InputImage => Self::InputImage,
            FormName::Source => Self::Source,
            FormName::InlineData => Self::InlineData,
            FormName::Base64 => Self::Base64,
        }
    }
}

/// How limits are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum RuleName {
    /// The whole interval must clear the limit
    #[default]
    Interval,
    /// The value must
    Point,
}

/// Which latency is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum StatName {
    /// The time that 95 % of the pages do not exceed
    #[default]
    P95,
    /// The mean
    Mean,
}

/// Why a set was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error(transparent)]
    Set(#[from] RunError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Record(#[from] stopwatt_record::run_dir::RunError),
    #[error("the program did not start")]
    Start,
    #[error("the service refused every page")]
    Refused,
}

/// Runs the command.
pub(super) fn run(args: &RunArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let mut pages = input::truth(&args.data.join("truth.jsonl"))?;
    pages.retain(|page| wanted(args, &page.value));
    let synthetic = pages.iter().all(|p| p.value.synthetic);
    let mode = if args.mode == ModeName::Json { Mode::Json } else { Mode::Text };
    let default = if args.exec.is_some() { 1_usize } else { 8 };
    let concurrency: Vec<usize> = match args.concurrency.as_slice() {
        [] => vec![default],
        levels => levels.iter().map(|n| *n as usize).collect(),
    };
    let judged_at = concurrency[concurrency.len() - 1];
    let times = concurrency.len() * args.repeat as usize;
    let stop = Stop::new();
    let on_signal = stop.clone();
    let signals = Signals::install(move || on_signal.interrupt())?;
    if let Some(folder) = &args.out {
        refuse_full(folder)?;
    }
    let mut plan = Plan {
        types: if args.types.is_empty() { present(&pages) } else { args.types.clone() },
        score: score::Options { profile: args.norm, seed: args.seed, ..score::Options::default() },
        terms: Terms {
            rule: if args.verdict == RuleName::Point { Rule::Point } else { Rule::Interval },
            latency: if args.latency_stat == StatName::Mean { LatencyStat::Mean } else { LatencyStat::P95 },
            min_samples: args.min_samples,
        },
        warmup: args.warmup,
        repeat: args.repeat,
        concurrency,
        tokens_without_image: None,
        reader: Reader { kind: "exec".to_owned(), name: String::new(), mode, concurrency: judged_at },
    };
    let bar = indicatif::ProgressBar::new((pages.len() * times + args.warmup.min(pages.len())) as u64);
    let done = || bar.inc(1);
    let (source, words) = match &args.exec {
        Some(command) => {
            let program = program(command, args.timeout, mode)?;
            plan.reader.name = file_name(&program.words[0]);
            let words = recording::arguments(&program.words);
            (Source::Exec(program), words)
        }
        None => {
            let endpoint = endpoint(args, mode, synthetic)?;
            plan.reader.kind = "endpoint".to_owned();
            plan.reader.name = args.model.clone().unwrap_or_default();
            plan.tokens_without_image = endpoint.tokens_without_image();
            (Source::Endpoint(endpoint), Vec::new())
        }
    };
    let settings = settings(args, &plan, words);
    let truth = args.data.join("truth.jsonl");
    let with = (source, &plan.reader);
    let mut recording = Recording::create(args.out.clone(), &settings, &truth, with, &stop, &done)?;
    let watched = Watched::begin(args.exec.is_some());
    let read = stopwatt_ocr::run::run(&pages, &args.data, &plan, &mut recording);
    let resources = watched.end();
    bar.finish_and_clear();
    let (mut doc, results) = match read {
        Ok(read) => read,
        Err(problem) => {
            let cut = problem.to_string();
            recording.close(Some(cut))?;
            return Err(failure(problem));
        }
    };
    doc.resources = Some(resources);
    let path = store(recording, &doc, &results, args)?;
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => write!(out, "{}", table::run_csv(&doc))?,
        Format::Table => {
            write!(out, "{}", table::run_text(&doc, args.lang.into()))?;
            let page = path.join("report.html").display().to_string();
            writeln!(out, "{}", fill(Text::OcrReportWritten.get(args.lang.into()), &[&page]))?;
        }
    }
    if let Some(outcome) = signals.outcome() {
        return Ok(outcome);
    }
    Ok(match doc.verdict {
        Verdict::Pass => Outcome::Done,
        Verdict::Fail => Outcome::GateFailed,
        Verdict::Inconclusive => Outcome::Inconclusive,
    })
}

fn wanted(args: &RunArgs, page: &Page) -> bool {
    let doc_type = page.truth.doc_type.as_deref().and_then(DocType::from_name);
    let degrade = page.degrade.as_ref();
    (args.types.is_empty() || doc_type.is_some_and(|t| args.types.contains(&t)))
        && (args.dpi.is_empty() || page.dpi.is_some_and(|d| args.dpi.contains(&d)))
        && (args.degrade.is_empty() || degrade.is_some_and(|d| args.degrade.contains(d)))
}

fn present(pages: &[Line<Page>]) -> Vec<DocType> {
    let names: Vec<&str> = pages.iter().filter_map(|p| p.value.truth.doc_type.as_deref()).collect();
    DocType::ALL.into_iter().filter(|t| names.iter().any(|n| DocType::from_name(n) == Some(*t))).collect()
}

fn failure(problem: Problem) -> anyhow::Error {
    let (outcome, hint) = match &problem {
        Problem::Set(RunError::Nothing) => {
            (Outcome::Configuration, "`made.json` beside the truth says what is there")
        }
        Problem::Set(_) => (Outcome::Usage, "`stopwatt ocr verify` checks the truth and its images"),
        Problem::Record(_) => (Outcome::Usage, "is there room in the folder of the run?"),
        Problem::Load(_) => (Outcome::MeasurementFailed, "is the service running at --url?"),
        Problem::Start => (Outcome::MissingResource, "is the program installed, and on PATH?"),
        Problem::Refused => {
            (Outcome::MeasurementFailed, "does the model take images, and is --model its name?")
        }
    };
    Failure::new(outcome, anyhow::Error::new(problem).context("failed to read the documents"))
        .hint(hint)
        .into()
}

/// The program of `--exec`.
pub(in crate::command) fn program(command: &str, timeout: Duration, mode: Mode) -> anyhow::Result<Program> {
    let refuse = |text: &str| Failure::new(Outcome::Usage, anyhow::anyhow!("--exec: {text}"));
    let words = shlex::split(command).ok_or_else(|| refuse("a quote is not closed"))?;
    if !words.iter().skip(1).any(|w| w.contains(IMAGE)) {
        return Err(refuse("an argument must hold {image}").into());
    }
    Ok(Program { words, timeout, mode })
}

fn endpoint(args: &RunArgs, mode: Mode, synthetic: bool) -> anyhow::Result<Endpoint> {
    let mut target = Target::parse(args.url.as_deref().unwrap_or_default())?;
    let loopback = matches!(target.host(), "localhost" | "::1") || target.host().starts_with("127.");
    let allowed = synthetic || loopback || args.allow_remote && target.is_https();
    if !allowed {
        let error =
            anyhow::anyhow!("these pages are not marked as made up, and the service is on another machine");
        let failure = Failure::new(Outcome::Usage, error);
        return Err(failure.hint("--allow-remote with an https address sends them all the same").into());
    }
    if let Some(name) = &args.api_key_env {
        let key = environment::var(name).filter(|v| !v.is_empty()).ok_or_else(|| {
            Failure::new(
                Outcome::Configuration,
                anyhow::anyhow!("the environment variable {name} holds no key"),
            )
        })?;
        target = target.with_api_key(&key)?;
    }
    let options = Options {
        model: args.model.clone().unwrap_or_default(),
        stream: true,
        include_usage: true,
        temperature: Some(0.0),
        image_form: args.image_form.into(),
        ..Options::default()
    };
    let instruction = match &args.instruction {
        Some(path) => std::fs::read_to_string(path).context("failed to read the file of --instruction")?,
        None => if mode == Mode::Json { JSON } else { TEXT }.to_owned(),
    };
    Ok(Endpoint {
        target,
        template: Template::new(&options)?,
        instruction,
        max_tokens: args.max_tokens,
        timeout: args.timeout,
        mode,
    })
}

/// Refuses a folder that holds something.
fn refuse_full(folder: &Path) -> anyhow::Result<()> {
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::new(Outcome::Usage, anyhow::anyhow!("the folder of --out is not empty")).into());
    }
    Ok(())
}

/// What is kept of what was asked.
fn settings(args: &RunArgs, plan: &Plan, arguments: Vec<String>) -> OcrSettings {
    OcrSettings {
        reader: plan.reader.kind.clone(),
        name: plan.reader.name.clone(),
        arguments,
        url: args.url.as_deref().map(redact::url),
        mode: if args.mode == ModeName::Json { "json" } else { "text" }.to_owned(),
        types: plan.types.iter().map(|t| t.name().to_owned()).collect(),
        dpi: args.dpi.clone(),
        degrade: args.degrade.clone(),
        concurrency: plan.concurrency.iter().filter_map(|n| u32::try_from(*n).ok()).collect(),
        repeat: args.repeat,
        warmup: args.warmup,
        timeout_s: args.timeout.as_secs_f64(),
        max_tokens: args.max_tokens,
        min_samples: args.min_samples,
        normalisation: args.norm.id().to_owned(),
        seed: args.seed,
    }
}

#[cfg(unix)]
pub(super) fn private(path: &Path, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).context("failed to protect --out")
}

#[cfg(not(unix))]
pub(super) fn private(_: &Path, _: u32) -> anyhow::Result<()> {
    Ok(())
}

/// Writes what the run came to, numbers always, content of documents only where it may be kept, and its reports.
fn store(
    recording: Recording<'_>,
    doc: &RunDoc,
    results: &[PageResult],
    args: &RunArgs,
) -> anyhow::Result<PathBuf> {
    if doc.synthetic || args.store_text {
        recording.file("readings.jsonl", &lines(results.iter().map(|r| &r.reading))?)?;
        let evidence = evidence::gather(results, doc.settings.len(), &args.data, doc.synthetic);
        recording.file(report::DOCUMENTS, &(serde_json::to_string(&evidence)? + "\n"))?;
    }
    recording.file(report::PAGES, &lines(rows::rows(results, &args.data))?)?;
    recording.file(report::RESULT, &(serde_json::to_string_pretty(doc)? + "\n"))?;
    let path = recording.close(None)?;
    let wanted =
        Wanted { share: false, include_documents: false, format: args.format, lang: args.lang.into() };
    report::write(&path, doc, wanted)?;
    Ok(path)
}

fn lines<T: serde::Serialize>(values: impl IntoIterator<Item = T>) -> anyhow::Result<String> {
    let mut text = String::new();
    for value in values {
        text.push_str(&serde_json::to_string(&value)?);
        text.push('\n');
    }
    Ok(text)
}
