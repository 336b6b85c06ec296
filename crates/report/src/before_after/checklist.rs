//! The checklist of the measurement procedure, ticked by what the records show: each step is done or not done, with the
//! reason. What no record shows is not done.

use stopwatt_core::comparison::{Artefact, MetricComparison};
use stopwatt_core::metrics_doc::MetricsDoc;
use stopwatt_core::text::Text;

use super::Page;
use crate::View;
use crate::facts::Facts;
use crate::html::words_table;
use crate::markup::Markup;
use crate::quantity::{Kind, Scale, count};

/// Trials a side that the procedure asks for at least.
const TRIALS: u64 = 3;
/// Share of the CPU time that other processes may use.
const OTHERS: f64 = 0.05;
/// The sensors' column for it.
const OTHERS_COLUMN: &str = "cpu_others";

/// One step.
struct Step {
    title: Text,
    done: bool,
    reason: String,
}

/// A run with its name.
type Run<'a> = (&'a str, View<'a>);

impl Page<'_> {
    /// Both lists of the procedure.
    pub(super) fn checklist(&self, m: &mut Markup) {
        m.el_text("p", &[("class", "note")], self.text(Text::BaChecklistNote));
        let environment =
            [self.locked(), self.versions(), self.warm(), self.seed(), self.background(), self.input()];
        let measurement = [
            self.fingerprint(),
            self.repeats(),
            self.latency(),
            self.reported(Text::CkL2, "l2_hit_pct", |d| d.l2_hit_pct, "%"),
            self.reported(Text::CkEnergy, "ept_j_per_tok", |d| d.ept_j_per_tok, "J"),
            self.difference(),
            self.files(),
        ];
        for (title, steps) in
            [(Text::CkEnvironment, &environment[..]), (Text::CkMeasurement, &measurement[..])]
        {
            m.el_text("h3", &[("class", "at")], self.text(title));
            let headers = [Text::BaStatus, Text::BaStep, Text::BaShown].map(|t| self.text(t));
            words_table(m, &headers, 3, |m| {
                for step in steps {
                    let (class, mark, word) = match step.done {
                        true => ("good nowrap", "✓", Text::BaDone),
                        false => ("flag nowrap", "✗", Text::BaNotDone),
                    };
                    m.el("tr", &[], |m| {
                        m.el_text("td", &[("class", class)], &format!("{mark} {}", self.text(word)));
                        m.el_text("td", &[], self.text(step.title));
                        m.el_text("td", &[], &step.reason);
                    });
                }
            });
        }
    }

    fn runs(&self) -> Vec<Run<'_>> {
        self.sides().filter_map(|(run, side)| Some((run.name.as_str(), side.view?))).collect()
    }

    /// A step that needs every side to be a run: what `check` says of them, else which one is none.
    fn of_runs(&self, title: Text, check: impl FnOnce(&[Run<'_>]) -> (bool, String)) -> Step {
        let samples: Vec<&str> =
            self.sides().filter(|(_, s)| s.view.is_none()).map(|(run, _)| run.name.as_str()).collect();
        let (done, reason) = match samples.is_empty() {
            true => check(&self.runs()),
            false => (false, self.say(Text::CkSamples, &[&samples.join(", ")])),
        };
        Step { title, done, reason }
    }

    fn locked(&self) -> Step {
        self.of_runs(Text::CkLocked, |runs| {
            let of = |state: Option<bool>| {
                let named =
                    runs.iter().filter(|(_, v)| v.doc.env.fixed_clock == state).map(|(name, _)| *name);
                named.collect::<Vec<_>>().join(", ")
            };
            match (of(Some(false)).as_str(), of(None).as_str()) {
                ("", "") => (true, self.text(Text::CkClocksFixed).to_owned()),
                ("", unknown) => (false, self.say(Text::CkClocksUnknown, &[unknown])),
                (not, _) => (false, self.say(Text::CkClocksNot, &[not])),
            }
        })
    }

    fn versions(&self) -> Step {
        self.of_runs(Text::CkVersions, |runs| {
            let versions = |view: &View<'_>| {
                let facts = Facts::read(view.log);
                let f = facts.fingerprint?;
                let gpu = f.driver.as_ref().map(|d| format!("{} {d}", self.text(Text::EnvDriver)));
                let parts = [Some(format!("Stopwatt {}", f.stopwatt)), f.os.clone(), gpu, facts.engine()];
                Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
            };
            self.every(runs, versions)
        })
    }

    /// The same of every run: what was found, else which runs lack it.
    fn every(&self, runs: &[Run<'_>], find: impl Fn(&View<'_>) -> Option<String>) -> (bool, String) {
        let found: Vec<(&str, Option<String>)> = runs.iter().map(|(name, v)| (*name, find(v))).collect();
        let lacking: Vec<&str> = found.iter().filter(|(_, f)| f.is_none()).map(|(name, _)| *name).collect();
        if !lacking.is_empty() {
            return (false, self.say(Text::CkVersionsMissing, &[&lacking.join(", ")]));
        }
        let mut said: Vec<String> = found.into_iter().filter_map(|(_, f)| f).collect();
        said.dedup();
        (true, said.join("; "))
    }

    fn warm(&self) -> Step {
        self.of_runs(Text::CkWarm, |runs| {
            let mut done = true;
            let mut said = Vec::new();
            for (name, view) in runs {
                let facts = Facts::read(view.log);
                let requests = count(facts.warmups.iter().map(|w| w.requests).sum());
                let text = if facts.warmups.is_empty() {
                    self.say(Text::CkNoRecord, &[name])
                } else if facts.warmups.iter().all(|w| w.steady == Some(true)) {
                    said.push(self.say(Text::CkWarmSteady, &[name, &requests]));
                    continue;
                } else if facts.warmups.iter().any(|w| w.steady.is_none()) {
                    self.say(Text::CkWarmOff, &[name])
                } else {
                    self.say(Text::CkWarmNot, &[name, &requests])
                };
                done = false;
                said.push(text);
            }
            (done, said.join("; "))
        })
    }

    fn seed(&self) -> Step {
        self.of_runs(Text::CkSeed, |runs| {
            let mut seeds: Vec<String> = runs.iter().map(|(_, v)| v.doc.env.seed.to_string()).collect();
            seeds.dedup();
            match seeds.as_slice() {
                [seed] => (true, self.say(Text::CkSeedSame, &[seed])),
                several => (false, self.say(Text::CkSeedDiffers, &[&several.join(", ")])),
            }
        })
    }

    fn background(&self) -> Step {
        let mean = |sensors: Option<&stopwatt_analyse::rca::Sensors>| {
            let series = sensors?.series(OTHERS_COLUMN);
            (!series.is_empty()).then(|| series.iter().map(|p| p.1).sum::<f64>() / series.len() as f64)
        };
        let shares: Vec<Option<f64>> = self.sides().map(|(_, side)| mean(side.sensors)).collect();
        let known: Vec<f64> = shares.iter().copied().flatten().collect();
        let (done, reason) = if known.len() < shares.len() {
            (false, self.text(Text::CkBackgroundUnknown).to_owned())
        } else {
            let shown: Vec<String> = known.iter().map(|s| Scale::of(Kind::Share, 1.).with_unit(*s)).collect();
            (known.iter().all(|s| *s <= OTHERS), self.say(Text::CkBackgroundSeen, &[&shown.join(" → ")]))
        };
        Step { title: Text::CkBackground, done, reason }
    }

    fn input(&self) -> Step {
        self.of_runs(Text::CkInput, |_| {
            let work = |what: &str| {
                ["workload", "request", "scenario", "seed", "load"]
                    .contains(&what.split('.').next().unwrap_or_default())
            };
            let mut differs: Vec<&str> =
                self.doc().differences.iter().map(|d| d.what.as_str()).filter(|w| work(w)).collect();
            differs.dedup();
            match differs.is_empty() {
                true => (true, self.text(Text::CkInputSame).to_owned()),
                false => (false, self.say(Text::CkInputDiffers, &[&differs.join(", ")])),
            }
        })
    }

    fn fingerprint(&self) -> Step {
        self.of_runs(Text::CkFingerprint, |runs| {
            self.every(runs, |view| {
                let f = Facts::read(view.log).fingerprint?;
                let machine = crate::summary::machine(f, self.view.lang);
                Some(format!("{machine}, {} {}", self.text(Text::EnvHash), view.doc.env.hash))
            })
        })
    }

    fn repeats(&self) -> Step {
        self.of_runs(Text::CkRepeats, |runs| {
            let trials = |view: &View<'_>| {
                let of_point = |p: &stopwatt_core::metrics_doc::Point| {
                    p.metrics.values().map(|m| m.mean.trials).max().unwrap_or(0)
                };
                view.doc.points.iter().map(of_point).min().unwrap_or(0)
            };
            let say = |(name, view): &Run<'_>| {
                let requests: u64 = view.doc.points.iter().map(|p| p.requests).sum();
                self.say(Text::CkRepeatsSeen, &[name, &trials(view).to_string(), &count(requests)])
            };
            let said = runs.iter().map(say).collect::<Vec<_>>().join("; ");
            match runs.iter().all(|(_, view)| trials(view) >= TRIALS) {
                true => (true, said),
                false => (false, self.say(Text::CkRepeatsNeeded, &[&said])),
            }
        })
    }

    fn latency(&self) -> Step {
        self.of_runs(Text::CkLatency, |runs| {
            let complete = |d: &MetricsDoc| {
                let l = d.latency_ms;
                [l.mean, l.p50, l.p95, d.throughput_toks_s].iter().all(Option::is_some)
            };
            let lacking: Vec<&str> = runs.iter().filter(|(_, v)| !complete(v.doc)).map(|(n, _)| *n).collect();
            match lacking.is_empty() {
                true => (true, self.text(Text::CkLatencySeen).to_owned()),
                false => (false, self.say(Text::CkVersionsMissing, &[&lacking.join(", ")])),
            }
        })
    }

    /// A number at the top of `metrics.json` that both sides must have; else why one has not.
    fn reported(&self, title: Text, key: &str, get: fn(&MetricsDoc) -> Option<f64>, unit: &str) -> Step {
        self.of_runs(title, |runs| {
            let say = |(name, view): &Run<'_>| match get(view.doc) {
                Some(v) => format!("{name}: {} {unit}", Scale::of(Kind::Plain, 1.).number(v)),
                None => match view.doc.reasons.get(key) {
                    Some(reason) => format!("{name}: {reason}"),
                    None => self.say(Text::CkNoRecord, &[name]),
                },
            };
            let said = runs.iter().map(say).collect::<Vec<_>>().join("; ");
            (runs.iter().all(|(_, v)| get(v.doc).is_some()), said)
        })
    }

    fn difference(&self) -> Step {
        let all = self.judged().count();
        let whole = |row: &&MetricComparison| row.ci95.is_some() && row.hedges_g.is_some();
        let with = self.judged().filter(whole).count();
        let reason = self.say(Text::CkDeltaSeen, &[&with.to_string(), &all.to_string()]);
        Step { title: Text::CkDelta, done: all > 0 && with == all, reason }
    }

    fn files(&self) -> Step {
        self.of_runs(Text::CkArtefacts, |_| {
            let all = || self.sides().flat_map(|(_, side)| side.artefacts.iter());
            let missing: Vec<String> = all()
                .filter(|a: &&Artefact| !a.accounted_for())
                .map(|a| format!("{}/{}", a.run, a.file))
                .collect();
            match (missing.is_empty(), all().count()) {
                (true, 1..) => (true, self.text(Text::CkArtefactsAll).to_owned()),
                (true, 0) => (false, self.text(Text::CkBackgroundUnknown).to_owned()),
                (false, _) => (false, self.say(Text::CkArtefactsMissing, &[&missing.join(", ")])),
            }
        })
    }
}
