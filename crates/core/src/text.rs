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
    ComparisonTitle { "Comparison", "비교" }
    Baseline { "Baseline", "기준" }
    Candidate { "Candidate", "후보" }
    Change { "change", "변화" }
    VerdictTitle { "verdict", "판정" }
    WithoutVerdict { "further metrics, not judged", "그 밖의 지표 (판정 없음)" }
    Improved { "improved", "개선" }
    Regressed { "regressed", "악화" }
    Equivalent { "equivalent", "동등" }
    Inconclusive { "inconclusive", "판단 불가" }
    DifferencesTitle { "What else differs (✗ makes the comparison unfair)", "그 밖의 차이 (✗ 표시는 공정한 비교를 막습니다)" }
    OnlyOneSide { "measured on one side only", "한쪽에서만 측정됨" }
    GatesPassed { "Gates passed", "게이트 통과" }
    GatesFailed { "Gates failed", "게이트 실패" }
    GatesInconclusive { "Gates inconclusive", "게이트 판단 불가" }
    ComparisonNote { "Intervals at {} %, over trials. Equivalent: within {} % with confidence. Judged metrics are corrected together (Holm).", "{} % 신뢰구간, 시행 단위. 동등: 변화가 {} % 이내임이 확실할 때. 판정 지표는 함께 보정합니다(Holm)." }
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
    Model { "Model", "모델" }
    Engine { "Engine", "엔진" }
    Scenario { "Scenario", "시나리오" }
    Capacity { "Capacity", "최대 처리 능력" }
    CapacityFound { "{} req/s with {} requests in flight", "{} req/s (동시 요청 {}개)" }
    EnginesTitle { "Engines started", "시작한 엔진" }
    EngineSettings { "settings", "설정" }
    EngineOutcomeColumn { "outcome", "결과" }
    EngineReady { "first token after", "첫 토큰까지" }
    EngineLogLines { "log lines", "로그 줄 수" }
    EngineMeasured { "measured", "측정됨" }
    EngineDied { "died", "종료됨" }
    EngineNotReady { "no token in time", "제한 시간 내 토큰 없음" }
    EngineRefused { "not measurable", "측정 불가" }
    EngineInterrupted { "interrupted", "중단됨" }
    CustomMetrics { "Values of the target's own", "대상이 알린 값" }
    BestPoint { "Best under the objectives", "목표를 만족하는 최선" }
    SearchTitle { "Search", "탐색" }
    SearchMaxRate { "Highest rate that holds", "목표를 만족하는 최대 요청률" }
    SearchMaxConcurrency { "Most requests in flight that hold", "목표를 만족하는 최대 동시 요청 수" }
    SearchRateUnit { "req/s", "req/s" }
    SearchFails { "fails from {}", "{}부터 불만족" }
    SearchConfirmed { "a second look with new requests agrees", "새 요청으로 다시 측정해도 같음" }
    SearchUnconfirmed { "not confirmed by a second look", "재측정으로 확인되지 않음" }
    SearchNotFound { "none found: {}", "찾지 못함: {}" }
    SearchObjectives { "Objectives", "목표" }
    SearchUnresolved { "Not resolved", "판정하지 못한 부하" }
    SearchStopped { "Stopped early", "조기 종료" }
    SearchKnee { "Knee", "무릎점" }
    SearchKneeBetween { "{} (between {} and {})", "{} ({}~{} 사이)" }
    SearchLoadColumn { "load", "부하" }
    SearchVerdictColumn { "verdict", "판정" }
    SearchHolds { "holds", "만족" }
    SearchFailed { "fails", "불만족" }
    SearchUnclear { "unclear", "불명확" }
    SearchVetoQueue { "the queue grows", "대기열이 계속 늘어남" }
    SearchVetoFailures { "too many failures", "실패가 너무 많음" }
    SearchAgain { "second look", "재측정" }
    SearchGrowth { "queue growth", "대기열 증가" }
    SearchEdgeCaption { "Tinted: between the highest load shown to hold and the lowest shown to fail.", "옅은 바탕: 만족이 확인된 최대 부하와 불만족이 확인된 최소 부하 사이." }
    SearchLimit { "limit", "한계" }
    Machine { "Machine", "장비" }
    Date { "Date", "일시" }
    RunName { "Run", "실행 이름" }
    CpuCount { "{} CPUs", "CPU {}개" }
    NoGpu { "no GPU", "GPU 없음" }
    PointCount { "{} points", "측정점 {}개" }
    RequestCount { "{} requests", "요청 {}건" }
    TrialCount { "{} trials", "시행 {}회" }
    OneTrial { "1 trial", "시행 1회" }
    FailedCount { "{} failed", "실패 {}건" }
    NoneFailed { "none failed", "실패 없음" }
    InvalidRun { "Invalid run: do not trust these numbers", "유효하지 않은 실행: 이 수치를 신뢰하지 마십시오" }
    Incomplete { "incomplete", "미완료" }
    IncompleteRun { "Incomplete run: only what was measured before it stopped", "미완료 실행: 중단되기 전까지 측정된 값만 있습니다" }
    Latency { "Latency", "지연 시간" }
    Throughput { "Throughput and cost", "처리량과 자원" }
    ShownPoint { "at {}, the point with the highest throughput", "{}: 처리량이 가장 높은 측정점" }
    Points { "Points", "측정점" }
    HeavyTail { "2 or more: the slowest requests wait far longer", "2 이상: 가장 느린 요청이 훨씬 오래 기다림" }
    IntervalNote { "± or [low, high]: {}% interval over trials", "± 또는 [하한, 상한]: 시행 기준 {}% 구간" }
    WiderHalf { "±: the wider half of the interval, in percent of the value", "±: 구간의 넓은 쪽 절반(값 대비 백분율)" }
    Client { "Load client", "부하 클라이언트" }
    CpuSeconds { "{} s of CPU", "CPU {}초" }
    PeakMemory { "{} peak memory", "최대 메모리 {}" }
    ClientCores { "at most {} cores", "최대 코어 {}개" }
    ClientCeilingShare { "{}% of what it can on this machine", "이 장비에서 가능한 최대치의 {}%" }
    KernelStamped { "{}% of reads stamped by the kernel, read {} later (p99)", "읽기의 {}%에 커널 수신 시각 사용, 읽기 지연 {} (p99)" }
    Files { "Files", "파일" }
    Concurrency { "streams", "동시 요청" }
    RateColumn { "asked req/s", "요청률 req/s" }
    PointColumn { "point", "측정점" }
    InputColumn { "input", "입력" }
    OutputColumn { "output", "출력" }
    FailedColumn { "failed", "실패" }
    EndConnect { "no connection", "연결 실패" }
    EndTls { "TLS handshake failed", "TLS 핸드셰이크 실패" }
    EndHttp { "HTTP status other than 2xx", "2xx가 아닌 HTTP 상태" }
    EndProtocol { "the answer was not HTTP", "HTTP가 아닌 응답" }
    EndMalformed { "an event was not valid JSON", "이벤트가 올바른 JSON이 아님" }
    EndStreamError { "the engine sent an error inside the stream", "스트림 도중 엔진이 오류를 보냄" }
    EndTruncated { "the stream was cut off", "스트림이 중간에 끊김" }
    EndNoTokens { "a complete stream without a token", "토큰 없이 끝난 스트림" }
    EndIdleTimeout { "nothing arrived for the idle timeout", "유휴 제한 시간 동안 수신 없음" }
    EndTimeout { "longer than the request timeout", "요청 제한 시간 초과" }
    EndInterrupted { "in flight when the run was stopped", "실행이 중단될 때 처리 중" }
    EndCancelled { "in flight when the measuring window closed", "측정 구간이 끝날 때 처리 중" }
    EndUnknown { "failed; the tool that measured does not tell how", "실패(측정한 도구가 원인을 알려 주지 않음)" }
    EndOk { "complete", "완료" }
    CdfTitle { "How long requests took", "요청에 걸린 시간" }
    TokenCdfTitle { "How long each token took", "토큰마다 걸린 시간" }
    CdfCaption { "Share that took at most so long. Steep is predictable; a long slope to the right is a tail.", "해당 시간 이내에 끝난 비율. 가파를수록 예측 가능하고, 오른쪽으로 길게 늘어지면 꼬리가 긴 것입니다." }
    ShareAxis { "share", "비율" }
    ItlHistogramTitle { "Gaps between tokens", "토큰 사이의 간격" }
    ItlHistogramCaption { "{} gaps. A second hump is a hitch that an average hides.", "간격 {}개. 두 번째 봉우리는 평균에 가려지는 멈칫거림입니다." }
    TtftByLengthTitle { "TTFT by input length", "입력 길이별 TTFT" }
    TtftByLengthCaption { "Each dot is a request. A slope is the cost of a longer prompt; scatter is queueing.", "점 하나가 요청 하나입니다. 기울기는 긴 프롬프트의 비용, 흩어짐은 대기의 영향입니다." }
    InputLengthTitle { "Input length", "입력 길이" }
    OutputLengthTitle { "Output length", "출력 길이" }
    LengthCaption { "shortest {}, median {}, longest {} tokens", "최소 {}, 중앙값 {}, 최대 {} 토큰" }
    TokensAxis { "tokens", "토큰" }
    RequestsAxis { "requests", "요청 수" }
    ConcurrencyAxis { "concurrent requests", "동시 요청 수" }
    PlaceAxis { "row of the table below", "아래 표의 행" }
    InputAxis { "input tokens", "입력 토큰" }
    OutputAxis { "output tokens", "출력 토큰" }
    TimeAxis { "time since start", "시작 후 시간" }
    InFlightTitle { "Requests in flight", "처리 중인 요청" }
    InFlightCaption { "Tinted: measuring windows. Untinted: warm-up and pauses.", "옅은 바탕: 측정 구간. 바탕 없음: 워밍업과 휴지." }
    InFlightAll { "all", "전체" }
    InFlightWaiting { "waiting for the first token", "첫 토큰 대기" }
    TokenRateTitle { "Output tokens/s", "초당 출력 토큰" }
    MemoryTitle { "Engine memory", "엔진 메모리" }
    RequestsTitle { "Requests one by one", "요청별 진행" }
    RequestsCaption { "{} of {} requests of one trial, each a line from sending to its end.", "한 시행의 요청 {}건(전체 {}건). 선 하나가 요청 하나의 전송부터 끝까지입니다." }
    SpanWaiting { "until the first token", "첫 토큰까지" }
    SpanStreaming { "streaming", "토큰 수신" }
    SpanStopped { "cut by the end of the window", "측정 구간 끝에서 중단" }
    SpanFailed { "failed", "실패" }
    NavHardware { "Hardware", "하드웨어" }
    HardwareOneUnit { "one core or SM", "코어 또는 SM 하나" }
    HardwareAllUnits { "whole device", "장치 전체" }
    HardwareRoofline { "Roofline", "루프라인" }
    HardwareRooflineNote { "A slope for each memory level, measured by reading; the top is {}. Dots on the roofs: ridge points. Dots below: kernels of this run.", "메모리 수준마다 읽기로 측정한 기울기. 상한은 {}. 지붕 위의 점: 능선점. 아래의 점: 이 실행의 커널." }
    HardwareRidges { "ridge points", "능선점" }
    HardwareIntensity { "operations a byte", "바이트당 연산" }
    HardwareWorkingSet { "Bandwidth over working set", "작업 집합별 대역폭" }
    HardwareWorkingSetNote { "Tinted: sizes that the system states for every second cache, from the first on.", "옅은 바탕: 시스템이 알리는 캐시 크기(첫 캐시부터 하나 걸러)." }
    HardwareWorkingSetAxis { "working set", "작업 집합" }
    HardwareLatency { "Latency ladder", "지연 사다리" }
    HardwareLatencyNote { "Time of a load that waits for the one before it, in random order. {}", "무작위 순서로 앞선 읽기를 기다리는 읽기 한 번의 시간. {}" }
    HardwareMix { "Reads and writes mixed", "읽기와 쓰기의 혼합" }
    HardwareMixNote { "Main memory. Most lost against doing one and then the other: {}.", "주 메모리. 따로 할 때에 견준 최대 손실: {}." }
    HardwareMixAxis { "share that is read", "읽기 비율" }
    HardwareStores { "stores", "일반 쓰기" }
    HardwareStreamingStores { "streaming stores", "스트리밍 쓰기" }
    HardwareStride { "Strided reads", "일정 간격 읽기" }
    HardwareStrideAxis { "bytes from one load to the next", "읽기 사이의 바이트" }
    HardwareRandom { "Reads at random places", "무작위 위치 읽기" }
    HardwareRandomAxis { "bytes at each place", "위치마다 읽는 바이트" }
    HardwarePatternNote { "Main memory; only bytes that the program asked for count.", "주 메모리. 프로그램이 요청한 바이트만 셉니다." }
    HardwareStaircase { "Staircase over", "계단" }
    HardwareNoSteps { "No steps were found.", "계단을 찾지 못했습니다." }
    HardwareSteps { "Steps at {}; every {}.", "계단 위치 {}. 간격 {}." }
    HardwareStepsKey { "first size above a step", "계단 위의 첫 크기" }
    HardwareStepsOnly { "Steps at {}.", "계단 위치 {}." }
    HardwareRipple { "Ripple between steps: {} %.", "계단 사이의 잔물결: {} %." }
    HardwareLevel { "Level", "수준" }
    HardwareOf { "Of", "범위" }
    HardwareHolds { "Holds", "용량" }
    HardwareRead { "Read", "읽기" }
    HardwareWrite { "Write", "쓰기" }
    HardwareWriteStreaming { "Write (streaming)", "쓰기(스트리밍)" }
    HardwareCopy { "Copy", "복사" }
    HardwareCopyStreaming { "Copy (streaming)", "복사(스트리밍)" }
    HardwareTriad { "Triad", "트라이어드" }
    HardwareLatencyColumn { "Latency", "지연" }
    HardwareKernels { "{} kernels measured, {} skipped; every row stands in `kernels.parquet`.", "커널 {}개 측정, {}개 건너뜀. 모든 행은 `kernels.parquet`에 있습니다." }
    HardwareUnsteady { "{} rows are unsteady: their rounds do not agree, and their intervals are wide.", "{}개 행이 불안정합니다. 라운드마다 값이 달라 구간이 넓습니다." }
    HardwareBeside { "Operators side by side", "연산 동시 실행" }
    HardwareBesideOps { "On streams of their own", "각자의 스트림에서" }
    HardwareBesideTogether { "Together", "동시에" }
    HardwareBesideApart { "One after the other", "차례로" }
    HardwareBesideGain { "Times as fast", "배속" }
    HardwareFastest { "Fastest {} of {}: {}.", "{}({})의 가장 빠른 방식: {}." }
    HardwareMissing { "Not measured: {}", "측정하지 않음: {}" }
    NavLoad { "Against load", "부하별" }
    NavResults { "All metrics", "전체 지표" }
    NavTime { "Over time", "시간별" }
    NavTrials { "Warm-up and trials", "워밍업과 시행" }
    NavSettings { "Settings", "설정" }
    NavDefinitions { "Definitions", "정의" }
    NavReproduce { "Do it again", "재현" }
    Lengths { "Lengths", "길이" }
    FailedRequests { "Failed requests", "실패한 요청" }
    OfRequests { "of {}", "전체 {}건 중" }
    LoadNote { "Shaded bars around the points are their {}% intervals over trials.", "점을 둘러싼 옅은 막대는 시행 기준 {}% 구간입니다." }
    ResultsNote { "Under each value: its {}% interval over independent trials. n counts requests, gaps or trials.", "값 아래: 독립 시행 기준 {}% 구간. n은 요청, 간격 또는 시행의 수입니다." }
    GroupLatency { "Latency, lower is better", "지연 시간(낮을수록 좋음)" }
    GroupThroughput { "Throughput and quality of service", "처리량과 서비스 품질" }
    GroupLoad { "Load", "부하" }
    GroupEngine { "Engine", "엔진" }
    GroupMachine { "Power and hardware", "전력과 하드웨어" }
    NotAvailable { "Not available", "사용할 수 없는 항목" }
    ErrorKind { "Kind", "종류" }
    Meaning { "Meaning", "뜻" }
    RequestsColumn { "Requests", "요청" }
    ShareColumn { "Share", "비율" }
    StatusColumn { "HTTP status", "HTTP 상태" }
    BodyColumn { "Error body (SHA-256, length)", "오류 본문(SHA-256, 길이)" }
    WarmupColumn { "Warm-up", "워밍업" }
    SteadyColumn { "Steady state", "정상 상태" }
    TrialsColumn { "Trials", "시행" }
    MeasuredColumn { "Measured", "측정 시간" }
    PerTrialColumn { "Requests a trial", "시행당 요청" }
    SteadyYes { "reached", "도달" }
    SteadyNo { "not reached", "도달하지 못함" }
    SteadyOff { "warm-up off", "워밍업 없음" }
    UnusualTitle { "Unusual requests", "유별난 요청" }
    UnusualNote { "{} of {} values outside 1.5 interquartile ranges or with a modified z-score above 3.5. They stay in every metric.", "사분위 범위의 1.5배를 벗어나거나 수정 z-점수가 3.5를 넘는 값 {}개(전체 {}개). 모든 지표에 그대로 포함됩니다." }
    RequestColumn { "Request", "요청" }
    TrialColumn { "Trial", "시행" }
    CauseColumn { "What the record shows", "기록에 나타난 원인" }
    CauseConnection { "it opened a connection", "새 연결을 맺음" }
    CausePause { "the first after a pause", "휴지 후 첫 요청" }
    CauseFirst { "the first of its trial", "시행의 첫 요청" }
    CauseUnknown { "nothing that explains it", "설명할 만한 것 없음" }
    EnvVersion { "Stopwatt", "Stopwatt" }
    EnvOs { "System", "운영 체제" }
    EnvCpu { "CPU", "CPU" }
    EnvFeatures { "CPU features", "CPU 명령어 집합" }
    EnvMemory { "Memory", "메모리" }
    EnvGpu { "GPU", "GPU" }
    EnvDriver { "GPU driver", "GPU 드라이버" }
    EnvClocks { "Clocks fixed", "클럭 고정" }
    EnvSeed { "Seed", "시드" }
    EnvHash { "Environment hash", "환경 해시" }
    EnvEngine { "Engine: {}", "엔진: {}" }
    EnvProbe { "Engine can: {}", "엔진 기능: {}" }
    EnvFormat { "Run format", "실행 형식" }
    Yes { "yes", "예" }
    No { "no", "아니요" }
    Unknown { "unknown", "알 수 없음" }
    SettingColumn { "Setting", "설정" }
    ValueColumn { "Value", "값" }
    OriginColumn { "From", "출처" }
    OriginDefault { "default", "기본값" }
    SettingsNote { "Settings that were chosen come first; the rest are defaults.", "직접 지정한 설정이 먼저, 나머지는 기본값입니다." }
    ReproduceMeasure { "Measure again with the same settings:", "같은 설정으로 다시 측정:" }
    NotFixedTitle { "Not fixed", "고정되지 않은 항목" }
    EnvCommit { "Source", "소스" }
    EnvDirty { "{}, changed ({})", "{}, 변경됨 ({})" }
    EnvContainer { "Container", "컨테이너" }
    EnvPython { "Python", "Python" }
    EnvPackages { "Packages", "패키지" }
    EnvLibraries { "CUDA libraries", "CUDA 라이브러리" }
    EnvGovernor { "CPU governor", "CPU governor" }
    EnvGpuStood { "GPU {} stood at", "GPU {} 상태" }
    EnvGpuSet { "Set on GPU {}", "GPU {}에 설정함" }
    EnvGpuRestored { "{} while measuring; before: {}, put back", "측정 중 {}; 이전 값: {}, 되돌림" }
    EnvGpuNotRestored { "{} while measuring; before: {}, NOT put back", "측정 중 {}; 이전 값: {}, 되돌리지 못함" }
    EnvGpuOf { "{} (delivered: {})", "{} (출고 값: {})" }
    EnvGpuPower { "power limit {}", "전력 제한 {}" }
    EnvGpuClock { "application clock {}", "애플리케이션 클럭 {}" }
    EnvGpuPersistence { "persistence mode {}", "지속 모드 {}" }
    On { "on", "켜짐" }
    Off { "off", "꺼짐" }
    EnvLoad { "CPU load before", "측정 전 CPU 부하" }
    EnvInput { "Input: {}", "입력: {}" }
    EnvProgram { "Program (SHA-256)", "프로그램 (SHA-256)" }
    ReproduceRun { "Do all of it again and judge it against this run:", "전부 다시 측정하고 이 실행과 비교:" }
    Reproduces { "Repeats run", "반복한 실행" }
    ReproductionTitle { "Reproduction", "재현" }
    OriginalRun { "Original", "원본" }
    RepeatedRun { "Repeated", "재측정" }
    ReproducedYes { "reproduced", "재현됨" }
    ReproducedNo { "not reproduced", "재현되지 않음" }
    ReproductionEnvironment { "What differs in the environment (✗ is part of its hash)", "환경의 차이 (✗ 표시는 환경 해시에 포함됨)" }
    ReproductionSettings { "Settings given anew", "새로 지정한 설정" }
    ReproductionSame { "Nothing known differs in the environment", "알려진 환경 차이가 없습니다" }
    ReproductionNote { "Intervals at {} %, over trials. Reproduced: the change is within {} % with confidence. Judged metrics are corrected together (Holm).", "{} % 신뢰구간, 시행 단위. 재현됨: 변화가 {} % 이내임이 확실할 때. 판정 지표는 함께 보정합니다(Holm)." }
    ReproduceReport { "Make this page again from the record:", "기록에서 이 페이지 다시 만들기:" }
    DirectionLower { "lower is better", "낮을수록 좋음" }
    DirectionHigher { "higher is better", "높을수록 좋음" }
    PowerTitle { "Power (W)", "전력 (W)" }
    PowerLine { "power", "전력" }
    ClockTitle { "GPU clock (MHz)", "GPU 클럭 (MHz)" }
    ClockLine { "SM clock", "SM 클럭" }
    TemperatureTitle { "GPU temperature (°C)", "GPU 온도 (°C)" }
    TemperatureLine { "temperature", "온도" }
    GpuUseTitle { "GPU utilisation", "GPU 사용률" }
    GpuUseLine { "SMs with work", "작업 중인 SM" }
    GpuMemoryTitle { "GPU memory", "GPU 메모리" }
    GpuMemoryLine { "in use", "사용 중" }
    EngineQueueTitle { "Engine: requests", "엔진: 요청" }
    EngineQueueCaption { "As the engine's own metrics say.", "엔진 자체 지표 기준." }
    EngineRunning { "running", "실행 중" }
    EngineWaiting { "waiting", "대기 중" }
    EngineKvTitle { "Engine: KV cache", "엔진: KV 캐시" }
    EngineKvCaption { "Share in use, and share of the looked-up prompt tokens that were found.", "사용 중인 비율과, 조회한 프롬프트 토큰 중 찾은 비율." }
    EngineKv { "in use", "사용 중" }
    EnginePrefixHits { "prefix hits", "접두사 적중" }
    EnginePreemptionsTitle { "Engine: preempted requests", "엔진: 선점된 요청" }
    EnginePreempted { "since the engine began", "엔진 시작 이후" }
    Nothing { "", "" }
    CostTitle { "Cost", "비용" }
    CostPrice { "{}: {} {} an hour ({}, {})", "{}: 시간당 {} {} ({}, {})" }
    CostSource { "Price of {}, read at {}. Interactivity is 1 / TPOT: tokens a second that one user sees.", "{}의 가격, 출처 {}. 상호작용성은 1 / TPOT, 즉 사용자 한 명이 보는 초당 토큰 수입니다." }
    CostOutput { "1M output tokens", "출력 토큰 100만 개" }
    CostTotal { "1M tokens, in and out", "입출력 토큰 100만 개" }
    RooflineParts { "Parts of a step", "스텝의 구성 요소" }
    RooflineCaption { "The line is what the device can do at best; each dot is a part of a step as its kernels take it. Distance below the line is what they leave.", "선은 장치의 상한이고, 점은 스텝의 각 구성 요소가 커널 시간으로 도달한 값. 선 아래로 떨어진 거리만큼 여유가 남음." }
    PlanTitle { "Plan", "용량 계획" }
    PlanFleets { "Ways to serve the traffic", "트래픽을 처리하는 구성" }
    PlanPareto { "Speed for a user against work of a device", "사용자 체감 속도와 장치당 처리량" }
    PlanParetoCaption { "Closed loops of 1, 2, 4, … clients on one replica, predicted; {} of {} ways are drawn. Further right and further up is better.", "복제본 하나에 클라이언트 1, 2, 4, …개를 폐쇄 루프로 보냈을 때의 예측값이며, {}개 구성을 그림(전체 {}개). 오른쪽 위일수록 좋음." }
    PlanUser { "tokens/s per user", "사용자당 토큰/s" }
    PlanDevice { "output tokens/s per device", "장치당 출력 토큰/s" }
    PlanFront { "Pareto front", "파레토 전선" }
    CostInteractivity { "interactivity", "상호작용성" }
    CostPeak { "at peak goodput", "최대 굿풋" }
    CostMeasured { "as measured", "측정된 부하" }
    CostIdle { "with idle time", "유휴 시간 포함" }
    CostByLoad { "By load", "부하별" }
    CostPerStream { "an hour for each stream", "동시 요청당 1시간" }
    CostAlternatives { "Other offers", "다른 가격" }
    CostOffer { "Offer", "가격 이름" }
    CostKind { "Paid", "지불 방식" }
    CostPerHour { "An hour", "1시간" }
    CostRatio { "Against the chosen one", "선택한 가격 대비" }
    CostCaption { "Each dot is a load, its bar the interval: further right users see tokens faster, further down they cost less.", "점 하나가 부하 하나, 막대는 구간입니다. 오른쪽일수록 사용자가 토큰을 빨리 받고, 아래일수록 저렴합니다." }
    PriceOnDemand { "on demand", "온디맨드" }
    PriceSpot { "spot", "스팟" }
    PriceReserved { "reserved", "예약" }
    PriceOwned { "owned", "자체 보유" }
    CauseEnvironment { "Environment", "환경" }
    CauseInput { "Input", "입력" }
    CauseKernel { "Kernels", "커널" }
    CauseMemory { "Memory", "메모리" }
    CauseQueueing { "Queueing", "대기" }
    CauseSampleSize { "Sample size", "표본 크기" }
    CauseOutliers { "Outliers", "이상값" }
    CauseClient { "Load client", "부하 클라이언트" }
    CausesTitle { "Root causes", "원인 분석" }
    CausesNone { "No cause found", "원인을 찾지 못함" }
    CausesNothing { "No cause found: no judged metric changed, so there is nothing to explain", "원인을 찾지 못함: 판정 지표가 변하지 않아 설명할 것이 없음" }
    CausesUnchecked { "Not checked", "확인하지 못한 항목" }
    CausesNote { "Sorted by the share of the change that each explains; a share in brackets is a rank, not computed.", "변화를 설명하는 비율 순. 괄호 안의 비율은 계산값이 아니라 순위입니다." }
    CauseShare { "explains", "설명 비율" }
    CauseEvidence { "Evidence", "근거" }
    CauseToDo { "What to do", "조치" }
    BeforeAfterTitle { "Before and after", "전후 비교" }
    BaDifferences { "Differences", "차이" }
    BaDifferencesNote { "Dot: the change. Bar: its {} % interval. Right is better. Grey: within {} %, which does not matter. Dashed: the limit of a gate.", "점: 변화. 막대: {} % 신뢰구간. 오른쪽이 개선. 회색: {} % 이내의 무시할 변화. 점선: 게이트의 한계." }
    BaAxis { "improvement, % of the baseline (points for shares)", "개선, 기준 대비 %(비율 지표는 %p)" }
    BaGate { "gate: {}", "게이트: {}" }
    BaTable { "All metrics", "전체 지표" }
    BaJudged { "judged", "판정 지표" }
    BaTrials { "Trials", "시행" }
    BaTrialsNote { "Each dot is a trial, in the order measured: every interval rests on these.", "점 하나가 시행 하나이며 측정 순서대로입니다. 모든 구간은 이 값에서 나옵니다." }
    BaTrialAxis { "trial", "시행" }
    BaRequests { "Requests", "요청" }
    BaRequestsNote { "Single requests at the headline point of each side.", "양쪽 대표 측정점의 개별 요청." }
    BaSensors { "Sensors", "센서" }
    BaSensorsNote { "Over the time since each run began.", "각 실행의 시작 이후 시간." }
    BaPower { "Power", "전력" }
    BaSmClock { "SM clock", "SM 클럭" }
    BaCpuClock { "CPU clock", "CPU 클럭" }
    BaTemperature { "Temperature", "온도" }
    BaNoDifferences { "Machine, engine and settings are the same, as far as they are recorded.", "기록된 범위에서 장비, 엔진, 설정이 같습니다." }
    BaUnfair { "makes the comparison unfair", "공정한 비교를 막음" }
    BaChecklist { "Checklist of the procedure", "절차 체크리스트" }
    BaChecklistNote { "Ticked by what the records show, not by what was intended.", "의도가 아니라 기록에 나타난 것을 기준으로 표시합니다." }
    BaDone { "done", "완료" }
    BaNotDone { "not done", "미완료" }
    BaStatus { "Status", "상태" }
    BaStep { "Step", "항목" }
    BaShown { "What the records show", "기록에 나타난 것" }
    BaLicences { "Licences", "라이선스" }
    BaModelLicence { "Model", "모델" }
    BaDataLicence { "Data", "데이터" }
    BaNotStated { "not stated", "명시되지 않음" }
    BaEnergy { "Limits of the energy measurement", "에너지 측정의 한계" }
    BaEnergySampling { "Power was read every {} on average: what happens between two readings is not seen.", "전력을 평균 {}마다 읽음: 두 읽기 사이의 변화는 보이지 않습니다." }
    BaEnergyEdges { "A window begins and ends between two readings: that alone is an error of up to a period of power.", "구간의 시작과 끝이 두 읽기 사이에 있어, 그것만으로 최대 한 주기만큼의 오차가 있습니다." }
    BaEnergyGain { "Sensors of boards are off by several percent (about ±5 %) in absolute terms; this cancels between runs on one card.", "보드 센서의 절댓값은 수 퍼센트(약 ±5 %) 어긋날 수 있으며, 같은 카드의 실행끼리 비교할 때는 상쇄됩니다." }
    BaEnergyScope { "It is the energy of the whole board or package, other processes included.", "다른 프로세스를 포함한 보드 또는 패키지 전체의 에너지입니다." }
    CkEnvironment { "Environment", "환경 고정" }
    CkMeasurement { "Measurement", "측정" }
    CkLocked { "Clocks and power locked", "클럭·전력 고정" }
    CkClocksFixed { "clocks were fixed on both sides", "양쪽 모두 클럭이 고정됨" }
    CkClocksNot { "clocks were not fixed: {}", "클럭이 고정되지 않음: {}" }
    CkClocksUnknown { "whether clocks were fixed is not known: {}", "클럭 고정 여부를 알 수 없음: {}" }
    CkVersions { "Versions recorded", "버전 기록" }
    CkVersionsMissing { "not recorded: {}", "기록 없음: {}" }
    CkWarm { "Warm-up to a steady state", "워밍업과 안정화" }
    CkWarmSteady { "{}: {} requests, steady state reached", "{}: 요청 {}건, 정상 상태 도달" }
    CkWarmNot { "{}: {} requests, no steady state", "{}: 요청 {}건, 정상 상태에 이르지 못함" }
    CkWarmOff { "{}: warm-up off", "{}: 워밍업 없음" }
    CkNoRecord { "{}: not recorded", "{}: 기록 없음" }
    CkSeed { "Seed fixed", "시드 고정" }
    CkSeedSame { "seed {} on both sides", "양쪽 모두 시드 {}" }
    CkSeedDiffers { "seeds {}", "시드 {}" }
    CkBackground { "No background load", "배경 부하 차단" }
    CkBackgroundSeen { "other processes used {} of the CPU time", "다른 프로세스의 CPU 사용률 {}" }
    CkBackgroundUnknown { "not recorded on both sides", "양쪽에 기록되지 않음" }
    CkInput { "Same input", "입력 고정" }
    CkInputSame { "workload, lengths and request settings are the same", "작업 부하, 길이, 요청 설정이 같음" }
    CkInputDiffers { "differs in {}", "다름: {}" }
    CkFingerprint { "Fingerprint collected", "환경 지문 수집" }
    CkRepeats { "Enough repetitions", "반복 수 충족" }
    CkRepeatsSeen { "{}: {} trials of {} requests in all", "{}: 시행 {}회, 요청 모두 {}건" }
    CkRepeatsNeeded { "{}; at least 3 trials a side are needed", "{}. 한쪽에 3회 이상 필요함" }
    CkLatency { "Latency and throughput recorded", "지연 시간과 처리량 기록" }
    CkLatencySeen { "mean, p50 and p95 of latency, and tokens per second", "지연 시간의 평균, p50, p95와 초당 토큰" }
    CkL2 { "L2 hit rate", "L2 적중률" }
    CkEnergy { "Energy per token", "토큰당 에너지" }
    CkDelta { "Difference with interval and effect size", "차이의 구간과 효과 크기" }
    CkDeltaSeen { "{} of {} judged metrics", "판정 지표 {}개(전체 {}개)" }
    CkArtefacts { "Artefacts and reports stored", "산출물과 보고서 저장" }
    CkArtefactsAll { "every file is there, or the run says why not", "모든 파일이 있거나 없는 이유가 기록됨" }
    CkArtefactsMissing { "missing: {}", "없음: {}" }
    CkSamples { "{} is a table of samples", "{}은(는) 표본 표임" }
    AcceptanceTitle { "Acceptance", "수용 판정" }
    Accepted { "Accepted", "수용" }
    AcceptanceFailed { "Not accepted", "수용하지 않음" }
    AcceptanceOpen { "Not accepted yet: inconclusive", "아직 수용할 수 없음: 판단 불가" }
    AcceptancePair { "Workload {}", "작업 부하 {}" }
    ArtefactPresent { "there", "있음" }
    ArtefactMissing { "missing", "없음" }
    ArtefactsTitle { "Artefacts", "산출물" }
    ExpectedTitle { "Expected", "기대값" }
    MoreFindings { "and {} more", "외 {}건" }
    UnknownFinding { "a finding that this version has no words for; see run.log", "이 버전에 설명이 없는 항목(run.log 참조)" }
    MadeBy { "Made by Stopwatt {} from the record of run {}. This page loads nothing from the network.", "Stopwatt {}이(가) 실행 {}의 기록으로 만든 페이지입니다. 네트워크에서 아무것도 불러오지 않습니다." }
    OcrTitle { "OCR scores under {}: {} pages, {} documents", "OCR 채점 결과 ({}): {}쪽, 문서 {}건" }
    OcrType { "type", "문서 유형" }
    OcrDocuments { "documents", "문서 수" }
    OcrPages { "pages", "쪽수" }
    OcrAll { "all", "전체" }
    OcrNoSpace { "no space", "공백 제외" }
    OcrJamo { "jamo", "자모" }
    OcrAnyOrder { "any order", "순서 무관" }
    OcrWordsF1 { "words F1", "단어 F1" }
    OcrFields { "field", "필드" }
    OcrCount { "n", "n" }
    OcrRight { "right", "정답률" }
    OcrExact { "exact", "완전 일치" }
    OcrFound { "found", "검출" }
    OcrSimilarity { "similarity", "유사도" }
    OcrNumbers { "Numbers with units", "수치와 단위" }
    OcrDrugs { "Names of drugs", "약물명" }
    OcrCodes { "Diagnosis codes", "진단코드" }
    OcrCategories { "Their categories", "진단코드 3자리 분류" }
    OcrF1 { "F1 {}, precision {}, recall {}", "F1 {}, 정밀도 {}, 재현율 {}" }
    OcrDocumentsRight { "Documents with every field right", "모든 필드가 맞는 문서" }
    OcrOdd { "Odd readings", "이상 출력" }
    OcrLoops { "repetition loops", "반복 출력" }
    OcrRefusals { "refusals", "거부" }
    OcrChatter { "talk around the text", "불필요한 설명" }
    OcrCutOff { "cut off", "토큰 한도로 잘림" }
    OcrCleaned { "marks taken off", "마크업 제거" }
    OcrSpurious { "values of no field", "근거 없는 필드 값" }
    OcrCounts { "Characters: {} substituted, {} deleted, {} inserted of {}; longest insertion {}", "문자 오류: 대체 {}, 삭제 {}, 삽입 {} (전체 {}자); 가장 긴 삽입 {}자" }
    OcrNumEqual { "right", "일치" }
    OcrNumZeros { "other zeros", "끝자리 0 차이" }
    OcrNumSpelling { "unit spelled otherwise", "단위 표기 차이" }
    OcrNumDigit { "digit wrong", "숫자 오류" }
    OcrNumDecimal { "decimal point wrong", "소수점 오류" }
    OcrNumSign { "sign lost", "부호 오류" }
    OcrNumComparator { "< or > wrong", "부등호 오류" }
    OcrNumUnit { "unit wrong", "단위 오류" }
    OcrNumCount { "number missing or added", "숫자 누락·추가" }
    OcrNumWords { "words wrong", "단어 오류" }
    OcrMissing { "missing", "누락" }
    OcrAnotherDrug { "another drug", "다른 약물로 오인" }
    OcrGarbled { "garbled", "판독 불가 이름" }
    OcrNote { "Micro rates; 95 % intervals over documents, of fields by Wilson at the effective sample size. Fields are compared under ko-med@1.", "마이크로 평균; 95 % 신뢰구간은 문서 단위, 필드는 유효 표본 크기의 Wilson 구간. 필드는 ko-med@1로 비교합니다." }
    OcrShortest { "shortest", "최소 글자" }
    OcrMedian { "median", "중앙값" }
    OcrLongest { "longest", "최대 글자" }
    OcrLookedAt { "{} pages, {} fields, {} images looked at", "{}쪽, 필드 {}개, 이미지 {}개 확인" }
    OcrLine { "line {}", "{}번째 줄" }
    OcrField { ", field {}", ", 필드 {}" }
    OcrVerdict { "verdict", "판정" }
    OcrPass { "PASS", "합격" }
    OcrFail { "FAIL", "불합격" }
    OcrInconclusive { "INCONCLUSIVE", "판단 불가" }
    OcrDegrade { "image", "이미지" }
    OcrPerMinute { "docs/min", "분당 문서" }
    OcrLatency { "p95 latency", "p95 지연" }
    OcrNoInterval { "no interval: {}", "구간 없음: {}" }
    OcrNeedsMore { "needs about {} more documents", "문서 약 {}건이 더 필요" }
    OcrSynthetic { "Made-up documents: accuracy on them does not carry over to real records.", "가상 문서의 결과이며 실제 기록에서의 정확도를 뜻하지 않습니다." }
    OcrFailImage { "image not readable", "이미지를 읽을 수 없음" }
    OcrFailStart { "program not started", "프로그램 시작 실패" }
    OcrFailExit { "program ended with an error", "프로그램 오류 종료" }
    OcrFailTimeout { "took too long", "시간 초과" }
    OcrFailEncoding { "output is not UTF-8", "출력이 UTF-8이 아님" }
    OcrFailRefused { "refused by the service", "서비스가 거부함" }
    OcrFailService { "service failed", "서비스 오류" }
    OcrFailNothing { "nothing written", "출력 없음" }
    OcrFailInterrupted { "interrupted", "중단됨" }
    OcrMade { "{} documents, {} images, {}", "문서 {}건, 이미지 {}장, {}" }
    OcrNoHand { "no font that looks written by hand was found (fonts-nanum-extra): those parts are set in print", "손글씨체 글꼴이 없어(fonts-nanum-extra) 해당 부분을 인쇄체로 그렸습니다" }
    OcrReport { "Document OCR benchmark", "문서 OCR 벤치마크" }
    OcrReportReader { "read by", "판독기" }
    OcrReportAtOnce { "pages at once", "동시 처리" }
    OcrReportNorm { "normalisation", "정규화" }
    OcrReportMade { "made up", "가상 문서" }
    OcrReportReal { "not marked as made up", "가상으로 표시되지 않은 문서" }
    OcrReportData { "documents are", "문서 종류" }
    OcrReportEcho { "What answered is an echo of the truth, made for tests on synthetic documents. Nothing was recognised, and no figure here tells of a recogniser.", "가상 문서 시험용 정답 되돌림(truth echo)의 결과입니다. 실제 판독은 없었으며 어떤 OCR의 성능도 나타내지 않습니다." }
    OcrReportContent { "This page shows the content of documents. It is not to be passed on.", "이 페이지에는 문서 내용이 들어 있습니다. 외부에 전달하지 마십시오." }
    OcrReportReasons { "Limits that are missed, and those that the sample cannot decide", "충족하지 못했거나 표본으로 판단할 수 없는 기준" }
    OcrReportAllMet { "every limit is met with confidence", "모든 기준을 신뢰구간까지 충족" }
    OcrReportTypes { "By type of document", "문서 유형별 결과" }
    OcrReportTypesNote { "Character and word error rates over all pages with their 95 % intervals over documents. PASS: the whole interval clears the limit. FAIL: none of it does.", "전체 쪽의 문자·단어 오류율과 문서 단위 95 % 신뢰구간. 합격은 구간 전체가 기준을 충족할 때, 불합격은 구간 전체가 벗어날 때입니다." }
    OcrReportCer { "CER, limit", "CER, 기준" }
    OcrReportLatency { "latency, limit", "지연, 기준" }
    OcrReportFieldCheck { "fields", "필드" }
    OcrReportBars { "Critical fields", "핵심 필드" }
    OcrReportBarsNote { "Share of values read right; whiskers are Wilson's 95 % interval at the effective sample size. Dashed lines: 90 % (WARN) and 95 % (OK).", "맞게 읽은 값의 비율. 수염은 유효 표본 크기의 Wilson 95 % 구간, 점선은 90 %(WARN)와 95 %(OK)입니다." }
    OcrReportNumbers { "How numbers with units are read", "수치와 단위의 판독 결과" }
    OcrReportMap { "Resolution and degradation", "해상도와 열화" }
    OcrReportMapNote { "CER with its interval; darker is worse. The same pages at every resolution, so that a column differs from the next in nothing else.", "CER과 신뢰구간. 진할수록 나쁩니다. 모든 해상도가 같은 문서이므로 다른 조건은 동일합니다." }
    OcrReportCurve { "CER by resolution", "해상도별 CER" }
    OcrReportSmallest { "smallest resolution whose interval meets that of the best: {} DPI", "최적 해상도와 구간이 겹치는 가장 낮은 해상도: {} DPI" }
    OcrReportSpeed { "Speed", "속도" }
    OcrReportSpeedNote { "Seconds a page, of pages that were read; documents a minute are pages over wall time. p99 and TLR (p99 / p50) need 100 pages.", "읽은 쪽의 처리 시간. 분당 문서는 경과 시간 기준이며, p99와 TLR(p99/p50)에는 100쪽이 필요합니다." }
    OcrReportImageTokens { "image tokens", "이미지 토큰" }
    OcrReportTokens { "tokens in / out", "입력 / 출력 토큰" }
    OcrReportOutside { "outside range", "범위 밖" }
    OcrReportSweep { "Documents a minute by pages at once", "동시 처리 수에 따른 분당 문서 수" }
    OcrReportConfused { "What is read as what", "혼동" }
    OcrReportConfusedNote { "Under text@1. Syllables are taken apart into initial, vowel and final.", "text@1 기준. 음절은 초성·중성·종성으로 나눕니다." }
    OcrReportCharacters { "Characters", "문자" }
    OcrReportJamo { "Jamo", "자모" }
    OcrReportKinds { "Kinds of characters", "문자 종류" }
    OcrReportTruth { "stands there", "원문" }
    OcrReportRead { "was read", "판독" }
    OcrReportTimes { "times", "횟수" }
    OcrReportPart { "part", "위치" }
    OcrReportInitial { "initial", "초성" }
    OcrReportVowel { "vowel", "중성" }
    OcrReportFinal { "final", "종성" }
    OcrReportHangul { "Hangul", "한글" }
    OcrReportDigit { "digit", "숫자" }
    OcrReportLatin { "Latin letter", "영문자" }
    OcrReportSpace { "space", "공백" }
    OcrReportSign { "sign", "기호" }
    OcrReportLetter { "other letter", "기타 문자" }
    OcrReportNothing { "nothing", "없음" }
    OcrReportOrder { "Spaces, look-alikes and reading order", "띄어쓰기, 유사 글자, 읽기 순서" }
    OcrReportOrderNote { "CER falls from the first column to the next by what trouble with spaces costs; by jamo, syllables that look alike cost less; with lines in any order, reading order costs nothing.", "CER에서 공백 제외로 줄어든 만큼이 띄어쓰기 오류입니다. 자모 단위에서는 비슷한 글자의 비중이 작아지고, 순서 무관에서는 읽기 순서 오류가 빠집니다." }
    OcrReportWorst { "Pages with the most errors", "오류가 많은 쪽" }
    OcrReportWorstNote { "Struck out: stands there and was not read. Underlined: was read and does not stand there. Boxes are fields: solid where wrong, dotted where right.", "취소선은 읽지 못한 글자, 밑줄은 원문에 없는 글자입니다. 테두리는 필드로, 실선은 틀린 값, 점선은 맞은 값입니다." }
    OcrReportWorstTitle { "{}, {}: CER {}, {} of {} fields wrong", "{}, {}: CER {}, 필드 {}/{} 오류" }
    OcrReportFailures { "Failures and odd readings", "실패와 이상 출력" }
    OcrReportNoFailure { "Every page was read, and none oddly.", "모든 쪽을 읽었고 이상 출력이 없습니다." }
    OcrReportFolded { "further settings", "다른 조건" }
    OcrReportNotKept { "What was read is not shown: it was not kept, or this page is made to be shared.", "판독 내용은 보관하지 않았거나 공유용이므로 표시하지 않습니다." }
    OcrReportLimits { "Not a medical device; ranges and documents illustrate. {}", "의료기기가 아니며 범위와 문서는 예시입니다. {}" }
    OcrReportPages { "pages", "쪽" }
    OcrReportWritten { "Report: {}", "보고서: {}" }
    OcrCompareFigure { "figure", "지표" }
    OcrCompareBaseline { "baseline", "기준" }
    OcrCompareCandidate { "candidate", "비교" }
    OcrCompareDifference { "difference", "차이" }
    OcrCompareInterval { "95 % interval", "95 % 신뢰구간" }
    OcrCompareBetterWorse { "pages better / worse", "개선 / 악화 쪽수" }
    OcrComparePages { "{} pages in both runs; not read: {} by the baseline, {} by the candidate", "두 실행에 모두 있는 {}쪽; 읽지 못한 쪽: 기준 {}, 비교 {}" }
    OcrCompareNote { "Each page against itself; intervals by bootstrap over documents. CER, fields and latency of all pages are judged, corrected together (Holm); the rest is shown.", "쪽별로 짝지어 비교하며 구간은 문서 단위 부트스트랩입니다. 전체의 CER, 필드, 지연만 판정하고(Holm 보정) 나머지는 참고입니다." }
    OcrCompareCer { "CER", "CER" }
    OcrCompareJamo { "CER by jamo", "자모 CER" }
    OcrCompareWer { "WER", "WER" }
    OcrCompareFields { "fields right", "필드 정답률" }
    OcrCompareLatency { "latency", "지연" }
    OcrCompareImproved { "improved", "개선" }
    OcrCompareRegressed { "regressed", "악화" }
    OcrCompareInconclusive { "inconclusive", "판단 불가" }
    OcrCompareSame { "the same", "동일" }
    OcrTruthRight { "the truth is consistent", "정답 데이터에 문제가 없습니다" }
}

/// Puts values in place of the `{0}`, `{1}`, … marks of `text`; `?` where there is none.
pub fn numbered<'a>(text: &str, value: impl Fn(usize) -> Option<&'a str>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((mark, after)) = after.split_once('}') else { break };
        out.push_str(mark.parse().ok().and_then(&value).unwrap_or("?"));
        rest = after;
    }
    out + rest
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
