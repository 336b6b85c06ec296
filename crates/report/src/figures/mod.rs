//! Which plots a run gets, and what is drawn in them.
//!
//! Values of single requests come from `analyse`, so a plot and the table beside it share one definition. Every
//! series is thinned before it is drawn: a run of any length gives a page of about the same size.

mod cost;
pub(crate) mod distribution;
mod engine;
mod lengths;
mod load;
mod machine;
mod requests;
mod search;
mod timeline;

use stopwatt_core::text::{Lang, Text, fill};
use stopwatt_core::{EndKind, Metric, RequestRow};

use crate::View;
use crate::facts::Facts;
use crate::svg::Chart;

/// The plots of a report, by section.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Against load, for a sweep.
    pub(crate) load: Vec<Chart>,
    /// Goodput and the objectives against load, for a search.
    pub(crate) search: Vec<Chart>,
    /// Distributions of latency at the headline point.
    pub(crate) latency: Vec<Chart>,
    /// The run over time.
    pub(crate) timeline: Vec<Chart>,
    /// Requests one by one.
    pub(crate) requests: Vec<Chart>,
    /// Cost against interactivity.
    pub(crate) cost: Vec<Chart>,
    /// Lengths of inputs and outputs.
    pub(crate) lengths: Vec<Chart>,
}

impl Figures {
    /// Draws everything that the record supports.
    pub(crate) fn of(view: &View<'_>, facts: &Facts<'_>) -> Self {
        let shown = headline_requests(view);
        Self {
            load: load::charts(view.doc, facts, view.lang),
            search: search::charts(view.doc, view.lang),
            latency: distribution::charts(
                &shown,
                view.record.ordered_gaps(Metric::Itl, headline(view).unwrap_or(0)),
                view.lang,
            ),
            timeline: timeline::charts(view, facts),
            requests: requests::charts(view, facts),
            cost: cost::charts(view.doc.cost.as_ref(), view.lang),
            lengths: lengths::charts(&shown, view.lang),
        }
    }
}

/// Successful measured requests of the headline point.
pub(crate) fn headline_requests<'a>(view: &View<'a>) -> Vec<&'a RequestRow> {
    let at = |r: &&RequestRow| headline(view).is_none_or(|p| r.point == p);
    view.record.measured().iter().filter(|r| r.end == EndKind::Ok).filter(at).collect()
}

fn headline(view: &View<'_>) -> Option<u32> {
    view.doc.headline_point.and_then(|p| u32::try_from(p).ok())
}

/// A catalogue text, with the given values in its marks.
fn say(lang: Lang, text: Text, values: &[&str]) -> String {
    fill(text.get(lang), values)
}
