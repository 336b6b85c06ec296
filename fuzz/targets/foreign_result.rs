//! A result of another tool, or a table of values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stopwatt_core::Metric;
use stopwatt_record::import;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let metric = (choice & 1 == 1).then_some(Metric::Ttft);
    let _ = import::read(bytes, metric);
});
