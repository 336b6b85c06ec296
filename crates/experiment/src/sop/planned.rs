//! Keys of the original co-design project whose parts are not built yet.
//!
//! They parse, so that its configuration files are understood; using one stops the program and names the key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! planned {
    ($($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $key:ident),+ $(,)? })+) => { $(
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $(
            $(#[doc = $doc])+
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(extend("x-unavailable" = true))]
            pub $key: Option<Value>
        ),+ }
    )+ };
}

planned! {
    /// The shared-access graph.
    GraphKeys {
        /// Where it comes from: `mock`, `trace` or `pytorch`.
        source,
        /// File of a recorded trace.
        trace,
        /// A graph of random blocks.
        mock,
        /// How rows are normalised.
        normalize,
        /// Most entries.
        nnz_cap,
        /// What loads the model.
        loader,
        /// Its arguments.
        loader_kwargs,
        /// A graph from correlations of activations.
        correlation,
        /// A graph from the modules of a model.
        pytorch,
    }
    /// The solver of permutations.
    SolverKeys {
        /// Which one.
        method,
        /// How long it may take.
        time_budget_s,
        /// How many local steps it makes.
        refine_steps,
        /// Number of blocks.
        k_blocks,
        /// Its seed.
        rng_seed,
        /// How it clusters.
        clustering,
    }
    /// Weights of the cost function.
    CostKeys {
        /// Weight of the communication term.
        alpha,
        /// Weight of the alignment term.
        beta,
        /// Weight of the stability term.
        gamma,
        /// Weight of the modularity term.
        mu,
        /// Group size.
        g,
        /// Where the distance saturates.
        lambda,
        /// Slope beyond.
        tau,
        /// Resolution of the modularity.
        modularity_gamma,
        /// Width of a vector.
        vec_width,
        /// Shift that counts as a move.
        hysteresis,
        /// Number of blocks.
        blocks_k,
    }
    /// What is done to the model.
    TransformKeys {
        /// Sparsity.
        sparsity,
        /// Quantisation.
        quant,
        /// Compression of the KV cache.
        kv,
    }
    /// What is kept between runs.
    CacheKeys {
        /// Whether anything is.
        enable,
        /// Where.
        cache_dir,
    }
}
