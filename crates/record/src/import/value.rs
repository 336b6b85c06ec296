//! Fields of a JSON document, with errors that name the key.

use serde_json::Value;
use stopwatt_core::Nanos;

use super::ImportError;

/// A JSON object of a tool's file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) tool: &'static str,
    pub(super) value: &'a Value,
}

impl<'a> Fields<'a> {
    pub(super) fn get(self, key: &str) -> Option<&'a Value> {
        self.value.get(key).filter(|v| !v.is_null())
    }

    /// An object inside; an empty one where there is none.
    pub(super) fn at(self, key: &str) -> Self {
        Self { value: self.value.get(key).unwrap_or(&Value::Null), ..self }
    }

    pub(super) fn text(self, key: &str) -> Option<String> {
        self.get(key)?.as_str().map(str::to_owned)
    }

    /// A finite number.
    pub(super) fn number(self, key: &str) -> Option<f64> {
        self.get(key)?.as_f64().filter(|v| v.is_finite())
    }

    pub(super) fn count(self, key: &str) -> Option<u64> {
        self.number(key).filter(|v| *v >= 0.0).map(|v| v.round() as u64)
    }

    pub(super) fn wrong(self, key: &str, problem: &'static str) -> ImportError {
        ImportError::Key { tool: self.tool, key: key.to_owned(), problem }
    }

    /// A list of one entry a request; `None` where the key is missing.
    pub(super) fn list(self, key: &str) -> Result<Option<&'a [Value]>, ImportError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.wrong(key, "is no list")),
        }
    }

    /// A list of numbers that are not negative.
    pub(super) fn numbers(self, key: &str) -> Result<Option<Vec<f64>>, ImportError> {
        let Some(items) = self.list(key)? else { return Ok(None) };
        let number = |v: &Value| v.as_f64().filter(|v| v.is_finite() && *v >= 0.0);
        let all: Option<Vec<f64>> = items.iter().map(number).collect();
        all.map(Some).ok_or_else(|| self.wrong(key, "holds something else than numbers from 0 on"))
    }
}

/// Seconds as nanoseconds.
pub(super) fn nanos(seconds: f64) -> Nanos {
    (seconds * 1e9).round() as Nanos
}
