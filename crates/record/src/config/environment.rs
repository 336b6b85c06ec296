//! The one place that reads environment variables.

/// Value of a variable; `None` when it is unset, empty or not UTF-8.
pub fn var(_name: &str) -> Option<String> {
    unimplemented!()
}

/// Variables that are settings: `STOPWATT_A__B`, sorted by name.
pub fn settings() -> Vec<(String, String)> {
    unimplemented!()
}
