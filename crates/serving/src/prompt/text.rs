//! Prompts as text, for engines that take no token ids.

use super::{PromptError, PromptKey, Source};
use crate::workload::RequestShape;

/// Makes prompts of plain English words, with a length in characters that aims at a number of tokens.
///
/// All characters are ASCII, so characters are bytes: with one character a token, lengths are exact for a byte
/// tokenizer.
#[derive(Debug, Clone)]
pub struct TextPrompts {
    source: Source,
    words: Vec<&'static str>,
    chars_per_token: f64,
}

impl TextPrompts {
    /// Text of `chars_per_token` characters for each token: start at about [`Self::TYPICAL_CHARS_PER_TOKEN`] and
    /// calibrate with [`Self::calibrated`]. `seed` and `salt` as in [`TokenPrompts::new`](super::TokenPrompts::new).
    pub fn new(seed: u64, salt: u64, chars_per_token: f64) -> Result<Self, PromptError> {
        if !(chars_per_token.is_finite() && chars_per_token > 0.0) {
            return Err(PromptError::Calibration { chars_per_token });
        }
        let words: Vec<_> = WORDS.split(' ').collect();
        Ok(Self { source: Source::new(seed, salt, words.len() as u32), words, chars_per_token })
    }

    /// Where to start: the words have 5.7 letters on average and a space, and most are one token of a large
    /// vocabulary.
    pub const TYPICAL_CHARS_PER_TOKEN: f64 = 6.5;

    /// Characters made for each token.
    pub fn chars_per_token(&self) -> f64 {
        self.chars_per_token
    }

    /// The same prompts, sized by what a server counted: `tokens` tokens (without the chat template's) in `chars`
    /// characters.
    pub fn calibrated(&self, chars: u64, tokens: u64) -> Result<Self, PromptError> {
        let chars_per_token = chars as f64 / tokens as f64;
        if !(chars_per_token.is_finite() && chars_per_token > 0.0) {
            return Err(PromptError::Calibration { chars_per_token });
        }
        Ok(Self { chars_per_token, ..self.clone() })
    }

    /// The prompt of a request.
    pub fn prompt(&self, shape: &RequestShape, key: PromptKey) -> String {
        let chars = |tokens: u32| ((f64::from(tokens) * self.chars_per_token).round() as usize).max(1);
        let total = chars(shape.input);
        let mut text = String::with_capacity(total + 16);
        if let Some(prefix) = shape.prefix {
            self.fill(&mut text, chars(prefix.tokens).min(total), self.source.shared(prefix.group, key));
        }
        self.fill(&mut text, total, self.source.unique(key, None));
        text
    }

    /// A recorded prompt; see [`TokenPrompts::prompt_of_blocks`](super::TokenPrompts::prompt_of_blocks).
    pub fn prompt_of_blocks(&self, blocks: &[u64], block_tokens: u32, input: u32, key: PromptKey) -> String {
        let chars = |tokens: u64| ((tokens as f64 * self.chars_per_token).round() as usize).max(1);
        let total = chars(u64::from(input));
        let mut text = String::with_capacity(total + 16);
        for (i, &block) in blocks.iter().enumerate() {
            let end = chars((i as u64 + 1) * u64::from(block_tokens)).min(total);
            self.fill(&mut text, end, self.source.block(block, key));
        }
        self.fill(&mut text, total, self.source.unique(key, None));
        text
    }

    /// Appends words until `text` has `chars` characters, cutting the last one.
    fn fill(&self, text: &mut String, chars: usize, words: impl Iterator<Item = u32>) {
        for word in words {
            if text.len() >= chars {
                break;
            }
            text.push_str(self.words[word as usize]);
            text.push(' ');
        }
        text.truncate(chars);
    }
}

/// 256 common English words, all different.
const WORDS: &str = "\
    about above across action after again against agent almost along already also always among amount \
    animal another answer around article artist attack author autumn balance ball bank base basket beach \
    because become before begin behind believe below bench better between beyond bird black blood blue \
    board body book border bottom branch bread bridge bright bring broken brother brown build burden \
    button cabin camera candle canvas carbon carry castle cause center certain chain chair change \
    chapter cheap check choice circle city class clean clear clock close cloud coast coffee cold color \
    common company copper corner cotton country course cover create credit cross current dance danger \
    dark daughter decide deep degree desert design detail different dinner direct distance doctor double \
    dozen dream drive early earth east edge effect effort eight either electric empty energy engine \
    enough entire equal evening event every example except expect face factor family famous farmer \
    father favor field figure final finger finish first fish flower follow force forest forget form \
    forward frame free fresh friend front future garden general gentle glass gold picture grain grass \
    great green ground group guard habit half hammer happen harbor heart heavy height history hold \
    hollow honest horse hospital hour house human hundred hunter image industry inside iron island \
    journey judge kitchen knowledge ladder lake language large later laugh leader learn leather letter \
    level library light limit listen little local long lunch machine manner market master matter meadow \
    measure member memory metal method middle minute mirror modern moment money morning mother motion \
    mountain music narrow nation nature never night";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::workload::Prefix;
    use stopwatt_core::Phase;

    fn key(index: u64) -> PromptKey {
        PromptKey { phase: Phase::Measure, epoch: 0, index }
    }

    fn shape(input: u32, prefix: u32) -> RequestShape {
        let prefix = (prefix > 0).then_some(Prefix { group: 0, tokens: prefix });
        RequestShape { input, output: 1, prefix }
    }

    #[test]
    fn words_are_distinct_lower_case_and_as_long_as_stated() {
        let words = TextPrompts::new(0, 0, 1.0).unwrap().words;
        assert_eq!(words.iter().collect::<HashSet<_>>().len(), 256);
        assert!(words.iter().all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase())));
        let mean = words.iter().map(|w| w.len()).sum::<usize>() as f64 / 256.0;
        assert!((mean - 5.7).abs() < 0.1, "{mean}");
    }

    #[test]
    fn one_character_a_token_is_exact() {
        let prompts = TextPrompts::new(1, 0, 1.0).unwrap();
        for input in [1, 2, 17, 1_000] {
            assert_eq!(prompts.prompt(&shape(input, input / 2), key(3)).len(), input as usize);
        }
    }

    #[test]
    fn text_is_the_same_on_every_platform() {
        let prompts = TextPrompts::new(42, 0, 5.0).unwrap();
        assert_eq!(
            prompts.prompt(&shape(16, 6), key(0)),
            "against hour dark future direcmorning distance beach equal always forest body br"
        );
    }

    #[test]
    fn equal_block_ids_give_equal_text() {
        let prompts = TextPrompts::new(1, 0, 5.0).unwrap();
        let of = |blocks: &[u64], input, index| prompts.prompt_of_blocks(blocks, 16, input, key(index));
        let (a, b) = (of(&[1, 2], 40, 0), of(&[1, 3], 40, 1));
        assert_eq!((a.len(), b.len()), (200, 200));
        assert_eq!(a[..80], b[..80]);
        assert_ne!(a[80..100], b[80..100]);
    }

    #[test]
    fn calibration_follows_what_the_server_counted() {
        let prompts = TextPrompts::new(1, 0, 6.5).unwrap();
        let calibrated = prompts.calibrated(5_000, 1_000).unwrap();
        assert_eq!(calibrated.chars_per_token(), 5.0);
        assert_eq!(calibrated.prompt(&shape(100, 0), key(0)).len(), 500);
        assert!(prompts.calibrated(5, 0).is_err() && prompts.calibrated(0, 5).is_err());
    }

    proptest! {
        #[test]
        fn a_group_shares_its_text_and_requests_part_after_it(a in 0_u64..1 << 40, gap in 1_u64..100, prefix in 1_u32..60) {
            let prompts = TextPrompts::new(9, 0, 5.0).unwrap();
            let (x, y) = (prompts.prompt(&shape(100, prefix), key(a)), prompts.prompt(&shape(100, prefix), key(a + gap)));
            let shared = prefix as usize * 5;
            prop_assert_eq!(&x[..shared], &y[..shared]);
            // Numbers less than 128 apart differ in their first own word, of at most 11 letters.
            prop_assert_ne!(&x[shared..shared + 12], &y[shared..shared + 12]);
        }
    }
}
