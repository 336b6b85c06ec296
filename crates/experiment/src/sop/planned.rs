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
    /// What is kept between runs.
    CacheKeys {
        /// Whether anything is.
        enable,
        /// Where.
        cache_dir,
    }
}
