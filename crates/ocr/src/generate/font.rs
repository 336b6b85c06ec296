//! Fonts: found by path, asked in order. A glyph that none of them has is an error, since the truth would name a
//! character that is not on the page.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tiny_skia::{Path as Outline, PathBuilder};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use super::GenerateError;

/// Where Debian's packages put fonts: for print, and for what looks written by hand.
const PRINT: [&str; 5] = [
    "/usr/share/fonts/truetype/nanum/NanumGothic.ttf",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc#1",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/System/Library/Fonts/AppleSDGothicNeo.ttc",
    "/Library/Fonts/NanumGothic.ttf",
];
const HAND: [&str; 3] = [
    "/usr/share/fonts/truetype/nanum/NanumPen.ttf",
    "/usr/share/fonts/truetype/nanum/NanumBrush.ttf",
    "/usr/share/fonts/truetype/nanum/NanumBarunpenR.ttf",
];

/// What a text is set in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Style {
    Print,
    /// Looks written by hand; it is a font all the same.
    Hand,
}

/// A font file.
struct Font {
    name: String,
    sha256: String,
    bytes: Vec<u8>,
    index: u32,
}

/// The outline of a glyph in units of its em, y up, and how far the next one is.
pub(super) struct Glyph {
    pub(super) outline: Option<Outline>,
    pub(super) advance: f32,
}

/// Fonts in the order in which they are asked.
pub(super) struct Fonts {
    fonts: Vec<Font>,
    print: Vec<usize>,
    hand: Vec<usize>,
    glyphs: HashMap<(Style, char), Glyph>,
}

impl Fonts {
    /// The fonts of these paths, else those found in the usual places. `PATH#1` is the second face of a collection.
    pub(super) fn load(print: &[PathBuf], hand: &[PathBuf]) -> Result<Self, GenerateError> {
        let mut fonts =
            Self { fonts: Vec::new(), print: Vec::new(), hand: Vec::new(), glyphs: HashMap::new() };
        fonts.print = fonts.chain(print, &PRINT)?;
        if fonts.print.is_empty() {
            return Err(GenerateError::NoFont);
        }
        fonts.hand = fonts.chain(hand, &HAND)?;
        Ok(fonts)
    }

    fn chain(&mut self, asked: &[PathBuf], usual: &[&str]) -> Result<Vec<usize>, GenerateError> {
        let mut chain = Vec::new();
        for path in asked {
            chain.push(self.add(path)?);
        }
        if asked.is_empty() {
            for path in usual.iter().map(Path::new).filter(|p| file_and_face(p).0.exists()) {
                chain.push(self.add(path)?);
            }
        }
        Ok(chain)
    }

    fn add(&mut self, path: &Path) -> Result<usize, GenerateError> {
        let (file, index) = file_and_face(path);
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes =
            std::fs::read(&file).map_err(|source| GenerateError::File { name: name.clone(), source })?;
        if Face::parse(&bytes, index).is_err() {
            return Err(GenerateError::NotAFont { name });
        }
        let sha256 = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        self.fonts.push(Font { name, sha256, bytes, index });
        Ok(self.fonts.len() - 1)
    }

    /// Whether anything looks written by hand.
    pub(super) fn has_hand(&self) -> bool {
        !self.hand.is_empty()
    }

    /// Names and hashes, in order.
    pub(super) fn names(&self) -> Vec<[String; 2]> {
        self.fonts.iter().map(|f| [f.name.clone(), f.sha256.clone()]).collect()
    }

    /// A glyph, of the first font that has it.
    pub(super) fn glyph(&mut self, style: Style, c: char) -> Result<&Glyph, GenerateError> {
        if !self.glyphs.contains_key(&(style, c)) {
            let glyph = self.outline(style, c)?;
            self.glyphs.insert((style, c), glyph);
        }
        Ok(&self.glyphs[&(style, c)])
    }

    fn outline(&self, style: Style, c: char) -> Result<Glyph, GenerateError> {
        let chain = if style == Style::Hand { &self.hand } else { &[][..] };
        for font in chain.iter().chain(&self.print).map(|i| &self.fonts[*i]) {
            // It was parsed when it was added.
            let Ok(face) = Face::parse(&font.bytes, font.index) else { continue };
            let Some(id) = face.glyph_index(c).filter(|id| *id != GlyphId(0)) else { continue };
            let em = 1.0 / f32::from(face.units_per_em());
            let mut pen = Pen { builder: PathBuilder::new(), em };
            let drawn = face.outline_glyph(id, &mut pen).is_some();
            if !drawn && !c.is_whitespace() {
                continue;
            }
            let advance = f32::from(face.glyph_hor_advance(id).unwrap_or(0)) * em;
            return Ok(Glyph { outline: pen.builder.finish(), advance });
        }
        Err(GenerateError::MissingGlyph { code_point: c as u32 })
    }
}

/// `PATH#INDEX`.
fn file_and_face(path: &Path) -> (PathBuf, u32) {
    let text = path.to_string_lossy();
    match text.rsplit_once('#').and_then(|(file, index)| Some((file, index.parse().ok()?))) {
        Some((file, index)) => (PathBuf::from(file), index),
        None => (path.to_owned(), 0),
    }
}

struct Pen {
    builder: PathBuilder,
    em: f32,
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.builder.move_to(x * self.em, y * self.em);
    }
    fn line_to(&mut self, x: f32, y: f32) {
        self.builder.line_to(x * self.em, y * self.em);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.builder.quad_to(x1 * self.em, y1 * self.em, x * self.em, y * self.em);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let e = self.em;
        self.builder.cubic_to(x1 * e, y1 * e, x2 * e, y2 * e, x * e, y * e);
    }
    fn close(&mut self) {
        self.builder.close();
    }
}
