//! The language of the kinds that have no model: a token is a word.
//!
//! A token of text is a run of characters that are not white space; its identifier is a hash of it. So the tokens of
//! a generated text are exactly those that were counted when it was generated, equal prompts have equal identifiers,
//! and a prompt sent as identifiers shares its prefix with the same prompt sent as text.

use crate::api::{Message, Prompt};

/// Identifiers are below this.
const VOCABULARY: u32 = 32_000;

/// The identifier of a word.
pub(crate) fn id(word: &str) -> u32 {
    // FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/
    let hash = word
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    ((hash >> 32) as u32) % VOCABULARY
}

/// The words of a text.
pub(crate) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

/// The words of a prompt that is text or a chat, with a mark before each turn; `None` for token ids.
pub(crate) fn render(prompt: &Prompt) -> Option<String> {
    match prompt {
        Prompt::Tokens(_) => None,
        Prompt::Text(text) => Some(text.clone()),
        Prompt::Chat(messages) => {
            let turn = |m: &Message| format!("<|{}|> {} ", m.role, m.content);
            Some(messages.iter().map(turn).collect::<String>() + "<|assistant|>")
        }
    }
}

/// The tokens of a prompt.
pub(crate) fn tokens(prompt: &Prompt) -> Vec<u32> {
    match prompt {
        Prompt::Tokens(ids) => ids.clone(),
        _ => render(prompt).iter().flat_map(|text| split(text)).map(id).collect(),
    }
}

/// How many tokens a prompt has.
pub(crate) fn count(prompt: &Prompt) -> usize {
    let turn = |m: &Message| 1 + split(&m.content).count();
    match prompt {
        Prompt::Tokens(ids) => ids.len(),
        Prompt::Text(text) => split(text).count(),
        Prompt::Chat(messages) => messages.iter().map(turn).sum::<usize>() + 1,
    }
}

/// The `index`-th English word of the text with seed `seed`, with the space before it.
pub(crate) fn english(seed: u64, index: u32) -> &'static str {
    ENGLISH[pick(seed, index, ENGLISH.len())]
}

/// The same in Korean.
pub(crate) fn korean(seed: u64, index: u32) -> &'static str {
    KOREAN[pick(seed, index, KOREAN.len())]
}

fn pick(seed: u64, index: u32, len: usize) -> usize {
    (mix(seed.wrapping_add(u64::from(index) << 32 | u64::from(index))) % len as u64) as usize
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): spreads every bit of its input over the output.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const ENGLISH: [&str; 64] = [
    " the",
    " of",
    " and",
    " to",
    " in",
    " time",
    " water",
    " people",
    " over",
    " first",
    " sound",
    " light",
    " year",
    " work",
    " part",
    " place",
    " house",
    " world",
    " after",
    " under",
    " small",
    " large",
    " river",
    " stone",
    " paper",
    " green",
    " white",
    " black",
    " morning",
    " evening",
    " summer",
    " winter",
    " between",
    " before",
    " never",
    " often",
    " always",
    " again",
    " road",
    " tree",
    " field",
    " garden",
    " window",
    " table",
    " letter",
    " number",
    " answer",
    " question",
    " story",
    " music",
    " colour",
    " silver",
    " golden",
    " quiet",
    " bright",
    " slow",
    " quick",
    " far",
    " near",
    " north",
    " south",
    " east",
    " west",
    " home",
];

const KOREAN: [&str; 32] = [
    " 시간",
    " 사람",
    " 나라",
    " 학교",
    " 마음",
    " 하늘",
    " 바다",
    " 나무",
    " 아침",
    " 저녁",
    " 여름",
    " 겨울",
    " 봄",
    " 가을",
    " 이야기",
    " 음악",
    " 책상",
    " 창문",
    " 편지",
    " 질문",
    " 대답",
    " 소리",
    " 빛",
    " 물",
    " 돌",
    " 길",
    " 집",
    " 그리고",
    " 하지만",
    " 언제나",
    " 다시",
    " 처음",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_text_has_as_many_tokens_as_words_were_drawn() {
        for word in [english, korean] {
            let text: String = (0..500).map(|i| word(7, i)).collect();
            let ids: Vec<u32> = (0..500).map(|i| id(word(7, i).trim())).collect();
            assert_eq!(tokens(&Prompt::Text(text)), ids);
        }
        assert!((0..100).any(|i| english(1, i) != english(2, i)), "the seed matters");
    }

    #[test]
    fn counting_agrees_with_splitting() {
        let message = |role: &str, content: &str| Message {
            role: role.into(),
            content: content.into(),
            images: Vec::new(),
        };
        let prompts = [
            Prompt::Text("  a b\n\tc ".into()),
            Prompt::Text(String::new()),
            Prompt::Tokens(vec![1, 2, 3]),
            Prompt::Chat(vec![message("system", "be brief"), message("user", "")]),
        ];
        for prompt in prompts {
            assert_eq!(count(&prompt), tokens(&prompt).len(), "{prompt:?}");
        }
    }
}
