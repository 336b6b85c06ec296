//! A page as a list of strokes in millimetres, and its truth, recorded as it is drawn: what is not drawn is not in the
//! truth. One list makes the image at every resolution, so that resolutions differ in nothing else.

use super::GenerateError;
use super::font::{Fonts, Style};

/// A4.
pub(super) const PAPER_MM: [f64; 2] = [210.0, 297.0];
/// Left and right edge of what is drawn.
pub(super) const LEFT: f64 = 18.0;
const RIGHT: f64 = 192.0;
/// Millimetres of a typographic point.
const POINT: f64 = 25.4 / 72.0;
/// Height of a line over the size of its letters.
const LEADING: f64 = 1.75;

/// Something to draw; coordinates in millimetres from the upper left corner.
#[derive(Debug, Clone)]
pub(super) enum Stroke {
    Text {
        x: f64,
        baseline: f64,
        size: f64,
        style: Style,
        text: String,
    },
    /// A filled rectangle: a rule is a thin one.
    Box {
        x: f64,
        y: f64,
        width: f64,
        height: f64,
    },
}

/// A field as it was drawn.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    pub(super) name: &'static str,
    pub(super) row: Option<u32>,
    pub(super) span: [usize; 2],
    /// Left, top, width and height in millimetres.
    pub(super) box_mm: [f64; 4],
}

/// A piece of a line.
pub(super) struct Piece<'a> {
    /// Where it begins; `None` behind the piece before it.
    pub(super) x: Option<f64>,
    pub(super) text: &'a str,
    pub(super) field: Option<(&'static str, Option<u32>)>,
}

/// A piece without a field.
pub(super) fn label(text: &str) -> Piece<'_> {
    Piece { x: None, text, field: None }
}

/// A piece that is a value.
pub(super) fn value<'a>(text: &'a str, name: &'static str) -> Piece<'a> {
    Piece { x: None, text, field: Some((name, None)) }
}

impl Piece<'_> {
    /// The same, at this place.
    pub(super) fn at(self, x: f64) -> Self {
        Self { x: Some(x), ..self }
    }

    /// The same, in this row of a table.
    pub(super) fn row(mut self, row: u32) -> Self {
        if let Some((_, place)) = &mut self.field {
            *place = Some(row);
        }
        self
    }
}

/// A page that is being drawn, downwards.
pub(super) struct Sheet<'f> {
    fonts: &'f mut Fonts,
    pub(super) strokes: Vec<Stroke>,
    pub(super) text: String,
    chars: usize,
    pub(super) fields: Vec<Drawn>,
    y: f64,
    /// Size of letters, in millimetres.
    size: f64,
    style: Style,
}

impl<'f> Sheet<'f> {
    pub(super) fn new(fonts: &'f mut Fonts, points: f64) -> Self {
        Self {
            fonts,
            strokes: Vec::new(),
            text: String::new(),
            chars: 0,
            fields: Vec::new(),
            y: 22.0,
            size: points * POINT,
            style: Style::Print,
        }
    }

    pub(super) fn style(&mut self, style: Style) {
        self.style = style;
    }

    pub(super) fn gap(&mut self, mm: f64) {
        self.y += mm;
    }

    /// A line of pieces in reading order.
    pub(super) fn line(&mut self, pieces: &[Piece<'_>]) -> Result<(), GenerateError> {
        self.y += self.size * LEADING;
        let mut x = LEFT;
        for (i, piece) in pieces.iter().enumerate() {
            if i > 0 {
                self.write(" ");
            }
            x = piece.x.map_or(x, |at| at.max(x));
            let width = self.width(piece.text)?;
            let from = self.chars;
            self.write(piece.text);
            if let Some((name, row)) = piece.field {
                let box_mm = [x, self.y - self.size, width, self.size * 1.3];
                self.fields.push(Drawn { name, row, span: [from, self.chars], box_mm });
            }
            self.draw(x, piece.text);
            x += width + self.size * 0.6;
        }
        self.write("\n");
        Ok(())
    }

    /// Text over several lines, broken at spaces; as a whole it is the value of a field.
    pub(super) fn paragraph(&mut self, text: &str, name: &'static str) -> Result<(), GenerateError> {
        let (from, top) = (self.chars, self.y);
        let mut line = String::new();
        let mut lines = Vec::new();
        for word in text.split(' ') {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if self.width(&longer)? > RIGHT - LEFT && !line.is_empty() {
                lines.push(std::mem::replace(&mut line, word.to_owned()));
            } else {
                line = longer;
            }
        }
        lines.push(line);
        for line in &lines {
            self.line(&[label(line)])?;
        }
        let box_mm = [LEFT, top, RIGHT - LEFT, self.y - top + self.size * 0.3];
        // Without the break behind its last line.
        self.fields.push(Drawn { name, row: None, span: [from, self.chars - 1], box_mm });
        Ok(())
    }

    /// A heading in larger letters.
    pub(super) fn heading(&mut self, text: &str, scale: f64) -> Result<(), GenerateError> {
        let size = self.size;
        self.size *= scale;
        let done = self.line(&[label(text)]);
        self.size = size;
        done
    }

    /// A rule across the page, just below the line.
    pub(super) fn rule(&mut self) {
        self.y += self.size * 0.5;
        self.strokes.push(Stroke::Box { x: LEFT, y: self.y, width: RIGHT - LEFT, height: 0.25 });
    }

    /// Upright rules from `top` to here.
    pub(super) fn uprights(&mut self, top: f64, at: &[f64]) {
        for x in at {
            self.strokes.push(Stroke::Box { x: *x, y: top, width: 0.2, height: self.y - top });
        }
    }

    pub(super) fn y(&self) -> f64 {
        self.y
    }

    /// Moves to the foot of the page.
    pub(super) fn foot(&mut self) -> Result<(), GenerateError> {
        if self.y > PAPER_MM[1] - 22.0 {
            return Err(GenerateError::TooLong);
        }
        self.y = PAPER_MM[1] - 18.0;
        Ok(())
    }

    fn write(&mut self, text: &str) {
        self.text.push_str(text);
        self.chars += text.chars().count();
    }

    fn draw(&mut self, x: f64, text: &str) {
        let stroke =
            Stroke::Text { x, baseline: self.y, size: self.size, style: self.style, text: text.to_owned() };
        self.strokes.push(stroke);
    }

    fn width(&mut self, text: &str) -> Result<f64, GenerateError> {
        let mut width = 0.0;
        for c in text.chars() {
            width += f64::from(self.fonts.glyph(self.style, c)?.advance) * self.size;
        }
        Ok(width)
    }
}
