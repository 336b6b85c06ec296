//! Labels in the text that Prometheus reads (format 0.0.4, and OpenMetrics 1.0).

/// The value of a label as it stands between the quotes.
pub fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
