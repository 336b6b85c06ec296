//! Why two runs differ: every finding of the root cause analysis, its figures and its sentences in English and Korean.
//!
//! A [`Cause`] is of one kind and stands on evidence. A piece of evidence is a code and the figures behind it; sentences
//! are made from the two, so that terminal, JSON and page say the same in both languages. A code without its Korean text
//! does not compile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::{Lang, Text, numbered};
use crate::verdict::Code;

/// What a cause is about, in the order in which the measurement procedure asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// The machine, its clocks, its temperature, or what else ran on it.
    Environment,
    /// The work that was asked for, or the lengths that were met.
    Input,
    /// Other kernels ran, or the same ones took another time.
    Kernel,
    /// More hits in the L2 cache without a gain.
    Memory,
    /// Requests waited in the engine.
    Queueing,
    /// Too few trials, or trials that differ too much, for a verdict.
    SampleSize,
    /// Single trials or requests carry the difference.
    Outliers,
    /// The load client, not the engine.
    Client,
}

impl CauseKind {
    /// Every kind, in order.
    pub const ALL: [Self; 8] = [
        Self::Environment,
        Self::Input,
        Self::Kernel,
        Self::Memory,
        Self::Queueing,
        Self::SampleSize,
        Self::Outliers,
        Self::Client,
    ];

    /// Its name for people.
    pub const fn title(self) -> Text {
        match self {
            Self::Environment => Text::CauseEnvironment,
            Self::Input => Text::CauseInput,
            Self::Kernel => Text::CauseKernel,
            Self::Memory => Text::CauseMemory,
            Self::Queueing => Text::CauseQueueing,
            Self::SampleSize => Text::CauseSampleSize,
            Self::Outliers => Text::CauseOutliers,
            Self::Client => Text::CauseClient,
        }
    }
}

/// One cause of a difference, or of the lack of a verdict, with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// Name of the candidate.
    pub run: String,
    /// What it is about.
    pub kind: CauseKind,
    /// How much of the change it explains, 0 to 1; causes stand in this order, largest first.
    pub weight: f64,
    /// Whether the weight is computed from the figures; else it is a rank by kind, since nothing can be computed.
    pub computed: bool,
    /// What it rests on, strongest first.
    pub evidence: Vec<Evidence>,
}

/// One observation behind a cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Stable name, for instance `requests_waited`.
    pub code: String,
    /// Label of the point; `None` where it belongs to the whole run.
    pub point: Option<String>,
    /// The figures of the sentence.
    pub values: Vec<String>,
    /// The sentence, in English.
    pub detail: String,
    /// What to do about it, in English.
    pub hint: String,
    /// Share of the change that it explains, 0 to 1; `None` where it cannot be computed.
    pub share: Option<f64>,
}

/// A check that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unchecked {
    /// Name of the candidate.
    pub run: String,
    /// What was not looked at.
    pub kind: CauseKind,
    /// Stable name of the reason.
    pub code: String,
    /// The reason, in English.
    pub detail: String,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $k:ident { $name:literal, $kind:ident, $en:literal, $ko:literal, $hint_en:literal, $hint_ko:literal })+) => {
        /// What was seen. `{0}`, `{1}`, … in its sentences stand for the figures.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CauseCode { $($(#[doc = $doc])+ $k),+ }
        impl CauseCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$k),+];
            /// Stable name in files.
            pub const fn name(self) -> &'static str { match self { $(Self::$k => $name),+ } }
            /// What it is about.
            pub const fn kind(self) -> CauseKind { match self { $(Self::$k => CauseKind::$kind),+ } }
            /// The sentence, with marks for the figures.
            pub const fn template(self, lang: Lang) -> &'static str {
                match (self, lang) { $((Self::$k, Lang::En) => $en, (Self::$k, Lang::Ko) => $ko),+ }
            }
            /// What to do.
            pub const fn hint(self, lang: Lang) -> &'static str {
                match (self, lang) { $((Self::$k, Lang::En) => $hint_en, (Self::$k, Lang::Ko) => $hint_ko),+ }
            }
        }
    };
}

codes! {
    /// The machines differ: what, baseline, candidate.
    MachineDiffers { "machine_differs", Environment, "{0}: {1} → {2}", "{0}: {1} → {2}",
        "measure both on one machine with one driver", "같은 장비와 같은 드라이버에서 둘 다 측정하십시오" }
    /// The engine says something else of itself: what, baseline, candidate.
    EngineDiffers { "engine_differs", Environment, "the engine's {0}: {1} → {2}", "엔진의 {0}: {1} → {2}",
        "change one thing at a time, or state this as the change", "한 번에 하나만 바꾸거나, 이것을 변경 사항으로 밝히십시오" }
    /// A clock ran at another speed: which, megahertz in baseline and candidate, percent.
    ClockDiffers { "clock_differs", Environment, "{0}: {1} → {2} MHz ({3} %)", "{0}: {1} → {2} MHz ({3} %)",
        "fix the clocks, or alternate baseline and candidate with `--paired`", "클럭을 고정하거나, `--paired`로 기준과 후보를 번갈아 측정하십시오" }
    /// It was hotter or cooler: degrees Celsius in baseline and candidate.
    TemperatureDiffers { "temperature_differs", Environment, "temperature: {0} → {1} °C", "온도: {0} → {1} °C",
        "let it cool between runs, or alternate them", "실행 사이에 식히거나 번갈아 측정하십시오" }
    /// Clocks were held down: reason, percent of the samples in baseline and candidate.
    Throttled { "throttled", Environment, "clocks held down ({0}) in {1} → {2} % of the samples", "클럭 제한({0}) 표본 비율 {1} → {2} %",
        "remove the limit (power, cooling), or set clocks below it", "원인(전력, 냉각)을 없애거나 그보다 낮은 클럭으로 고정하십시오" }
    /// Other processes used the CPU: percent of all CPU time in baseline and candidate.
    BackgroundLoad { "background_load", Environment, "other processes used {0} → {1} % of the CPU time", "다른 프로세스의 CPU 사용 {0} → {1} %",
        "measure on a machine of your own", "전용 장비에서 측정하십시오" }
    /// A setting of the work differs: which, baseline, candidate.
    SettingDiffers { "setting_differs", Input, "{0}: {1} → {2}", "{0}: {1} → {2}",
        "send the same work to both", "양쪽에 같은 작업을 보내십시오" }
    /// Inputs were longer or shorter: tokens in baseline and candidate, percent.
    InputLengths { "input_lengths", Input, "input tokens of a request: {0} → {1} ({2} %)", "요청당 입력 토큰: {0} → {1} ({2} %)",
        "compare at equal lengths", "같은 길이로 비교하십시오" }
    /// Outputs were longer or shorter: tokens in baseline and candidate, percent.
    OutputLengths { "output_lengths", Input, "output tokens of a request: {0} → {1} ({2} %)", "요청당 출력 토큰: {0} → {1} ({2} %)",
        "use `--ignore-eos`, or judge TPOT instead of E2E", "`--ignore-eos`를 쓰거나 E2E 대신 TPOT으로 판단하십시오" }
    /// A kernel runs that did not run before: name, launches, milliseconds.
    KernelAppeared { "kernel_appeared", Kernel, "new: {0}, {1} launches, {2} ms", "새 커널: {0}, {1}회, {2} ms",
        "look at what chose this path (fusion, shapes, library version)", "이 경로를 고른 이유(융합, 크기, 라이브러리 버전)를 확인하십시오" }
    /// A kernel does not run any more: name, launches, milliseconds.
    KernelGone { "kernel_gone", Kernel, "gone: {0}, {1} launches, {2} ms", "사라진 커널: {0}, {1}회, {2} ms",
        "look at what chose another path (fusion, shapes, library version)", "다른 경로를 고른 이유(융합, 크기, 라이브러리 버전)를 확인하십시오" }
    /// A kernel takes another time: name, milliseconds in baseline and candidate, percent, launches in baseline and candidate.
    KernelTime { "kernel_time", Kernel, "{0}: {1} → {2} ms ({3} %), {4} → {5} launches", "{0}: {1} → {2} ms ({3} %), 실행 {4} → {5}회",
        "profile this kernel on both sides", "양쪽에서 이 커널을 프로파일링하십시오" }
    /// The L2 hit rate rose and latency did not follow: percent in baseline and candidate, metric, its change in percent.
    L2WithoutGain { "l2_without_gain", Memory, "L2 hit rate {0} → {1} %, but {2} changed by {3} %", "L2 적중률 {0} → {1} %, 그러나 {2} 변화는 {3} %",
        "look at bytes from DRAM and at what else bounds the kernel", "DRAM 전송량과 커널의 다른 한계를 확인하십시오" }
    /// As many bytes as before came from DRAM, or more: mebibytes in baseline and candidate, percent.
    DramNotLess { "dram_not_less", Memory, "DRAM traffic did not fall: {0} → {1} MiB ({2} %)", "DRAM 전송량이 줄지 않음: {0} → {1} MiB ({2} %)",
        "hits rose because accesses were added: count accesses, not the rate", "접근이 늘어 적중률만 오른 것입니다. 적중률이 아니라 접근 수를 보십시오" }
    /// Fewer bytes came from DRAM: mebibytes in baseline and candidate, percent.
    DramLess { "dram_less", Memory, "DRAM traffic fell: {0} → {1} MiB ({2} %), so memory is not what bounds latency", "DRAM 전송량 감소: {0} → {1} MiB ({2} %), 따라서 메모리가 지연의 병목이 아님",
        "look at compute, launches and queueing", "연산, 커널 실행, 대기열을 확인하십시오" }
    /// Bytes from DRAM are not known.
    DramUnknown { "dram_unknown", Memory, "DRAM traffic was not measured on both sides", "DRAM 전송량을 양쪽에서 측정하지 않음",
        "measure `dram__bytes_read.sum` and `dram__bytes_write.sum`", "`dram__bytes_read.sum`과 `dram__bytes_write.sum`을 측정하십시오" }
    /// Requests waited longer in the engine: requests waiting in baseline and candidate, milliseconds of waiting by Little's law.
    RequestsWaited { "requests_waited", Queueing, "requests waiting in the engine: {0} → {1} on average, {2} → {3} ms of waiting each (Little's law)", "엔진에서 대기 중인 요청: 평균 {0} → {1}개, 요청당 대기 {2} → {3} ms(리틀의 법칙)",
        "compare at a load that both serve without a queue, or raise the engine's limits", "양쪽 모두 대기 없이 처리하는 부하에서 비교하거나 엔진의 한도를 높이십시오" }
    /// Requests were preempted: a thousand requests in baseline and candidate.
    Preempted { "preempted", Queueing, "preemptions per 1,000 requests: {0} → {1}", "요청 1,000건당 선점: {0} → {1}",
        "give the KV cache more memory, or admit fewer requests", "KV 캐시 메모리를 늘리거나 동시 요청을 줄이십시오" }
    /// The KV cache was fuller: largest percent in use in baseline and candidate.
    KvCacheFull { "kv_cache_full", Queueing, "KV cache in use, at most: {0} → {1} %", "KV 캐시 최대 사용률: {0} → {1} %",
        "give the KV cache more memory, or admit fewer requests", "KV 캐시 메모리를 늘리거나 동시 요청을 줄이십시오" }
    /// There are fewer than two trials a side: metric, trials of baseline and candidate.
    TooFewTrials { "too_few_trials", SampleSize, "{0}: {1} and {2} trials; at least 2 a side, better 5, are needed", "{0}: 시행 {1}회와 {2}회. 한쪽에 2회 이상, 되도록 5회가 필요함",
        "ask for more with `--repeats`", "`--repeats`로 시행을 늘리십시오" }
    /// Trials differ too much: metric, variation in baseline and candidate, percent.
    NoisyTrials { "noisy_trials", SampleSize, "{0}: trials differ by {1} and {2} % (CV; 5 % is the most that is recommended)", "{0}: 시행 간 변동 {1} %와 {2} %(CV, 권장 상한 5 %)",
        "find what differs between trials: other load, heat, a cold cache", "시행마다 달라지는 원인(다른 부하, 발열, 빈 캐시)을 찾으십시오" }
    /// More trials would show it: metric, trials a side now, trials a side needed, change in percent.
    MoreTrials { "more_trials", SampleSize, "{0}: {1} trials a side; about {2} would show a change of {3} %", "{0}: 한쪽 시행 {1}회. 변화 {3} %를 보려면 약 {2}회 필요함",
        "ask for more with `--repeats`", "`--repeats`로 시행을 늘리십시오" }
    /// A gate's limit lies inside the interval: gate, trials a side now, trials a side needed.
    GateNeedsTrials { "gate_needs_trials", SampleSize, "{0}: the limit lies inside the interval; about {2} trials a side instead of {1} would decide", "{0}: 한계가 구간 안에 있음. 한쪽 시행 {1}회 대신 약 {2}회면 판정 가능",
        "ask for more with `--repeats`", "`--repeats`로 시행을 늘리십시오" }
    /// Single trials carry the difference: metric, trials, change with and without them in percent.
    OutlierTrials { "outlier_trials", Outliers, "{0}: trials {1} stand out; the change is {2} % with them and {3} % without", "{0}: 시행 {1}이(가) 유별남. 포함 시 변화 {2} %, 제외 시 {3} %",
        "look at what happened in these trials; they are kept", "그 시행에서 일어난 일을 확인하십시오. 값은 그대로 남깁니다" }
    /// Single requests carry the difference: metric, requests in baseline and candidate, change with and without in percent.
    OutlierRequests { "outlier_requests", Outliers, "{0}: {1} and {2} requests stand out; the change is {3} % with them and {4} % without", "{0}: 요청 {1}건과 {2}건이 유별남. 포함 시 변화 {3} %, 제외 시 {4} %",
        "look at these requests in the report of the run; they are kept", "실행 보고서에서 이 요청들을 확인하십시오. 값은 그대로 남깁니다" }
    /// A finding about the client in one run: run, code of the finding, its figures.
    ClientFinding { "client_finding", Client, "{0}: {1}", "{0}: {1}",
        "lower the load, or give the client more cores; then measure again", "부하를 낮추거나 클라이언트에 코어를 더 주고 다시 측정하십시오" }
    /// Requests left later than planned: milliseconds in baseline and candidate, metric that counts it.
    SendLag { "send_lag_rose", Client, "requests left {0} → {1} ms after their time, which is part of {2}", "요청이 예정보다 {0} → {1} ms 늦게 출발함({2}에 포함됨)",
        "give the client a core of its own", "클라이언트에 전용 코어를 주십시오" }
    /// No sensor was read.
    NoSensors { "no_sensors", Environment, "clocks, temperature and throttling were not recorded on both sides", "클럭, 온도, 클럭 제한이 양쪽에 기록되지 않음",
        "measure where sensors can be read", "센서를 읽을 수 있는 곳에서 측정하십시오" }
    /// No kernel counters.
    NoKernels { "no_kernels", Kernel, "kernels were not profiled on both sides", "양쪽 모두 커널을 프로파일링하지는 않음",
        "profile both sides", "양쪽을 프로파일링하십시오" }
    /// No L2 hit rate.
    NoL2 { "no_l2", Memory, "the L2 hit rate was not measured on both sides", "L2 적중률이 양쪽에서 측정되지 않음",
        "profile both sides", "양쪽을 프로파일링하십시오" }
    /// The engine told nothing.
    NoEngineMetrics { "no_engine_metrics", Queueing, "the engine's own metrics were not read on both sides", "엔진 자체 지표를 양쪽에서 읽지 못함",
        "switch the engine's metrics on", "엔진의 지표를 켜십시오" }
    /// Too few trials to tell an outlier: the fewest trials of a side.
    FewForOutliers { "few_for_outliers", Outliers, "with fewer than 5 trials a side no trial can be called unusual", "한쪽 시행이 5회 미만이면 유별난 시행을 가릴 수 없음",
        "ask for more with `--repeats`", "`--repeats`로 시행을 늘리십시오" }
}

impl CauseCode {
    /// Reads the name used in files.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.name() == name)
    }

    /// The sentence with its figures.
    pub fn sentence(self, values: &[String], lang: Lang) -> String {
        if let (Self::ClientFinding, [run, code, figures @ ..]) = (self, values) {
            // The finding has words of its own.
            let said = Code::from_name(code).map_or_else(|| code.clone(), |c| c.sentence(figures, lang));
            return numbered(self.template(lang), |i| [run.as_str(), &said].get(i).copied());
        }
        numbered(self.template(lang), |i| values.get(i).map(String::as_str))
    }
}

impl Evidence {
    /// A code with its figures.
    pub fn new(code: CauseCode, values: impl IntoIterator<Item = String>, share: Option<f64>) -> Self {
        let values: Vec<String> = values.into_iter().collect();
        Self {
            code: code.name().to_owned(),
            point: None,
            detail: code.sentence(&values, Lang::En),
            hint: code.hint(Lang::En).to_owned(),
            values,
            share,
        }
    }

    /// The sentence in the reader's language.
    pub fn sentence(&self, lang: Lang) -> String {
        match (lang, CauseCode::from_name(&self.code)) {
            (Lang::En, _) => self.detail.clone(),
            (lang, Some(code)) => code.sentence(&self.values, lang),
            (lang, None) => Text::UnknownFinding.get(lang).to_owned(),
        }
    }

    /// What to do, in the reader's language; `None` for a code of another version.
    pub fn hint_in(&self, lang: Lang) -> Option<&str> {
        match (lang, CauseCode::from_name(&self.code)) {
            (Lang::En, _) => Some(&self.hint),
            (lang, code) => code.map(|c| c.hint(lang)),
        }
    }
}

impl Unchecked {
    /// The reason in the reader's language.
    pub fn reason(&self, lang: Lang) -> String {
        match (lang, CauseCode::from_name(&self.code)) {
            (Lang::En, _) | (_, None) => self.detail.clone(),
            (lang, Some(code)) => code.sentence(&[], lang),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_both_languages_have_the_same_figures() {
        let marks = |text: &str| {
            let mut found: Vec<String> =
                text.split('{').skip(1).map(|t| t.split('}').next().unwrap().to_owned()).collect();
            found.sort();
            found
        };
        for &code in CauseCode::ALL {
            assert_eq!(CauseCode::from_name(code.name()), Some(code));
            assert_eq!(marks(code.template(Lang::En)), marks(code.template(Lang::Ko)), "{code:?}");
            assert!(!code.hint(Lang::En).is_empty() && !code.hint(Lang::Ko).is_empty());
        }
    }

    #[test]
    fn a_finding_about_the_client_speaks_with_its_own_words() {
        let values = ["after", "client_bound", "0.97"].map(str::to_owned);
        let evidence = Evidence::new(CauseCode::ClientFinding, values, None);
        assert_eq!(evidence.detail, "after: the client used 0.97 cores");
        assert_eq!(evidence.sentence(Lang::Ko), "after: 클라이언트가 코어 0.97개를 사용함");
        let of_tomorrow = Evidence { code: "of_tomorrow".to_owned(), ..evidence };
        assert_eq!(of_tomorrow.sentence(Lang::Ko), Text::UnknownFinding.get(Lang::Ko));
        assert_eq!(of_tomorrow.hint_in(Lang::Ko), None);
    }
}
