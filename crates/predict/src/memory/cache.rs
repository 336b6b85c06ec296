//! Bytes and blocks of the key-value cache, by vLLM's rules.
//!
//! Layers that see everything and layers with a window form groups of equally many layers; a block holds the tokens of
//! one group, and all groups take their blocks from one pool. A model without windows is one group of all its layers.

use crate::model::Attention;
use crate::operators::Deployment;

/// How the cache of one device is divided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CacheLayout {
    /// Bytes that a token takes in one layer.
    pub layer_token_bytes: f64,
    /// Layers of a group.
    pub group_layers: u32,
    /// Groups whose layers see everything.
    pub full_groups: u32,
    /// Groups whose layers have a window, and the window in tokens.
    pub window_groups: Option<(u32, u32)>,
}

impl CacheLayout {
    /// The layout on the fullest device.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        let bytes = deployment.precision.kv.bytes();
        let layers = deployment.stage_layers();
        match &deployment.model.attention {
            // Every rank keeps the whole compressed vector.
            Attention::Latent(a) => Self {
                layer_token_bytes: f64::from(a.kv_rank + a.rope_dim) * bytes,
                group_layers: layers,
                full_groups: 1,
                window_groups: None,
            },
            Attention::Grouped(a) => {
                let layer_token_bytes =
                    2.0 * f64::from(deployment.kv_heads(a)) * f64::from(a.head_dim) * bytes;
                let whole =
                    Self { layer_token_bytes, group_layers: layers, full_groups: 1, window_groups: None };
                // A stage holds its share of both kinds.
                let Some(window) = a.window else { return whole };
                let local = (window.layers * layers).div_ceil(deployment.model.layers).min(layers);
                let full = layers - local;
                match (full, local) {
                    (_, 0) => whole,
                    (0, _) => Self { full_groups: 0, window_groups: Some((1, window.tokens)), ..whole },
                    _ => {
                        let group_layers = full.min(local);
                        Self {
                            group_layers,
                            full_groups: full.div_ceil(group_layers),
                            window_groups: Some((local.div_ceil(group_layers), window.tokens)),
                            ..whole
                        }
                    }
                }
            }
        }
    }

    /// Groups.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.full_groups + self.window_groups.map_or(0, |(groups, _)| groups)
    }

    /// Bytes of a block of so many tokens.
    #[must_use]
    pub fn block_bytes(&self, block_size: u32) -> f64 {
        self.layer_token_bytes * f64::from(self.group_layers) * f64::from(block_size)
    }

    /// Bytes that a token takes in all layers, while it is inside every window.
    #[must_use]
    pub fn token_bytes(&self) -> f64 {
        self.layer_token_bytes * f64::from(self.group_layers * self.groups())
    }

    /// Blocks that fit into so many bytes.
    #[must_use]
    pub fn blocks(&self, bytes: f64, block_size: u32) -> u32 {
        (bytes / self.block_bytes(block_size)).floor().clamp(0.0, f64::from(u32::MAX - 1)) as u32
    }

    /// Tokens that vLLM prints for so many blocks.
    #[must_use]
    pub fn tokens(&self, blocks: u32, block_size: u32) -> u64 {
        u64::from(blocks / self.groups().max(1)) * u64::from(block_size)
    }

    /// Blocks of one sequence of so many tokens; windows keep what a step of `step_tokens` needs besides.
    #[must_use]
    pub fn sequence_blocks(&self, tokens: u32, block_size: u32, step_tokens: u32) -> u32 {
        let full = self.full_groups.saturating_mul(tokens.div_ceil(block_size));
        let windowed = self.window_groups.map_or(0, |(groups, window)| {
            let kept = (window - 1).saturating_add(step_tokens).min(tokens);
            groups.saturating_mul(kept.div_ceil(block_size).saturating_add(1))
        });
        full.saturating_add(windowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::builtin;
    use crate::precision::Precision;

    fn layout(name: &str, tp: u32) -> CacheLayout {
        let precision = Precision::parse("bf16").unwrap();
        CacheLayout::of(&Deployment::new(builtin(name).unwrap(), precision, tp, 1).unwrap())
    }

    #[test]
    fn bytes_of_a_token_are_the_published_ones() {
        // 2·32 layers·8 heads·128·2 B = 128 KiB; 70B: 2·80·8·128·2 = 320 KiB; Qwen2.5 7B: 2·28·4·128·2 = 56 KiB.
        for (name, kib) in [("llama-3.1-8b", 128.0), ("llama-3.1-70b", 320.0), ("qwen2.5-7b", 56.0)] {
            assert_eq!(layout(name, 1).token_bytes(), kib * 1024.0, "{name}");
        }
        // Half on each of two ranks; more ranks than heads copy them.
        assert_eq!(layout("llama-3.1-8b", 2).token_bytes(), 64.0 * 1024.0);
        assert_eq!(layout("llama-3.1-8b", 16).token_bytes(), 16.0 * 1024.0);
        // DeepSeek-V3's report: 70 KB a token in 16 bits: 61·(512 + 64)·2 B.
        assert_eq!(layout("deepseek-v3", 8).token_bytes(), 70_272.0);
    }

    #[test]
    fn blocks_are_those_of_a_published_log() {
        // vLLM pull request 12126: Llama-3.2-11B-Vision, 40 layers of 8 heads of 128, 14.65 GiB (rounded): 6001 blocks.
        let vision =
            CacheLayout { layer_token_bytes: 4096.0, group_layers: 40, full_groups: 1, window_groups: None };
        let blocks = vision.blocks(14.65 * (1_u64 << 30) as f64, 16);
        assert!(blocks.abs_diff(6001) <= 2, "{blocks}");
        assert_eq!(vision.tokens(6001, 16), 96_016);
    }

    #[test]
    fn windows_share_the_pool_in_groups() {
        // Gemma 3 4B: 5 layers see everything, 29 have a window: groups of 5, one and six (one layer is padding).
        let gemma = layout("gemma-3-4b", 1);
        assert_eq!((gemma.group_layers, gemma.full_groups, gemma.window_groups), (5, 1, Some((6, 1024))));
        // 32,000 tokens: 2000 blocks, and 6·((1023 + 2048)/16 + 1) in windows.
        assert_eq!(gemma.sequence_blocks(32_000, 16, 2048), 2000 + 6 * 193);
        assert_eq!(gemma.sequence_blocks(16, 16, 2048), 1 + 6 * 2);
        let llama = layout("llama-3.1-8b", 1);
        assert_eq!((llama.groups(), llama.sequence_blocks(1025, 16, 2048)), (1, 65));
    }
}
