//! What a reader must know besides the numbers: licences, what the energy can and cannot say, how to do it again.

use stopwatt_core::comparison::ComparisonDoc;
use stopwatt_core::text::Text;

use super::Page;
use crate::View;
use crate::html::{section, words_table};
use crate::markup::Markup;
use crate::quantity::{Kind, Scale};
use crate::settings::{command, settings};

impl Page<'_> {
    /// The licences that the configurations state.
    pub(super) fn licences(&self, m: &mut Markup) {
        let headers = [Text::RunName, Text::BaModelLicence, Text::BaDataLicence].map(|t| self.text(t));
        words_table(m, &headers, 3, |m| {
            for (run, side) in self.sides() {
                let [model, data] = side.view.map(|v| stated(&v)).unwrap_or_default();
                m.el("tr", &[], |m| {
                    m.el_text("td", &[], &run.name);
                    for licence in [model, data] {
                        let said = licence.as_deref().unwrap_or_else(|| self.text(Text::BaNotStated));
                        m.el_text("td", &[("class", if licence.is_some() { "" } else { "soft" })], said);
                    }
                });
            }
        });
    }

    /// What the energy can and cannot say; nothing when none was measured.
    pub(super) fn energy(&self, m: &mut Markup) {
        let read = || self.sides().filter_map(|(_, side)| side.sensors).map(|s| s.series("power_w"));
        let readings = read().find(|s| s.len() > 1);
        if readings.is_none() && !measured(self.doc()) && !self.any_ept() {
            return;
        }
        section(m, "energy", self.text(Text::BaEnergy), |m| {
            m.el("ul", &[("class", "plain")], |m| {
                if let Some(s) = &readings {
                    let period = (s[s.len() - 1].0 - s[0].0) / (s.len() - 1) as f64;
                    let shown = Scale::of(Kind::Time, period).with_unit(period);
                    m.el_text("li", &[], &self.say(Text::BaEnergySampling, &[&shown]));
                }
                for text in [Text::BaEnergyEdges, Text::BaEnergyGain, Text::BaEnergyScope] {
                    m.el_text("li", &[], self.text(text));
                }
            });
        });
    }

    fn any_ept(&self) -> bool {
        self.sides().filter_map(|(_, side)| side.view).any(|v| v.doc.ept_j_per_tok.is_some())
    }

    /// The commands that lead here again.
    pub(super) fn again(&self, m: &mut Markup) {
        m.el_text("p", &[("class", "note at")], self.text(Text::ReproduceMeasure));
        for (_, side) in self.sides() {
            if let Some(view) = side.view {
                m.el_lines("pre", &[], &command(&view.doc.pipeline.mode, &settings(view.config)));
            }
        }
        m.el_text("p", &[("class", "note at")], self.text(Text::ReproduceReport));
        let doc = self.doc();
        let names = std::iter::once(&doc.baseline).chain(&doc.candidates).map(|r| r.name.as_str());
        let names: Vec<&str> = names.collect();
        m.el_text("pre", &[], &format!("stopwatt compare {} --html compare.html", names.join(" ")));
    }
}

/// Licences of model and data: settings named `licence` (or `license`), of `workload` for the data, else for the model.
fn stated(view: &View<'_>) -> [Option<String>; 2] {
    let all = settings(view.config);
    let find = |of_data: bool| {
        let named = |key: &str| {
            let (group, name) = key.rsplit_once('.').unwrap_or(("", key));
            ["licence", "license"].contains(&name) && (group == "workload") == of_data
        };
        let found = all.iter().find(|s| named(&s.key) && s.value != "null" && !s.value.is_empty());
        found.map(|s| s.value.clone())
    };
    [find(false), find(true)]
}

/// Whether an energy was compared.
fn measured(doc: &ComparisonDoc) -> bool {
    doc.comparisons.iter().any(|c| c.metric.contains("energy") && c.baseline.is_some())
}
