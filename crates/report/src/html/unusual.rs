//! Requests that took unusually long or short, with what the record shows about why. They stay in every metric.

use stopwatt_analyse::unusual::{Cause, Unusual, unusual};
use stopwatt_core::Metric;
use stopwatt_core::text::Text;

use super::Page;
use crate::markup::Markup;
use crate::quantity::{Kind, Scale, count};

/// Rows shown, at most: the furthest from the others.
const SHOWN: usize = 12;

impl Page<'_> {
    /// The section; nothing when no request stands out.
    pub(super) fn unusual(&self, m: &mut Markup) {
        let point = self.view.doc.headline_point.and_then(|p| u32::try_from(p).ok()).unwrap_or(0);
        let of = |metric: Metric| {
            unusual(self.view.record.measured(), point, metric).into_iter().map(move |u| (metric, u))
        };
        let mut found: Vec<(Metric, Unusual)> = of(Metric::Ttft).chain(of(Metric::Tpot)).collect();
        if found.is_empty() {
            return;
        }
        let total = found.len() as u64;
        found.sort_by(|(a, x), (b, y)| a.cmp(b).then(y.value.total_cmp(&x.value)).then(x.id.cmp(&y.id)));
        found.truncate(SHOWN);
        self.section(m, "unusual", Text::UnusualTitle, |m| {
            let shown = count(found.len() as u64);
            m.el_text("p", &[("class", "note")], &self.say(Text::UnusualNote, &[&shown, &count(total)]));
            let headers =
                [Text::Metric, Text::RequestColumn, Text::TrialColumn, Text::CauseColumn, Text::ValueColumn];
            self.table(m, &headers, 4, |m| {
                for (metric, u) in &found {
                    m.el("tr", &[], |m| {
                        m.el_text("td", &[], metric.title(self.view.lang));
                        m.el_text("td", &[], &format!("#{}", u.id));
                        m.el_text("td", &[], &(u.trial + 1).to_string());
                        m.el_text("td", &[], self.text(cause(u.cause)));
                        m.el_text(
                            "td",
                            &[("class", "n")],
                            &Scale::of(Kind::Time, u.value).with_unit(u.value),
                        );
                    });
                }
            });
        });
    }
}

fn cause(cause: Cause) -> Text {
    match cause {
        Cause::NewConnection => Text::CauseConnection,
        Cause::AfterPause => Text::CausePause,
        Cause::FirstOfTrial => Text::CauseFirst,
        // Causes of a newer analysis have no words here yet.
        _ => Text::CauseUnknown,
    }
}
