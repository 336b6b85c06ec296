//! The acceptance of a change over several workloads, on a terminal.

use std::fmt::Write as _;

use stopwatt_core::comparison::{AcceptanceDoc, GateState};
use stopwatt_core::text::{Lang, Text, fill};

use crate::comparison::comparison;
use crate::table::{Paint, inert, wrap};
use crate::terminal::Style;

/// Each workload's comparison and files, then the verdict.
pub fn acceptance(doc: &AcceptanceDoc, lang: Lang, style: Style<'_>) -> String {
    let paint = Paint(style.color);
    let width = usize::from(style.width.max(40)).saturating_sub(4);
    let mut out = String::new();
    for (i, pair) in (1..).zip(&doc.pairs) {
        let title = fill(Text::AcceptancePair.get(lang), &[&format!("{i}/{}", doc.pairs.len())]);
        let _ = writeln!(out, "{}", paint.bold(&title));
        out.push_str(&comparison(&pair.comparison, lang, style));
        let _ = writeln!(out, "\n{}", paint.bold(Text::ArtefactsTitle.get(lang)));
        for artefact in &pair.artefacts {
            let (mark, said) = match (&artefact.unavailable, artefact.present) {
                (_, true) => ("✓", Text::ArtefactPresent.get(lang).to_owned()),
                (Some(why), false) => ("–", fill(Text::Unavailable.get(lang), &[why])),
                (None, false) => ("✗", Text::ArtefactMissing.get(lang).to_owned()),
            };
            let line = format!("{}/{}: {said}", artefact.run, artefact.file);
            for (j, line) in wrap(&inert(&line), width).into_iter().enumerate() {
                let _ = writeln!(out, "  {} {line}", if j == 0 { mark } else { " " });
            }
        }
        out.push('\n');
    }
    let (mark, text) = match doc.acceptance {
        GateState::Passed => ("✓", Text::Accepted),
        GateState::Failed => ("✗", Text::AcceptanceFailed),
        GateState::Inconclusive => ("?", Text::AcceptanceOpen),
    };
    let title = format!("{mark} {}", text.get(lang));
    let painted = match doc.acceptance {
        GateState::Passed => paint.good(&title),
        GateState::Failed => paint.bad(&title),
        GateState::Inconclusive => paint.warn(&title),
    };
    let _ = writeln!(out, "{painted}");
    for reason in &doc.reasons {
        for (j, line) in wrap(&inert(reason), width).into_iter().enumerate() {
            let _ = writeln!(out, "  {} {line}", if j == 0 { "·" } else { " " });
        }
    }
    out
}
