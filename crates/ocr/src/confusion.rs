//! What is read as what: characters, the jamo inside syllables, and kinds of characters.
//!
//! Characters are content of documents; kinds and jamo tell nothing of a single one once small counts are dropped, see
//! [`Tally::told`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_quality::Profile;
use stopwatt_quality::cleanup::clean;
use stopwatt_quality::edit::{Op, align};

/// Fewest errors of a kind that are told of pages that are not made up.
const LEAST: u64 = 5;

/// A kind of character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A syllable or a jamo.
    Hangul,
    /// 0 to 9.
    Digit,
    /// A to z.
    Latin,
    /// White space.
    Space,
    /// Points, brackets, signs.
    Sign,
    /// Any other letter, such as Hanja or Greek.
    Letter,
    /// No character: it was missed, or added.
    Nothing,
}

impl Class {
    fn of(c: Option<char>) -> Self {
        match c {
            None => Self::Nothing,
            Some('가'..='힣' | 'ㄱ'..='ㆎ' | '\u{1100}'..='\u{11ff}') => Self::Hangul,
            Some('0'..='9') => Self::Digit,
            Some(c) if c.is_ascii_alphabetic() => Self::Latin,
            Some(c) if c.is_whitespace() => Self::Space,
            Some(c) if c.is_alphanumeric() => Self::Letter,
            Some(_) => Self::Sign,
        }
    }
}

/// Part of a syllable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Consonant at the begin.
    Initial,
    /// Vowel.
    Vowel,
    /// Consonant at the end, which may be none.
    Final,
}

/// Characters of one kind read as another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClassError {
    /// What stands there.
    pub truth: Class,
    /// What was read.
    pub read: Class,
    /// How often.
    pub count: u64,
}

/// A jamo read as another inside a syllable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JamoError {
    /// Where in the syllable.
    pub part: Part,
    /// What stands there; empty for no final consonant.
    pub truth: String,
    /// What was read.
    pub read: String,
    /// How often.
    pub count: u64,
}

/// A character read as another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Confusion {
    /// What stands there; empty where something was added.
    pub truth: String,
    /// What was read; empty where it was missed.
    pub read: String,
    /// How often.
    pub count: u64,
}

/// Errors that are told of every run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// By kind of character, most first.
    pub classes: Vec<ClassError>,
    /// By jamo, most first.
    pub jamo: Vec<JamoError>,
}

/// Counts of errors of characters.
#[derive(Debug, Clone, Default)]
pub struct Tally(BTreeMap<(Option<char>, Option<char>), u64>);

impl Tally {
    /// Counts the errors of a reading under `text@1`.
    pub fn add(&mut self, truth: &str, reading: &str) {
        let chars = |text: &str| -> Vec<char> { Profile::Text.apply(text).chars().collect() };
        let (truth, reading) = (chars(truth), chars(&clean(reading).0));
        let (mut i, mut j) = (0, 0);
        for op in align(&truth, &reading) {
            let pair = match op {
                Op::Equal => None,
                Op::Substitute => Some((Some(truth[i]), Some(reading[j]))),
                Op::Delete => Some((Some(truth[i]), None)),
                Op::Insert => Some((None, Some(reading[j]))),
            };
            if let Some(pair) = pair {
                *self.0.entry(pair).or_default() += 1;
            }
            i += usize::from(op != Op::Insert);
            j += usize::from(op != Op::Delete);
        }
    }

    /// The characters that are confused most, `most` of them; single signs that are missed or added are not confused.
    pub fn confusions(&self, most: usize) -> Vec<Confusion> {
        let of = |((a, b), count): (&(Option<char>, Option<char>), &u64)| {
            Some(Confusion { truth: String::from((*a)?), read: String::from((*b)?), count: *count })
        };
        let mut all: Vec<Confusion> = self.0.iter().filter_map(of).collect();
        all.sort_by_key(|c| std::cmp::Reverse(c.count));
        all.truncate(most);
        all
    }

    /// Kinds and jamo; of pages that are not made up only what is frequent.
    pub fn told(&self, synthetic: bool) -> Told {
        let mut classes: BTreeMap<(Class, Class), u64> = BTreeMap::new();
        let mut jamo: BTreeMap<(Part, &str, &str), u64> = BTreeMap::new();
        for ((a, b), n) in &self.0 {
            *classes.entry((Class::of(*a), Class::of(*b))).or_default() += n;
            if let (Some(a), Some(b)) = (a.and_then(parts), b.and_then(parts)) {
                for (part, (x, y)) in
                    [Part::Initial, Part::Vowel, Part::Final].into_iter().zip(a.into_iter().zip(b))
                {
                    if x != y {
                        *jamo.entry((part, x, y)).or_default() += n;
                    }
                }
            }
        }
        let least = if synthetic { 1 } else { LEAST };
        let mut told = Told {
            classes: classes
                .into_iter()
                .map(|((truth, read), count)| ClassError { truth, read, count })
                .filter(|e| e.count >= least)
                .collect(),
            jamo: jamo
                .into_iter()
                .map(|((part, a, b), count)| JamoError {
                    part,
                    truth: a.to_owned(),
                    read: b.to_owned(),
                    count,
                })
                .filter(|e| e.count >= least)
                .collect(),
        };
        told.classes.sort_by_key(|e| std::cmp::Reverse(e.count));
        told.jamo.sort_by_key(|e| std::cmp::Reverse(e.count));
        told
    }
}

const INITIALS: &str = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ";
const VOWELS: &str = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ";
const FINALS: &str = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ";

/// The jamo of a syllable as they are written alone; the last is empty where there is none (Unicode, section 3.12).
pub fn parts(c: char) -> Option<[&'static str; 3]> {
    let index = (c as usize).checked_sub('가' as usize).filter(|i| *i < 11_172)?;
    // Every jamo is three bytes long.
    let nth = |all: &'static str, n: usize| &all[3 * n..3 * n + 3];
    let last = match index % 28 {
        0 => "",
        n => nth(FINALS, n - 1),
    };
    Some([nth(INITIALS, index / 588), nth(VOWELS, index / 28 % 21), last])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syllables_come_apart() {
        assert_eq!(parts('강'), Some(["ㄱ", "ㅏ", "ㅇ"]));
        assert_eq!(parts('힣'), Some(["ㅎ", "ㅣ", "ㅎ"]));
        assert_eq!((parts('가'), parts('a')), (Some(["ㄱ", "ㅏ", ""]), None));
    }

    #[test]
    fn errors_are_counted_by_character_kind_and_jamo() {
        let mut tally = Tally::default();
        tally.add("강남 50mg", "간남 5Omg");
        tally.add("강남 50mg", "간남50mg");
        let top = tally.confusions(1);
        assert_eq!(top, [Confusion { truth: "강".into(), read: "간".into(), count: 2 }]);
        let told = tally.told(true);
        assert_eq!(
            told.jamo,
            [JamoError { part: Part::Final, truth: "ㅇ".into(), read: "ㄴ".into(), count: 2 }]
        );
        let of =
            |truth, read| told.classes.iter().find(|e| e.truth == truth && e.read == read).map(|e| e.count);
        assert_eq!(of(Class::Hangul, Class::Hangul), Some(2));
        assert_eq!(of(Class::Digit, Class::Latin), Some(1));
        assert_eq!(of(Class::Space, Class::Nothing), Some(1));
        // Rare errors of real pages are not told.
        assert_eq!(tally.told(false), Told::default());
    }
}
