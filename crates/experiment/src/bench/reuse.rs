//! How much of its prompts a run repeats by itself: what a prefix cache that knew none of them could have found.
//!
//! An upper bound in tokens, whatever the cache's granularity and whatever it evicts: of each group of requests that
//! share a prefix, everything but the first computation of the longest one.

use std::collections::BTreeMap;

use stopwatt_serving::workload::RequestShape;

/// What prompts have in common beyond what their workload shares on purpose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Common {
    /// Tokens that begin every prompt: markers, a chat template.
    pub(crate) tokens: u32,
    /// By how much shared tokens may exceed their plan, where lengths are approximate.
    pub(crate) stretch: f64,
}

/// The shared tokens of the requests of one trial.
#[derive(Debug)]
pub(crate) struct Reuse {
    common: Common,
    requests: u64,
    /// Sum and largest of the prefixes of each group.
    groups: BTreeMap<u32, (u64, u32)>,
}

impl Reuse {
    pub(crate) fn new(common: Common) -> Self {
        Self { common, requests: 0, groups: BTreeMap::new() }
    }

    /// Counts a request.
    pub(crate) fn add(&mut self, shape: &RequestShape) {
        self.requests += 1;
        if let Some(prefix) = shape.prefix {
            let (sum, longest) = self.groups.entry(prefix.group).or_default();
            *sum += u64::from(prefix.tokens);
            *longest = (*longest).max(prefix.tokens);
        }
    }

    /// Prompt tokens that a cache could have found at most.
    pub(crate) fn tokens(&self) -> u64 {
        let shared: u64 = self.groups.values().map(|(sum, longest)| sum - u64::from(*longest)).sum();
        self.requests * u64::from(self.common.tokens) + (shared as f64 * self.common.stretch).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_serving::workload::Prefix;

    use super::*;

    fn reuse(common: Common, prefixes: &[(u32, u32)]) -> u64 {
        let mut reuse = Reuse::new(common);
        for &(group, tokens) in prefixes {
            let prefix = (tokens > 0).then_some(Prefix { group, tokens });
            reuse.add(&RequestShape { input: 100, output: 1, prefix });
        }
        reuse.tokens()
    }

    const EXACT: Common = Common { tokens: 0, stretch: 1.0 };

    #[test]
    fn the_longest_prefix_of_a_group_is_computed_once() {
        assert_eq!(reuse(EXACT, &[(0, 0), (0, 0)]), 0);
        assert_eq!(reuse(EXACT, &[(0, 40)]), 0);
        assert_eq!(reuse(EXACT, &[(0, 40), (0, 40), (0, 40)]), 80);
        // Whatever their order: 20 and 30 can be found in the prompt with 50.
        assert_eq!(reuse(EXACT, &[(0, 20), (0, 50), (0, 30), (1, 10), (1, 10)]), 20 + 30 + 10);
    }

    #[test]
    fn a_template_is_common_to_all_and_text_is_approximate() {
        assert_eq!(reuse(Common { tokens: 7, stretch: 1.2 }, &[(0, 10), (0, 10), (0, 0)]), 3 * 7 + 12);
    }
}
