//! Links of the pages lead somewhere, anchors included, and every page is in the book.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use super::{every_page, pages, read, root};

/// The lines of a page outside fenced code, with inline code blanked.
fn prose(text: &str) -> Vec<String> {
    let mut fence: Option<&str> = None;
    let mut out = Vec::new();
    for line in text.lines() {
        let start = line.trim_start();
        match fence {
            Some(mark) if start.starts_with(mark) => fence = None,
            Some(_) => {}
            None if start.starts_with("```") => fence = Some("```"),
            None if start.starts_with("~~~") => fence = Some("~~~"),
            None => {
                let pieces = line.split('`').enumerate();
                // Inline code keeps its place in headings, so it is only cut where links are looked for.
                out.push(
                    pieces
                        .map(
                            |(i, p)| {
                                if i % 2 == 1 { p.replace(['(', ')', '[', ']'], "") } else { p.to_owned() }
                            },
                        )
                        .collect(),
                );
            }
        }
    }
    out
}

/// Targets of the links of a page.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let mut rest = line.as_str();
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let Some(end) = rest.find(')') else { break };
            found.push(rest[..end].split(' ').next().unwrap_or_default().to_owned());
            rest = &rest[end..];
        }
    }
    found
}

/// The anchors that GitHub and mdBook give the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for line in prose(text) {
        let level = line.chars().take_while(|c| *c == '#').count();
        if !(1..=6).contains(&level) || !line[level..].starts_with(' ') {
            continue;
        }
        let kept = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == ' ';
        let slug: String = line[level..].trim().chars().filter(|c| kept(*c)).collect();
        let slug = slug.to_lowercase().replace(' ', "-");
        let before = times.entry(slug.clone()).or_default();
        found.insert(if *before == 0 { slug } else { format!("{slug}-{before}") });
        *before += 1;
    }
    found
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::Normal(name) => parts.push(name.to_str().unwrap().to_owned()),
            _ => {}
        }
    }
    parts.join("/")
}

/// What is wrong with a link of a page, if anything.
fn wrong(page: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(p, a)| (p, Some(a)));
    let file =
        if path.is_empty() { page.to_owned() } else { plain(&Path::new(page).parent().unwrap().join(path)) };
    if !root().join(&file).exists() {
        return Some(format!("{page}: `{target}` does not exist"));
    }
    let anchor = anchor.filter(|_| file.ends_with(".md"))?;
    (!anchors(&read(&file)).contains(anchor)).then(|| format!("{page}: `{target}` has no such heading"))
}

#[test]
fn links_lead_somewhere() {
    let all = every_page();
    let (mut checked, mut bad) = (0, Vec::new());
    for page in &all {
        for target in links(&read(page)) {
            checked += 1;
            bad.extend(wrong(page, &target));
        }
    }
    assert!(checked > 200, "only {checked} links found in {} pages", all.len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn a_broken_link_is_found() {
    assert!(wrong("docs/bench.md", "absent.md").is_some());
    assert!(wrong("docs/bench.md", "workloads.md#absent").is_some());
    assert!(wrong("docs/bench.md", "#absent").is_some());
    assert!(wrong("docs/bench.md", "workloads.md#recorded-traffic").is_none());
    assert!(wrong("docs/bench.md", "../README.md").is_none());
    assert_eq!(
        links("see [a](x.md) and [`b`](y.md#z), not `[c](no)`\n```\n[d](no)\n```\n"),
        ["x.md", "y.md#z"]
    );
    assert!(
        anchors("# A `b` c!\n## A b c\n## 한글 제목\n")
            .is_superset(&["a-b-c", "a-b-c-1", "한글-제목"].map(str::to_owned).into())
    );
}

#[test]
fn every_page_is_in_the_book() {
    let summary = read("docs/SUMMARY.md");
    let listed: Vec<String> = links(&summary).into_iter().map(|l| format!("docs/{l}")).collect();
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "a page is listed twice");
    for page in pages("docs") {
        assert!(page == "docs/SUMMARY.md" || unique.contains(&page), "{page} is not in docs/SUMMARY.md");
        assert!(read(&page).starts_with("# "), "{page} does not begin with its title");
    }
}
