//! Which files a run must hold to be accepted, and which it holds.

use stopwatt_core::comparison::Artefact;

use crate::run_dir::{Run, RunError};

/// A file, or several of which one is enough, and the key of `metrics.json` whose reason may stand for it.
const FILES: [(&str, &[&str], Option<&str>); 5] = [
    ("metrics.json", &["metrics.json"], None),
    ("config.lock.json", &["config.lock.json"], None),
    ("ncu.json", &["ncu.json"], Some("l2_hit_pct")),
    ("power.csv", &["power.csv"], Some("ept_j_per_tok")),
    ("report.*", &["report.html", "report.csv"], None),
];

/// The files of a run, which is called `name`.
///
/// # Errors
/// `metrics.json` cannot be read.
pub fn of(run: &Run, name: &str) -> Result<Vec<Artefact>, RunError> {
    let metrics = run.metrics()?;
    let stated = |key: &str| {
        let reason = metrics.as_ref()?.reasons.get(key)?;
        (!reason.is_empty()).then(|| reason.clone())
    };
    let file = |(file, names, key): (&str, &[&str], Option<&str>)| {
        let present = names.iter().any(|n| std::fs::metadata(run.path().join(n)).is_ok_and(|m| m.len() > 0));
        let unavailable = key.filter(|_| !present).and_then(stated);
        Artefact { run: name.to_owned(), file: file.to_owned(), present, unavailable }
    };
    Ok(FILES.into_iter().map(file).collect())
}
