//! Why a file cannot be imported.

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// Not UTF-8.
    #[error("the file is not text")]
    NotText,
    /// Not JSON, although it begins like it.
    #[error("line {line} of the file is not JSON")]
    Json {
        /// Where, from 1.
        line: usize,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// No format that is known.
    #[error("the file is {found}, which is no known format")]
    Unknown {
        /// What it is instead.
        found: String,
    },
    /// A key is missing or holds something else than it should.
    #[error("`{key}` of the {tool} file {problem}")]
    Key {
        /// Whose format.
        tool: &'static str,
        /// Which key.
        key: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Arrays that belong together differ in length.
    #[error("`{key}` of the {tool} file has {found} entries where `{other}` has {expected}")]
    Length {
        /// Whose format.
        tool: &'static str,
        /// Which key.
        key: String,
        /// Its length.
        found: usize,
        /// The key it belongs to.
        other: &'static str,
        /// That one's length.
        expected: usize,
    },
    /// A line of a table is not `run,value`.
    #[error("line {line} of the table {problem}")]
    Row {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A table without a metric.
    #[error("a table of values needs the metric that they belong to")]
    NoMetric,
}

impl ImportError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoMetric => Some("name it: --metric ttft; `stopwatt explain` lists every metric"),
            Self::Row { .. } => {
                Some("write a line `run,value`, then one line a value, for instance `1,0.0531`")
            }
            Self::Empty | Self::NotText | Self::Unknown { .. } => Some(
                "known are the JSON of `vllm bench serve --save-result`, guidellm's benchmarks.json, AIPerf's profile_export_aiperf.json, and tables with the columns run,value",
            ),
            Self::Json { .. } => Some("the file may be cut off: export it again"),
            Self::Key { .. } | Self::Length { .. } => {
                Some("the tool's version may write another format than the ones tested, see docs/dialects.md")
            }
        }
    }
}
