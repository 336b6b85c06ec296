//! Two made-up runs, before and after.

use stopwatt_analyse::compare::{Facts, Options, Side, compare};
use stopwatt_analyse::rca::{self, Seen, Sensors};
use stopwatt_core::comparison::{Artefact, ComparisonDoc};
use stopwatt_core::metrics_doc::Validity;
use stopwatt_core::text::Lang;
use stopwatt_report::{ComparedView, ComparisonView, comparison_html};

use super::{Plan, Sample};

/// Two runs, their comparison and what lies beside it.
pub struct Pair {
    pub before: Sample,
    pub after: Sample,
    pub doc: ComparisonDoc,
    pub artefacts: Vec<Artefact>,
    pub sensors: Option<Sensors>,
}

impl Pair {
    /// Compares two runs by these gates.
    pub fn new(before: Sample, after: Sample, gates: &[&str]) -> Self {
        let side =
            |name: &str, run: &Sample| Side::of_run(name, &run.doc, Facts::of_run(&run.log, &run.config));
        let gates = gates.iter().map(|g| g.parse().expect("a gate")).collect();
        let options = Options { gates, ..Options::default() };
        let mut doc = compare(&side("before", &before), &[side("after", &after)], &options);
        let seen = |run| {
            let Sample { doc, log, record, .. }: &Sample = run;
            Seen { doc: Some(doc), log, requests: record.measured(), ..Seen::default() }
        };
        rca::explain(&mut doc, seen(&before), &[seen(&after)]);
        let artefact = |run: &str, file: &str, present: bool| Artefact {
            run: run.to_owned(),
            file: file.to_owned(),
            present,
            unavailable: None,
        };
        let artefacts = vec![artefact("after", "metrics.json", true), artefact("after", "ncu.json", false)];
        Self { before, after, doc, artefacts, sensors: None }
    }

    /// A candidate whose steps take a third less.
    pub fn faster() -> Self {
        let plan = Plan { failure_every: 0, ..Plan::single() };
        let after = Sample::new(&Plan { seed: 7, slowdown: 0.67, ..plan.clone() });
        Self::new(sound(Sample::new(&plan)), sound(after), &["tpot mean <= -20%", "ttft p50 <= +2%"])
    }

    /// The page.
    pub fn page(&self, lang: Lang) -> String {
        let side = |run| ComparedView {
            view: Some(Sample::view(run, lang)),
            sensors: self.sensors.as_ref(),
            artefacts: &self.artefacts,
        };
        let candidates = [side(&self.after)];
        comparison_html(&ComparisonView {
            doc: &self.doc,
            baseline: side(&self.before),
            candidates: &candidates,
            lang,
        })
    }
}

fn sound(mut run: Sample) -> Sample {
    run.doc.validity = Validity { valid: true, reasons: vec![] };
    run
}
