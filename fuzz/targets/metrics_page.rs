//! An engine's `/metrics`, as any engine may write it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stopwatt_wire::engine_metrics;

fuzz_target!(|page: &str| {
    let known = engine_metrics::counters(page);
    assert!(known.values().all(|v| v.is_finite()), "{known:?}");
    engine_metrics::read(page);
    engine_metrics::heartbeat(page);
    for sample in engine_metrics::samples(page) {
        std::hint::black_box(sample.name.len());
    }
});
