//! Footnotes: reasons for missing numbers, each said once.

use stopwatt_core::metrics_doc::Estimate;

/// Reasons, numbered in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<String>);

impl Notes {
    /// The mark of a reason: `¹`.
    pub(crate) fn mark(&mut self, reason: &str) -> String {
        let i = self.0.iter().position(|r| r == reason).unwrap_or_else(|| {
            self.0.push(reason.to_owned());
            self.0.len() - 1
        });
        superscript(i + 1)
    }

    /// The mark of an estimate's reason; empty when it has none.
    pub(crate) fn of(&mut self, estimate: &Estimate) -> String {
        estimate.reason.as_deref().map(|reason| self.mark(reason)).unwrap_or_default()
    }

    /// The reasons, in order of their numbers.
    pub(crate) fn reasons(&self) -> &[String] {
        &self.0
    }
}

/// A number in raised digits.
pub(crate) fn superscript(n: usize) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    n.to_string().bytes().map(|b| DIGITS[usize::from(b - b'0')]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_one_number() {
        let mut notes = Notes::default();
        assert_eq!([notes.mark("a"), notes.mark("b"), notes.mark("a")], ["¹", "²", "¹"]);
        assert_eq!(notes.reasons(), ["a", "b"]);
        assert_eq!(superscript(120), "¹²⁰");
    }
}
