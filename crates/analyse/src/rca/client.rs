//! The load client: its limits, and requests that it sent too late.

use stopwatt_core::Metric;
use stopwatt_core::cause::CauseCode;
use stopwatt_core::metrics_doc::MetricsDoc;
use stopwatt_core::verdict::Code;

use super::{Case, Found, Look, POSSIBLE, short};

/// Findings of the validity verdict that speak of the client.
const FINDINGS: [Code; 6] = [
    Code::ClientBound,
    Code::ClientCeiling,
    Code::ClientLate,
    Code::ClientStarved,
    Code::SendLag,
    Code::LoadNotDelivered,
];
/// Weight of a client at its limit: the numbers are its own.
const LIMIT: f64 = 0.9;
/// Share of the change below which lateness is not worth a word.
const SHARE: f64 = 0.05;

pub(super) fn look(case: &Case<'_>) -> Look {
    let sides = [(case.doc.baseline.name.as_str(), case.a.doc), (case.run, case.b.doc)];
    let findings =
        sides.into_iter().flat_map(|(run, doc)| doc.into_iter().flat_map(move |d| findings(run, d)));
    let late: Vec<Found> = case.points().into_iter().filter_map(|point| late(case, point)).collect();
    Look::of(findings.chain(late))
}

fn findings<'a>(run: &'a str, doc: &'a MetricsDoc) -> impl Iterator<Item = Found> + 'a {
    let about_client = doc.validity.reasons.iter().filter(|r| FINDINGS.iter().any(|c| c.name() == r.code));
    about_client.flat_map(move |reason| {
        let weight = if reason.fatal { LIMIT } else { POSSIBLE };
        reason.cases.iter().map(move |at| {
            let figures = [run.to_owned(), reason.code.clone()].into_iter().chain(at.values.iter().cloned());
            Found::ranked(CauseCode::ClientFinding, weight, figures).at(at.point.as_deref())
        })
    })
}

/// Lateness counts in the latency from the schedule, and there it is the client's.
fn late(case: &Case<'_>, point: Option<&str>) -> Option<Found> {
    let scheduled = Metric::E2eFromSchedule.name();
    case.here(point).find(|s| s.metric == scheduled)?;
    let lag = case.row(Metric::SendLag.name(), "mean", point)?;
    let latency = case.row(scheduled, "mean", point)?;
    let (x, y) = (lag.baseline?, lag.candidate?);
    let share = (y - x) / (latency.candidate? - latency.baseline?);
    let values = [short(x * 1e3), short(y * 1e3), scheduled.to_owned()];
    (share.is_finite() && share >= SHARE)
        .then(|| Found::explaining(CauseCode::SendLag, share, values).at(point))
}
