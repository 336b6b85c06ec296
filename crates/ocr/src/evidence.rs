//! What a reader wants to see of single pages: the worst ones beside their images, and which characters are confused. All
//! of it is content of documents, so it is only made of pages that are made up, or where it was asked for.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_quality::cleanup::clean;
use stopwatt_quality::edit::{Op, align};
use stopwatt_quality::field;
use stopwatt_wire::openai::data_uri;

use crate::confusion::{Confusion, Tally};
use crate::run::PageResult;
use crate::thumbnail::thumbnail;

/// Version of [`Evidence`].
pub const FORMAT: &str = "stopwatt-ocr-documents/1";
/// Pages shown, of all settings together.
const PAGES: usize = 12;
/// Most pages of one setting.
const PAGES_A_SETTING: usize = 10;
/// Characters that are confused most.
const CONFUSIONS: usize = 30;

/// Content of `documents.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Version of this document.
    pub format: String,
    /// Every page is made up.
    pub synthetic: bool,
    /// One entry a setting, in the order of the run.
    pub settings: Vec<SettingEvidence>,
}

/// Of one setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SettingEvidence {
    /// Characters read as others, most first.
    pub confusions: Vec<Confusion>,
    /// Pages with the most errors, worst first.
    pub worst: Vec<WorstPage>,
}

/// A page with what was read of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorstPage {
    /// Which page.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub doc_type: Option<String>,
    /// Errors of characters / characters.
    pub cer: f64,
    /// Fields that were read wrong, and all fields.
    pub fields_wrong: [u64; 2],
    /// The image made small, as a data URI; `null` for one that is not PNG.
    pub image: Option<String>,
    /// The lines of the truth, each with what was read there.
    pub lines: Vec<Vec<Piece>>,
}

/// A stretch of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Piece {
    /// Whether it was read.
    pub mark: Mark,
    /// Its text.
    pub text: String,
    /// The field it belongs to, and whether that is right.
    pub field: Option<(String, bool)>,
}

/// How a stretch was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// As it stands there.
    Same,
    /// It stands there and was not read.
    Missing,
    /// It was read and does not stand there.
    Added,
}

/// Evidence of a run of `settings` settings; images are relative to `folder`.
pub fn gather(results: &[PageResult], settings: usize, folder: &Path, synthetic: bool) -> Evidence {
    let each = (PAGES / settings.max(1)).clamp(1, PAGES_A_SETTING);
    let of = |setting: usize| {
        let mut tally = Tally::default();
        let mut worst: Vec<(f64, &PageResult)> = Vec::new();
        for result in results.iter().filter(|r| r.setting == setting) {
            let Some(text) = &result.reading.text else { continue };
            tally.add(&result.page.value.truth.text, text);
            if let Some(cer) = result.score.chars.rate().filter(|rate| *rate > 0.0) {
                worst.push((cer, result));
            }
        }
        worst.sort_by(|a, b| b.0.total_cmp(&a.0));
        let worst = worst.into_iter().take(each).map(|(cer, r)| page(cer, r, folder)).collect();
        SettingEvidence { confusions: tally.confusions(CONFUSIONS), worst }
    };
    Evidence { format: FORMAT.to_owned(), synthetic, settings: (0..settings).map(of).collect() }
}

fn page(cer: f64, result: &PageResult, folder: &Path) -> WorstPage {
    let truth = &result.page.value.truth;
    let small = |image: &String| thumbnail(&std::fs::read(folder.join(image)).ok()?);
    let wrong = result.score.fields.iter().filter(|f| !f.right).count();
    WorstPage {
        id: truth.id.clone(),
        doc_type: truth.doc_type.clone(),
        cer,
        fields_wrong: [wrong as u64, truth.fields.len() as u64],
        image: result.page.value.image.as_ref().and_then(small).map(|png| data_uri("image/png", &png)),
        lines: lines(result),
    }
}

fn lines(result: &PageResult) -> Vec<Vec<Piece>> {
    let truth = &result.page.value.truth;
    let chars: Vec<char> = truth.text.trim_end().chars().collect();
    let (text, _) = clean(result.reading.text.as_deref().unwrap_or_default());
    let read = tidy(&text);
    // The field of each character.
    let mut fields: BTreeMap<usize, usize> = BTreeMap::new();
    for (i, f) in truth.fields.iter().enumerate() {
        if let Ok((from, to)) = field::place(&chars, f) {
            (from..to).for_each(|at| _ = fields.insert(at, i));
        }
    }
    let mut lines = vec![Vec::new()];
    let (mut i, mut j) = (0, 0);
    for op in align(&chars, &read) {
        let at = (i < chars.len()).then(|| fields.get(&i)).flatten();
        let name =
            at.map(|f| (truth.fields[*f].name.clone(), result.score.fields.get(*f).is_some_and(|s| s.right)));
        let mut put = |mark, c: char| put(&mut lines, mark, c, name.clone());
        match op {
            Op::Equal => put(Mark::Same, chars[i]),
            Op::Delete => put(Mark::Missing, chars[i]),
            Op::Insert => put(Mark::Added, read[j]),
            Op::Substitute => {
                put(Mark::Missing, chars[i]);
                put(Mark::Added, read[j]);
            }
        }
        i += usize::from(op != Op::Insert);
        j += usize::from(op != Op::Delete);
    }
    lines
}

/// A text with one space for several, and without empty lines: how far apart words were put is not shown.
fn tidy(text: &str) -> Vec<char> {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("\n").chars().collect()
}

/// Adds a character to the last line; a line of the truth ends where the truth has its break.
fn put(lines: &mut Vec<Vec<Piece>>, mark: Mark, c: char, field: Option<(String, bool)>) {
    let Some(line) = lines.last_mut() else { return };
    // A break that is missing or was added is shown as one.
    let shown = match (c, mark) {
        ('\n', Mark::Same) => return lines.push(Vec::new()),
        ('\n', _) => '↵',
        (c, _) => c,
    };
    // Wrong characters in a row stay together: all that is missing, then all that was added.
    let tail = line.iter().rposition(|p| p.mark == Mark::Same).map_or(0, |at| at + 1);
    let same = |p: &&mut Piece| p.mark == mark && p.field == field;
    let place = match mark {
        Mark::Same => line.last_mut().filter(same),
        _ => line[tail..].iter_mut().rev().find(same),
    };
    match place {
        Some(piece) => piece.text.push(shown),
        None => line.push(Piece { mark, text: shown.to_string(), field }),
    }
    if c == '\n' && mark == Mark::Missing {
        lines.push(Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Line, Page};
    use stopwatt_quality::field::TrueField;
    use stopwatt_quality::page::{self as scoring, Reading, Truth};

    #[test]
    fn lines_show_what_was_read_where() {
        let dose =
            TrueField { name: "용량".into(), value: "50mg".into(), kind: None, row: None, span: None };
        let truth = Truth {
            id: "a".into(),
            text: "처방전\n용량 50mg 매일".into(),
            fields: vec![dose],
            ..Truth::default()
        };
        let reading = Reading {
            id: "a".into(),
            text: Some("처방진\n\n용량   5mg 매일\n끝\n".into()),
            ..Reading::default()
        };
        let score = scoring::score(&truth, Some(&reading), &scoring::Options::default());
        let page = Line { number: 1, value: Page { truth, ..Page::default() } };
        let result = PageResult { page, setting: 0, reading, score, attempt: Default::default() };
        let shown: Vec<String> = lines(&result)
            .iter()
            .map(|line| {
                let piece = |p: &Piece| match p.mark {
                    Mark::Same => p.text.clone(),
                    Mark::Missing => format!("[-{}]", p.text),
                    Mark::Added => format!("[+{}]", p.text),
                };
                line.iter().map(piece).collect()
            })
            .collect();
        assert_eq!(shown, ["처방[-전][+진]", "용량 5[-0]mg 매일[+↵끝]"]);
        let evidence = gather(&[result], 1, Path::new("/nonexistent"), true);
        let worst = &evidence.settings[0].worst[0];
        assert_eq!((worst.fields_wrong, worst.image.as_deref()), ([1, 1], None));
        let field = worst.lines[1].iter().find_map(|p| p.field.clone());
        assert_eq!(field, Some(("용량".to_owned(), false)));
        assert_eq!(evidence.settings[0].confusions[0].truth, "전");
    }
}
