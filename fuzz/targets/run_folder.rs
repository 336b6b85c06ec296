//! A run from someone else: its log, its settings, its Parquet files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stopwatt_record::{Chunks, Run};

const LOG: &str = r#"{"t_ns":0,"fact":{"event":"run_started","run_id":"20261122-205147-bench-1f73","format":"1.1","clock":{"t0_monotonic_ns":1,"t0_unix_ns":1}}}
"#;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    put("run.log", LOG.as_bytes());
    put("config.lock.json", b"{}");
    let file = ["run.log", "config.lock.json", "metrics.json", "events.parquet", "streams.parquet"];
    put(file[usize::from(*choice) % file.len()], bytes);
    let Ok(run) = Run::open(dir.path()) else { return };
    let _ = (run.config(), run.metrics(), run.status(), run.request_count(), run.streams());
    for row in run.rows().into_iter().flatten().take(10_000) {
        if row.is_err() {
            break;
        }
    }
    for request in run.requests(Chunks::Read).into_iter().flatten().take(10_000) {
        if request.is_err() {
            break;
        }
    }
});
