//! Titles and formulas of the metrics in the language of the reader.
//!
//! English stands in the table of [`crate::metric`]; Korean stands here, and a metric without it does not compile.

use crate::metric::Metric;
use crate::text::Lang;

impl Metric {
    /// Name for people.
    pub const fn title(self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.info().title,
            Lang::Ko => self.korean().0,
        }
    }

    /// The definition in one sentence.
    pub const fn formula(self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.info().formula.trim_ascii(),
            Lang::Ko => self.korean().1,
        }
    }

    /// Title and formula.
    const fn korean(self) -> (&'static str, &'static str) {
        match self {
            Self::Ttft => (
                "TTFT",
                "첫 토큰까지의 시간: 첫 본문·추론·도구 청크 − 전송 시작(요청을 집어 든 시각, 새 연결이 필요했으면 연결이 맺어진 시각. 연결 시간이 섞이지 않는다).",
            ),
            Self::TtftAnswer => ("TTFT(답변)", "추론이 아닌 첫 토큰까지의 시간 − 전송 시작."),
            Self::Tpot => {
                ("TPOT", "출력 토큰당 시간: (마지막 − 첫 토큰 청크) / (출력 토큰 수 − 첫 청크의 토큰 수).")
            }
            Self::Itl => {
                ("ITL", "토큰 간 지연: 토큰 청크 사이의 간격을 뒤 청크의 토큰 수로 나눈 값(토큰 수를 알 때).")
            }
            Self::ChunkGap => ("청크 간격", "토큰 청크 사이의 간격. 나누지 않은 값."),
            Self::E2e => ("E2E 지연", "종단 간 지연: 마지막 토큰 청크 − 전송 시작."),
            Self::E2eFromSchedule => (
                "예정 기준 E2E",
                "예정된 전송 시각부터 잰 종단 간 지연. 늦은 클라이언트나 가득 찬 연결 풀이 숨지 못한다.",
            ),
            Self::E2eWithFailures => ("실패 포함 E2E", "실패한 요청을 무한히 늦은 것으로 친 종단 간 지연."),
            Self::Connect => ("연결", "연결을 맺는 데 걸린 시간(TLS 포함). 새로 연결한 요청만 해당."),
            Self::SendLag => {
                ("전송 지연", "클라이언트가 요청을 늦게 집어 든 정도: 집어 든 시각 − 예정 시각.")
            }
            Self::Tlr => (
                "꼬리 지연 비율",
                "E2E의 p99 / p50: 요청이 100개 이상인 시행마다, 없으면 모든 시행을 합쳐서.",
            ),
            Self::Stalls => (
                "멈춤",
                "토큰 청크 사이의 간격이 `analysis.stall_s`(기본 1초)를 넘은 횟수(시행마다). 백분위수에 드러나지 않는 드문 멈춤도 보인다.",
            ),
            Self::LongestGap => ("가장 긴 간격", "한 요청의 두 토큰 청크 사이에서 가장 긴 간격(시행마다)."),
            Self::OutputThroughput => ("출력 토큰/s", "성공한 요청의 출력 토큰 수 / 측정 구간."),
            Self::TotalThroughput => ("전체 토큰/s", "성공한 요청의 입력과 출력 토큰 수 / 측정 구간."),
            Self::RequestThroughput => ("요청/s", "성공한 요청 수 / 측정 구간."),
            Self::Goodput => ("굿풋 요청/s", "모든 SLO를 지킨 성공 요청 수 / 측정 구간."),
            Self::SloAttainment => ("SLO 달성률", "모든 SLO를 지킨 요청 수 / 끝난 모든 요청 수(실패 포함)."),
            Self::ErrorRate => ("오류율", "실패한 요청 수 / 끝난 모든 요청 수."),
            Self::KvHitRate => (
                "KV 캐시 적중률",
                "접두사 캐시에서 가져온 프롬프트 토큰 / 조회한 프롬프트 토큰. 엔진의 카운터 또는 usage 기준.",
            ),
            Self::InputTokens => ("입력 토큰", "서버 usage 기준 요청당 프롬프트 토큰 수."),
            Self::OutputTokens => {
                ("출력 토큰", "서버 usage 기준 요청당 생성 토큰 수. 없으면 토크나이저 기준.")
            }
            Self::EngineCpu => (
                "엔진 CPU 코어",
                "엔진의 CPU 초 / 측정 구간, 즉 사용한 코어 수. Stopwatt가 띄운 엔진만 해당.",
            ),
            Self::EngineMemory => ("엔진 메모리", "엔진의 최대 상주 메모리. Stopwatt가 띄운 엔진만 해당."),
            Self::Power => {
                ("전력", "측정 구간의 평균 전력. GPU 합계, 없으면 CPU 패키지, 또는 외부 전력계 기준.")
            }
            Self::EnergyPerToken => {
                ("토큰당 에너지", "측정 구간의 전체 에너지 / 그 구간에 끝난 성공 요청의 출력 토큰 수.")
            }
            Self::NetEnergyPerToken => (
                "토큰당 순에너지",
                "유휴 상태에서도 썼을 에너지를 뺀 값 / 그 구간에 끝난 성공 요청의 출력 토큰 수.",
            ),
            Self::EnergyPerTotalToken => (
                "전체 토큰당 에너지",
                "측정 구간의 전체 에너지 / 그 구간에 끝난 성공 요청의 입력과 출력 토큰 수.",
            ),
            Self::EnergyPerRequest => {
                ("요청당 에너지", "측정 구간의 전체 에너지 / 그 구간에 끝난 성공 요청 수.")
            }
            Self::GpuMemory => ("GPU 메모리", "모든 GPU에서 사용 중인 메모리 합계의 최댓값(모든 프로세스)."),
            Self::GpuUse => ("GPU 사용률", "SM에 작업이 있던 시간의 비율. 측정 구간, SM, GPU의 평균."),
            Self::L2HitRate => (
                "L2 적중률",
                "L2 캐시에서 찾은 섹터 / 조회한 섹터. 프로파일한 모든 커널 기준, 프로파일 실행마다 한 값.",
            ),
            Self::DramBytes => (
                "DRAM 바이트",
                "커널이 GPU 메모리에서 읽고 쓴 바이트 / 프로파일 실행의 반복 횟수. 프로파일 실행마다 한 값.",
            ),
            Self::L1dHitRate => {
                ("L1d 적중률", "적중한 1차 데이터 캐시 접근 / 접근. 대상 프로세스에 대한 CPU 카운터 기준.")
            }
            Self::LlcHitRate => {
                ("LLC 적중률", "적중한 마지막 단계 캐시 접근 / 접근. 대상 프로세스에 대한 CPU 카운터 기준.")
            }
            Self::QualityLoss => (
                "품질 손실",
                "1 − 출력을 평가하는 항목들의 평균 점수(낮을수록 좋은 점수면 평균 점수). 답변이면 기준 실행의 답변과 다른 비율. 기준과의 비교는 항목끼리 짝지어 한다.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_title_and_a_sentence_in_both_languages() {
        for &m in Metric::ALL {
            for lang in [Lang::En, Lang::Ko] {
                assert!(!m.title(lang).is_empty());
                assert!(m.formula(lang).ends_with('.') && !m.formula(lang).starts_with(' '), "{}", m.name());
            }
        }
    }
}
