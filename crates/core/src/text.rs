//! Every text a person reads in results and reports, in English and Korean.
//!
//! Use: `Text::RunIncomplete.get(lang)`. A text with a value in it holds `{}` marks, filled by [`fill`].
//! Adding a text means adding one row below; the two languages cannot drift apart.

/// A language of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Korean.
    Ko,
}

macro_rules! texts {
    ($($k:ident { $en:literal, $ko:literal })+) => {
        /// A text of the catalogue.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the English text beside the name says what it is")]
        pub enum Text { $($k),+ }
        impl Text {
            /// Every text.
            pub const ALL: &'static [Self] = &[$(Self::$k),+];
            /// The text in a language.
            pub const fn get(self, lang: Lang) -> &'static str {
                match (self, lang) { $((Self::$k, Lang::En) => $en, (Self::$k, Lang::Ko) => $ko),+ }
            }
        }
    };
}

texts! {
    ReportTitle { "Benchmark report", "벤치마크 보고서" }
    RunIncomplete { "This run is incomplete: {}", "완료되지 않은 실행입니다: {}" }
    RunInvalid { "Do not trust these numbers: {}", "이 수치는 신뢰할 수 없습니다: {}" }
    RunValid { "Valid run", "유효한 실행" }
    Environment { "Environment", "환경" }
    Errors { "Errors", "오류" }
    NoErrors { "No request failed", "실패한 요청이 없습니다" }
    Metric { "Metric", "지표" }
    Mean { "mean", "평균" }
    Unavailable { "not available: {}", "사용할 수 없음: {}" }
}

/// Puts `values` in place of the `{}` marks of `text`, in order.
pub fn fill(text: &str, values: &[&str]) -> String {
    let mut out = String::with_capacity(text.len() + values.iter().map(|v| v.len()).sum::<usize>());
    let mut parts = text.split("{}");
    out.push_str(parts.next().unwrap_or_default());
    for (i, part) in parts.enumerate() {
        out.push_str(values.get(i).copied().unwrap_or("{}"));
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_have_the_same_marks() {
        for t in Text::ALL {
            let count = |l| t.get(l).matches("{}").count();
            assert_eq!(count(Lang::En), count(Lang::Ko), "{t:?}");
        }
    }

    #[test]
    fn fill_keeps_missing_marks() {
        assert_eq!(fill("a {} b {}", &["1"]), "a 1 b {}");
    }
}
