//! What stands behind the numbers: failures, warm-up and trials, environment, settings, how to do it again.

use std::collections::BTreeMap;

use stopwatt_core::RequestRow;
use stopwatt_core::text::Text;

use super::Page;
use crate::markup::Markup;
use crate::quantity::{Kind, Scale, count};
use crate::settings::{command, settings};
use crate::summary;

impl Page<'_> {
    /// Failures by kind, with what the engine answered.
    pub(super) fn errors(&self, m: &mut Markup) {
        let failures = summary::failures(self.view.doc);
        if failures.is_empty() {
            return m.el_text("p", &[("class", "note")], self.text(Text::NoErrors));
        }
        let requests: u64 = self.view.doc.points.iter().map(|p| p.requests).sum();
        let headers = [
            Text::ErrorKind,
            Text::Meaning,
            Text::StatusColumn,
            Text::BodyColumn,
            Text::RequestsColumn,
            Text::ShareColumn,
        ];
        self.table(m, &headers, 4, |m| {
            for (kind, n) in failures {
                let (statuses, bodies) = self.answers(kind);
                let share = Scale::of(Kind::Share, 1.).with_unit(n as f64 / requests.max(1) as f64);
                m.el("tr", &[], |m| {
                    m.el("td", &[], |m| m.el_text("code", &[], kind));
                    m.el_text("td", &[], summary::end_text(kind).map_or("", |t| self.text(t)));
                    m.el_text("td", &[], &statuses);
                    m.el("td", &[], |m| m.el_text("code", &[], &bodies));
                    m.el_text("td", &[("class", "n")], &count(n));
                    m.el_text("td", &[("class", "n")], &share);
                });
            }
        });
    }

    /// HTTP statuses and error bodies of the measured requests that ended in one kind, each with how often.
    fn answers(&self, kind: &str) -> (String, String) {
        let of_kind = |r: &&RequestRow| r.end.name() == kind;
        let mut statuses = BTreeMap::<u16, u64>::new();
        let mut bodies = BTreeMap::<(u64, Option<u32>), u64>::new();
        for r in self.view.record.measured().iter().filter(of_kind) {
            if let Some(status) = r.status {
                *statuses.entry(status).or_default() += 1;
            }
            if let Some(hash) = r.error_hash {
                *bodies.entry((hash.get(), r.error_len)).or_default() += 1;
            }
        }
        let times = |n: u64| if n > 1 { format!(" ×{}", count(n)) } else { String::new() };
        let statuses: Vec<String> = statuses.into_iter().map(|(s, n)| format!("{s}{}", times(n))).collect();
        let body = |((hash, len), n): ((u64, Option<u32>), u64)| {
            format!("{hash:016x}{}{}", len.map(|l| format!(", {l} B")).unwrap_or_default(), times(n))
        };
        // Many different bodies are as good as none: the first tell enough.
        let bodies: Vec<String> = bodies.into_iter().take(4).map(body).collect();
        (statuses.join(", "), bodies.join("; "))
    }

    /// One row a point: how it was warmed up, and what its trials hold.
    pub(super) fn trials(&self, m: &mut Markup) {
        let headers = [
            Text::PointColumn,
            Text::WarmupColumn,
            Text::SteadyColumn,
            Text::TrialsColumn,
            Text::MeasuredColumn,
            Text::PerTrialColumn,
        ];
        let mut ended = BTreeMap::<(u32, u32), u64>::new();
        for r in self.view.record.measured() {
            *ended.entry((r.point, r.trial)).or_default() += 1;
        }
        self.table(m, &headers, 3, |m| {
            for (i, point) in self.view.doc.points.iter().enumerate() {
                let here = |p: u32| usize::try_from(p).ok() == Some(i);
                let warm = self.facts.warmups.iter().rfind(|w| here(w.point));
                let trials: Vec<_> = self.facts.trials.iter().filter(|t| here(t.point)).collect();
                let sizes = || ended.iter().filter(|((p, _), _)| here(*p)).map(|(_, n)| *n);
                let sizes = match (sizes().min(), sizes().max()) {
                    (Some(least), Some(most)) if least < most => format!("{}–{}", count(least), count(most)),
                    (Some(n), _) => count(n),
                    _ => "–".to_owned(),
                };
                m.el("tr", &[], |m| {
                    m.el_text("td", &[], &point.label);
                    m.el_text(
                        "td",
                        &[],
                        &warm.map_or_else(
                            || "–".to_owned(),
                            |w| self.say(Text::RequestCount, &[&count(w.requests)]),
                        ),
                    );
                    m.el("td", &[], |m| {
                        let Some(warm) = warm else { return m.text("–") };
                        m.text(self.text(match warm.steady {
                            Some(true) => Text::SteadyYes,
                            Some(false) => Text::SteadyNo,
                            None => Text::SteadyOff,
                        }));
                        m.el_text("small", &[], warm.detail);
                    });
                    m.el_text("td", &[("class", "n")], &count(trials.len() as u64));
                    m.el_text("td", &[("class", "n")], &Scale::of(Kind::Time, 1.).with_unit(point.wall_s));
                    m.el_text("td", &[("class", "n")], &sizes);
                });
            }
        });
    }

    /// The machine, the engine and the client.
    pub(super) fn environment(&self, m: &mut Markup) {
        let doc = self.view.doc;
        let unknown = self.text(Text::Unknown);
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut add = |title: String, value: Option<String>| {
            rows.push((title, value.unwrap_or_else(|| unknown.to_owned())))
        };
        let bytes = |b: u64| Scale::of(Kind::Bytes, b as f64).with_unit(b as f64);
        let word = |b: bool| self.text(if b { Text::Yes } else { Text::No }).to_owned();
        if let Some(f) = self.facts.fingerprint {
            add(self.text(Text::EnvVersion).to_owned(), Some(f.stopwatt.clone()));
            add(self.text(Text::EnvOs).to_owned(), f.os.clone());
            let cpus = f.cpus.map(|n| self.say(Text::CpuCount, &[&n.to_string()]));
            add(
                self.text(Text::EnvCpu).to_owned(),
                f.cpu
                    .clone()
                    .map(|cpu| [Some(cpu), cpus].into_iter().flatten().collect::<Vec<_>>().join(", ")),
            );
            add(
                self.text(Text::EnvFeatures).to_owned(),
                Some(f.cpu_features.join(" ")).filter(|x| !x.is_empty()),
            );
            add(self.text(Text::EnvMemory).to_owned(), f.memory_bytes.map(bytes));
            let gpus = if f.gpus.is_empty() { self.text(Text::NoGpu).to_owned() } else { f.gpus.join(", ") };
            add(self.text(Text::EnvGpu).to_owned(), Some(gpus));
            if !f.gpus.is_empty() {
                add(self.text(Text::EnvDriver).to_owned(), f.driver.clone());
            }
            add(self.text(Text::EnvClocks).to_owned(), f.fixed_clock.map(word));
            for (key, value) in &f.engine {
                add(self.say(Text::EnvEngine, &[key]), Some(value.clone()));
            }
            let gpus = crate::gpu::rows(f, self.facts.gpu_settings, self.view.lang);
            for (title, value) in gpus.into_iter().chain(crate::software::rows(f, self.view.lang)) {
                add(title, Some(value));
            }
        }
        let stated = |feature: &str| self.facts.fingerprint.is_some_and(|f| f.engine.contains_key(feature));
        for (feature, answer) in self.facts.features.iter().filter(|(feature, _)| !stated(feature)) {
            add(self.say(Text::EnvProbe, &[feature]), Some((*answer).to_owned()));
        }
        let client = summary::client(doc, self.view.lang);
        if !client.is_empty() {
            add(self.text(Text::Client).to_owned(), Some(client));
        }
        add(self.text(Text::EnvSeed).to_owned(), Some(doc.env.seed.to_string()));
        add(self.text(Text::EnvHash).to_owned(), Some(doc.env.hash.clone()).filter(|h| !h.is_empty()));
        add(self.text(Text::EnvFormat).to_owned(), Some(doc.format.clone()));
        m.el("dl", &[("class", "pairs")], |m| {
            for (title, value) in &rows {
                m.el("div", &[], |m| {
                    m.el_text("dt", &[], title);
                    m.el_text("dd", &[], value);
                });
            }
        });
        if !doc.env.not_fixed.is_empty() {
            m.el_text("h3", &[], self.text(Text::NotFixedTitle));
            m.el("ul", &[("class", "not-fixed")], |m| {
                for entry in &doc.env.not_fixed {
                    m.el_text("li", &[], &entry.sentence(self.view.lang));
                }
            });
        }
    }

    /// Every setting with its origin.
    pub(super) fn settings(&self, m: &mut Markup) {
        m.el_text("p", &[("class", "note")], self.text(Text::SettingsNote));
        let default = self.text(Text::OriginDefault);
        self.table(m, &[Text::SettingColumn, Text::ValueColumn, Text::OriginColumn], 3, |m| {
            for setting in settings(self.view.config) {
                m.el("tr", &[], |m| {
                    m.el("td", &[], |m| m.el_text("code", &[], &setting.key));
                    m.el("td", &[], |m| m.el_text("code", &[], &setting.value));
                    let from = if setting.chosen() { setting.origin.to_string() } else { default.to_owned() };
                    m.el_text("td", &[("class", if setting.chosen() { "" } else { "soft" })], &from);
                });
            }
        });
    }

    /// Commands that lead here again.
    pub(super) fn reproduce(&self, m: &mut Markup) {
        let doc = self.view.doc;
        m.el_text("p", &[("class", "note at")], self.text(Text::ReproduceMeasure));
        m.el_lines("pre", &[], &command(&doc.pipeline.mode, &settings(self.view.config)));
        m.el_text("p", &[("class", "note at")], self.text(Text::ReproduceRun));
        m.el_text("pre", &[], &format!("stopwatt reproduce {}", doc.run_id));
        m.el_text("p", &[("class", "note at")], self.text(Text::ReproduceReport));
        m.el_text("pre", &[], &format!("stopwatt report {}", doc.run_id));
    }

    /// A table of words; columns from `numbers` on are numbers.
    pub(super) fn table(
        &self,
        m: &mut Markup,
        headers: &[Text],
        numbers: usize,
        body: impl FnOnce(&mut Markup),
    ) {
        let headers: Vec<&str> = headers.iter().map(|t| self.text(*t)).collect();
        super::words_table(m, &headers, numbers, body);
    }
}
