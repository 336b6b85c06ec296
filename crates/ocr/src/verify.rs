//! Is the truth itself right? A value that does not stand on its page makes every reading wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_quality::code;
use stopwatt_quality::field::{self, Kind};

use crate::input::{Line, Page};

/// How far the size of an image may be from page × resolution, in pixels.
const SIZE_TOLERANCE: f64 = 1.5;

/// What `ocr verify` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerifyDoc {
    /// Pages looked at.
    pub pages: u64,
    /// Fields looked at.
    pub fields: u64,
    /// Images looked at.
    pub images: u64,
    /// Pages by type; `-` holds those without one.
    pub types: BTreeMap<String, TypeCount>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What may be on purpose.
    pub remarks: Vec<String>,
}

/// Pages of a type.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct TypeCount {
    /// Pages.
    pub pages: u64,
    /// Documents.
    pub documents: u64,
    /// Characters of the shortest, median and longest text.
    pub characters: [u64; 3],
}

/// Something wrong at a line of the truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Line, from 1.
    pub line: u64,
    /// Number of the field on its page, from 1, where it is one of a field.
    pub field: Option<u64>,
    /// What is wrong, without what stands there.
    pub problem: String,
}

/// Looks at every page; images are relative to `folder`. `min_documents` is how many a type needs.
pub fn verify(pages: &[Line<Page>], folder: &Path, min_documents: u64) -> VerifyDoc {
    let mut doc = VerifyDoc {
        pages: pages.len() as u64,
        fields: 0,
        images: 0,
        types: BTreeMap::new(),
        problems: Vec::new(),
        remarks: Vec::new(),
    };
    let mut lengths: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut documents: BTreeMap<&str, BTreeMap<&str, ()>> = BTreeMap::new();
    let (mut empty, mut decomposed) = (0, 0);
    for Line { number, value: page } in pages {
        let mut wrong = |field: Option<usize>, problem: String| {
            let field = field.map(|i| i as u64 + 1);
            doc.problems.push(Problem { line: *number as u64, field, problem });
        };
        let chars: Vec<char> = page.truth.text.chars().collect();
        if chars.contains(&'\u{fffd}') {
            wrong(None, "the text holds replacement characters: it was decoded wrongly before".to_owned());
        }
        empty += u64::from(page.truth.text.trim().is_empty());
        decomposed += u64::from(chars.iter().any(|c| matches!(c, '\u{1160}'..='\u{11ff}')));
        for (i, field) in page.truth.fields.iter().enumerate() {
            doc.fields += 1;
            if let Err(why) = field::place(&chars, field) {
                wrong(Some(i), why.message().to_owned());
            }
            if field.kind() == Kind::Code && code::codes(&field.value).is_empty() {
                wrong(Some(i), "it does not have the form of a diagnosis code".to_owned());
            }
        }
        if let Some(image) = &page.image {
            doc.images += 1;
            if let Err(problem) = image_fits(&folder.join(image), page) {
                wrong(None, problem);
            }
        }
        let name = page.truth.doc_type.as_deref().unwrap_or(crate::score::NO_TYPE);
        lengths.entry(name).or_default().push(chars.len() as u64);
        let document = page.truth.document.as_deref().unwrap_or(&page.truth.id);
        documents.entry(name).or_default().insert(document, ());
    }
    for (name, mut lengths) in lengths {
        lengths.sort_unstable();
        let count = TypeCount {
            pages: lengths.len() as u64,
            documents: documents[name].len() as u64,
            characters: [lengths[0], lengths[lengths.len() / 2], lengths[lengths.len() - 1]],
        };
        if count.documents < min_documents {
            doc.remarks.push(format!("{name}: {} documents, fewer than {min_documents}", count.documents));
        }
        doc.types.insert(name.to_owned(), count);
    }
    if empty > 0 {
        doc.remarks.push(format!("{empty} pages have no text: they enter no rate"));
    }
    if decomposed > 0 {
        doc.remarks.push(format!(
            "{decomposed} pages hold decomposed Hangul (NFD): composed by every profile but raw@1"
        ));
    }
    doc
}

/// Whether the image can be read and is as large as its page at its resolution.
fn image_fits(path: &Path, page: &Page) -> Result<(), String> {
    let mut head = [0_u8; 24];
    let read = File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head));
    read.map_err(|e| format!("its image cannot be read: {}", e.kind()))?;
    if head.starts_with(&[0xff, 0xd8]) {
        return Ok(());
    }
    if !head.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Err("its image is neither PNG nor JPEG".to_owned());
    }
    let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (Some(dpi), Some(paper)) = (page.dpi, page.paper_mm) else { return Ok(()) };
    for (pixels, mm) in [(number(16), paper[0]), (number(20), paper[1])] {
        let expected = mm / 25.4 * f64::from(dpi);
        if (f64::from(pixels) - expected).abs() > SIZE_TOLERANCE {
            return Err(format!(
                "its image has {pixels} pixels where {mm} mm at {dpi} DPI are {expected:.0}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stopwatt_quality::field::TrueField;
    use stopwatt_quality::page::Truth;

    fn page(value: &str, name: &str) -> Page {
        let field =
            TrueField { name: name.to_owned(), value: value.to_owned(), kind: None, row: None, span: None };
        let truth = Truth {
            id: "a".into(),
            text: "용량 5mg 횟수 3회 3일".into(),
            fields: vec![field],
            ..Truth::default()
        };
        Page { truth, ..Page::default() }
    }

    #[track_caller]
    fn problems(page: Page, expected: &[&str]) {
        let doc = verify(&[Line { number: 4, value: page }], Path::new("/nonexistent"), 1);
        assert_eq!(doc.problems.iter().map(|p| p.problem.as_str()).collect::<Vec<_>>(), expected);
        assert!(doc.problems.iter().all(|p| p.line == 4));
    }

    #[test]
    fn values_must_stand_on_their_page() {
        problems(page("5mg", "용량"), &[]);
        problems(page("경구", "투여경로"), &["its value does not stand in the text"]);
        problems(page("3", "횟수"), &["its value stands in the text more than once and it has no span"]);
        problems(page("3회", "진단코드"), &["it does not have the form of a diagnosis code"]);
        let image = Page { image: Some("a.png".into()), ..page("5mg", "용량") };
        problems(image, &["its image cannot be read: entity not found"]);
    }

    #[test]
    fn few_documents_are_told() {
        let doc = verify(&[Line { number: 1, value: page("5mg", "용량") }], Path::new("."), 50);
        assert_eq!(doc.remarks, ["-: 1 documents, fewer than 50"]);
        assert_eq!(doc.types["-"].characters, [15, 15, 15]);
    }
}
