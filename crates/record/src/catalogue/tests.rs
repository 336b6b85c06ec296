//! The index against the directories.

use std::path::{Path, PathBuf};

use stopwatt_core::Clock;
use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::RunStatus;

use super::*;
use crate::run_dir::{Create, RunWriter};

/// A run that began `second` seconds after another.
fn writer(root: &Path, out: Option<PathBuf>, second: i64) -> RunWriter {
    let clock = Clock { t0_unix_ns: (1_795_328_130 + second) * 1_000_000_000, ..Clock::start() };
    let options = Create { root: root.to_owned(), out, name: "bench".to_owned(), clock, keep_chunks: true };
    RunWriter::create(options, &serde_json::json!({})).unwrap()
}

/// A complete run; its id.
fn run(root: &Path, second: i64, ttft: f64) -> String {
    let run = writer(root, None, second);
    run.log(Fact::EngineProbed { model: format!("model-{second}"), features: BTreeMap::new() }).unwrap();
    run.write_file("metrics.json", metrics(run.id().as_str(), ttft).as_bytes()).unwrap();
    run.log(Fact::RunEnded {
        status: RunStatus::Complete,
        reason: None,
        client_rss_bytes: None,
        wall_drift_ns: 0,
    })
    .unwrap();
    let id = run.id().to_string();
    run.finish().unwrap();
    id
}

fn metrics(id: &str, ttft: f64) -> String {
    use stopwatt_core::metrics_doc::*;
    let mut summary = MetricSummary::unavailable(Metric::Ttft, "not measured");
    summary.p50 = Estimate { value: Some(ttft), n: 10, ..Estimate::default() };
    let doc = MetricsDoc {
        format: "1.0".to_owned(),
        run_id: id.to_owned(),
        status: RunStatus::Complete,
        env: Env::default(),
        pipeline: Pipeline { mode: "bench:batch".to_owned(), ..Pipeline::default() },
        latency_ms: LatencyMs::default(),
        throughput_toks_s: None,
        l2_hit_pct: None,
        ept_j_per_tok: None,
        quality_delta_pct: None,
        reasons: BTreeMap::new(),
        metrics: BTreeMap::from([(Metric::Ttft.name().to_owned(), summary)]),
        custom: BTreeMap::new(),
        headline_point: None,
        points: Vec::new(),
        capacity: None,
        search: None,
        engines: Vec::new(),
        best: None,
        client: ClientUse::default(),
        cost: None,
        reproduces: None,
        quality: None,
        validity: Validity { valid: true, reasons: Vec::new() },
    };
    serde_json::to_string(&doc).unwrap()
}

use stopwatt_core::Metric;

#[track_caller]
fn ids(root: &Path) -> Vec<String> {
    Catalogue::open(root).unwrap().list().unwrap().into_iter().map(|e| e.id).collect()
}

#[test]
fn runs_are_listed_newest_first_with_what_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (run(dir.path(), 1, 0.5), run(dir.path(), 2, 0.25));
    let list = Catalogue::open(dir.path()).unwrap().list().unwrap();
    assert_eq!(list.iter().map(|e| &e.id).collect::<Vec<_>>(), [&b, &a]);
    let first = &list[0];
    assert_eq!((first.kind.as_str(), first.model.as_deref()), ("bench:batch", Some("model-2")));
    assert_eq!((first.status, first.running, first.valid), (RunStatus::Complete, false, Some(true)));
    assert_eq!(first.headline, BTreeMap::from([("ttft.p50".to_owned(), 0.25)]));
    assert_eq!(first.path, dir.path().join(&b));
    assert_eq!(*first, Entry::read(&first.path).unwrap(), "the index and the directory say the same");
}

#[test]
fn the_index_follows_the_directories() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    assert!(ids(root).is_empty());
    let (a, b) = (run(root, 1, 0.5), run(root, 2, 0.5));
    assert_eq!(ids(root).len(), 2);
    std::fs::remove_dir_all(root.join(&a)).unwrap();
    assert_eq!(ids(root), std::slice::from_ref(&b), "a run deleted by hand is gone");
    std::fs::write(root.join(&b).join("metrics.json"), metrics(&b, 9.0)).unwrap();
    let list = Catalogue::open(root).unwrap().list().unwrap();
    assert_eq!(list[0].headline["ttft.p50"], 9.0, "a changed run is read again");
    std::fs::create_dir(root.join("notes")).unwrap();
    std::fs::write(root.join("file"), "x").unwrap();
    assert_eq!(ids(root), [b], "what is no run is left alone");
}

#[test]
fn a_missing_damaged_or_foreign_index_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let a = run(root, 1, 0.5);
    Catalogue::open(root).unwrap().tag(&a, "kept").unwrap();
    let index = root.join(index::NAME);
    let check = || {
        let list = Catalogue::open(root).unwrap().list().unwrap();
        assert_eq!((list.len(), &list[0].tags[..]), (1, &["kept".to_owned()][..]));
    };
    check();
    std::fs::remove_file(&index).unwrap();
    check();
    std::fs::write(&index, "this is no database, but it is long enough to look like one ".repeat(50))
        .unwrap();
    check();
    let other = rusqlite::Connection::open(&index).unwrap();
    other
        .execute_batch("DROP TABLE tags; ALTER TABLE runs RENAME COLUMN id TO name; PRAGMA user_version = 99")
        .unwrap();
    drop(other);
    check();
}

#[test]
fn an_index_that_cannot_be_written_lives_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let a = run(root, 1, 0.5);
    // A folder of that name cannot be opened as a file, whoever asks.
    std::fs::create_dir(root.join(index::NAME)).unwrap();
    assert_eq!(ids(root), [a]);
    let nowhere = root.join("no/such/folder");
    assert!(ids(&nowhere).is_empty());
    assert!(!nowhere.exists());
    let error = Catalogue::open(&nowhere).unwrap().find("latest").unwrap_err();
    assert!(matches!(&error, CatalogueError::Empty { .. }) && error.hint().is_some());
}

#[test]
fn a_run_has_many_names() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (a, b) = (run(root, 1, 0.5), run(root, 2, 0.5));
    let mut catalogue = Catalogue::open(root).unwrap();
    catalogue.tag(&a, "before").unwrap();
    let found = |name: &str| resolve(root, name).map(|p| p.file_name().unwrap().to_str().unwrap().to_owned());
    assert_eq!(found("latest").unwrap(), b);
    assert_eq!(found(&a).unwrap(), a);
    assert_eq!(found("before").unwrap(), a);
    assert_eq!(found(&a[..15]).unwrap(), a, "the begin of an id");
    assert_eq!(found(root.join(&a).to_str().unwrap()).unwrap(), a);

    let error = found("2026").unwrap_err();
    assert!(
        matches!(&error, CatalogueError::Ambiguous { runs, .. } if *runs == [b.clone(), a.clone()]),
        "{error}"
    );
    let error = found("befor").unwrap_err();
    assert_eq!(error.to_string(), "there is no run called `befor`; did you mean `before`?");
    assert!(matches!(found("").unwrap_err(), CatalogueError::Unknown { nearest: None, .. }));
    let missing = root.join("nothing/here");
    let catalogue = Catalogue::open(root).unwrap();
    assert!(matches!(
        catalogue.find(missing.to_str().unwrap()),
        Err(CatalogueError::Run(RunError::NotARun { .. }))
    ));
}

#[test]
fn tags_come_and_go_and_live_in_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (a, b) = (run(root, 1, 0.5), run(root, 2, 0.5));
    let mut catalogue = Catalogue::open(root).unwrap();
    catalogue.tag(&a, "v2").unwrap();
    catalogue.tag(&a, "기준").unwrap();
    assert_eq!(catalogue.tag(&a, "v2").unwrap().tags, ["v2", "기준"]);
    assert_eq!(std::fs::read_to_string(root.join(&a).join("tags")).unwrap(), "v2\n기준\n");
    catalogue.tag(&b, "v2").unwrap();
    assert!(matches!(catalogue.find("v2"), Err(CatalogueError::Ambiguous { .. })));
    assert_eq!(catalogue.untag(&b, "v2").unwrap().tags, [""; 0]);
    assert_eq!(catalogue.find("v2").unwrap().id, a);
    assert!(matches!(catalogue.untag(&b, "v2"), Err(CatalogueError::Tag { .. })));
    for wrong in ["", "a b", "a/b", "latest", &b, "-x", ".x", &"x".repeat(65), "a\nb"] {
        assert!(matches!(catalogue.tag(&a, wrong), Err(CatalogueError::Tag { .. })), "{wrong:?}");
    }
}

#[test]
fn a_run_outside_the_root_is_remembered_by_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("runs");
    let out = dir.path().join("mine");
    let run = writer(&root, Some(out.clone()), 1);
    let id = run.id().to_string();
    run.finish().unwrap();
    let mut catalogue = Catalogue::open(&root).unwrap();
    catalogue.add(&out).unwrap();
    catalogue.add(&out).unwrap();
    let target = out.canonicalize().unwrap();
    assert_eq!(catalogue.find(&id).unwrap().path, target);
    std::fs::remove_file(root.join(index::NAME)).unwrap();
    let mut catalogue = Catalogue::open(&root).unwrap();
    assert_eq!(catalogue.list().unwrap().len(), 1, "found again without the index");
    catalogue.remove(&id).unwrap();
    assert!(!out.exists() && !root.join(&id).is_symlink());
}

#[test]
fn only_runs_that_nobody_writes_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let a = run(root, 1, 0.5);
    let open = writer(root, None, 2);
    let b = open.id().to_string();
    let mut catalogue = Catalogue::open(root).unwrap();
    assert!(catalogue.list().unwrap()[0].running);
    assert!(
        matches!(catalogue.remove(&b), Err(CatalogueError::Running { pid, .. }) if pid == std::process::id())
    );
    drop(open);
    catalogue.remove(&b).unwrap();
    assert!(!root.join(&b).exists());

    let home = dir.path().join("project");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("precious"), "x").unwrap();
    assert!(catalogue.remove(home.to_str().unwrap()).is_err());
    // Somebody put more into the directory of a run.
    std::fs::create_dir(root.join(&a).join("src")).unwrap();
    std::fs::write(root.join(&a).join("src/main.rs"), "x").unwrap();
    let error = catalogue.remove(&a).unwrap_err();
    assert!(matches!(&error, CatalogueError::Foreign { names, .. } if *names == ["src"]), "{error}");
    assert!(root.join(&a).join("metrics.json").exists(), "nothing was deleted");
    std::fs::remove_dir_all(root.join(&a).join("src")).unwrap();
    catalogue.remove(&a).unwrap();
    assert!(ids(root).is_empty());
    assert!(home.join("precious").exists());
}

#[test]
fn an_unreadable_run_is_reported_and_spoils_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (a, b) = (run(root, 1, 0.5), run(root, 2, 0.5));
    let log = root.join(&b).join("run.log");
    let ours = format!("\"format\":\"{}.{}\"", stopwatt_core::FORMAT_MAJOR, stopwatt_core::FORMAT_MINOR);
    let text = std::fs::read_to_string(&log).unwrap().replace(&ours, "\"format\":\"7.0\"");
    std::fs::write(&log, text).unwrap();
    let catalogue = Catalogue::open(root).unwrap();
    assert_eq!(catalogue.list().unwrap().len(), 1);
    assert_eq!(catalogue.list().unwrap()[0].id, a);
    assert!(matches!(catalogue.unreadable(), [(_, RunError::NewerFormat { .. })]));
}

#[test]
fn several_processes_share_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for second in 0..6 {
        run(root, second, 0.5);
    }
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(ids(root).len(), 6));
        }
    });
}
