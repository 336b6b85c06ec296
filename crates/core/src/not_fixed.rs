//! What could not be held fixed while a run was measured: codes, figures and sentences in both languages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::{Lang, numbered};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $k:ident { $name:literal, $en:literal, $ko:literal })+) => {
        /// Something that is not fixed. `{0}`, `{1}` in its sentence stand for the figures.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum NotFixedCode { $($(#[doc = $doc])+ $k),+ }
        impl NotFixedCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$k),+];
            /// Stable name in files.
            pub const fn name(self) -> &'static str { match self { $(Self::$k => $name),+ } }
            /// The sentence, with marks for the figures.
            pub const fn template(self, lang: Lang) -> &'static str {
                match (self, lang) { $((Self::$k, Lang::En) => $en, (Self::$k, Lang::Ko) => $ko),+ }
            }
        }
    };
}

codes! {
    /// Clocks follow the load.
    Clocks { "clocks", "clocks are not locked: they follow load and heat", "클럭이 고정되지 않음: 부하와 온도에 따라 변함" }
    /// Nothing tells.
    ClocksUnknown { "clocks_unknown", "nothing tells whether clocks are locked", "클럭이 고정되었는지 알 수 없음" }
    /// The CPU's governor: which.
    Governor { "governor", "the CPU governor is {0}, not performance", "CPU governor가 performance가 아니라 {0}임" }
    /// Turbo is on.
    Turbo { "turbo", "turbo is on: the CPU clock depends on heat and on how many cores work", "터보가 켜짐: CPU 클럭이 온도와 사용 코어 수에 따라 변함" }
    /// Persistence mode is off.
    Persistence { "persistence", "persistence mode is off: the driver may unload between uses", "persistence mode가 꺼짐: 사용하지 않을 때 드라이버가 내려갈 수 있음" }
    /// Other processes wanted the CPUs: load average, CPUs.
    CpuLoad { "cpu_load", "other work on the CPUs: load {0} on {1} CPUs before measuring", "CPU에 다른 작업이 있음: 측정 전 부하 {0}, CPU {1}개" }
    /// Other processes were on the GPUs: how many, bytes.
    GpuLoad { "gpu_load", "{0} processes of others on the GPUs, memory {1}", "GPU에 다른 프로세스 {0}개, 메모리 {1}" }
    /// No container holds the software.
    Container { "container", "no container: the software is what the machine has installed", "컨테이너가 아님: 장비에 설치된 소프트웨어를 사용함" }
    /// No environment of its own for Python.
    PythonEnvironment { "python_environment", "Python takes its packages from the system, not from an environment of its own", "Python이 별도 환경이 아니라 시스템 패키지를 사용함" }
    /// The working directory differs from its commit.
    DirtyTree { "dirty_tree", "the working directory differs from its commit", "작업 디렉터리가 커밋과 다름" }
    /// No commit names the source: why.
    NoCommit { "no_commit", "no commit names the source: {0}", "소스를 가리키는 커밋이 없음: {0}" }
    /// A model or data set without a fixed revision: which, why.
    Revision { "revision", "the {0} has no fixed revision: {1}", "{0}의 리비전이 고정되지 않음: {1}" }
}

/// Something that was not fixed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotFixed {
    /// Stable name, for instance `governor`.
    pub code: String,
    /// Why, for people.
    pub detail: String,
    /// The figures of the sentence.
    #[serde(default)]
    pub values: Vec<String>,
}

impl NotFixed {
    /// An entry with its figures.
    pub fn new(code: NotFixedCode, values: impl IntoIterator<Item = String>) -> Self {
        let values: Vec<String> = values.into_iter().collect();
        let detail = filled(code, Lang::En, &values);
        Self { code: code.name().to_owned(), detail, values }
    }

    /// The sentence in a language; that of the record for a code of another version.
    pub fn sentence(&self, lang: Lang) -> String {
        let known = NotFixedCode::ALL.iter().find(|c| c.name() == self.code);
        known.map_or_else(|| self.detail.clone(), |code| filled(*code, lang, &self.values))
    }
}

fn filled(code: NotFixedCode, lang: Lang, values: &[String]) -> String {
    numbered(code.template(lang), |i| values.get(i).map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_in_both_languages_and_of_other_versions() {
        let load = NotFixed::new(NotFixedCode::CpuLoad, ["3.2".to_owned(), "8".to_owned()]);
        assert_eq!(load.detail, "other work on the CPUs: load 3.2 on 8 CPUs before measuring");
        assert_eq!(load.sentence(Lang::Ko), "CPU에 다른 작업이 있음: 측정 전 부하 3.2, CPU 8개");
        let newer = NotFixed { code: "moon".into(), detail: "the moon is up".into(), values: Vec::new() };
        assert_eq!(newer.sentence(Lang::Ko), "the moon is up");
    }
}
