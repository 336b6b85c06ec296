//! The kernels' texts. Each begins with the same two files: what a kernel needs of PTX, and number formats.

use super::plan::Source;

macro_rules! sources {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $(
            $(#[$doc])*
            pub const $name: Source = Source {
                name: $file,
                text: concat!(
                    include_str!("source/intrinsics.cu"),
                    include_str!("source/prelude.cu"),
                    include_str!(concat!("source/", $file, ".cu")),
                ),
            };
        )*

        /// Every source.
        pub const ALL: &[Source] = &[$($name),*];
    };
}

sources! {
    /// Normalisation of rows.
    NORM = "norm";
    /// Element-wise activations.
    ACTIVATION = "activation";
    /// Softmax of rows.
    SOFTMAX = "softmax";
    /// Rotary embedding, gather of embedding rows.
    ROWS = "rows";
    /// Choice of a token.
    SAMPLE = "sample";
    /// Streams and gathers.
    BANDWIDTH = "bandwidth";
    /// A copy in whole pieces, compute capability 9.0.
    BULK = "bulk";
    /// First-level cache and shared memory.
    CACHE = "cache";
    /// Pointer chase, empty kernel, kernel that waits for the host.
    LATENCY = "latency";
    /// Chains of one instruction.
    PEAK = "peak";
    /// Matrix products of four warps together, compute capability 9.0.
    WARPGROUP = "warpgroup";
    /// Attention of one new token a sequence.
    DECODE = "decode";
    /// Causal attention of several new tokens.
    PREFILL = "prefill";
    /// Products of routed experts.
    EXPERTS = "experts";
}
