//! Every finding about a run: code, weight, what it says and what to do, in English and Korean.
//!
//! A finding is a code and the figures behind it; sentences are made from the two. Analysis, the log and the reports
//! share this one table, `docs/validity.md` explains it, and a code without its Korean text does not compile.

use serde::{Deserialize, Serialize};

use crate::metrics_doc::ValidityReason;
use crate::text::{Lang, Text, fill, numbered};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $k:ident { $name:literal, $fatal:literal, $en:literal, $ko:literal, $hint_en:literal, $hint_ko:literal })+) => {
        /// What was found. `{0}`, `{1}`, … in its sentences stand for the figures.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $k),+ }
        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$k),+];
            /// Stable name in files.
            pub const fn name(self) -> &'static str { match self { $(Self::$k => $name),+ } }
            /// Whether it alone makes a run invalid, where nothing else decides.
            pub const fn fatal(self) -> bool { match self { $(Self::$k => $fatal),+ } }
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
    /// Cut off before everything was measured: why.
    Incomplete { "incomplete", true, "{0}", "{0}",
        "measure again; what was measured until then is kept", "다시 측정하십시오. 그때까지 측정한 값은 남아 있습니다" }
    /// Another tool measured: which.
    Imported { "imported", false, "measured by {0}: how, Stopwatt cannot check", "{0}(으)로 측정함: 측정 방법은 Stopwatt가 확인할 수 없음",
        "measure with `stopwatt bench` where the verdict matters", "검증이 필요하면 `stopwatt bench`로 측정하십시오" }
    /// No request of the headline point ended well.
    NothingMeasured { "nothing_measured", true, "no measured request ended well", "정상적으로 끝난 측정 요청이 없음",
        "look at the errors below and at the engine's log", "아래 오류와 엔진 로그를 확인하십시오" }
    /// Warm-up ended without a steady state: requests, why.
    NoSteadyState { "no_steady_state", true, "{1}", "워밍업 요청 {0}건 안에 정상 상태에 이르지 못함",
        "let warm-up last longer (`measure.warmup_max_s`), or find what keeps changing", "워밍업을 더 길게(`measure.warmup_max_s`) 하거나, 계속 변하는 원인을 찾으십시오" }
    /// Warm-up was switched off.
    WarmupSkipped { "warmup_skipped", false, "warm-up was switched off: unstabilised", "워밍업을 끔: 안정화되지 않은 측정",
        "leave `--warmup` at its default", "`--warmup`을 기본값으로 두십시오" }
    /// An open loop sent less than it planned: sent, planned.
    LoadNotDelivered { "load_not_delivered", true, "{0} of {1} scheduled requests were sent", "예정된 요청 {1}건 중 {0}건만 전송됨",
        "lower the rate, or raise `load.max_in_flight`", "요청률을 낮추거나 `load.max_in_flight`를 높이십시오" }
    /// Requests left late: p99 of the lag and median TTFT, in milliseconds.
    SendLag { "send_lag", false, "requests left up to {0} ms late (p99), TTFT p50 is {1} ms", "요청이 최대 {0} ms(p99) 늦게 출발함, TTFT p50은 {1} ms",
        "give the client a core of its own", "클라이언트에 전용 코어를 주십시오" }
    /// The client used most of a core, and it reads on one thread: cores.
    ClientBound { "client_bound", true, "the client used {0} cores", "클라이언트가 코어 {0}개를 사용함",
        "lower the load, or spread it over several client machines", "부하를 낮추거나 여러 클라이언트 장비로 나누십시오" }
    /// The client did most of what it was calibrated to do on this machine: percent.
    ClientCeiling { "client_ceiling", true, "the client did {0} % of the most it can do on this machine", "클라이언트가 이 장비에서 가능한 최대치의 {0} %를 처리함",
        "lower the load, or spread it over several client machines", "부하를 낮추거나 여러 클라이언트 장비로 나누십시오" }
    /// The client's own lateness is in its stamps: percent of reads without the kernel's stamp, p99 of the lateness in milliseconds.
    ClientLate { "client_late", false, "{0} % of the reads have no stamp of the kernel, and the client was up to {1} ms late (p99)", "읽기의 {0} %에 커널 수신 시각이 없고, 클라이언트가 최대 {1} ms(p99) 늦음",
        "give the client a core of its own", "클라이언트에 전용 코어를 주십시오" }
    /// Requests whose tokens are outside what their profile states: outside, counted, the range.
    OutsideTokenRange { "outside_token_range", false, "{0} of {1} requests had tokens outside the range of their profile ({2})", "요청 {1}건 중 {0}건의 토큰 수가 프로필 범위({2})를 벗어남",
        "the engine counts otherwise, or answers end early: see the token metrics", "엔진의 토큰 계산이 다르거나 응답이 일찍 끝났습니다. 토큰 지표를 확인하십시오" }
    /// The client could not be calibrated: why.
    NoCalibration { "no_calibration", false, "how much this client can do is not known: {0}", "클라이언트의 한계를 알 수 없음: {0}",
        "run `stopwatt bench --calibrate` to see what is wrong", "`stopwatt bench --calibrate`로 원인을 확인하십시오" }
    /// Many requests failed: failed, ended.
    HighErrorRate { "high_error_rate", false, "{0} of {1} requests failed", "요청 {1}건 중 {0}건이 실패함",
        "the latencies are those of a selection: find why requests fail first", "지연 시간이 일부 요청만의 값입니다. 실패 원인부터 찾으십시오" }
    /// Many requests were stopped with their window: stopped, all.
    CutByWindow { "cut_by_window", false, "{0} of {1} requests were still in flight when their window closed", "요청 {1}건 중 {0}건이 측정 구간이 끝날 때 처리 중이었음",
        "measure longer with `--duration`, or by `--requests`", "`--duration`을 늘리거나 `--requests`로 측정하십시오" }
    /// Too few trials for an interval: trials.
    TooFewTrials { "too_few_trials", false, "{0} trial: no intervals", "시행 {0}회: 구간을 계산할 수 없음",
        "ask for more with `--repeats`", "`--repeats`로 시행을 늘리십시오" }
    /// Token counts differ: by the server, by the tokenizer.
    UsageMismatch { "usage_mismatch", false, "the server counted {0} output tokens, the tokenizer {1}", "출력 토큰 수가 서버 기준 {0}, 토크나이저 기준 {1}으로 다름",
        "check that `--tokenizer` belongs to the model", "`--tokenizer`가 이 모델의 것인지 확인하십시오" }
    /// Inputs were not as long as asked: percent.
    InputLengthMissed { "input_length_missed", false, "input tokens are {0} % of what was asked for", "입력 토큰이 요청한 값의 {0} %임",
        "use an endpoint that takes token ids, or judge by the lengths that were sent", "토큰 ID를 받는 엔드포인트를 쓰거나, 실제로 보낸 길이를 기준으로 판단하십시오" }
    /// Outputs were not as long as asked: percent.
    OutputLengthMissed { "output_length_missed", false, "output tokens are {0} % of what was asked for", "출력 토큰이 요청한 값의 {0} %임",
        "use `--ignore-eos` where the engine takes it", "엔진이 지원하면 `--ignore-eos`를 쓰십시오" }
    /// The slowest requests are far slower than the median: ratio.
    TailRatio { "tail_ratio", false, "p99/p50 of the end-to-end latency is {0}", "종단 간 지연의 p99/p50이 {0}임",
        "look at queueing over time and at unusual requests", "시간별 대기열과 유별난 요청을 확인하십시오" }
    /// Latency changes over a point: metric, percent.
    Drift { "drift", false, "{0} changed by {1} % over the point", "측정점 동안 {0}이(가) {1} % 변함",
        "look for heat, other load, or a growing cache", "발열, 다른 부하, 커지는 캐시를 확인하십시오" }
    /// The engine's memory changes: percent.
    MemoryGrowth { "memory_growth", false, "memory of the engine changed by {0} % while measuring", "측정 중 엔진 메모리가 {0} % 변함",
        "run `--scenario soak` to tell a leak from a cache that fills", "`--scenario soak`로 누수인지 캐시가 차는 것인지 확인하십시오" }
    /// The GPU lowered its clocks: why, percent of the readings of a trial.
    Throttled { "throttled", false, "GPU clocks were lowered: {0} in {1} % of the readings", "GPU 클럭이 낮아짐: 측정값의 {1} %에서 {0}",
        "cool the GPU, raise its power limit, or compare only runs that were slowed alike", "GPU를 식히거나 전력 제한을 높이고, 같은 정도로 느려진 실행끼리만 비교하십시오" }
    /// Energy by the counter and by the trapezoid differ: percent.
    EnergyDisagrees { "energy_disagrees", false, "two ways to measure the energy differ by {0} %", "에너지를 잰 두 방법의 차이가 {0} %임",
        "measure longer windows, and trust differences on one GPU more than joules", "측정 구간을 늘리고, 절대값보다 같은 GPU에서의 차이를 신뢰하십시오" }
    /// Temperature or clock of the GPUs still changed when warm-up had to end: after how many seconds.
    StillHeating { "still_heating", false, "temperature or clock of the GPUs still changed after {0} s of further warm-up", "추가 워밍업 {0}초 뒤에도 GPU 온도나 클럭이 변하고 있었음",
        "let warm-up last longer (`measure.thermal_max_s`), or cool the machine better", "워밍업을 더 길게(`measure.thermal_max_s`) 하거나 장비를 더 잘 식히십시오" }
    /// A trial began warmer or colder than the first: degrees now, degrees of the first.
    UnequalStart { "unequal_start", false, "a trial began at {0} °C, the first one at {1} °C", "시행이 섭씨 {0}도에서 시작됨, 첫 시행은 섭씨 {1}도",
        "allow a longer wait (`measure.cool_down_max_s`), or alternate the sides with `stopwatt pair`", "대기 시간(`measure.cool_down_max_s`)을 늘리거나 `stopwatt pair`로 번갈아 측정하십시오" }
    /// Other people's processes on the GPUs: how many, GPU memory.
    ForeignGpu { "foreign_gpu_process", false, "{0} processes of others were on the GPUs, with {1} of memory", "다른 프로세스 {0}개가 GPU 메모리 {1}을(를) 쓰고 있었음",
        "measure again alone on the GPU, or choose another one with `--gpus`", "GPU를 단독으로 쓰는 상태에서 다시 측정하거나 `--gpus`로 다른 GPU를 고르십시오" }
    /// The wall clock was set: seconds.
    ClockStep { "clock_step", false, "the wall clock moved by {0} s during the run", "실행 중 벽시계가 {0}초 움직임",
        "no stamp is touched; mind it when joining with logs of other machines", "시각 기록에는 영향이 없습니다. 다른 장비의 로그와 맞출 때 유의하십시오" }
    /// More came from the prefix cache than this run can explain: hits, looked up, at most expected.
    CacheWarm { "cache_warm", true, "{0} of {1} prompt tokens came from the prefix cache; this run's own prompts explain at most {2}", "프롬프트 토큰 {1}개 중 {0}개가 접두사 캐시에서 나옴. 이 실행의 프롬프트로 설명되는 것은 많아야 {2}개",
        "restart the engine or clear its cache, leave `workload.salt` unset, or declare `workload.cache: warm`", "엔진을 다시 시작하거나 캐시를 비우고 `workload.salt`를 지정하지 마십시오. 의도한 것이면 `workload.cache: warm`으로 선언하십시오" }
    /// Declared warm, but the cache did not have the prompts: hits, looked up.
    CacheNotWarm { "cache_not_warm", true, "declared warm, but only {0} of {1} prompt tokens came from the prefix cache", "warm으로 선언했으나 프롬프트 토큰 {1}개 중 {0}개만 접두사 캐시에서 나옴",
        "send the same prompts before: same `seed`, `workload.salt` and settings", "같은 `seed`, `workload.salt`, 설정으로 같은 프롬프트를 먼저 보내십시오" }
    /// The declared state of the cache could not be checked.
    CacheUnchecked { "cache_unchecked", false, "the declared state of the prefix cache is not checked: the engine reports no hits, or the workload repeats itself in ways that are not counted", "선언한 접두사 캐시 상태를 확인하지 못함: 엔진이 적중을 알리지 않거나, 작업 부하의 반복을 셀 수 없음",
        "switch the engine's metrics on (`--metrics`, `--enable-metrics`, `--enable-prompt-tokens-details`)", "엔진의 지표를 켜십시오(`--metrics`, `--enable-metrics`, `--enable-prompt-tokens-details`)" }
    /// A counter of the engine fell: how often.
    CountersFell { "counters_fell", false, "the engine's counters fell {0} times while measuring: it restarted, or several engines answer at this address", "측정 중 엔진 카운터가 {0}번 줄어듦: 엔진이 다시 시작했거나 한 주소에서 여러 엔진이 응답함",
        "look at the engine's log; measure one engine at a time", "엔진 로그를 확인하고, 한 번에 한 엔진만 측정하십시오" }
    /// The price is old: id, days.
    PriceStale { "price_stale", false, "price `{0}` was {1} days old when the run was measured", "가격 `{0}`은(는) 측정 시점에 {1}일 지난 값임",
        "look the price up again and change its date in the price table", "가격을 다시 확인하고 가격표의 날짜를 고치십시오" }
    /// Trials of a search are short: seconds, percent of overload that they cannot show.
    ShortTrials { "short_trials", false, "trials of {0} s cannot show an overload below {1} %: a slowly growing queue stays under the limit for so long", "{0}초 시행으로는 {1} % 미만의 과부하를 볼 수 없음: 천천히 늘어나는 대기열이 그동안 한계 아래에 머무름",
        "let trials last longer: leave out `--requests` and `--duration`", "시행을 더 길게 하십시오: `--requests`와 `--duration`을 빼십시오" }
    /// Requests were due before their bodies were ready: how many.
    ClientStarved { "client_starved", false, "{0} requests were due before the client had rendered them", "클라이언트가 본문을 만들기 전에 보낼 시각이 된 요청이 {0}건",
        "lower the rate, or give the client more cores", "요청률을 낮추거나 클라이언트에 코어를 더 주십시오" }
    /// The engine does not take `ignore_eos`.
    NoIgnoreEos { "no_ignore_eos", false, "the engine does not take ignore_eos: output lengths are up to the model", "엔진이 ignore_eos를 받지 않음: 출력 길이는 모델이 정함",
        "compare runs by tokens, not by requests", "요청이 아니라 토큰을 기준으로 비교하십시오" }
    /// The engine states no usage.
    NoUsage { "no_usage", false, "the engine states no usage: input lengths are estimates", "엔진이 usage를 알리지 않음: 입력 길이는 추정값임",
        "give its tokenizer with `--tokenizer`", "`--tokenizer`로 토크나이저를 지정하십시오" }
    /// Rows of a trace that make no sense or do not fit: how many.
    RowsSkipped { "rows_skipped", false, "{0} rows of the trace were skipped", "트레이스의 행 {0}개를 건너뜀",
        "`run.log` names the first one; `workload.bad_rows: stop` stops at it", "첫 행은 `run.log`에 있습니다. `workload.bad_rows: stop`이면 그 행에서 멈춥니다" }
    /// Recorded texts were not counted.
    LengthsEstimated { "lengths_estimated", false, "lengths of recorded texts are estimates: neither a tokenizer nor the engine counts them", "기록된 텍스트의 길이는 추정값임: 토크나이저도 엔진도 세지 않음",
        "give the model's tokenizer with `--tokenizer`", "`--tokenizer`로 모델의 토크나이저를 지정하십시오" }
    /// Conversations that did not come to their end: how many.
    ConversationsCut { "conversations_cut", false, "{0} conversations ended early: a turn failed or the model's context was full", "대화 {0}개가 일찍 끝남: 차례가 실패했거나 모델의 문맥이 가득 참",
        "ask for fewer or shorter turns, or start the engine with a longer context", "차례를 줄이거나 짧게 하고, 또는 엔진을 더 긴 문맥으로 시작하십시오" }
    /// A share began after the common start: trial, point, seconds, seconds tolerated.
    LateStart { "late_start", false, "trial {0} of point {1} began {2} s after its common start ({3} s are tolerated)", "측정점 {1}의 시행 {0}이(가) 공통 시작보다 {2}초 늦음(허용 {3}초)",
        "leave more time with `--start-at`, or allow more with `load.start_tolerance_s`", "`--start-at`을 더 늦추거나 `load.start_tolerance_s`를 늘리십시오" }
    /// Shares of a joined run began apart: trial, point, seconds.
    SharesApart { "shards_apart", true, "trial {0} of point {1}: windows begin {2} s apart", "측정점 {1}의 시행 {0}: 측정 구간의 시작이 {2}초 차이 남",
        "start all shares with one `--start-at` in the future", "모든 몫을 같은 미래의 `--start-at`으로 시작하십시오" }
    /// Shares of a joined run did not send together: trial, point, seconds.
    SharesDisjoint { "shards_disjoint", true, "trial {0} of point {1}: windows begin {2} s apart and do not overlap", "측정점 {1}의 시행 {0}: 측정 구간의 시작이 {2}초 차이 나고 겹치지 않음",
        "start all shares with one `--start-at` in the future", "모든 몫을 같은 미래의 `--start-at`으로 시작하십시오" }
    /// Shares that a joined run lacks: which, of how many.
    SharesMissing { "shards_missing", true, "shares {0} of {1} are missing: the load was not the one asked for", "몫 {0}(전체 {1}개)이(가) 없음: 요청한 부하가 아님",
        "merge all shares", "모든 몫을 합치십시오" }
    /// The clocks of shares on several machines are not known to agree.
    ShareClocks { "shard_clocks", false, "the shares ran on machines whose clocks are not known to be kept by a time service: their stamps may lie apart by the difference of their wall clocks", "시각 동기화 여부를 알 수 없는 장비에서 실행된 몫이 있음: 시각이 벽시계 차이만큼 어긋날 수 있음",
        "switch a time service on, on every machine", "모든 장비에서 시각 동기화를 켜십시오" }
    /// Times of a target are durations of its own.
    DurationsPlaced { "durations_placed", false, "the target told how long its iterations took, not when: they are placed back to back, and what happened between them is not seen", "대상이 반복의 시각이 아니라 걸린 시간만 알림: 이어 붙여 기록했으며 반복 사이의 일은 알 수 없음",
        "let the target tell `start_ns` and `end_ns` of CLOCK_MONOTONIC", "대상이 `CLOCK_MONOTONIC`의 `start_ns`와 `end_ns`를 알리게 하십시오" }
    /// Trials made different outputs.
    OutputsDiffer { "outputs_differ", false, "the outputs of two trials have different hashes: the target does not do the same each time", "시행마다 출력의 해시가 다름: 대상이 매번 같은 일을 하지 않음",
        "fix its seed (STOPWATT_SEED) and its inputs", "시드(`STOPWATT_SEED`)와 입력을 고정하십시오" }
    /// A model shorter than the scenario wants: its context.
    ShortContext { "short_context", false, "the model's context of {0} tokens is shorter than 4K; shorter inputs are measured", "모델의 문맥이 {0} 토큰으로 4K보다 짧아 더 짧은 입력을 측정함",
        "start the engine with a longer context", "엔진을 더 긴 문맥으로 시작하십시오" }
    /// Inputs that do not fit the model: which.
    InputsLeftOut { "inputs_left_out", false, "inputs beyond the model's context were left out: {0}", "모델의 문맥을 넘는 입력을 제외함: {0}",
        "start the engine with a longer context", "엔진을 더 긴 문맥으로 시작하십시오" }
    /// Another process computes on the profiled device: what was seen.
    DeviceShared { "device_shared", true, "the device is not this program's alone: {0}", "장치를 다른 프로세스와 함께 쓰고 있음: {0}",
        "end the other processes, then measure again", "다른 프로세스를 끝내고 다시 측정하십시오" }
    /// A dense product took another time when its reduction axis was permuted, which it must not: ratio, interval.
    ControlMoved { "control_moved", true, "the negative control moved: a dense product took {0} times as long in this layout ({1} to {2})", "음성 대조군이 변함: 이 배치에서 조밀 행렬 곱의 시간이 {0}배({1}~{2})",
        "measure on a quiet machine: what moved the control moves everything", "조용한 장비에서 측정하십시오. 대조군을 변하게 한 것은 모든 값을 변하게 합니다" }
    /// The solver's time was over: seconds.
    SolverTimeout { "solver_timeout", false, "the solver's time of {0} s was over: the best layout so far was measured", "풀이 시간 {0}초가 끝남: 그때까지 찾은 가장 좋은 배치를 측정함",
        "raise `solver.time_budget_s`, or lower `solver.refine_steps`", "`solver.time_budget_s`를 늘리거나 `solver.refine_steps`를 줄이십시오" }
    /// Times that had not settled at their time limit: how many, of how many.
    KernelsUnsettled { "kernels_unsettled", false, "{0} of {1} times had not settled at their time limit", "시간 {1}개 중 {0}개가 제한 시간 안에 안정되지 않음",
        "quiet the machine, or give each kernel more time with `--kernel-seconds`", "장비의 다른 부하를 줄이거나 `--kernel-seconds`로 커널마다 시간을 늘리십시오" }
}

/// Phrases that stand as a figure in a sentence and have Korean words of their own.
const PHRASES: &[(&str, &str)] = &[
    (CUT_OFF, "끝이 기록되기 전에 실행이 끊김"),
    (BY_SIGNAL, "신호를 받아 중단됨"),
    ("not every share came to its end", "끝까지 실행되지 않은 몫이 있음"),
];
/// Why a run without a last line is incomplete.
pub const CUT_OFF: &str = "the run was cut off before its end was logged";
/// Why a run that a signal ended is incomplete.
pub const BY_SIGNAL: &str = "interrupted by a signal";

impl Code {
    /// Reads the name used in files.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.name() == name)
    }

    /// The sentence with its figures.
    pub fn sentence(self, values: &[String], lang: Lang) -> String {
        numbered(self.template(lang), |i| values.get(i).map(|v| self.phrase(v, lang)))
    }

    fn phrase(self, value: &str, lang: Lang) -> &str {
        match (PHRASES.iter().find(|(en, _)| *en == value), lang) {
            (Some((_, ko)), Lang::Ko) => ko,
            // The words of an error are the system's own and stand in the log.
            (None, Lang::Ko) if self == Self::Incomplete => "오류로 중단됨(run.log의 마지막 줄 참조)",
            _ => value,
        }
    }
}

/// A code with its figures: what a part of the program has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What was found.
    pub code: Code,
    /// The figures of its sentence.
    pub values: Vec<String>,
}

impl Remark {
    /// A finding with its figures.
    pub fn new(code: Code, values: impl IntoIterator<Item = String>) -> Self {
        Self { code, values: values.into_iter().collect() }
    }

    /// The sentence.
    pub fn sentence(&self, lang: Lang) -> String {
        self.code.sentence(&self.values, lang)
    }
}

/// Where a finding was made, and its figures there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Case {
    /// Label of the point, where the run has several.
    pub point: Option<String>,
    /// The figures of the sentence.
    pub values: Vec<String>,
}

/// The sentences of the cases, each with its point, and how many more there are.
pub fn sentences(code: Code, cases: &[Case], more: u64, lang: Lang) -> String {
    let one = |case: &Case| {
        let sentence = code.sentence(&case.values, lang);
        case.point.as_ref().map_or_else(|| sentence.clone(), |at| format!("{at}: {sentence}"))
    };
    let mut parts: Vec<String> = cases.iter().map(one).collect();
    if more > 0 {
        parts.push(fill(Text::MoreFindings.get(lang), &[&more.to_string()]));
    }
    parts.join("; ")
}

impl ValidityReason {
    /// The evidence in the reader's language.
    pub fn detail_in(&self, lang: Lang) -> String {
        match (lang, Code::from_name(&self.code)) {
            (Lang::En, _) => self.detail.clone(),
            (lang, Some(code)) if !self.cases.is_empty() => sentences(code, &self.cases, self.more, lang),
            (lang, _) => Text::UnknownFinding.get(lang).to_owned(),
        }
    }

    /// What to do, in the reader's language; `None` for a code of another version.
    pub fn hint_in(&self, lang: Lang) -> Option<&str> {
        match (lang, Code::from_name(&self.code)) {
            (Lang::En, _) => self.hint.as_deref(),
            (lang, code) => code.map(|c| c.hint(lang)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(text: &str) -> Vec<usize> {
        let mut found: Vec<usize> =
            text.split('{').skip(1).map(|t| t.split('}').next().unwrap().parse().unwrap()).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn names_are_unique_and_every_text_is_there() {
        for &code in Code::ALL {
            assert_eq!(Code::from_name(code.name()), Some(code));
            for lang in [Lang::En, Lang::Ko] {
                assert!(!code.template(lang).is_empty() && !code.hint(lang).is_empty(), "{code:?}");
            }
            // A Korean sentence may leave out words of the English one, but not ask for figures it lacks.
            let (en, ko) = (marks(code.template(Lang::En)), marks(code.template(Lang::Ko)));
            assert!(en == ko || code == Code::NoSteadyState, "{code:?}: {en:?} {ko:?}");
        }
    }

    #[test]
    fn figures_stand_where_the_language_wants_them() {
        let remark = Remark::new(Code::LoadNotDelivered, ["4".to_owned(), "6".to_owned()]);
        assert_eq!(remark.sentence(Lang::En), "4 of 6 scheduled requests were sent");
        assert_eq!(remark.sentence(Lang::Ko), "예정된 요청 6건 중 4건만 전송됨");
        assert_eq!(Code::Incomplete.sentence(&[BY_SIGNAL.to_owned()], Lang::Ko), "신호를 받아 중단됨");
    }

    #[test]
    fn korean_sentences_hold_no_english_sentence() {
        // Words that are names in Korean too: settings in backquotes, units, metrics, states.
        const NAMES: [&str; 19] = [
            "Stopwatt",
            "4K",
            "TTFT",
            "TPOT",
            "ms",
            "p50",
            "p99",
            "usage",
            "ignore_eos",
            "warm",
            "run",
            "log",
            "ID",
            "K",
            "eos",
            "ignore",
            "E2E",
            "GPU",
            "v",
        ];
        for &code in Code::ALL {
            let values: Vec<String> = (0..3).map(|i| i.to_string()).collect();
            for text in [code.sentence(&values, Lang::Ko), code.hint(Lang::Ko).to_owned()] {
                let plain: String = text.split('`').step_by(2).collect();
                let words = plain.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let foreign: Vec<&str> = words
                    .filter(|w| w.chars().any(|c| c.is_ascii_alphabetic()) && !NAMES.contains(w))
                    .collect();
                assert!(foreign.is_empty(), "{code:?}: {foreign:?} in {text}");
            }
        }
    }

    #[test]
    fn a_reason_speaks_the_readers_language() {
        let case = |point: &str, n: &str| Case { point: Some(point.to_owned()), values: vec![n.to_owned()] };
        let cases = vec![case("c=1", "1"), case("c=2", "1")];
        let code = Code::TooFewTrials;
        let reason = ValidityReason {
            code: code.name().to_owned(),
            fatal: false,
            detail: sentences(code, &cases, 2, Lang::En),
            hint: Some(code.hint(Lang::En).to_owned()),
            cases,
            more: 2,
        };
        assert_eq!(
            reason.detail_in(Lang::En),
            "c=1: 1 trial: no intervals; c=2: 1 trial: no intervals; and 2 more"
        );
        assert!(
            reason.detail_in(Lang::Ko).starts_with("c=1: 시행 1회")
                && reason.detail_in(Lang::Ko).ends_with("외 2건")
        );
        let other = ValidityReason { code: "of_tomorrow".to_owned(), cases: vec![], ..reason };
        assert_eq!(other.detail_in(Lang::Ko), Text::UnknownFinding.get(Lang::Ko));
        assert_eq!(other.hint_in(Lang::Ko), None);
    }
}
