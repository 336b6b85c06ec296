//! `pages.jsonl`: a line a page with its errors and times, without a word, a name or an id of it, so that two runs can be
//! compared page by page.
//!
//! A page is known by a hash of its image: who has the image can find it, and nobody else.

use std::collections::HashMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stopwatt_quality::Counts;

use crate::read::Failure;
use crate::run::PageResult;

/// A page in numbers. Times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PageRow {
    /// The first 128 bits of the SHA-256 of its image, in hexadecimal; `null` where that cannot be read.
    pub page: Option<String>,
    /// Number of its document, by first appearance.
    pub document: u64,
    /// Its type.
    #[serde(rename = "type")]
    pub doc_type: Option<String>,
    /// Resolution.
    pub dpi: Option<u32>,
    /// Degradation.
    pub degrade: Option<String>,
    /// Why it was not read.
    pub failure: Option<Failure>,
    /// From the begin to the end.
    pub latency_s: Option<f64>,
    /// To the first token.
    pub ttft_s: Option<f64>,
    /// Between tokens.
    pub tpot_s: Option<f64>,
    /// Tokens of the request.
    pub input_tokens: Option<u32>,
    /// Tokens of the answer.
    pub output_tokens: Option<u32>,
    /// Errors of characters.
    pub chars: Counts,
    /// Errors of jamo, without white space.
    pub jamo: Counts,
    /// Errors of words.
    pub words: Counts,
    /// Fields read right.
    pub fields_right: u64,
    /// Fields.
    pub fields: u64,
}

/// The rows of a run; images are relative to `folder`.
pub fn rows(results: &[PageResult], folder: &Path) -> Vec<PageRow> {
    let mut documents: HashMap<&str, u64> = HashMap::new();
    let of = |result: &PageResult, document: u64| {
        let page = &result.page.value;
        let (score, attempt) = (&result.score, &result.attempt);
        PageRow {
            page: page.image.as_ref().and_then(|image| hash(&folder.join(image))),
            document,
            doc_type: page.truth.doc_type.clone(),
            dpi: page.dpi,
            degrade: page.degrade.clone(),
            failure: attempt.failure,
            latency_s: attempt.latency_s,
            ttft_s: attempt.ttft_s,
            tpot_s: attempt.tpot_s,
            input_tokens: attempt.input_tokens,
            output_tokens: attempt.output_tokens,
            chars: score.chars,
            jamo: score.jamo,
            words: score.words,
            fields_right: score.fields.iter().filter(|f| f.right).count() as u64,
            fields: score.fields.len() as u64,
        }
    };
    let mut rows = Vec::with_capacity(results.len());
    for result in results {
        let truth = &result.page.value.truth;
        let next = documents.len() as u64;
        let document = *documents.entry(truth.document.as_deref().unwrap_or(&truth.id)).or_insert(next);
        rows.push(of(result, document));
    }
    rows
}

fn hash(image: &Path) -> Option<String> {
    let digest = Sha256::digest(std::fs::read(image).ok()?);
    Some(digest[..16].iter().map(|byte| format!("{byte:02x}")).collect())
}
