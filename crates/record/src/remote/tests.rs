//! Runs in a store in memory.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _};
use stopwatt_core::Clock;
use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::RunStatus;

use super::receive::{copy_here_from, copy_into, runs_of};
use super::send::push_to;
use super::store::Place;
use super::{Address, RemoteError, Reserved};
use crate::run_dir::{Create, Run, RunWriter};

fn place(store: &Arc<InMemory>, text: &str) -> Place {
    Place::over(Arc::clone(store) as Arc<dyn ObjectStore>, &Address::of(text).unwrap().unwrap()).unwrap()
}

/// A run with a summary, ended or cut off.
fn run(path: &Path, ended: bool) {
    let create = Create {
        root: path.to_owned(),
        out: Some(path.to_owned()),
        name: "bench".to_owned(),
        clock: Clock::start(),
        keep_chunks: true,
    };
    let writer = RunWriter::create(create, &serde_json::json!({})).unwrap();
    writer.write_file("metrics.json", b"{}").unwrap();
    if ended {
        writer
            .log(Fact::RunEnded {
                status: RunStatus::Complete,
                reason: None,
                client_rss_bytes: None,
                wall_drift_ns: 0,
            })
            .unwrap();
        writer.finish().unwrap();
    } else {
        std::fs::create_dir_all(path.join("events")).unwrap();
        std::fs::write(path.join("events/0001.parquet"), vec![7; 3 << 20]).unwrap();
    }
}

fn names(store: &Arc<InMemory>) -> Vec<String> {
    let place = place(store, "s3://b/load/a");
    let mut names: Vec<_> = place.files().unwrap().into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

#[test]
fn a_run_comes_back_as_it_went() {
    let dir = tempfile::tempdir().unwrap();
    for ended in [true, false] {
        let (store, local) = (Arc::new(InMemory::new()), dir.path().join(format!("run-{ended}")));
        run(&local, ended);
        std::fs::write(local.join("metrics.json.tmp"), "half").unwrap();
        Reserved::at(place(&store, "s3://b/load/a")).unwrap().push(&local).unwrap();
        assert!(names(&store).iter().all(|n| n != "lock" && !n.ends_with(".tmp")), "{:?}", names(&store));

        let copied = copy_into(&place(&store, "s3://b/load/a"), &dir.path().join("cache")).unwrap();
        assert_eq!(Run::open(&copied).unwrap().id(), Run::open(&local).unwrap().id());
        for name in names(&store) {
            assert_eq!(
                std::fs::read(copied.join(&name)).unwrap(),
                std::fs::read(local.join(&name)).unwrap(),
                "{name}"
            );
        }
        // Unchanged, it is not copied again; changed, it is.
        std::fs::write(copied.join("mark"), "").unwrap();
        copy_into(&place(&store, "s3://b/load/a"), &dir.path().join("cache")).unwrap();
        assert!(copied.join("mark").exists());
        let place = place(&store, "s3://b/load/a");
        place.wait("write to", place.store.put(&place.key("metrics.json"), "{ }".into())).unwrap();
        copy_into(&place, &dir.path().join("cache")).unwrap();
        assert!(
            !copied.join("mark").exists() && std::fs::read(copied.join("metrics.json")).unwrap() == b"{ }"
        );
    }
}

#[test]
fn a_run_without_its_log_is_no_run_yet() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(InMemory::new());
    let at = || place(&store, "s3://b/load/a");
    let cache = dir.path().join("cache");
    assert!(matches!(copy_into(&at(), &cache), Err(RemoteError::NoRun { .. })));
    let kept = Reserved::at(at()).unwrap();
    assert!(matches!(copy_into(&at(), &cache), Err(RemoteError::NotWhole { .. })));
    assert!(matches!(runs_of(&place(&store, "s3://b/load")), Err(RemoteError::NotWhole { .. })));
    kept.release().unwrap();
    assert!(matches!(copy_into(&at(), &cache), Err(RemoteError::NoRun { .. })));
    assert!(matches!(runs_of(&place(&store, "s3://b")), Err(RemoteError::NoRun { .. })));
}

#[test]
fn an_address_belongs_to_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(InMemory::new());
    let at = || place(&store, "s3://b/load/a");
    run(dir.path(), true);
    let kept = Reserved::at(at()).unwrap();
    assert!(matches!(Reserved::at(at()), Err(RemoteError::NotEmpty { .. })));
    kept.push(dir.path()).unwrap();
    assert!(matches!(Reserved::at(at()), Err(RemoteError::NotEmpty { .. })));
    assert!(matches!(push_to(&at(), dir.path()), Err(RemoteError::NotEmpty { .. })));
    for whole_bucket in
        [Reserved::at(place(&store, "s3://b")).err(), push_to(&place(&store, "s3://b"), dir.path()).err()]
    {
        assert!(matches!(whole_bucket, Some(RemoteError::WholeBucket { .. })));
    }
}

#[test]
fn a_copy_that_was_cut_off_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(InMemory::new());
    let at = place(&store, "s3://b/load/a");
    run(dir.path(), true);
    std::mem::forget(Reserved::at(place(&store, "s3://b/load/a")).unwrap());
    for name in ["metrics.json", "events/0009.parquet"] {
        at.wait("write to", at.store.put(&at.key(name), "half".into())).unwrap();
    }
    push_to(&at, dir.path()).unwrap();
    assert_eq!(
        names(&store),
        ["config.lock.json", "events.parquet", "metrics.json", "run.log", "streams.parquet"]
    );
}

#[test]
fn a_run_that_is_written_is_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let create = Create {
        root: dir.path().to_owned(),
        out: None,
        name: "bench".to_owned(),
        clock: Clock::start(),
        keep_chunks: true,
    };
    let writer = RunWriter::create(create, &serde_json::json!({})).unwrap();
    let store = Arc::new(InMemory::new());
    assert!(push_to(&place(&store, "s3://b/load/a"), writer.path()).is_err());
    assert!(names(&store).is_empty());
}

#[test]
fn runs_are_found_one_level_below() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(InMemory::new());
    run(dir.path(), true);
    for shard in ["1", "0"] {
        push_to(&place(&store, &format!("gs://b/load/{shard}")), dir.path()).unwrap();
    }
    let found = |text| -> Vec<String> {
        runs_of(&place(&store, text)).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(found("gs://b/load"), ["gs://b/load/0", "gs://b/load/1"]);
    assert_eq!(found("gs://b/load/1"), ["gs://b/load/1"]);
}

#[test]
fn a_run_gets_a_folder_of_its_id_and_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, local, root) = (Arc::new(InMemory::new()), dir.path().join("local"), dir.path().join("runs"));
    run(&local, true);
    let at = place(&store, "az://b/load/a");
    push_to(&at, &local).unwrap();
    let here = copy_here_from(&at, &root, None).unwrap();
    assert_eq!(here, root.join(Run::open(&local).unwrap().id().as_str()));
    assert!(copy_here_from(&at, &root, None).is_err());
    let out = dir.path().join("out");
    assert_eq!(copy_here_from(&at, &root, Some(&out)).unwrap(), out);
    assert!(copy_here_from(&at, &root, Some(&local)).is_err());
    let left: Vec<_> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn no_object_leaves_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(InMemory::new());
    run(&dir.path().join("local"), true);
    let at = place(&store, "s3://b/load/a");
    push_to(&at, &dir.path().join("local")).unwrap();
    for key in ["load/a/..%2F..%2Fevil", "load/a/events/..\\evil", "load/a/.hidden"] {
        let key = Key::parse(key).unwrap();
        at.wait("write to", at.store.put(&key, "x".into())).unwrap();
        let refused = copy_into(&at, &dir.path().join("cache"));
        at.wait("clear", at.store.delete(&key)).unwrap();
        // Percent signs stay as they are: such a name is a plain one.
        assert!(refused.is_err() || !dir.path().join("evil").exists());
        let entries =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        assert!(entries.into_iter().all(|n| ["local", "cache"].contains(&n.as_str())));
    }
}
