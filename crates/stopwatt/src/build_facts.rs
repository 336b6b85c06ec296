//! What `stopwatt --version` tells of the build.

/// Version, commit, target, features, compiler and profile, a line each.
pub(crate) const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit    ",
    env!("STOPWATT_BUILD_COMMIT"),
    "\ntarget    ",
    env!("STOPWATT_BUILD_TARGET"),
    "\nfeatures  ",
    env!("STOPWATT_BUILD_FEATURES"),
    "\nrustc     ",
    env!("STOPWATT_BUILD_RUSTC"),
    "\nprofile   ",
    env!("STOPWATT_BUILD_PROFILE"),
);
