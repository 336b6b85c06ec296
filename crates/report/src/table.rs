//! Text tables for a terminal: columns by display width, so that Korean lines up, and cells of a value with a note.
//!
//! A note (an interval) stands to the right of its value where the table then fits the width, else below it.
//! Text from outside passes through [`inert`], so that no name can move the cursor or change colours.

use unicode_width::UnicodeWidthStr;

/// Space between columns.
const GAP: usize = 2;

/// Writes ANSI styles, or nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
    /// The few words a reader looks for first.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }
    /// What can be read later.
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }
    /// Good news.
    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("1;32", text)
    }
    /// Bad news.
    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("1;31", text)
    }
    /// Worth a look.
    pub(crate) fn warn(self, text: &str) -> String {
        self.wrap("33", text)
    }
}

/// A value and what is said about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    /// The value.
    pub(crate) main: String,
    /// The note; empty when there is none.
    pub(crate) note: String,
}

impl Cell {
    /// A value without a note.
    pub(crate) fn plain(main: impl Into<String>) -> Self {
        Self { main: main.into(), note: String::new() }
    }
}

/// A table of numbers; the first column is set flush left unless it holds only numbers.
#[derive(Debug, Default)]
pub(crate) struct Table {
    headers: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
    even: bool,
}

impl Table {
    /// A table with the given column titles; the note of a title is its unit.
    pub(crate) fn new(headers: impl IntoIterator<Item = Cell>) -> Self {
        Self { headers: headers.into_iter().collect(), rows: Vec::new(), even: false }
    }

    /// Gives every column of numbers the same width where that fits.
    pub(crate) fn even(self) -> Self {
        Self { even: true, ..self }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Columns of a terminal that the table needs, with its notes below their values.
    pub(crate) fn width(&self) -> usize {
        let widest = |i: usize| {
            let cells = self.rows.iter().chain([&self.headers]).filter_map(|row| row.get(i));
            cells.map(|c| wide(&c.main).max(wide(&c.note))).max().unwrap_or(0)
        };
        (0..self.headers.len()).map(|i| GAP + widest(i)).sum()
    }

    /// The lines of the table, indented by two.
    pub(crate) fn render(&self, width: usize, paint: Paint) -> String {
        let widest = |i: usize, of: fn(&Cell) -> &str| {
            let cells = self.rows.iter().chain([&self.headers]).filter_map(|row| row.get(i));
            cells.map(|c| wide(of(c))).max().unwrap_or(0)
        };
        let columns = 0..self.headers.len();
        let mains: Vec<usize> = columns.clone().map(|i| widest(i, |c| &c.main)).collect();
        let notes: Vec<usize> = columns.map(|i| widest(i, |c| &c.note)).collect();
        let beside = mains.iter().zip(&notes).map(|(m, n)| GAP + m + if *n > 0 { n + 1 } else { 0 });
        let mut out = String::new();
        if beside.sum::<usize>() <= width {
            self.beside(&mut out, &self.headers, &mains, &notes, paint, true);
            self.rows.iter().for_each(|row| self.beside(&mut out, row, &mains, &notes, paint, false));
        } else {
            let widths = self.shared(&mains, &notes, width);
            let gap = if widths.iter().map(|w| w + GAP).sum::<usize>() <= width { GAP } else { 1 };
            self.below(&mut out, &self.headers, &widths, gap, paint, true);
            self.rows.iter().for_each(|row| self.below(&mut out, row, &widths, gap, paint, false));
        }
        out
    }

    fn side(&self, column: usize, text: &str, width: usize) -> String {
        let number =
            |row: &Vec<Cell>| row.first().is_some_and(|c| c.main.starts_with(|c: char| c.is_ascii_digit()));
        let is_text = column == 0 && !self.rows.iter().all(number);
        if is_text { left(text, width) } else { right(text, width) }
    }

    /// A row with its notes to the right of the values.
    fn beside(
        &self,
        out: &mut String,
        row: &[Cell],
        mains: &[usize],
        notes: &[usize],
        paint: Paint,
        header: bool,
    ) {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            line.push_str(&" ".repeat(GAP));
            line.push_str(&self.side(i, &cell.main, mains[i]));
            if notes[i] > 0 {
                let note = format!(" {}", left(&cell.note, notes[i]));
                line.push_str(&if header { note } else { paint.dim(&note) });
            }
        }
        push_line(out, &if header { paint.dim(line.trim_end()) } else { line });
    }

    /// Widths of columns whose notes stand below their values.
    fn shared(&self, mains: &[usize], notes: &[usize], width: usize) -> Vec<usize> {
        let widths: Vec<usize> = mains.iter().zip(notes).map(|(m, n)| *m.max(n)).collect();
        let [first, numbers @ ..] = widths.as_slice() else { return widths };
        let widest = numbers.iter().copied().max().unwrap_or(0);
        let fits = GAP + first + numbers.len() * (GAP + widest) <= width;
        if self.even && fits {
            [*first].into_iter().chain(numbers.iter().map(|_| widest)).collect()
        } else {
            widths
        }
    }

    /// A row with its notes on a line of their own.
    fn below(
        &self,
        out: &mut String,
        row: &[Cell],
        widths: &[usize],
        gap: usize,
        paint: Paint,
        header: bool,
    ) {
        let line = |of: fn(&Cell) -> &str| -> String {
            let cells = row.iter().enumerate();
            cells.map(|(i, c)| " ".repeat(gap) + &self.side(i, of(c), widths[i])).collect()
        };
        let (values, notes) = (line(|c| &c.main), line(|c| &c.note));
        push_line(out, &if header { paint.dim(values.trim_end()) } else { values });
        if !notes.trim().is_empty() {
            push_line(out, &paint.dim(notes.trim_end()));
        }
    }
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Columns a text takes on a terminal.
pub(crate) fn wide(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// `text` filled with spaces to `width` columns.
pub(crate) fn left(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(wide(text))))
}

fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(wide(text))))
}

/// `text` without control characters and without marks that reorder text.
pub(crate) fn inert(text: &str) -> String {
    let reorders =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || reorders(c) { '\u{fffd}' } else { c }).collect()
}

/// Words of `text` in lines of at most `width` columns; a longer word stands alone.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if wide(line) + 1 + wide(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(["지표", "mean", "p50"].map(Cell::plain));
        let cell = |main: &str, note: &str| Cell { main: main.into(), note: note.into() };
        table.row([Cell::plain("TTFT"), cell("48.2 ms", "±1.1"), cell("47 ms", "[40, 60]")]);
        table.row([Cell::plain("오류율"), cell("8.21 ms", "±0.05"), Cell::plain("–")]);
        table
    }

    #[test]
    fn notes_stand_beside_when_there_is_room() {
        let text = sample().render(80, Paint(false));
        assert_eq!(
            text,
            "  지표       mean          p50\n  TTFT    48.2 ms ±1.1   47 ms [40, 60]\n  오류율  8.21 ms ±0.05      –\n"
        );
    }

    #[test]
    fn notes_stand_below_when_there_is_not() {
        let text = sample().render(30, Paint(false));
        assert!(text.lines().all(|l| wide(l) <= 30), "{text}");
        assert_eq!(text.lines().nth(2), Some("             ±1.1  [40, 60]"));
    }

    #[test]
    fn colour_changes_no_letter() {
        let painted = sample().render(80, Paint(true)).replace("\x1b[2m", "").replace("\x1b[0m", "");
        let squeeze = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeeze(&painted), squeeze(&sample().render(80, Paint(false))));
    }

    #[test]
    fn control_characters_are_inert() {
        assert_eq!(inert("a\x1b[31mb\u{202e}c"), "a\u{fffd}[31mb\u{fffd}c");
    }
}
