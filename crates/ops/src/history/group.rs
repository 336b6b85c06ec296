//! Requests that are alike: one model, one beginning of the prompt, one class of lengths.

use std::collections::HashMap;

use serde::Serialize;

use super::summary::{Summary, Tally};
use crate::store::RequestRow;

/// What makes requests alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
pub struct Group {
    /// Model that they name.
    pub model: Option<String>,
    /// Hash of how their prompts begin, in hexadecimal digits; null where that is not known.
    pub template: Option<String>,
    /// Their prompts have at most so many tokens, and more than half of it; null where upstreams do not tell.
    pub up_to_tokens: Option<u32>,
}

impl Group {
    /// That of a request.
    pub fn of(row: &RequestRow) -> Self {
        Self {
            model: row.model.as_deref().map(str::to_owned),
            template: row.template.map(|t| format!("{t:016x}")),
            up_to_tokens: row.length_group(),
        }
    }

    /// As one text: the key of a row.
    pub fn key(&self) -> String {
        let length = self.up_to_tokens.map(|n| format!("≤{n} tokens"));
        let template = self.template.as_ref().map(|t| format!("template {t}"));
        let parts = [self.model.clone(), template, length];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "not told".to_owned() } else { parts.join(" ") }
    }
}

/// Adds requests up by group.
#[derive(Debug, Default)]
pub(crate) struct Groups(HashMap<Group, Tally>);

impl Groups {
    pub(crate) fn add(&mut self, row: &RequestRow) {
        self.0.entry(Group::of(row)).or_default().add(row);
    }

    /// Those with the most requests first.
    pub(crate) fn summaries(self, seconds: f64) -> Vec<(Group, Summary)> {
        let mut all: Vec<_> = self.0.into_iter().map(|(group, t)| (group, t.summary(seconds))).collect();
        all.sort_by(|a, b| b.1.requests.cmp(&a.1.requests).then_with(|| a.0.cmp(&b.0)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_group_comes_first() {
        let row = |template, tokens| RequestRow {
            model: Some("m".into()),
            template: Some(template),
            prompt_tokens: Some(tokens),
            ..RequestRow::default()
        };
        let rows = [row(1, 100), row(2, 100), row(2, 120), row(2, 130)];
        let mut groups = Groups::default();
        rows.iter().for_each(|row| groups.add(row));
        let seen = groups.summaries(2.0);
        let keys: Vec<_> = seen.iter().map(|(g, s)| (g.key(), s.requests)).collect();
        assert_eq!(keys[0], ("m template 0000000000000002 ≤128 tokens".to_owned(), 2));
        assert_eq!((keys.len(), seen[0].1.requests_per_s), (3, Some(1.0)));
        assert_eq!(Group::of(&RequestRow::default()).key(), "not told");
    }
}
