//! Numbers with comparator, range and unit: is the value right, and if not, how is it wrong?
//!
//! `13.5 → 135` and `5.0 → 5` are one edit each; only one of them is dangerous. A value is read as numbers, signs and
//! words in order, so that `1일 3회`, `3.5~5.0 mg/dL` and `<0.01` are all treated alike.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::normalise::Profile;
use crate::unit;

/// How a reading of a value relates to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// The same numbers to the last zero, signs and units.
    Equal,
    /// The same value with other zeros at its end: the precision is another.
    Zeros,
    /// The same unit in another spelling, such as `ug` for `μg`.
    UnitSpelling,
    /// A digit is another, missing or added.
    Digit,
    /// The digits are right and the decimal point is not: wrong by a power of ten.
    Decimal,
    /// A minus was lost or added.
    Sign,
    /// `<`, `>`, `≤` or `≥` was lost, added or turned round.
    Comparator,
    /// Another unit, or none.
    Unit,
    /// A number is missing, or there is one too many.
    Count,
    /// Numbers and units are right; other words are not.
    Words,
    /// Nothing was read.
    Missing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Number { text: String, digits: String, power: i32 },
    Comparator(char),
    Minus,
    Range,
    Word(String),
}

/// Compares a reading with the true value.
pub fn compare(truth: &str, reading: &str) -> Quantity {
    let (a, b) = (tokens(truth), tokens(reading));
    if b.is_empty() {
        return if a.is_empty() { Quantity::Equal } else { Quantity::Missing };
    }
    if a == b {
        return Quantity::Equal;
    }
    let (x, y) = (numbers(&a), numbers(&b));
    if x.len() != y.len() {
        return Quantity::Count;
    }
    let mut zeros = false;
    for ((text_a, digits_a, power_a), (text_b, digits_b, power_b)) in x.into_iter().zip(y) {
        match (digits_a == digits_b, power_a == power_b) {
            (true, true) => zeros |= text_a != text_b,
            (true, false) => return Quantity::Decimal,
            _ => return Quantity::Digit,
        }
    }
    let count = |tokens: &[Token], token: &Token| tokens.iter().filter(|t| *t == token).count();
    if count(&a, &Token::Minus) != count(&b, &Token::Minus) {
        return Quantity::Sign;
    }
    let comparators = |tokens: &[Token]| -> Vec<char> {
        tokens.iter().filter_map(|t| if let Token::Comparator(c) = t { Some(*c) } else { None }).collect()
    };
    if comparators(&a) != comparators(&b) {
        return Quantity::Comparator;
    }
    match words(&words_of(&a), &words_of(&b)) {
        Some(problem) => problem,
        None if count(&a, &Token::Range) != count(&b, &Token::Range) => Quantity::Words,
        None if zeros => Quantity::Zeros,
        None => Quantity::Words,
    }
}

/// What is wrong with the words, the units among them; `None` where nothing is.
fn words(a: &[&str], b: &[&str]) -> Option<Quantity> {
    if a == b {
        return None;
    }
    let known = |w: &&str| unit::ratio(w, w).is_some();
    let (units_a, units_b): (Vec<_>, Vec<_>) =
        (a.iter().filter(|w| known(w)).collect(), b.iter().filter(|w| known(w)).collect());
    if units_a == units_b {
        // The unit that was expected can have become a word that is none.
        return Some(if !units_a.is_empty() || a.len() != 1 { Quantity::Words } else { Quantity::Unit });
    }
    let same = units_a.len() == units_b.len()
        && units_a
            .iter()
            .zip(&units_b)
            .all(|(x, y)| unit::ratio(x, y).is_some_and(|r| (r - 1.0).abs() < 1e-9));
    Some(if same { Quantity::UnitSpelling } else { Quantity::Unit })
}

fn numbers(tokens: &[Token]) -> Vec<(&str, &str, i32)> {
    tokens
        .iter()
        .filter_map(|t| match t {
            Token::Number { text, digits, power } => Some((text.as_str(), digits.as_str(), *power)),
            _ => None,
        })
        .collect()
}

fn words_of(tokens: &[Token]) -> Vec<&str> {
    tokens.iter().filter_map(|t| if let Token::Word(w) = t { Some(w.as_str()) } else { None }).collect()
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = Profile::KoMed.apply(text).replace("<=", "≤").replace(">=", "≥").chars().collect();
    let mut out: Vec<Token> = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let rest = &chars[i..];
        let digits = rest.iter().take_while(|c| c.is_ascii_digit()).count();
        let power = digits > 0 && rest.get(digits).is_some_and(|c| raised(*c));
        let after_number = matches!(out.last(), Some(Token::Number { .. }));
        match rest[0] {
            c if c.is_whitespace() => i += 1,
            // After a slash, 1.73 m² and 10³ are parts of a unit.
            _ if digits > 0 && !power => {
                let (token, length) = number(rest, digits);
                out.push(token);
                i += length;
            }
            c @ ('<' | '>' | '≤' | '≥') => {
                out.push(Token::Comparator(c));
                i += 1;
            }
            '~' => {
                out.push(Token::Range);
                i += 1;
            }
            '-' if rest.get(1).is_some_and(char::is_ascii_digit) && !after_number => {
                out.push(Token::Minus);
                i += 1;
            }
            '-' if after_number => {
                out.push(Token::Range);
                i += 1;
            }
            _ => {
                let length = unit::at(rest).unwrap_or_else(|| {
                    let inside = |(k, c): &(usize, &char)| {
                        let own_power = power && *k <= digits;
                        own_power || !(c.is_whitespace() || c.is_ascii_digit() || "<>≤≥~".contains(**c))
                    };
                    rest.iter().enumerate().take_while(inside).count().max(1)
                });
                out.push(Token::Word(rest[..length].iter().collect()));
                i += length;
            }
        }
    }
    out
}

fn raised(c: char) -> bool {
    matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹')
}

/// The number at the begin and its length. Digits are kept without zeros at either end, with the power of ten of the last.
fn number(chars: &[char], whole: usize) -> (Token, usize) {
    let mut length = whole;
    let mut decimals = 0;
    if chars.get(whole) == Some(&'.') {
        decimals = chars[whole + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
        if decimals > 0 {
            length += 1 + decimals;
        }
    }
    let text: String = chars[..length].iter().collect();
    let all: String = text.chars().filter(char::is_ascii_digit).collect();
    let kept = all.trim_end_matches('0');
    let power = if kept.is_empty() { 0 } else { (all.len() - kept.len()) as i32 - decimals as i32 };
    (Token::Number { digits: kept.trim_start_matches('0').to_owned(), power, text }, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_hand() {
        use Quantity::{
            Comparator, Count, Decimal, Digit, Equal, Missing, Sign, Unit, UnitSpelling, Words, Zeros,
        };
        for (truth, reading, expected) in [
            ("500 mg", "500mg", Equal),
            ("500㎎", "５００ mg", Equal),
            ("1,250", "1250", Equal),
            ("13.5", "135", Decimal),
            ("0.5mg", "5mg", Decimal),
            ("0.5mg", "0.05mg", Decimal),
            ("5.0", "5", Zeros),
            ("100", "10", Decimal),
            ("13.5", "18.5", Digit),
            ("13.5", "13.", Digit),
            ("500mg", "500μg", Unit),
            ("500mg", "500", Unit),
            ("500μg", "500ug", UnitSpelling),
            ("7.2 10³/μL", "7.2 10^3/μL", Equal),
            ("7.2 10³/μL", "7.2 103/μL", Count),
            ("7.2 10³/μL", "7.2 10⁶/μL", Unit),
            ("<0.01", "0.01", Comparator),
            ("<0.01", ">0.01", Comparator),
            ("<=5", "≤5", Equal),
            ("-2.5", "2.5", Sign),
            ("3.5~5.0", "3.5-5.0", Equal),
            ("3.5~5.0", "3.5 5.0", Words),
            ("3.5~5.0", "3.5", Count),
            ("1일 3회", "1일3회", Equal),
            ("1일 3회", "1일 8회", Digit),
            ("1일 3회 식후", "1일 3회 식전", Words),
            ("1 0mg", "10mg", Count),
            ("5mg", " ", Missing),
            ("mg/dL", "mg/L", Unit),
            ("mg/dL", "ng/dL", Unit),
            ("mg/dL", "rng/dL", Unit),
        ] {
            assert_eq!(compare(truth, reading), expected, "{truth} read as {reading}");
        }
    }
}
