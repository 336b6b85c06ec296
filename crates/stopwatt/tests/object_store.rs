//! Shares of a load through a real S3 wire: measured, copied, read and joined.
//!
//! Runs under the features `external-tests` and `object-store`, and needs an S3-compatible server:
//! `STOPWATT_S3_SERVER` names moto's program (`scripts/s3-server.sh`).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Ended, Exact, Place, SHARED_LOAD, soon, wait_for};
use serde_json::Value;

/// Must not be found in anything that is written.
const SECRET: &str = "canary-9f3b-secret-key";

/// The server, on a free port; ends when dropped. Holds the bucket `bucket`.
struct S3 {
    child: Child,
    port: u16,
}

impl S3 {
    #[expect(clippy::disallowed_methods, reason = "the test is told where the program is")]
    fn start(port: Option<u16>) -> Self {
        let program =
            std::env::var("STOPWATT_S3_SERVER").expect("STOPWATT_S3_SERVER, see scripts/s3-server.sh");
        let port =
            port.unwrap_or_else(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the S3 server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let server = Self { child, port };
        let mut bucket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(
            bucket,
            "PUT /bucket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        bucket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        server
    }

    fn command(&self, place: &Place, args: &[&str]) -> Command {
        let mut command = place.command(args);
        command
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_ACCESS_KEY_ID", "canary-id")
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, place: &Place, args: &[&str]) -> Ended {
        Ended::from(self.command(place, args).output().unwrap())
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A summary without the name of its run.
fn without_id(mut doc: Value) -> Value {
    doc.as_object_mut().unwrap().remove("run_id").unwrap();
    doc
}

/// Every file below, links left out.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let (path, kind) = entry.map(|e| (e.path(), e.file_type().unwrap())).unwrap();
        if kind.is_dir() {
            all.extend(files(&path));
        } else if kind.is_file() {
            all.push(path);
        }
    }
    all
}

#[test]
fn four_shares_are_joined_from_a_bucket() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let exact = Exact::start(&["--ttft", "20ms", "--itl", "2ms"]);
    let s3 = S3::start(None);
    let start = soon();
    let bench = |i: u32| {
        let (shard, out) = (format!("{i}/4"), format!("s3://bucket/load/shard-{i}"));
        let own = ["--shard", &shard, "--start-at", &start, "--out", &out];
        let load = [&["bench", "--url", &exact.url, "--format", "json"], &SHARED_LOAD[..], &own].concat();
        s3.command(&place, &load).spawn().unwrap()
    };
    let shards: Vec<_> = (0..4).map(bench).collect();
    let mut ids = Vec::new();
    for shard in shards {
        let ended = Ended::from(shard.wait_with_output().unwrap()).expect(0);
        assert!(ended.stderr.contains("copied to s3://bucket/load/shard-"), "{}", ended.stderr);
        ids.push(ended.json()["run_id"].as_str().unwrap().to_owned());
    }

    // Joined on another machine from the bucket, it is what the folders of this one give.
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let here = [&["merge", "--out", "joined", "--format", "json"], &names[..]].concat();
    let here = place.run(&here).expect(0).json();
    let there = ["merge", "s3://bucket/load", "--out", "s3://bucket/joined", "--format", "json"];
    let there = s3.run(&elsewhere, &there).expect(0).json();
    assert_eq!(there["points"][0]["requests"], 96);
    assert_eq!(without_id(there), without_id(here));

    // Every command that reads a run reads it from its address.
    let joined = s3.run(&elsewhere, &["report", "s3://bucket/joined", "--format", "json"]).expect(0).json();
    assert_eq!(joined["points"][0]["requests"], 96);
    s3.run(&elsewhere, &["compare", "s3://bucket/load/shard-0", "s3://bucket/load/shard-1/"]).expect(0);
    let shown = s3
        .run(&elsewhere, &["runs", "show", "s3://bucket/load/shard-2", "--format", "json"])
        .expect(0)
        .json();
    assert_eq!(shown["id"], ids[2].as_str());
    let pulled = s3.run(&elsewhere, &["runs", "pull", "s3://bucket/load/shard-3"]).expect(0);
    assert!(pulled.stdout.starts_with(&ids[3]), "{}", pulled.stdout);
    elsewhere.run(&["report", &ids[3]]).expect(0);

    // An address belongs to one run, and is asked for before anything is measured.
    let taken = ["bench", "--url", &exact.url, "--requests", "2", "--out", "s3://bucket/load/shard-0"];
    let taken = s3.run(&place, &taken).expect(1);
    assert!(taken.stderr.contains("s3://bucket/load/shard-0 is not empty"), "{}", taken.stderr);
    let absent = s3.run(&place, &["report", "s3://bucket/load/shard-9"]).expect(1);
    assert!(absent.stderr.contains("there is no run at"), "{}", absent.stderr);
    let bucket = ["bench", "--url", &exact.url, "--requests", "2", "--out", "s3://no-such-bucket/a"];
    let bucket = s3.run(&place, &bucket).expect(1);
    assert!(bucket.stderr.contains("the bucket is not there"), "{}", bucket.stderr);

    for file in files(place.dir.path()).into_iter().chain(files(elsewhere.dir.path())) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes()), "{}", file.display());
    }
}

#[test]
fn a_store_that_goes_away_loses_nothing() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "20ms", "--itl", "2ms"]);
    let s3 = S3::start(None);
    let load = [
        "bench",
        "--url",
        &exact.url,
        "--rate",
        "10",
        "--requests",
        "30",
        "--repeats",
        "2",
        "--warmup",
        "0",
        "--out",
        "s3://bucket/runs/a",
    ];
    let bench = s3.command(&place, &load).spawn().unwrap();
    wait_for("the run", || place.path("runs").is_dir());
    let port = s3.port;
    drop(s3);
    let ended = Ended::from(bench.wait_with_output().unwrap()).expect(1);
    // It says what to do, and that works.
    let (_, push) = ended.stderr.split_once("`stopwatt ").unwrap_or_else(|| panic!("{}", ended.stderr));
    let push: Vec<&str> = push.split_once('`').unwrap().0.split(' ').collect();
    let s3 = S3::start(Some(port));
    assert_eq!(push[..2], ["runs", "push"]);
    s3.run(&place, &push).expect(0);
    s3.run(&place, &["report", "s3://bucket/runs/a"]).expect(0);
    assert!(!ended.stderr.contains(SECRET));
}
