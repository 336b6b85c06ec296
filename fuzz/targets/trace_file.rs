//! A file of recorded traffic, of each format and of one that is found out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stopwatt_serving::trace::{BadRows, Format, read};

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let formats = [
        None,
        Some(Format::Azure),
        Some(Format::BurstGpt),
        Some(Format::Mooncake),
        Some(Format::Otel),
        Some(Format::ShareGpt),
        Some(Format::Prompts),
    ];
    let format = formats[usize::from(choice & 0x7f) % formats.len()];
    let strict = read(bytes, format, BadRows::Stop);
    let lenient = read(bytes, format, BadRows::Skip);
    // What is fine row by row is fine when bad rows are left out.
    if strict.is_ok() {
        assert!(lenient.is_ok(), "{lenient:?}");
    }
});
