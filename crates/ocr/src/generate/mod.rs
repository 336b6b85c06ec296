//! Made-up documents whose text is known, since it is recorded as it is drawn.
//!
//! ```text
//! vocabulary ─► documents ─► sheet: strokes in mm + truth ─► raster: pixels at each DPI ─► degradation ─► PNG
//! ```
//!
//! One seed gives the same files. Nobody in them exists: names are put together from words for "made up", and numbers in
//! the form of resident numbers have a wrong check digit.

mod documents;
mod font;
mod raster;
mod sheet;
mod vocabulary;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use stopwatt_quality::field::Kind;
use stopwatt_serving::random::{Draws, Purpose};

use crate::profile::DocType;
use font::Fonts;
use raster::Degradation;
use sheet::{PAPER_MM, Sheet};
use vocabulary::Vocabulary;

/// Why documents cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// No font was given or found.
    #[error("no font with Hangul was found")]
    NoFont,
    /// A file cannot be read or written.
    #[error("failed to open {name}")]
    File {
        /// Its name.
        name: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is no font.
    #[error("{name} is no TrueType or OpenType font, or has no such face")]
    NotAFont {
        /// Its name.
        name: String,
    },
    /// No font has a character.
    #[error("no font has the character U+{code_point:04X}, which would be missing on the page")]
    MissingGlyph {
        /// Unicode code point.
        code_point: u32,
    },
    /// A page of this resolution is too large.
    #[error("a page of {dpi} DPI is too large")]
    TooLarge {
        /// Dots per inch.
        dpi: u32,
    },
    /// A document does not fit its page.
    #[error("a document does not fit its page")]
    TooLong,
    /// No such degradation.
    #[error("no degradation `{name}`; there are clean, scan, fax and phone")]
    Degradation {
        /// What was asked for.
        name: String,
    },
    /// A line of the vocabulary is wrong.
    #[error("line {line} of the vocabulary has the wrong columns")]
    Vocabulary {
        /// From 1; 0 where a number of some line is none.
        line: usize,
    },
    /// The folder is not empty.
    #[error("the folder already holds documents")]
    Occupied,
}

impl GenerateError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoFont => Some("install fonts-nanum, or name a font with --font"),
            Self::MissingGlyph { .. } => Some(
                "install fonts-noto-cjk and fonts-dejavu-core, or name a font that has it with a further --font",
            ),
            Self::Vocabulary { .. } => Some(
                "drug⇥NAME⇥DOSE,DOSE⇥ROUTE, lab⇥ITEM⇥UNIT⇥LOW⇥HIGH or diagnosis⇥CODE⇥NAME, set apart by tabs",
            ),
            Self::TooLong => Some("choose a smaller --size"),
            Self::Occupied => Some("choose another --out"),
            _ => None,
        }
    }
}

/// What to make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Types of documents.
    pub types: Vec<DocType>,
    /// Documents of each.
    pub count: u32,
    /// Resolutions, in dots per inch.
    pub dpi: Vec<u32>,
    /// Names of degradations.
    pub degrade: Vec<String>,
    /// Seed of everything.
    pub seed: u64,
    /// Fonts for print, in the order in which they are asked; empty takes what is found.
    pub fonts: Vec<PathBuf>,
    /// Fonts that look written by hand.
    pub hand_fonts: Vec<PathBuf>,
    /// Size of letters, in points.
    pub points: f64,
    /// A user's own words.
    pub vocabulary: Option<String>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Documents.
    pub documents: u64,
    /// Images.
    pub images: u64,
    /// Bytes of all images.
    pub bytes: u64,
    /// Names and SHA-256 of the fonts.
    pub fonts: Vec<[String; 2]>,
    /// Whether a font that looks written by hand was there; else those parts are set in print.
    pub handwriting_like: bool,
}

/// Makes documents in `folder`: `truth.jsonl`, `made.json` and `images/`. `progress` is told of each image.
///
/// # Errors
/// Fonts or characters that are missing, settings that make no sense, a folder that cannot be written.
pub fn generate(plan: &Plan, folder: &Path, mut progress: impl FnMut(u64)) -> Result<Made, GenerateError> {
    let named = |name: &String| {
        Degradation::named(name)
            .map(|how| (name.clone(), how))
            .ok_or_else(|| GenerateError::Degradation { name: name.clone() })
    };
    let degradations = plan.degrade.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let words = Vocabulary::new(plan.vocabulary.as_deref())?;
    let mut fonts = Fonts::load(&plan.fonts, &plan.hand_fonts)?;
    let truth_file = folder.join("truth.jsonl");
    if truth_file.exists() {
        return Err(GenerateError::Occupied);
    }
    let failed = |name: &str| {
        let name = name.to_owned();
        move |source| GenerateError::File { name, source }
    };
    std::fs::create_dir_all(folder.join("images")).map_err(failed("images"))?;
    let mut made =
        Made { documents: 0, images: 0, bytes: 0, fonts: fonts.names(), handwriting_like: fonts.has_hand() };
    let mut truth = String::new();
    for doc_type in &plan.types {
        for number in 0..plan.count {
            let key = [plan.seed, *doc_type as u64, u64::from(number), 0];
            let mut sheet = Sheet::new(&mut fonts, plan.points);
            documents::draw(*doc_type, &mut sheet, &words, &mut Draws::new(Purpose::Document, key))?;
            let (strokes, text, fields) = (sheet.strokes, sheet.text, sheet.fields);
            let chars: Vec<char> = text.chars().collect();
            let fields: Vec<_> = fields
                .iter()
                .map(|f| {
                    // As it was drawn; a paragraph has its breaks.
                    let value: String = chars[f.span[0]..f.span[1]].iter().collect();
                    json!({"name": f.name, "value": value, "kind": Kind::of_name(f.name), "row": f.row,
                        "span": f.span, "box_mm": f.box_mm})
                })
                .collect();
            let document = format!("{}-{:04}", doc_type.id(), number + 1);
            made.documents += 1;
            for (name, how) in &degradations {
                // The same for every resolution, so that they differ in nothing else.
                let key = [plan.seed, *doc_type as u64, u64::from(number), 1];
                for dpi in &plan.dpi {
                    let mut draws = Draws::new(Purpose::Document, key);
                    let image = raster::render(&strokes, &mut fonts, *dpi, how, &mut draws)?;
                    let png = raster::png(&image, *dpi);
                    let id = format!("{document}-{dpi}-{name}");
                    let file = format!("images/{id}.png");
                    std::fs::write(folder.join(&file), &png).map_err(failed(&file))?;
                    made.images += 1;
                    made.bytes += png.len() as u64;
                    let line = json!({"id": id, "document": document, "type": doc_type.name(), "text": text,
                        "fields": fields, "image": file, "dpi": dpi, "paper_mm": PAPER_MM, "degrade": name,
                        "degradation": how, "synthetic": true});
                    truth.push_str(&line.to_string());
                    truth.push('\n');
                    progress(made.images);
                }
            }
        }
    }
    std::fs::write(&truth_file, truth).map_err(failed("truth.jsonl"))?;
    let about = json!({"made": made, "seed": plan.seed, "points": plan.points, "dpi": plan.dpi,
        "degrade": plan.degrade, "count": plan.count, "types": plan.types, "stopwatt": env!("CARGO_PKG_VERSION")});
    std::fs::write(folder.join("made.json"), format!("{about:#}\n")).map_err(failed("made.json"))?;
    Ok(made)
}
