//! What a search over load found, in words that the terminal and the page share.

use stopwatt_core::search::{FindKind, ObjectiveLook, Search, SearchLook, Verdict};
use stopwatt_core::text::{Lang, Text, fill};

use crate::quantity::{Kind, Scale};

/// A load, with its unit where it has one.
pub(crate) fn load(find: FindKind, load: f64, lang: Lang) -> String {
    match find {
        FindKind::MaxRate => {
            let number = Scale::of(Kind::Plain, load).number(load);
            format!("{number} {}", Text::SearchRateUnit.get(lang))
        }
        FindKind::MaxConcurrency => format!("{load:.0}"),
    }
}

/// The answer, line by line: a title and what stands beside it.
pub(crate) fn lines(search: &Search, lang: Lang) -> Vec<(&'static str, String)> {
    let text = |t: Text| t.get(lang);
    let shown = |l: f64| load(search.find, l, lang);
    let title = text(match search.find {
        FindKind::MaxRate => Text::SearchMaxRate,
        FindKind::MaxConcurrency => Text::SearchMaxConcurrency,
    });
    let found = &search.found;
    let answer = match found.value {
        Some(value) => {
            let edge = found.interval.map(|i| fill(text(Text::SearchFails), &[&shown(i.hi)]));
            let second = if search.confirmed { Text::SearchConfirmed } else { Text::SearchUnconfirmed };
            let rest = edge.or_else(|| found.reason.clone());
            [Some(shown(value)), rest, Some(text(second).to_owned())]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("; ")
        }
        None => fill(text(Text::SearchNotFound), &[found.reason.as_deref().unwrap_or_default()]),
    };
    let mut lines = vec![(title, answer), (text(Text::SearchObjectives), search.objectives.join(", "))];
    if !search.unresolved.is_empty() {
        let loads = search.unresolved.iter().map(|l| shown(*l)).collect::<Vec<_>>().join(", ");
        lines.push((text(Text::SearchUnresolved), loads));
    }
    if let Some(why) = &search.stopped {
        lines.push((text(Text::SearchStopped), why.clone()));
    }
    let knee = match (search.knee.value, search.knee.interval) {
        (Some(at), Some(i)) => fill(text(Text::SearchKneeBetween), &[&shown(at), &shown(i.lo), &shown(i.hi)]),
        (Some(at), None) => shown(at),
        (None, _) => search.knee.reason.clone().unwrap_or_default(),
    };
    lines.push((text(Text::SearchKnee), knee));
    lines
}

/// Headers and rows of the loads that were looked at, in order of load.
pub(crate) fn looks(search: &Search, lang: Lang) -> (Vec<String>, Vec<Vec<String>>) {
    let text = |t: Text| t.get(lang).to_owned();
    let mut headers = vec![text(Text::SearchLoadColumn), text(Text::SearchVerdictColumn)];
    headers.extend(search.objectives.iter().cloned());
    if search.find == FindKind::MaxRate {
        headers.push(text(Text::SearchGrowth));
    }
    headers.push(text(Text::TrialsColumn));
    headers.push(text(Text::RequestsColumn));
    let mut sorted: Vec<&SearchLook> = search.looks.iter().collect();
    sorted.sort_by(|a, b| a.load.total_cmp(&b.load));
    let share = |v: f64| Scale::of(Kind::Share, 1.).with_unit(v);
    let row = |look: &&SearchLook| {
        let mut row = vec![load(search.find, look.load, lang), verdict(look, lang)];
        row.extend(look.objectives.iter().map(objective));
        if search.find == FindKind::MaxRate {
            row.push(look.queue_growth.map_or_else(|| "–".to_owned(), share));
        }
        row.extend([look.trials.to_string(), look.requests.to_string()]);
        row
    };
    (headers, sorted.iter().map(row).collect())
}

fn verdict(look: &SearchLook, lang: Lang) -> String {
    let word = match look.verdict {
        Verdict::Holds => Text::SearchHolds,
        Verdict::Fails => Text::SearchFailed,
        Verdict::Unclear => Text::SearchUnclear,
    };
    let veto = match look.veto.as_deref() {
        Some("queue") => Some(Text::SearchVetoQueue),
        Some(_) => Some(Text::SearchVetoFailures),
        None => None,
    };
    let again = look.again.then_some(Text::SearchAgain);
    let more: Vec<&str> = [veto, again].into_iter().flatten().map(|t| t.get(lang)).collect();
    let word = word.get(lang);
    if more.is_empty() { word.to_owned() } else { format!("{word} ({})", more.join(", ")) }
}

/// The statistic, and what was tested with its bounds: a share of values, or a mean.
fn objective(look: &ObjectiveLook) -> String {
    let is_share = !look.objective.starts_with("mean ");
    let of_rate = look.objective.starts_with("error_rate");
    let time = |v: f64| Scale::of(Kind::Time, v).with_unit(v);
    let share = |v: f64| Scale::of(Kind::Share, 1.).with_unit(v);
    let value = look.value.filter(|_| !of_rate).map_or_else(|| "–".to_owned(), time);
    let (Some(tested), Some(lo), Some(hi)) = (look.tested, look.lo, look.hi) else { return value };
    match (is_share, of_rate) {
        (_, true) => format!("{} [{}, {}]", share(tested), share(lo), share(hi)),
        (true, _) => format!("{value}, {} > [{}, {}]", share(tested), share(lo), share(hi)),
        (false, _) => format!("{value} [{}, {}]", time(lo), time(hi)),
    }
}
