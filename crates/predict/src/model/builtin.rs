//! Models that are known by name. Their configurations are the published figures (`data/models.json`).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::{ModelSpec, from_config};

static CONFIGS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../data/models.json")).expect("the built-in file is valid")
});

/// Endings of repository names that do not change the shapes.
const ENDINGS: [&str; 9] = ["-instruct", "-it", "-hf", "-chat", "-base", "-v0.1", "-v0.2", "-v0.3", "-pt"];

/// A model by its name: `llama-3.1-8b`, or the name of its repository such as `meta-llama/Llama-3.1-8B-Instruct`.
#[must_use]
pub fn builtin(name: &str) -> Option<ModelSpec> {
    let key = key_of(name);
    let config = CONFIGS.get(&key)?;
    Some(from_config(&key, config).expect("the built-in configurations are read by a test"))
}

/// Names of all of them.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    CONFIGS.keys().map(String::as_str)
}

fn key_of(name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase().replace(['_', ' '], "-");
    let mut key = name.strip_prefix("meta-").unwrap_or(&name);
    // Mistral's first versions have another vocabulary, so only the version that is listed loses its number.
    if key == "mistral-7b-v0.1" || key == "mistral-7b-instruct-v0.1" {
        return key.to_owned();
    }
    while let Some(shorter) = ENDINGS.iter().find_map(|end| key.strip_suffix(end)) {
        key = shorter;
    }
    match key {
        "llama-3-8b-instruct" => "llama-3-8b".to_owned(),
        key => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts that the publishers state (safetensors metadata of the repositories and technical reports). The text
    /// part of Gemma 3 4B is its 4,300,079,472 less the vision tower (416,866,032) and projector (2,950,272).
    const PUBLISHED: [(&str, u64); 35] = [
        ("llama-2-7b", 6_738_415_616),
        ("llama-2-13b", 13_015_864_320),
        ("llama-3.1-8b", 8_030_261_248),
        ("llama-3.1-70b", 70_553_706_496),
        ("llama-3.1-405b", 405_853_388_800),
        ("llama-3.2-1b", 1_235_814_400),
        ("llama-3.2-3b", 3_212_749_824),
        ("smollm2-135m", 134_515_008),
        ("smollm2-360m", 361_821_120),
        ("smollm2-1.7b", 1_711_376_384),
        ("mistral-7b", 7_248_023_552),
        ("mistral-nemo-12b", 12_247_782_400),
        ("mixtral-8x7b", 46_702_792_704),
        ("mixtral-8x22b", 140_630_071_296),
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen2.5-1.5b", 1_543_714_304),
        ("qwen2.5-3b", 3_085_938_688),
        ("qwen2.5-7b", 7_615_616_512),
        ("qwen2.5-14b", 14_770_033_664),
        ("qwen2.5-32b", 32_763_876_352),
        ("qwen2.5-72b", 72_706_203_648),
        ("qwen3-0.6b", 596_049_920),
        ("qwen3-1.7b", 1_720_574_976),
        ("qwen3-4b", 4_022_468_096),
        ("qwen3-8b", 8_190_735_360),
        ("qwen3-14b", 14_768_307_200),
        ("qwen3-32b", 32_762_123_264),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("qwen3-235b-a22b", 235_093_634_560),
        ("qwen1.5-moe-a2.7b", 14_315_784_192),
        ("gemma-2-9b", 9_241_705_984),
        ("gemma-2-27b", 27_227_128_320),
        ("gemma-3-1b", 999_885_952),
        ("gemma-3-4b", 3_880_263_168),
        ("deepseek-v3", 671_026_419_200),
    ];

    #[test]
    fn parameters_are_the_published_count() {
        for (name, published) in PUBLISHED {
            let model = builtin(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(model.parameters().total(), published, "{name}");
            assert!(model.notes.is_empty(), "{name}: {:?}", model.notes);
        }
    }

    #[test]
    fn every_built_in_configuration_is_read() {
        assert!(builtin_names().count() >= 40);
        assert!(builtin_names().all(|name| builtin(name).is_some_and(|m| m.parameters().total() > 0)));
    }

    #[test]
    fn tokens_pass_only_their_experts() {
        // Mixtral's report says 13 B of 47 B, Qwen3's 3.3 B of 30.5 B (its name rounds down), DeepSeek-V3's 37 B.
        for (name, billions) in [("mixtral-8x7b", 12.9), ("qwen3-30b-a3b", 3.35), ("deepseek-v3", 37.6)] {
            let active = builtin(name).unwrap().active_parameters() / 1e9;
            assert!((active - billions).abs() < 0.05 * billions, "{name}: {active}");
        }
    }

    #[test]
    fn repositories_are_known_by_their_name() {
        for (name, key) in [
            ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
            ("meta-llama/Meta-Llama-3-8B", "llama-3-8b"),
            ("Qwen/Qwen3-30B-A3B", "qwen3-30b-a3b"),
            ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
            ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b"),
            ("google/gemma-2-9b-it", "gemma-2-9b"),
        ] {
            assert_eq!(builtin(name).map(|m| m.name).as_deref(), Some(key));
        }
        assert!(builtin("mistralai/Mistral-7B-v0.1").is_none() && builtin("gpt-9").is_none());
    }
}
