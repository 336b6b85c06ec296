//! Fields: the values that matter, each with a name and, in tables, a row.
//!
//! "The value occurs somewhere" is empty for a value such as `3`, so a field is only found where it belongs: in a reading
//! with fields by its name and row, in plain text at the place that the alignment gives its characters. Lines are aligned
//! with the whole text or, where they were read in another order, with the line that fits best.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::edit::{self, Op};
use crate::normalise::{Composed, Profile, composed};
use crate::number::{self, Quantity};
use crate::order::{self, pair_lines};

/// What kind of value a field holds, hence how it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Words: right when equal without spaces under `ko-med@1`.
    Text,
    /// Numbers with units.
    Quantity,
    /// The name of a drug.
    Drug,
    /// A diagnosis code.
    Code,
}

impl Kind {
    /// The kind that a field of this name has where none is given.
    pub fn of_name(name: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|w| name.contains(w));
        if has(&["코드", "code"]) {
            Self::Code
        } else if has(&["약물명", "약품명", "drug"]) {
            Self::Drug
        } else if has(&["용량", "수치", "단위", "참고치", "횟수", "일수", "dose", "value", "unit", "range"])
        {
            Self::Quantity
        } else {
            Self::Text
        }
    }
}

/// A field as it stands on the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrueField {
    /// Its name, such as `용량`.
    pub name: String,
    /// Its value, as written on the page.
    pub value: String,
    /// How it is compared; `None` goes by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The row of its table; `None` for a field that a page has once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u32>,
    /// Its code points in the text of the page, from and up to; `None` where the value stands there once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<[usize; 2]>,
}

impl TrueField {
    /// How it is compared.
    pub fn kind(&self) -> Kind {
        self.kind.unwrap_or_else(|| Kind::of_name(&self.name))
    }
}

/// Why the place of a field is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The span is not inside the text, or another text stands there.
    WrongSpan,
    /// The value does not stand in the text.
    Absent,
    /// The value stands there more than once, and no span says which is meant.
    Ambiguous,
}

impl NoPlace {
    /// What to tell a person.
    pub const fn message(self) -> &'static str {
        match self {
            Self::WrongSpan => "its span does not hold its value",
            Self::Absent => "its value does not stand in the text",
            Self::Ambiguous => "its value stands in the text more than once and it has no span",
        }
    }
}

/// The code points of a field in its text.
///
/// # Errors
/// A span that holds something else, and a value without a span that is not there exactly once.
pub fn place(text: &[char], field: &TrueField) -> Result<(usize, usize), NoPlace> {
    if let Some([from, to]) = field.span {
        let there: String = text.get(from..to).ok_or(NoPlace::WrongSpan)?.iter().collect();
        let same = Profile::Text.apply(&there) == Profile::Text.apply(&field.value);
        return if same && from < to { Ok((from, to)) } else { Err(NoPlace::WrongSpan) };
    }
    let value: Vec<char> = field.value.chars().collect();
    if value.is_empty() || value.len() > text.len() {
        return Err(NoPlace::Absent);
    }
    let mut places = text.windows(value.len()).enumerate().filter(|(_, w)| *w == value).map(|(i, _)| i);
    match (places.next(), places.next()) {
        (Some(from), None) => Ok((from, from + value.len())),
        (Some(_), Some(_)) => Err(NoPlace::Ambiguous),
        (None, _) => Err(NoPlace::Absent),
    }
}

/// What was read for a field.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FieldScore {
    /// How it was compared.
    pub kind: Kind,
    /// Whether anything was read there.
    pub found: bool,
    /// Equal under `text@1`.
    pub exact: bool,
    /// Equal as its kind is compared: this is what accuracy counts.
    pub right: bool,
    /// 1 − distance / longer length, of characters under `ko-med@1`.
    pub similarity: f64,
    /// How a quantity was read.
    pub quantity: Option<Quantity>,
}

/// Scores a reading of a field; `None` where nothing was read.
pub fn score(field: &TrueField, reading: Option<&str>) -> FieldScore {
    let kind = field.kind();
    let reading = reading.unwrap_or("");
    let under = |p: Profile| (p.apply(&field.value), p.apply(reading));
    let (truth, read) = under(Profile::Text);
    let quantity = (kind == Kind::Quantity).then(|| number::compare(&field.value, reading));
    let right = match kind {
        Kind::Quantity => quantity == Some(Quantity::Equal),
        Kind::Text | Kind::Drug => {
            let (a, b) = under(Profile::KoMedNoSpace);
            a == b
        }
        Kind::Code => {
            let plain = |t: &str| Profile::KoMedNoSpace.apply(t).replace('.', "").to_uppercase();
            plain(&field.value) == plain(reading)
        }
    };
    let (a, b) = under(Profile::KoMed);
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let longer = a.len().max(b.len());
    let similarity = if longer == 0 { 1.0 } else { 1.0 - edit::distance(&a, &b) as f64 / longer as f64 };
    FieldScore { kind, found: !read.is_empty(), exact: truth == read, right, similarity, quantity }
}

/// What a reading in plain text has at the places of fields.
#[derive(Debug)]
pub struct Aligned<'a> {
    truth: &'a Composed,
    reading: &'a [char],
    /// For each character of the truth and its end: the characters of the reading before it, and how many were inserted
    /// just before it.
    before: Vec<(usize, usize)>,
    /// Lines of the truth that another line of the reading fits better than the text around it.
    moved: Vec<Moved>,
}

/// A line that was read somewhere else.
#[derive(Debug)]
struct Moved {
    /// Characters of the truth.
    from: usize,
    to: usize,
    reading: Vec<char>,
    before: Vec<(usize, usize)>,
}

impl<'a> Aligned<'a> {
    /// Aligns: `ops` leads from the truth to the reading, both under N1; the texts as given still have their lines.
    pub fn new(
        truth_text: &str,
        truth: &'a Composed,
        reading_text: &str,
        reading: &'a [char],
        ops: &[Op],
    ) -> Self {
        let before = positions(ops);
        let moved = moved_lines(truth_text, truth, reading_text, &before, ops);
        Self { truth, reading, before, moved }
    }

    /// What stands where code points `from..to` of the truth should; `None` where nothing does.
    pub fn read(&self, from: usize, to: usize) -> Option<String> {
        let (from, to) = self.truth.span(from, to);
        let moved = self.moved.iter().find(|m| m.from <= from && to <= m.to);
        let (reading, before, from, to) = match moved {
            Some(m) => (m.reading.as_slice(), &m.before, from - m.from, to - m.from),
            None => (self.reading, &self.before, from, to),
        };
        let (start, inserted) = *before.get(from)?;
        let (end, after) = *before.get(to)?;
        // What was added at either end belongs to the value as far as no space sets it apart: `15mg` for `5mg`.
        let lead = reading[start - inserted..start].iter().rev().take_while(|c| **c != ' ').count();
        let tail = reading[end - after..end].iter().take_while(|c| **c != ' ').count();
        let stretch: String = reading[start - lead..(end - after + tail).max(start)].iter().collect();
        let stretch = stretch.trim();
        (!stretch.is_empty()).then(|| stretch.to_owned())
    }
}

/// For each symbol of the reference, and its end: symbols of the reading before it, and those inserted just before it.
fn positions(ops: &[Op]) -> Vec<(usize, usize)> {
    let (mut out, mut at, mut inserted) = (Vec::new(), 0, 0);
    for op in ops {
        if *op == Op::Insert {
            inserted += 1;
        } else {
            out.push((at, inserted));
            inserted = 0;
        }
        at += usize::from(*op != Op::Delete);
    }
    out.push((at, inserted));
    out
}

/// Lines whose characters another line has with fewer errors than the alignment of the whole.
fn moved_lines(
    truth_text: &str,
    truth: &Composed,
    reading_text: &str,
    before: &[(usize, usize)],
    ops: &[Op],
) -> Vec<Moved> {
    let mut errors = vec![0_usize];
    for op in ops {
        if *op == Op::Insert {
            *errors.last_mut().expect("it begins with one") += 1;
        } else {
            let sum = errors.last().expect("it begins with one") + usize::from(*op != Op::Equal);
            errors.push(sum);
        }
    }
    let mut spans = Vec::new();
    let mut at = 0;
    for line in truth_text.split('\n') {
        let end = at + line.chars().count();
        spans.push(truth.span(at, end));
        at = end + 1;
    }
    let lines: Vec<Vec<char>> = spans.iter().map(|(from, to)| trimmed(&truth.chars[*from..*to])).collect();
    let others: Vec<Vec<char>> = reading_text.lines().map(|l| composed(l).chars).collect();
    let Some(pairs) = pair_lines(&lines, &others) else { return Vec::new() };
    let mut moved = Vec::new();
    for ((span, line), pair) in spans.iter().zip(&lines).zip(pairs) {
        let (Some(j), (from, to)) = (pair, *span) else { continue };
        let here = errors[to.min(before.len() - 1)] - errors[from];
        // The white space of the span's ends belongs to no line.
        let lead = truth.chars[from..to].iter().take_while(|c| **c == ' ').count();
        let ops = edit::align(line, &others[j]);
        if ops.iter().filter(|op| **op != Op::Equal).count() < here {
            let from = from + lead;
            moved.push(Moved {
                from,
                to: from + line.len(),
                reading: others[j].clone(),
                before: positions(&ops),
            });
        }
    }
    moved
}

fn trimmed(chars: &[char]) -> Vec<char> {
    let space = |c: &&char| **c == ' ';
    let lead = chars.iter().take_while(space).count();
    let tail = chars[lead..].iter().rev().take_while(space).count();
    chars[lead..chars.len() - tail].to_vec()
}

/// Values by name and row that a reading with fields gave.
#[derive(Debug, Clone, Default)]
pub struct ReadFields {
    /// Objects with scalar values: rows of tables, and the page itself.
    rows: Vec<BTreeMap<String, String>>,
}

impl ReadFields {
    /// Takes every object of a JSON value, however deep, as a row of its scalar values.
    pub fn of(value: &Value) -> Self {
        let mut out = Self::default();
        out.collect(value);
        out
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Object(entries) => {
                let mut row = BTreeMap::new();
                for (key, value) in entries {
                    match value {
                        Value::String(s) => _ = row.insert(key.clone(), s.clone()),
                        Value::Number(n) => _ = row.insert(key.clone(), n.to_string()),
                        Value::Bool(b) => _ = row.insert(key.clone(), b.to_string()),
                        // A list of plain values is a column: each value is a row of its own.
                        Value::Array(items) if items.iter().all(|i| i.is_string() || i.is_number()) => {
                            for item in items {
                                let text = item.as_str().map_or_else(|| item.to_string(), str::to_owned);
                                self.rows.push(BTreeMap::from([(key.clone(), text)]));
                            }
                        }
                        other => self.collect(other),
                    }
                }
                if !row.is_empty() {
                    self.rows.push(row);
                }
            }
            _ => {}
        }
    }

    /// What was read for each field, in their order, and how many values belong to none of them.
    ///
    /// Rows of the page are paired by their first field, equal keys first, then those most alike.
    pub fn matched(&self, fields: &[TrueField]) -> (Vec<Option<String>>, u64) {
        let mut out = vec![None; fields.len()];
        let mut used = vec![BTreeMap::<String, ()>::new(); self.rows.len()];
        let mut tables: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (i, field) in fields.iter().enumerate() {
            match field.row {
                Some(row) => tables.entry(row).or_default().push(i),
                None => {
                    let free = |(j, row): &(usize, &BTreeMap<String, String>)| {
                        row.contains_key(&field.name) && !used[*j].contains_key(&field.name)
                    };
                    if let Some((j, row)) = self.rows.iter().enumerate().find(free) {
                        out[i] = row.get(&field.name).cloned();
                        used[j].insert(field.name.clone(), ());
                    }
                }
            }
        }
        let tables: Vec<Vec<usize>> = tables.into_values().collect();
        for (row, j) in self.pair_rows(&tables, fields) {
            for i in &tables[row] {
                out[*i] = self.rows[j].get(&fields[*i].name).cloned();
                used[j].insert(fields[*i].name.clone(), ());
            }
        }
        let known = |name: &String| fields.iter().any(|f| f.name == *name);
        let spurious = self.rows.iter().zip(&used).map(|(row, used)| {
            row.keys().filter(|name| known(name) && !used.contains_key(*name)).count() as u64
        });
        let spurious = spurious.sum();
        (out, spurious)
    }

    fn pair_rows(&self, tables: &[Vec<usize>], fields: &[TrueField]) -> Vec<(usize, usize)> {
        let key = |text: &str| Profile::KoMedNoSpace.apply(text).chars().collect::<Vec<_>>();
        let cost: Vec<Vec<i64>> = tables
            .iter()
            .map(|row| {
                let first = &fields[row[0]];
                let truth = key(&first.value);
                let of = |read: &BTreeMap<String, String>| match read.get(&first.name) {
                    Some(text) => {
                        let read = key(text);
                        let longer = truth.len().max(read.len()).max(1);
                        // In thousandths; more than half different is no pair.
                        match edit::distance(&truth, &read) * 1000 / longer {
                            d @ 0..=500 => d as i64 - 1001,
                            _ => 0,
                        }
                    }
                    None => 0,
                };
                self.rows.iter().map(of).collect()
            })
            .collect();
        let assigned = order::assign(&cost);
        assigned
            .into_iter()
            .enumerate()
            .filter_map(|(row, j)| j.filter(|j| cost[row][*j] < 0).map(|j| (row, j)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str, row: Option<u32>) -> TrueField {
        TrueField { name: name.to_owned(), value: value.to_owned(), kind: None, row, span: None }
    }

    /// What is read of `value`, which stands in the truth once.
    #[track_caller]
    fn check(truth: &str, reading: &str, value: &str, expected: Option<&str>) {
        let map = composed(truth);
        let read = composed(reading).chars;
        let ops = edit::align(&map.chars, &read);
        let chars: Vec<char> = truth.chars().collect();
        let (from, to) = place(&chars, &field("용량", value, None)).unwrap();
        let aligned = Aligned::new(truth, &map, reading, &read, &ops);
        assert_eq!(aligned.read(from, to).as_deref(), expected, "{truth} | {reading}");
    }

    #[test]
    fn values_are_read_at_their_own_place() {
        check("아스피린 100mg 1일 3회", "아스피린 100mg 1일 8회", "3회", Some("8회"));
        check("아스피린 5mg 매일", "아스피린 15mg 매일", "5mg", Some("15mg"));
        check("아스피린 5mg 매일", "아스피린 5mgg 매일", "5mg", Some("5mgg"));
        check("아스피린 5mg 매일", "아스피린 매일", "5mg", None);
        check("용량 5mg\n횟수 3회", "용량 | 5mg\n횟수 3회", "5mg", Some("5mg"));
        // The same number elsewhere on the page does not count.
        check("투여 3\n쪽 4", "투여\n쪽 4 3", "3", Some("쪽"));
    }

    #[test]
    fn swapped_columns_are_followed_by_line() {
        let truth = "혈색소 13.5 g/dL\n백혈구 7.2 천\n혈소판 250 천";
        let swapped = "혈소판 250 천\n백혈구 7.2 천\n혈색소 13.5 g/dL";
        check(truth, swapped, "13.5", Some("13.5"));
        check(truth, swapped, "250", Some("250"));
        check(truth, "혈소판 260 천\n백혈구 7.2 천\n혈색소 135 g/dL", "13.5", Some("135"));
    }

    #[test]
    fn a_place_is_checked() {
        let text: Vec<char> = "1일 3회 3일".chars().collect();
        assert_eq!(place(&text, &field("횟수", "3", None)), Err(NoPlace::Ambiguous));
        assert_eq!(place(&text, &field("횟수", "경구", None)), Err(NoPlace::Absent));
        let with = |span| TrueField { span: Some(span), ..field("횟수", "3회", None) };
        assert_eq!(place(&text, &with([3, 5])), Ok((3, 5)));
        assert_eq!(place(&text, &with([0, 2])), Err(NoPlace::WrongSpan));
        assert_eq!(place(&text, &with([3, 50])), Err(NoPlace::WrongSpan));
    }

    #[test]
    fn rows_are_paired_by_their_key() {
        let fields = [
            field("환자명", "김가상", None),
            field("약물명", "아테놀올정", Some(0)),
            field("용량", "50mg", Some(0)),
            field("약물명", "로사르탄정", Some(1)),
            field("용량", "100mg", Some(1)),
        ];
        let read = ReadFields::of(&serde_json::json!({
            "환자명": "김가상",
            "약물": [
                {"약물명": "로사르탄 정", "용량": "100 mg"},
                {"약물명": "아태놀올정", "용량": 50},
                {"약물명": "없는약", "용량": "1mg", "비고": "x"},
            ],
        }));
        let (values, spurious) = read.matched(&fields);
        let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
        assert_eq!(
            values,
            [Some("김가상"), Some("아태놀올정"), Some("50"), Some("로사르탄 정"), Some("100 mg")]
        );
        assert_eq!(spurious, 2);
    }

    #[test]
    fn scores_by_kind() {
        let s = score(&field("용량", "500 mg", None), Some("500mg"));
        assert!(s.right && s.found && s.quantity == Some(Quantity::Equal) && !s.exact);
        let s = score(&field("진단코드", "E11.9", None), Some("e119"));
        assert!(s.right && !s.exact && s.kind == Kind::Code);
        let s = score(&field("진단명", "본태성 고혈압", None), Some("본태성고혈압"));
        assert!(s.right && (s.similarity - 6.0 / 7.0).abs() < 1e-12);
        let s = score(&field("약물명", "아테놀올정", None), None);
        assert!(!s.right && !s.found && s.similarity == 0.0);
    }
}
