//! `stopwatt serve --kind ocr`: what reads the images of chats.

use std::collections::BTreeMap;
use std::sync::Arc;

use stopwatt_engine::{Kind, OcrConfig, PageReader, ReadProblem};
use stopwatt_ocr::read::echo::{Echo, TRUTH_ECHO, is_truth_echo};
use stopwatt_ocr::read::exec::Program;
use stopwatt_ocr::read::{Failure as ReadFailure, Mode};
use stopwatt_record::redact::file_name;

use super::Failure;
use super::ocr::run::program;
use super::serve::ServeArgs;
use crate::exit::Outcome;

/// The name under which a reader is served. That of an echo says that it is one, whatever name is asked for.
pub(super) fn model_name(args: &ServeArgs) -> String {
    let given = args.model_name.clone();
    match &args.exec {
        None => match given {
            Some(name) if is_truth_echo(&name) => name,
            name => format!("{}-{TRUTH_ECHO}", name.as_deref().unwrap_or("stopwatt")),
        },
        Some(command) => given.unwrap_or_else(|| {
            let first = shlex::split(command).and_then(|words| words.into_iter().next());
            format!("stopwatt-ocr-{}", file_name(first.as_deref().unwrap_or_default()))
        }),
    }
}

/// What is served.
pub(super) fn kind(args: &ServeArgs) -> anyhow::Result<Kind> {
    let mut config = OcrConfig::default();
    config.max_num_seqs = args.max_num_seqs.map_or(config.max_num_seqs, |n| n as usize);
    config.max_model_len = args.max_model_len.unwrap_or(config.max_model_len);
    config.ttft = args.ttft.unwrap_or_default();
    config.itl = args.itl.unwrap_or_default();
    let reader: Arc<dyn PageReader> = match (&args.exec, &args.echo) {
        (Some(command), _) => Arc::new(Exec(program(command, args.page_timeout, Mode::Text)?)),
        (None, Some(truth)) => Arc::new(TruthEcho(
            Echo::open(truth)
                .map_err(|e| Failure::new(Outcome::Usage, anyhow::Error::new(e).context("--echo")))?,
        )),
        (None, None) => {
            let error =
                anyhow::anyhow!("--kind ocr needs what reads: --exec COMMAND, or --echo FILE for tests");
            return Err(Failure::new(Outcome::Usage, error).into());
        }
    };
    Ok(Kind::Ocr(config, reader))
}

/// A program that is started for each page.
struct Exec(Program);

impl PageReader for Exec {
    fn read(&self, image: &[u8], gone: &(dyn Fn() -> bool + Sync)) -> Result<String, ReadProblem> {
        let attempt = self.0.read_bytes(image, &|| gone());
        match attempt.failure {
            None => Ok(attempt.text.unwrap_or_default()),
            Some(ReadFailure::Image) => Err(ReadProblem::Image("the image cannot be read")),
            Some(ReadFailure::Start) => Err(ReadProblem::Reader("the program of --exec did not start")),
            Some(ReadFailure::Timeout) => Err(ReadProblem::Reader("the program took too long")),
            Some(ReadFailure::Encoding) => Err(ReadProblem::Reader("what the program printed is not UTF-8")),
            Some(_) => Err(ReadProblem::Reader("the program ended with an error")),
        }
    }

    fn facts(&self) -> BTreeMap<String, String> {
        [("reader".to_owned(), file_name(&self.0.words[0]))].into()
    }
}

/// The truth of made-up pages.
struct TruthEcho(Echo);

impl PageReader for TruthEcho {
    fn read(&self, image: &[u8], _: &(dyn Fn() -> bool + Sync)) -> Result<String, ReadProblem> {
        let text =
            self.0.text(image).ok_or(ReadProblem::Image("the image is none of the pages of --echo"))?;
        Ok(text.to_owned())
    }

    fn facts(&self) -> BTreeMap<String, String> {
        [("reader".to_owned(), TRUTH_ECHO.to_owned()), ("pages".to_owned(), self.0.pages().to_string())]
            .into()
    }
}
