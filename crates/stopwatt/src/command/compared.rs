//! One side of a comparison with everything that its record tells: for the verdict, for its causes and for the page.

use std::io::Write;
use std::path::Path;

use stopwatt_analyse::compare::{Facts, Side};
use stopwatt_analyse::rca::{Kernels, Seen, Sensors};
use stopwatt_core::cache_counters::NcuDocument;
use stopwatt_core::comparison::{Artefact, ComparisonDoc};
use stopwatt_core::text::Lang;
use stopwatt_record::run_dir::Run;
use stopwatt_record::{artefacts, catalogue};
use stopwatt_report::{Analysed, ComparedView};

/// A run or a table of samples.
pub(super) struct Compared {
    pub(super) side: Side,
    run: Option<Recorded>,
}

struct Recorded {
    analysed: Analysed,
    sensors: Option<Sensors>,
    kernels: Option<Kernels>,
    artefacts: Vec<Artefact>,
}

/// A name for pages and files: of an absolute path its last two folders, since the others say where somebody lives.
pub(super) fn shown(name: &str) -> String {
    let path = Path::new(name);
    if !path.is_absolute() {
        return name.to_owned();
    }
    let parts: Vec<_> = path.components().rev().take(2).map(|c| c.as_os_str().to_string_lossy()).collect();
    parts.into_iter().rev().filter(|p| p != "/").collect::<Vec<_>>().join("/")
}

impl Compared {
    /// A run by any of its names.
    pub(super) fn run(name: &str) -> anyhow::Result<Self> {
        Self::open(&shown(name), &catalogue::resolve(&super::runs_root(), name)?)
    }

    /// The run in a directory, called `name` in the result.
    pub(super) fn open(name: &str, path: &Path) -> anyhow::Result<Self> {
        let run = Run::open(path)?;
        let analysed = Analysed::read(&run, None)?;
        let facts = Facts::of_run(&analysed.log, &analysed.config);
        let side = Side::of_run(name, &analysed.doc, facts).with_quality(&analysed.log);
        // Sensors and kernels are extra: a run without them, or with a file of another kind, is compared all the same.
        let sensors = std::fs::read_to_string(run.path().join("power.csv")).ok();
        let sensors = sensors.and_then(|text| Sensors::of_csv(&text));
        let kernels = std::fs::read(run.path().join("ncu.json")).ok();
        let kernels = kernels.and_then(|text| serde_json::from_slice::<NcuDocument>(&text).ok());
        let kernels = kernels.as_ref().map(Kernels::from);
        let artefacts = artefacts::of(&run, name)?;
        Ok(Self { side, run: Some(Recorded { analysed, sensors, kernels, artefacts }) })
    }

    /// A table of samples.
    pub(super) fn samples(side: Side) -> Self {
        Self { side, run: None }
    }

    /// The run's analysis; `None` for samples.
    pub(super) fn analysed(&self) -> Option<&Analysed> {
        self.run.as_ref().map(|r| &r.analysed)
    }

    /// What the search for causes looks at.
    pub(super) fn seen(&self) -> Seen<'_> {
        self.run.as_ref().map_or_else(Seen::default, |run| Seen {
            doc: Some(&run.analysed.doc),
            log: &run.analysed.log,
            requests: run.analysed.record.measured(),
            sensors: run.sensors.as_ref(),
            kernels: run.kernels.as_ref(),
        })
    }

    /// What the page shows.
    pub(super) fn view(&self, lang: Lang) -> ComparedView<'_> {
        self.run.as_ref().map_or_else(ComparedView::default, |run| ComparedView {
            view: Some(run.analysed.view(lang)),
            sensors: run.sensors.as_ref(),
            artefacts: &run.artefacts,
        })
    }

    /// The files that it must hold to be accepted; a table of samples holds none of them.
    pub(super) fn artefacts(&self) -> Vec<Artefact> {
        let none = || {
            let file = "run directory".to_owned();
            vec![Artefact { run: self.side.run.name.clone(), file, present: false, unavailable: None }]
        };
        self.run.as_ref().map_or_else(none, |run| run.artefacts.clone())
    }
}

/// Comparisons as one table.
pub(super) fn csv<'a>(
    docs: impl IntoIterator<Item = &'a ComparisonDoc>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    for (i, doc) in docs.into_iter().enumerate() {
        let text = stopwatt_report::comparison_csv(doc);
        let skip = if i == 0 { 0 } else { text.find('\n').map_or(0, |at| at + 1) };
        out.write_all(&text.as_bytes()[skip..])?;
    }
    Ok(())
}
