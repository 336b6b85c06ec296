//! Normalisation profiles: what counts as the same text.
//!
//! A profile has an identifier with a version, printed beside every figure; a changed rule is a new version. None uses
//! compatibility forms (NFKC), which turn `10³` into `103` and `½` into three characters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::canonical_combining_class;

use crate::unit;

/// What is made alike before two texts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
pub enum Profile {
    /// N0: code points as they are.
    #[serde(rename = "raw@1")]
    Raw,
    /// N1: composed (NFC), runs of white space as one space, ends trimmed, zero-width characters dropped.
    #[default]
    #[serde(rename = "text@1")]
    Text,
    /// N2: N1, and full-width ASCII, squared units, µ, ℃, tildes, hyphens, middle dots, `^3`, thousands separators and the
    /// space before a unit written in one way. Superscripts, subscripts, circled digits, fractions, case and zeros stay.
    #[serde(rename = "ko-med@1")]
    KoMed,
    /// N3: N2 without spaces.
    #[serde(rename = "ko-med-nospace@1")]
    KoMedNoSpace,
    /// N4: N3 with Hangul syllables taken apart into jamo.
    #[serde(rename = "ko-med-jamo@1")]
    KoMedJamo,
}

impl Profile {
    /// Every profile, from N0.
    pub const ALL: [Self; 5] = [Self::Raw, Self::Text, Self::KoMed, Self::KoMedNoSpace, Self::KoMedJamo];

    /// The identifier with its version.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Raw => "raw@1",
            Self::Text => "text@1",
            Self::KoMed => "ko-med@1",
            Self::KoMedNoSpace => "ko-med-nospace@1",
            Self::KoMedJamo => "ko-med-jamo@1",
        }
    }

    /// The profile of an identifier: `text@1`, `text`, `N1` or `n1`.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().enumerate().find_map(|(i, profile)| {
            let name = profile.id().split('@').next().unwrap_or_default();
            (id == profile.id() || id == name || id.eq_ignore_ascii_case(&format!("n{i}"))).then_some(profile)
        })
    }

    /// The text in this profile.
    pub fn apply(self, text: &str) -> String {
        match self {
            Self::Raw => text.to_owned(),
            Self::Text => composed(text).chars.into_iter().collect(),
            Self::KoMed => ko_med(text),
            Self::KoMedNoSpace => without_spaces(&ko_med(text)),
            Self::KoMedJamo => jamo(&without_spaces(&ko_med(text))),
        }
    }

    /// The profile by which words are told apart: that without spaces has none.
    pub const fn with_spaces(self) -> Self {
        match self {
            Self::KoMedNoSpace | Self::KoMedJamo => Self::KoMed,
            other => other,
        }
    }
}

/// A text under N1 that knows where each of its characters comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Composed {
    /// The normalised characters.
    pub chars: Vec<char>,
    /// For each of them the position of its first code point in the text that was given.
    pub source: Vec<usize>,
}

impl Composed {
    /// The stretch of normalised characters that comes from code points `from..to` of the given text.
    pub fn span(&self, from: usize, to: usize) -> (usize, usize) {
        (self.source.partition_point(|s| *s < from), self.source.partition_point(|s| *s < to))
    }
}

/// N1.
pub fn composed(text: &str) -> Composed {
    let mut out = Composed::default();
    let mut cluster = String::new();
    let mut cluster_at = 0;
    let mut gap = None;
    let flush = |cluster: &mut String, at: usize, gap: &mut Option<usize>, out: &mut Composed| {
        if cluster.is_empty() {
            return;
        }
        if let Some(place) = gap.take().filter(|_| !out.chars.is_empty()) {
            out.chars.push(' ');
            out.source.push(place);
        }
        let before = out.chars.len();
        out.chars.extend(cluster.nfc());
        out.source.resize(out.source.len() + out.chars.len() - before, at);
        cluster.clear();
    };
    for (i, c) in text.chars().enumerate() {
        if matches!(c, '\u{feff}' | '\u{200b}'..='\u{200d}' | '\u{2060}') {
            continue;
        }
        if c.is_whitespace() {
            flush(&mut cluster, cluster_at, &mut gap, &mut out);
            gap.get_or_insert(i);
            continue;
        }
        if !continues(c) {
            flush(&mut cluster, cluster_at, &mut gap, &mut out);
        }
        if cluster.is_empty() {
            cluster_at = i;
        }
        cluster.push(c);
    }
    flush(&mut cluster, cluster_at, &mut gap, &mut out);
    out
}

/// Whether a character may compose with what stands before it: marks, and vowels and finals of Hangul.
fn continues(c: char) -> bool {
    !c.is_ascii() && (matches!(c, '\u{1160}'..='\u{11ff}') || canonical_combining_class(c) != 0)
}

fn ko_med(text: &str) -> String {
    let mut mapped = Vec::new();
    for c in composed(text).chars {
        match c {
            '\u{ff01}'..='\u{ff5e}' => {
                mapped.extend(char::from_u32(c as u32 - 0xfee0));
            }
            '㎎' => mapped.extend("mg".chars()),
            '㎍' => mapped.extend("μg".chars()),
            '㎏' => mapped.extend("kg".chars()),
            '㎖' => mapped.extend("mL".chars()),
            '㎗' => mapped.extend("dL".chars()),
            '㎕' => mapped.extend("μL".chars()),
            '㏄' => mapped.extend("cc".chars()),
            '㎝' => mapped.extend("cm".chars()),
            '㎜' => mapped.extend("mm".chars()),
            'µ' => mapped.push('μ'),
            '℃' => mapped.extend("°C".chars()),
            '∼' | '〜' => mapped.push('~'),
            '‐' | '‑' | '–' | '—' | '−' => mapped.push('-'),
            'ㆍ' | '・' => mapped.push('·'),
            other => mapped.push(other),
        }
    }
    let digits = without_separators(&mapped);
    without_unit_spaces(&raised(&digits))
}

/// `1,234,567` without its commas. A group of other than three digits leaves them all.
fn without_separators(chars: &[char]) -> Vec<char> {
    let mut out = Vec::with_capacity(chars.len());
    let mut i = 0;
    while i < chars.len() {
        if !chars[i].is_ascii_digit() {
            out.push(chars[i]);
            i += 1;
            continue;
        }
        let first = chars[i..].iter().take_while(|c| c.is_ascii_digit()).count();
        let mut end = i + first;
        let group = |at: usize| {
            chars.get(at) == Some(&',')
                && chars[at + 1..].iter().take_while(|c| c.is_ascii_digit()).count() == 3
        };
        while first <= 3 && group(end) {
            end += 4;
        }
        // Behind a point or another comma it is no group.
        let fits = first <= 3 && !matches!(out.last(), Some('.' | ','));
        out.extend(chars[i..end].iter().filter(|c| !fits || **c != ','));
        i = end;
    }
    out
}

/// `^3` as `³`.
fn raised(chars: &[char]) -> Vec<char> {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let mut out = Vec::with_capacity(chars.len());
    let mut i = 0;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1).and_then(|c| c.to_digit(10))) {
            ('^', Some(digit)) => {
                out.push(RAISED[digit as usize]);
                i += 2;
            }
            (c, _) => {
                out.push(c);
                i += 1;
            }
        }
    }
    out
}

/// `5 mg` as `5mg`.
fn without_unit_spaces(chars: &[char]) -> String {
    let mut out = String::with_capacity(chars.len());
    for (i, c) in chars.iter().enumerate() {
        let after_number = *c == ' ' && i > 0 && chars[i - 1].is_ascii_digit();
        if !(after_number && unit::at(&chars[i + 1..]).is_some()) {
            out.push(*c);
        }
    }
    out
}

/// The text without white space.
pub fn without_spaces(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// The text with Hangul syllables taken apart into conjoining jamo, and nothing else.
pub fn jamo(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let syllable = matches!(c, '가'..='힣');
            let parts: Vec<char> = if syllable { std::iter::once(c).nfd().collect() } else { vec![c] };
            parts
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(profile: &str, text: &str, expected: &str) {
        assert_eq!(Profile::from_id(profile).unwrap().apply(text), expected);
    }

    #[test]
    fn identifiers_have_a_version() {
        for (i, profile) in Profile::ALL.into_iter().enumerate() {
            assert_eq!(Profile::from_id(profile.id()), Some(profile));
            assert_eq!(Profile::from_id(&format!("N{i}")), Some(profile));
            assert_eq!(serde_json::to_string(&profile).unwrap(), format!("\"{}\"", profile.id()));
        }
        assert_eq!((Profile::from_id("ko-med"), Profile::from_id("ko-med@2")), (Some(Profile::KoMed), None));
    }

    #[test]
    fn text_is_composed_and_white_space_made_one() {
        check("N0", " a\u{a0} b ", " a\u{a0} b ");
        check("N1", "\u{feff} 가\u{3000}\u{a0}\n나\u{200b}다 ", "가 나다");
        // 한글 in NFD: ㅎㅏㄴㄱㅡㄹ.
        check("N1", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}", "한글");
        check("N1", "10³ ① ½ ㎎ µ ５", "10³ ① ½ ㎎ µ ５");
    }

    #[test]
    fn medical_spellings_are_made_one() {
        check("N2", "５００㎎", "500mg");
        check("N2", "12 ㎍/㎗, 36.5 ℃, 3 ㎖", "12μg/dL, 36.5°C, 3mL");
        check("N2", "µg − 3～5 ㆍ", "μg - 3~5 ·");
        check("N2", "1,234,567 12,34 1,2345 0.123,456", "1234567 12,34 1,2345 0.123,456");
        check("N2", "10^3/μL 10³/μL", "10³/μL 10³/μL");
        // Values stay what they are.
        check("N2", "10³ 10⁶ H₂O ① ½ 5.0 mG", "10³ 10⁶ H₂O ① ½ 5.0 mG");
        check("N2", "5 mg 5 months", "5mg 5 months");
    }

    #[test]
    fn syllables_are_taken_apart_last() {
        check("N3", "1일 3회", "1일3회");
        check("N4", "강 é", "\u{1100}\u{1161}\u{11bc}é");
        // 강 and 간 differ in one of three jamo.
        assert_eq!(crate::edit::distance(&chars("강"), &chars("간")), 1);
    }

    fn chars(text: &str) -> Vec<char> {
        Profile::KoMedJamo.apply(text).chars().collect()
    }

    #[test]
    fn spans_are_found_again() {
        let text = " \u{feff}약  \u{1100}\u{1161}\u{11bc}\n5mg";
        let map = composed(text);
        assert_eq!(map.chars.iter().collect::<String>(), "약 강 5mg");
        let (from, to) = map.span(9, 12);
        assert_eq!(map.chars[from..to].iter().collect::<String>(), "5mg");
        assert_eq!(map.span(5, 8), (2, 3));
    }

    proptest! {
        #[test]
        fn clusters_compose_as_the_whole_does(text in "[가-힣ᄀ-하-ᅵᆨ-ᇂa-eé\u{301}\u{323}µ³]{0,20}") {
            let whole: String = text.nfc().collect();
            prop_assert_eq!(Profile::Text.apply(&text), whole);
        }

        #[test]
        fn a_profile_applied_twice_is_applied_once(text in "[ 0-9,.^~가-하mgL㎎５µ\n-]{0,20}") {
            for profile in [Profile::Text, Profile::KoMed] {
                let once = profile.apply(&text);
                prop_assert_eq!(profile.apply(&once), once.clone(), "{}", profile.id());
            }
        }
    }
}
