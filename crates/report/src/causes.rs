//! Root causes in words, for the terminal and the page.

use stopwatt_core::cause::Cause;
use stopwatt_core::comparison::ComparisonDoc;
use stopwatt_core::text::{Lang, Text};

/// What stands there when no cause was found.
pub(crate) fn none(doc: &ComparisonDoc, lang: Lang) -> &'static str {
    let text = if doc.asks_for_a_cause() { Text::CausesNone } else { Text::CausesNothing };
    text.get(lang)
}

/// `80 %`; in brackets where it is a rank.
pub(crate) fn share(cause: &Cause) -> String {
    let percent = format!("{:.0} %", cause.weight * 100.0);
    if cause.computed { percent } else { format!("({percent})") }
}

/// The name of the kind, and of the candidate where there are several.
pub(crate) fn title(cause: &Cause, doc: &ComparisonDoc, lang: Lang) -> String {
    let kind = cause.kind.title().get(lang);
    if doc.candidates.len() > 1 { format!("{} · {kind}", cause.run) } else { kind.to_owned() }
}

/// `Kernels: kernels were not profiled on both sides`, one for each check that could not be made.
pub(crate) fn unchecked(doc: &ComparisonDoc, lang: Lang) -> Vec<String> {
    let mut lines: Vec<String> =
        doc.unchecked.iter().map(|u| format!("{}: {}", u.kind.title().get(lang), u.reason(lang))).collect();
    lines.dedup();
    lines
}
