//! The one place that reads environment variables.

use std::path::PathBuf;

/// Value of a variable; `None` when it is unset, empty or not UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// Value of a variable, also when it is empty; `None` when it is unset or not UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn as_set(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Every variable that begins with `STOPWATT_`, sorted by name, for [`Layers::environment`](super::Layers::environment).
pub fn settings() -> Vec<(String, String)> {
    settings_in(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))))
}

fn settings_in(variables: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut all: Vec<_> = variables.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    all.sort();
    all
}

/// What the name of a setting begins with.
pub(super) const PREFIX: &str = "STOPWATT_";

/// Folder for what can be made anew: `XDG_CACHE_HOME`, else `~/.cache`, with a folder of ours in it.
pub fn cache_folder() -> Option<PathBuf> {
    let base = var("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let base = base.or_else(|| Some(PathBuf::from(home()?).join(".cache")))?;
    Some(base.join("stopwatt"))
}

/// Home directory of the user.
pub fn home() -> Option<String> {
    var("HOME").filter(|h| h.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_of_stopwatt_count() {
        let all = [("STOPWATT_B__C", "1"), ("PATH", "x"), ("STOPWATT_A", ""), ("XSTOPWATT_A", "y")];
        let all = all.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let names: Vec<_> = settings_in(all.into_iter()).into_iter().map(|(k, _)| k).collect();
        assert_eq!(names, ["STOPWATT_A", "STOPWATT_B__C"]);
    }

    #[test]
    fn an_unset_variable_is_none() {
        assert_eq!(var("STOPWATT_SURELY_NOT_SET"), None);
        assert!(var("PATH").is_some());
    }
}
