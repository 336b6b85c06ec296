//! Every text of the page, in English and Korean.

use serde_json::{Map, json};

/// Key, English, Korean. A text with a value in it holds `{}`.
const TEXTS: &[(&str, &str, &str)] = &[
    ("watch", "watch", "감시"),
    ("span", "Time", "기간"),
    ("live", "Live, 15 min", "실시간, 15분"),
    ("last", "Last {}", "최근 {}"),
    ("light", "Light", "밝게"),
    ("dark", "Dark", "어둡게"),
    ("needs_store", "Longer times need --store DIR", "더 긴 기간은 --store DIR 옵션이 필요합니다"),
    ("link_wait", "connecting", "연결 중"),
    ("link_up", "live", "실시간"),
    ("link_down", "no connection, trying again", "연결이 끊겨 다시 시도 중"),
    ("token_title", "This page needs the token of the proxy", "프록시의 토큰이 필요합니다"),
    (
        "token_why",
        "It stays in this tab and is sent to this address only.",
        "이 탭에만 보관되며 이 주소로만 전송됩니다.",
    ),
    ("token", "Token", "토큰"),
    ("open", "Open", "열기"),
    ("token_wrong", "This is not the token.", "토큰이 맞지 않습니다."),
    ("show_table", "Table", "표"),
    ("show_chart", "Chart", "차트"),
    ("time", "Time", "시각"),
    ("chart_load", "Requests ended", "끝난 요청"),
    ("unit_load", "per second, over 10 s", "초당, 10초 평균"),
    ("chart_tokens", "Output tokens", "출력 토큰"),
    ("unit_tokens", "per second, over 10 s", "초당, 10초 평균"),
    ("chart_queue", "Requests at the engines", "엔진의 요청"),
    ("unit_queue", "requests", "건"),
    ("chart_ttft", "Time to first token", "첫 토큰까지 시간"),
    ("unit_ttft", "seconds, over 60 s", "초, 60초 구간"),
    ("chart_itl", "Time between tokens", "토큰 간 시간"),
    ("unit_itl", "seconds, over 60 s", "초, 60초 구간"),
    ("chart_e2e", "Whole request", "요청 전체 시간"),
    ("unit_e2e", "seconds, over 60 s", "초, 60초 구간"),
    ("chart_errors", "Errors by kind", "종류별 오류"),
    ("unit_errors", "per second, over 10 s", "초당, 10초 평균"),
    ("chart_kv", "KV cache", "KV 캐시"),
    ("unit_kv", "share", "비율"),
    ("chart_host", "Host", "호스트"),
    ("unit_host", "share in use", "사용 비율"),
    ("chart_gpu", "GPU", "GPU"),
    ("unit_gpu", "share in use", "사용 비율"),
    ("chart_power", "GPU power", "GPU 전력"),
    ("unit_power", "watts, all GPUs", "와트, 전체 GPU"),
    ("chart_temperature", "GPU temperature", "GPU 온도"),
    ("unit_temperature", "°C, hottest", "°C, 최고"),
    ("chart_quality", "Answers with a finding", "문제가 발견된 답변"),
    ("unit_quality", "share of judged answers", "판정된 답변 중 비율"),
    ("chart_cost_hour", "Cost per hour", "시간당 비용"),
    ("unit_cost_hour", "US dollars", "미국 달러"),
    ("chart_cost_mtok", "Cost per million tokens", "토큰 100만 개당 비용"),
    ("unit_cost_mtok", "US dollars, output, idle included", "미국 달러, 출력, 유휴 포함"),
    ("none_load", "No data yet.", "아직 데이터가 없습니다."),
    ("none_tokens", "No data yet.", "아직 데이터가 없습니다."),
    ("none_queue", "No data yet.", "아직 데이터가 없습니다."),
    ("none_ttft", "No streamed request ended in this time.", "이 기간에 끝난 스트리밍 요청이 없습니다."),
    ("none_itl", "No tokens in this time.", "이 기간에 토큰이 없습니다."),
    ("none_e2e", "No request was answered in this time.", "이 기간에 응답된 요청이 없습니다."),
    ("none_errors", "No request failed in this time.", "이 기간에 실패한 요청이 없습니다."),
    (
        "none_kv",
        "No data: the engines tell nothing of a KV cache at /metrics.",
        "데이터 없음: 엔진이 /metrics에서 KV 캐시를 알려 주지 않습니다.",
    ),
    ("none_host", "No data: this machine cannot be read.", "데이터 없음: 이 장비를 읽을 수 없습니다."),
    (
        "none_gpu",
        "No data: no NVIDIA GPU is found on this machine.",
        "데이터 없음: 이 장비에서 NVIDIA GPU를 찾지 못했습니다.",
    ),
    ("none_quality", "No data: answers are not judged.", "데이터 없음: 답변을 판정하지 않고 있습니다."),
    (
        "none_cost",
        "No data: no upstream has a price (--gpu-hour or --price).",
        "데이터 없음: 가격이 지정된 업스트림이 없습니다(--gpu-hour 또는 --price).",
    ),
    ("key_requests_per_s", "requests", "요청"),
    ("key_tokens_per_s", "tokens", "토큰"),
    ("key_in_flight", "in flight", "처리 중"),
    ("key_running", "running", "실행"),
    ("key_waiting", "waiting", "대기"),
    ("key_ttft_p50", "p50", "p50"),
    ("key_ttft_p95", "p95", "p95"),
    ("key_ttft_p99", "p99", "p99"),
    ("key_itl_p50", "p50", "p50"),
    ("key_itl_p95", "p95", "p95"),
    ("key_itl_p99", "p99", "p99"),
    ("key_e2e_p50", "p50", "p50"),
    ("key_e2e_p95", "p95", "p95"),
    ("key_e2e_p99", "p99", "p99"),
    ("key_kv_usage", "in use", "사용"),
    ("key_prefix_hits", "prefix hits", "프리픽스 적중"),
    ("key_gpu_use", "busy", "사용률"),
    ("key_gpu_memory", "memory", "메모리"),
    ("key_gpu_power", "power", "전력"),
    ("key_gpu_temperature", "temperature", "온도"),
    ("key_cpu", "CPU", "CPU"),
    ("key_memory", "memory", "메모리"),
    ("key_bad_answers", "with a finding", "문제 발견"),
    ("key_dollars_per_hour", "per hour", "시간당"),
    ("key_dollars_per_mtok", "per million", "100만 개당"),
    ("tile_availability", "Availability", "가용성"),
    ("of_requests", "of {} requests", "요청 {}건 기준"),
    ("tile_upstreams", "Upstreams in use", "사용 중인 업스트림"),
    ("some_out", "some get no requests", "일부가 요청을 받지 않음"),
    ("all_in", "all get requests", "모두 요청을 받음"),
    ("tile_load", "Load", "부하"),
    ("tokens_rate", "{} tokens/s", "초당 {} 토큰"),
    ("tile_ttft", "TTFT p50", "TTFT p50"),
    ("tile_itl", "ITL p50", "ITL p50"),
    ("tile_queue", "Waiting", "대기"),
    ("kv_use", "KV cache {}", "KV 캐시 {}"),
    ("tile_cost", "Cost", "비용"),
    ("month", "{} a month", "월 {}"),
    ("tile_alerts", "Alerts", "경보"),
    ("no_alerts_short", "none", "없음"),
    ("only_live", "shown live only", "실시간에서만 표시"),
    ("table_upstreams", "Upstreams", "업스트림"),
    ("table_alerts", "Alerts that fire", "발생 중인 경보"),
    ("table_incidents", "Incidents", "장애"),
    ("table_groups", "Groups of requests", "요청 그룹"),
    ("table_variants", "Variants (A/B)", "변형(A/B)"),
    ("table_cost", "Cost", "비용"),
    ("table_errors", "Errors by kind", "종류별 오류"),
    ("upstream", "upstream", "업스트림"),
    ("variant", "variant", "변형"),
    ("health", "health", "상태"),
    ("given", "gets requests", "요청 수신"),
    ("in_flight", "in flight", "처리 중"),
    ("running", "running", "실행"),
    ("waiting", "waiting", "대기"),
    ("kv", "KV cache", "KV 캐시"),
    ("yes", "yes", "예"),
    ("state_idle", "idle", "유휴"),
    ("state_progressing", "progressing", "진행 중"),
    ("state_saturated", "saturated", "포화"),
    ("state_stalled", "stalled", "멈춤"),
    ("state_dead", "dead", "죽음"),
    ("out_stalled", "no: stalled", "아니요: 멈춤"),
    ("out_dead", "no: dead", "아니요: 죽음"),
    ("out_failures", "no: failures", "아니요: 실패"),
    ("why_stalled", "stood still", "멈춤"),
    ("why_dead", "refused connections", "연결 거부"),
    ("why_failures", "its requests failed", "요청 실패"),
    ("alert", "alert", "경보"),
    ("severity", "severity", "심각도"),
    ("severity_page", "page", "즉시"),
    ("severity_ticket", "ticket", "업무 시간"),
    ("since", "since", "시작"),
    ("value", "value", "값"),
    ("why", "why", "이유"),
    ("no_alerts", "No alert fires.", "발생 중인 경보가 없습니다."),
    ("what", "what", "대상"),
    ("count", "incidents", "횟수"),
    ("open_now", "open", "진행 중"),
    ("out_for", "out for", "중단 시간"),
    ("mttr", "MTTR", "MTTR"),
    ("kind_service", "service", "서비스"),
    ("kind_upstream", "upstream", "업스트림"),
    ("kind_alert", "alert", "경보"),
    ("began", "began", "시작"),
    ("kind", "kind", "종류"),
    ("took", "took", "걸린 시간"),
    ("goes_on", "goes on", "진행 중"),
    ("all_out", "every upstream was out", "모든 업스트림이 중단됨"),
    ("no_incidents", "No incident in this time.", "이 기간에 장애가 없습니다."),
    ("model", "model", "모델"),
    ("template", "template", "템플릿"),
    ("length", "prompt tokens", "프롬프트 토큰"),
    ("requests", "requests", "요청"),
    ("share", "share", "비율"),
    ("rate", "rate", "요청률"),
    ("ttft50", "TTFT p50", "TTFT p50"),
    ("ttft95", "TTFT p95", "TTFT p95"),
    ("tpot50", "TPOT p50", "TPOT p50"),
    ("failed", "failed", "실패"),
    ("tokens", "output tokens", "출력 토큰"),
    ("cost", "cost", "비용"),
    ("no_requests", "No request ended in this time.", "이 기간에 끝난 요청이 없습니다."),
    ("other_groups", "{} requests are in further groups.", "그 밖의 그룹에 요청 {}건이 있습니다."),
    (
        "sessions_users",
        "{} sessions and {} users named themselves; both are kept as hashes.",
        "세션 {}개와 사용자 {}명이 확인되었으며, 모두 해시로 보관합니다.",
    ),
    ("metric", "metric", "지표"),
    ("difference", "difference", "차이"),
    ("interval", "95 % interval", "95 % 신뢰구간"),
    ("verdict", "verdict", "판정"),
    (
        "few_blocks",
        "needs 6 blocks of 10 s with both, has {}",
        "두 변형이 함께 있는 10초 구간 6개 필요, 현재 {}개",
    ),
    ("better", "better", "더 좋음"),
    ("worse", "worse", "더 나쁨"),
    ("no_difference", "no difference shown", "차이 확인되지 않음"),
    ("metric_ttft_s", "TTFT", "TTFT"),
    ("metric_tpot_s", "TPOT", "TPOT"),
    ("metric_e2e_s", "E2E", "E2E"),
    ("metric_failed_share", "failed", "실패"),
    (
        "one_variant",
        "There is one variant. Name others with variant=… of --upstream.",
        "변형이 하나뿐입니다. --upstream의 variant=…로 다른 변형을 지정하십시오.",
    ),
    (
        "variants_note",
        "Medians. Differences are those of blocks of 10 s in which both had requests, so that a common load cancels.",
        "값은 중앙값입니다. 차이는 두 변형 모두 요청이 있던 10초 구간끼리 비교하므로 공통 부하는 상쇄됩니다.",
    ),
    ("per_hour", "machines per hour", "장비, 시간당"),
    ("per_day", "at this rate per day", "이 추세로 하루"),
    ("per_month", "at this rate per month (730 h)", "이 추세로 한 달(730시간)"),
    ("busy_share", "share paid for busy time", "사용 시간 비중"),
    ("per_mtok_busy", "per million output tokens, busy time", "출력 토큰 100만 개당, 사용 시간"),
    ("per_mtok_all", "per million output tokens, idle included", "출력 토큰 100만 개당, 유휴 포함"),
    (
        "cost_note",
        "US dollars, from the prices of the upstreams. A request pays its share of its upstream's busy time.",
        "미국 달러, 업스트림 가격 기준. 요청은 업스트림 사용 시간 중 자기 몫을 부담합니다.",
    ),
    ("no_errors", "No request failed in this time.", "이 기간에 실패한 요청이 없습니다."),
    (
        "also",
        "{} clients left before the end; {} requests took a second attempt.",
        "도중에 떠난 클라이언트 {}건, 재시도한 요청 {}건.",
    ),
    (
        "rows_lost",
        "The page missed {} requests: it could not follow. Counts at /metrics are whole.",
        "페이지가 요청 {}건을 놓쳤습니다. /metrics의 수치는 온전합니다.",
    ),
    (
        "store_lost",
        "The store lost {} rows: its disk is full or too slow.",
        "저장소가 행 {}개를 잃었습니다. 디스크가 가득 찼거나 너무 느립니다.",
    ),
    (
        "store_failed",
        "A write of the store failed and is tried again.",
        "저장소 쓰기에 실패하여 다시 시도합니다.",
    ),
    ("kept", "History: {}.", "기록: {}."),
    (
        "not_kept",
        "No history is kept: --store DIR keeps it.",
        "기록을 보관하지 않습니다. --store DIR로 보관할 수 있습니다.",
    ),
    ("end_connect_refused", "connection refused", "연결 거부"),
    ("end_connect_timeout", "connecting took too long", "연결 시간 초과"),
    ("end_tls_handshake", "TLS handshake failed", "TLS 핸드셰이크 실패"),
    ("end_http_status", "error status", "오류 상태 코드"),
    ("end_broken_before_first_token", "broke before the first token", "첫 토큰 전에 끊김"),
    ("end_first_token_timeout", "no token in time", "첫 토큰 시간 초과"),
    ("end_ejected", "upstream found sick", "업스트림 이상"),
    ("end_chunk_timeout", "stream stood still", "스트림 멈춤"),
    ("end_total_timeout", "took too long", "전체 시간 초과"),
    ("end_reset", "connection broke", "연결 끊김"),
    ("end_truncated", "stream cut short", "스트림 잘림"),
    ("end_malformed", "malformed event", "잘못된 이벤트"),
    ("end_error_event", "error event", "오류 이벤트"),
    ("end_draining", "proxy shut down", "프록시 종료"),
    ("end_no_upstream", "no upstream", "업스트림 없음"),
];

/// The texts as the page wants them: `{key: {en, ko}}`.
pub(super) fn json() -> String {
    let texts: Map<_, _> =
        TEXTS.iter().map(|(key, en, ko)| ((*key).to_owned(), json!({"en": en, "ko": ko}))).collect();
    json!(texts).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::assets::asset;
    use super::super::frame::KEYS;
    use super::*;
    use crate::admission::Reason;
    use crate::exchange::Failure;
    use crate::health::State;

    #[test]
    fn every_text_that_the_page_asks_for_is_there_once_and_in_both_languages() {
        let keys: BTreeSet<&str> = TEXTS.iter().map(|t| t.0).collect();
        assert_eq!(keys.len(), TEXTS.len(), "a key is there twice");
        let file = |path| String::from_utf8(asset(path).unwrap().1.to_vec()).unwrap();
        let mut asked: BTreeSet<String> = BTreeSet::new();
        for path in ["/page/app.js", "/page/chart.js", "/page/tables.js", "/"] {
            let text = file(path);
            for begin in ["t(\"", "data-t=\""] {
                for (at, _) in text.match_indices(begin) {
                    // `get("…")` and the like are no texts.
                    if begin == "t(\"" && text[..at].ends_with(|c: char| c.is_alphanumeric()) {
                        continue;
                    }
                    let rest = &text[at + begin.len()..];
                    asked.insert(rest[..rest.find('"').unwrap()].to_owned());
                }
            }
        }
        let app = file("/page/app.js");
        for line in app.lines().filter(|l| l.trim_start().starts_with("{ id: \"")) {
            let id = line.split('"').nth(1).unwrap();
            let none = line.split("none: \"").nth(1).map_or(id, |rest| rest.split('"').next().unwrap());
            asked.extend([format!("chart_{id}"), format!("unit_{id}"), format!("none_{none}")]);
        }
        asked.extend(KEYS.iter().filter(|k| app.contains(&format!("\"{k}\"]"))).map(|k| format!("key_{k}")));
        asked.extend(Failure::ALL.map(|f| format!("end_{}", f.name())));
        asked.extend(State::ALL.map(|s| format!("state_{}", s.name())));
        asked.extend(Reason::ALL.map(|r| format!("out_{}", r.name())));
        asked.extend(Reason::ALL.map(|r| format!("why_{}", r.name())));
        // Beginnings of keys that a value completes.
        let whole = |k: &&String| !k.ends_with('_');
        let missing: Vec<_> = asked.iter().filter(whole).filter(|k| !keys.contains(k.as_str())).collect();
        assert!(missing.is_empty() && asked.len() > 80, "{missing:?} of {}", asked.len());
        for (key, en, ko) in TEXTS {
            assert_eq!(en.matches("{}").count(), ko.matches("{}").count(), "{key}");
            let hangul = ko.chars().any(|c| ('가'..='힣').contains(&c));
            assert!(hangul || en == ko, "{key}: {ko}");
        }
    }
}
