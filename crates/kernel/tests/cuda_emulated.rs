//! Runs the CUDA sources on the CPU and holds what they compute against double precision.
//!
//! Needs a C++ compiler (`CXX`, else `c++`): runs under the feature `external-tests`. See `cuda/emulate.hpp` for what
//! is emulated and how missing barriers show.

#![cfg(feature = "external-tests")]

#[path = "cuda/cases.rs"]
#[allow(dead_code, reason = "each test program uses a part")]
mod cases;
#[path = "cuda/emulated.rs"]
mod emulated;

#[track_caller]
fn check(kinds: &[&str]) {
    let machine = emulated::Machine::new();
    let plans: Vec<_> = cases::plans()
        .into_iter()
        .filter(|(name, _)| kinds.contains(&name.split(' ').next().unwrap_or_default()))
        .collect();
    assert!(!plans.is_empty());
    let failures: Vec<String> = plans
        .iter()
        .enumerate()
        .filter_map(|(i, (name, plan))| {
            machine.check(plan, i as u64).err().map(|reason| format!("{name}: {reason}"))
        })
        .collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn rows_are_normalised() {
    check(&["LayerNorm", "RmsNorm", "AddRmsNorm"]);
}

#[test]
fn activations_bend() {
    check(&["Gelu", "SiluMul"]);
}

#[test]
fn softmax_sums_to_one() {
    check(&["Softmax"]);
}

#[test]
fn heads_are_rotated_and_rows_are_fetched() {
    check(&["Rope", "Embedding"]);
}

#[test]
fn tokens_are_chosen() {
    check(&["Argmax", "TopKTopP"]);
}

#[test]
fn probes_touch_what_they_say() {
    check(&["stream", "copy", "copy,", "triad", "gather", "cache", "chase"]);
}

#[test]
fn decode_attends() {
    check(&["AttentionDecode"]);
}

#[test]
fn prefill_attends() {
    check(&["AttentionPrefill"]);
}

#[test]
fn experts_compute() {
    check(&["MoeExperts"]);
}

#[test]
fn peaks_compute_what_they_count() {
    check(&["peak"]);
}
