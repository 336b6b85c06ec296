//! The software of a run in words: source, programs, container, Python, libraries, input.

use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::text::{Lang, Text, fill};

/// Title and value of each; what is not known is left out.
pub(crate) fn rows(f: &Fingerprint, lang: Lang) -> Vec<(String, String)> {
    let mut rows: Vec<(String, Option<String>)> = Vec::new();
    let mut add = |title: Text, value: Option<String>| rows.push((title.get(lang).to_owned(), value));
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    if let Some(s) = &f.software {
        let commit = s.git_commit.as_deref().map(|c| match &s.git_branch {
            Some(branch) => format!("{} ({branch})", short(c)),
            None => short(c),
        });
        add(
            Text::EnvCommit,
            commit.map(|commit| match &s.git_diff {
                Some(diff) => fill(Text::EnvDirty.get(lang), &[&commit, diff]),
                None => commit,
            }),
        );
        let programs = [&s.target_sha256, &s.script_sha256].into_iter().flatten().map(|h| short(h));
        add(Text::EnvProgram, Some(programs.collect::<Vec<_>>().join(", ")));
        let image = s.container_image.as_ref();
        let container = s.container.clone().filter(|c| c != "none");
        add(Text::EnvContainer, container.map(|c| image.map_or(c.clone(), |i| format!("{c} {i}"))));
        let python = [s.python.clone(), s.environment.clone()];
        add(Text::EnvPython, Some(python.into_iter().flatten().collect::<Vec<_>>().join(", ")));
        let pairs = |map: &std::collections::BTreeMap<String, String>| {
            Some(map.iter().map(|(k, v)| format!("{k} {v}")).collect::<Vec<_>>().join(", "))
        };
        add(Text::EnvPackages, pairs(&s.packages));
        add(Text::EnvLibraries, pairs(&s.libraries));
    }
    if let Some(state) = &f.state {
        add(Text::EnvGovernor, Some(state.governors.join(", ")));
        add(Text::EnvLoad, state.load_average.map(|l| format!("{l:.2}")));
    }
    let known = rows.into_iter().filter_map(|(t, v)| Some((t, v.filter(|v| !v.is_empty())?)));
    let inputs = f.inputs.iter().map(|(name, value)| {
        let (kind, hash) = value.split_once(':').unwrap_or(("", value));
        let value =
            if kind.starts_with("sha256") { format!("{kind}:{}", short(hash)) } else { value.clone() };
        (fill(Text::EnvInput.get(lang), &[name]), value)
    });
    known.chain(inputs).collect()
}
