//! Units of measurement as they stand on prescriptions and laboratory reports.

/// Spelling, dimension and size of what units are made of. Sizes compare units of one dimension only.
const PARTS: &[(&str, &str, f64)] = &[
    ("kg", "mass", 1e3),
    ("g", "mass", 1.0),
    ("mg", "mass", 1e-3),
    ("μg", "mass", 1e-6),
    ("ug", "mass", 1e-6),
    ("mcg", "mass", 1e-6),
    ("ng", "mass", 1e-9),
    ("pg", "mass", 1e-12),
    ("L", "volume", 1.0),
    ("l", "volume", 1.0),
    ("dL", "volume", 0.1),
    ("dl", "volume", 0.1),
    ("mL", "volume", 1e-3),
    ("ml", "volume", 1e-3),
    ("cc", "volume", 1e-3),
    ("μL", "volume", 1e-6),
    ("uL", "volume", 1e-6),
    ("fL", "volume", 1e-15),
    ("mol", "amount", 1.0),
    ("mmol", "amount", 1e-3),
    ("μmol", "amount", 1e-6),
    ("umol", "amount", 1e-6),
    ("nmol", "amount", 1e-9),
    ("Eq", "equivalent", 1.0),
    ("mEq", "equivalent", 1e-3),
    ("IU", "international unit", 1.0),
    ("mIU", "international unit", 1e-3),
    ("μIU", "international unit", 1e-6),
    ("uIU", "international unit", 1e-6),
    ("U", "unit", 1.0),
    ("mm", "length", 1e-3),
    ("cm", "length", 1e-2),
    ("m", "length", 1.0),
    ("m²", "area", 1.0),
    ("hr", "time", 3600.0),
    ("h", "time", 3600.0),
    ("min", "time", 60.0),
    ("mmHg", "pressure", 1.0),
    ("°C", "temperature", 1.0),
    ("%", "share", 1.0),
    ("10³", "count", 1e3),
    ("10⁶", "count", 1e6),
    ("1.73m²", "body surface", 1.0),
    ("bpm", "beats", 1.0),
    ("정", "tablet", 1.0),
    ("캡슐", "capsule", 1.0),
    ("포", "sachet", 1.0),
    ("회", "times", 1.0),
    ("일", "day", 1.0),
    ("세", "year of age", 1.0),
    ("초", "second", 1.0),
];

/// Length of the unit that stands at the begin of `chars`, by itself: no letter follows.
pub(crate) fn at(chars: &[char]) -> Option<usize> {
    let mut end = part(chars)?;
    while chars.get(end) == Some(&'/') {
        match part(&chars[end + 1..]) {
            Some(more) => end += 1 + more,
            None => break,
        }
    }
    (!chars.get(end).is_some_and(|c| c.is_alphanumeric())).then_some(end)
}

/// Length of the longest part there.
fn part(chars: &[char]) -> Option<usize> {
    PARTS
        .iter()
        .filter_map(|(name, ..)| {
            let mut n = 0;
            name.chars()
                .all(|c| {
                    n += 1;
                    chars.get(n - 1) == Some(&c)
                })
                .then_some(n)
        })
        .max()
}

/// How `other` relates to `unit` where both measure the same: its size in units of `unit`. `None` where they do not, or
/// are not known.
pub fn ratio(unit: &str, other: &str) -> Option<f64> {
    let (a, b) = (measure(unit)?, measure(other)?);
    (a.0 == b.0).then(|| b.1 / a.1)
}

/// Dimensions in order, and the size.
fn measure(unit: &str) -> Option<(Vec<&'static str>, f64)> {
    let mut dimensions = Vec::new();
    let mut size = 1.0;
    for (i, piece) in unit.split('/').enumerate() {
        if i == 0 && piece.is_empty() {
            dimensions.push("");
            continue;
        }
        let (_, dimension, factor) = PARTS.iter().find(|(name, ..)| *name == piece)?;
        dimensions.push(*dimension);
        size = if i == 0 { *factor } else { size / factor };
    }
    Some((dimensions, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_of_units() {
        let close = |a: &str, b: &str, r: f64| (ratio(a, b).unwrap() / r - 1.0).abs() < 1e-9;
        assert!(close("mg", "μg", 1e-3) && close("mg/dL", "g/L", 100.0) && close("μg", "ug", 1.0));
        assert!(close("10³/μL", "10⁶/μL", 1e3) && close("/μL", "/mL", 1e-3));
        assert_eq!((ratio("mg", "mL"), ratio("mg/dL", "mmol/L"), ratio("mg", "xx")), (None, None, None));
    }

    #[test]
    fn a_unit_stands_by_itself() {
        let length = |text: &str| at(&text.chars().collect::<Vec<_>>());
        assert_eq!(
            (length("mg/dL (H)"), length("10³/μL"), length("mL/min/1.73m²")),
            (Some(5), Some(6), Some(13))
        );
        assert_eq!(
            (length("months"), length("일반"), length("일 3회"), length("")),
            (None, None, Some(1), None)
        );
    }
}
