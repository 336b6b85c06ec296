//! Every format in small files of its own form, good rows and bad.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
    2023-11-16 18:17:03.9799600,4808,10\n\
    2023-11-16 18:17:04.0319600,3180,8\n\
    2023-11-16 18:17:04.9799600,110,27\n";
const BURST_GPT: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
    5,ChatGPT,472,18,490,Conversation log\n\
    45.5,GPT-4,1087,230,1317,\"API, log\"\n";
const MOONCAKE: &str = "{\"timestamp\": 0, \"input_length\": 675, \"output_length\": 500, \"hash_ids\": [0, 1]}\n\
    {\"timestamp\": 3000, \"input_length\": 722, \"output_length\": 490, \"hash_ids\": [0, 14]}\n";
const SHARE_GPT: &str = r#"[
  {"id": "a", "conversations": [
    {"from": "system", "value": "be brief"},
    {"from": "human", "value": "one \"two\" ] }"}, {"from": "gpt", "value": "three"},
    {"from": "human", "value": "four"}, {"from": "gpt", "value": "five"}, {"from": "human", "value": "bye"}
  ]},
  {"id": "b", "conversations": [{"from": "gpt", "value": "left over"}, {"from": "human", "value": "hi"},
    {"from": "gpt", "value": "ho"}]}
]"#;
const PROMPTS: &str = "{\"prompt\": \"hello\", \"output\": 5}\n\n\
    {\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"u\"}]}]}\n";
const OTEL: &str = r#"{"resourceSpans": [{"scopeSpans": [{"spans": [
  {"name": "chat m", "startTimeUnixNano": "1700000002000000000", "attributes": [
    {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "100"}},
    {"key": "gen_ai.usage.output_tokens", "value": {"intValue": 7}}]},
  {"name": "GET /", "startTimeUnixNano": "1700000000000000000", "attributes": []},
  {"name": "embeddings e", "startTimeUnixNano": "1", "attributes": [
    {"key": "gen_ai.operation.name", "value": {"stringValue": "embeddings"}},
    {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "9"}}]},
  {"name": "chat m", "startTimeUnixNano": "1700000001500000000", "attributes": [
    {"key": "gen_ai.usage.prompt_tokens", "value": {"doubleValue": 50.0}},
    {"key": "gen_ai.usage.completion_tokens", "value": {"intValue": "3"}}]}
]}]}]}"#;

const ALL: [(Format, &str); 6] = [
    (Format::Azure, AZURE),
    (Format::BurstGpt, BURST_GPT),
    (Format::Mooncake, MOONCAKE),
    (Format::ShareGpt, SHARE_GPT),
    (Format::Prompts, PROMPTS),
    (Format::Otel, OTEL),
];

fn good(text: &str) -> Trace {
    read(text.as_bytes(), None, BadRows::Stop).unwrap()
}

/// Milliseconds, input and output of each entry.
fn rows(trace: &Trace) -> Vec<(Option<i64>, Option<u32>, Option<u32>)> {
    trace
        .entries
        .iter()
        .map(|e| (e.at_ns.map(|t| t / 1_000_000), e.turns[0].input, e.turns[0].output))
        .collect()
}

#[test]
fn formats_are_known_by_their_begin() {
    for (format, text) in ALL {
        assert_eq!(Format::detect(text), Some(format));
        assert_eq!(good(text).format, format);
        assert_eq!(
            good(&format!("\u{feff}{text}")).entries,
            good(text).entries,
            "{format:?} with a byte-order mark"
        );
    }
    for text in ["", "a,b\n1,2", "{}", "[1, 2]", "hello"] {
        assert_eq!(Format::detect(text), None);
        assert!(matches!(read(text.as_bytes(), None, BadRows::Stop), Err(TraceError::Format)));
    }
    // A prompt that quotes another format's key is still a prompt.
    assert_eq!(
        Format::detect(r#"{"prompt": "what is \"hash_ids\" and \"resourceSpans\"?"}"#),
        Some(Format::Prompts)
    );
}

#[test]
fn times_and_lengths_are_those_of_the_file() {
    let lengths = |at, input, output| (Some(at), Some(input), Some(output));
    assert_eq!(rows(&good(AZURE)), [lengths(0, 4808, 10), lengths(52, 3180, 8), lengths(1000, 110, 27)]);
    assert_eq!(rows(&good(BURST_GPT)), [lengths(0, 472, 18), lengths(40_500, 1087, 230)]);
    assert_eq!(rows(&good(MOONCAKE)), [lengths(0, 675, 500), lengths(3000, 722, 490)]);
    assert_eq!(good(MOONCAKE).entries[1].blocks, [0, 14]);
    // Spans are in order of their end; what counts is when they began.
    assert_eq!(rows(&good(OTEL)), [lengths(0, 50, 3), lengths(500, 100, 7)]);
}

#[test]
fn texts_are_split_into_turns() {
    let said =
        |turn: &Turn| turn.messages.iter().map(|m| (m.role.clone(), m.text.clone())).collect::<Vec<_>>();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let conversations = good(SHARE_GPT).entries;
    let turns: Vec<usize> = conversations.iter().map(|e| e.turns.len()).collect();
    assert_eq!(turns, [2, 1]);
    assert_eq!(
        said(&conversations[0].turns[0]),
        [pair("system", "be brief"), pair("user", "one \"two\" ] }")]
    );
    assert_eq!(said(&conversations[0].turns[1]), [pair("user", "four")]);
    assert_eq!(conversations[0].turns[1].answer.as_deref(), Some("five"));
    let prompts = good(PROMPTS).entries;
    assert_eq!(
        (said(&prompts[0].turns[0]), prompts[0].turns[0].output),
        (vec![pair("user", "hello")], Some(5))
    );
    assert_eq!(said(&prompts[1].turns[0]), [pair("system", "s"), pair("user", "u")]);
    let debug = format!("{prompts:?}{conversations:?}");
    assert!(!debug.contains("hello") && !debug.contains("five"), "no text in debug output");
}

#[track_caller]
fn check_bad(text: &str, line: u64, reason: &str) {
    match read(text.as_bytes(), None, BadRows::Stop) {
        Err(TraceError::Row { line: l, reason: r }) => assert_eq!((l, r.as_str()), (line, reason)),
        other => panic!("{other:?}"),
    }
    let skipped = read(text.as_bytes(), None, BadRows::Skip).unwrap();
    assert_eq!(skipped.skipped, 1, "{:?}", skipped.first_skipped);
    assert_eq!(skipped.first_skipped, Some(BadRow { line, reason: reason.to_owned() }));
    assert!(!skipped.entries.is_empty());
}

#[test]
fn a_bad_row_is_told_with_its_line_and_can_be_skipped() {
    check_bad(
        &AZURE.replace("3180,8", "3180,0"),
        3,
        "`GeneratedTokens` is 0: a request needs at least 1 token",
    );
    check_bad(&AZURE.replace("3180,8", "x,8"), 3, "`x` in `ContextTokens` is not a number of tokens");
    check_bad(&AZURE.replace(",3180,8", ""), 3, "it has no value for `ContextTokens`");
    check_bad(
        &AZURE.replace("2023-11-16 18:17:04.0319600", "yesterday"),
        3,
        "`yesterday` in `TIMESTAMP` is not a time",
    );
    check_bad(&format!("{MOONCAKE}{{\"timestamp\": 1, "), 3, "it is not JSON (column 16)");
    check_bad(
        &format!("{MOONCAKE}{{\"timestamp\": 1, \"input_length\": 3, \"output_length\": 5000000000}}"),
        3,
        "`output_length` is 5000000000, more tokens than a request can have",
    );
    check_bad(&PROMPTS.replace("\"hello\"", "7"), 1, "`prompt` is not a text, or an empty one");
    check_bad(&PROMPTS.replace("\"messages\"", "\"message\""), 3, "it has neither `prompt` nor `messages`");
    check_bad(
        &SHARE_GPT.replace("\"gpt\", \"value\": \"ho\"", "\"x\", \"value\": 3"),
        7,
        "a message has no `from` and `value`",
    );
    check_bad(&SHARE_GPT[..SHARE_GPT.len() - 6], 7, "it ends before it is complete");
    check_bad(
        &OTEL.replace("gen_ai.usage.completion_tokens", "other"),
        1,
        "a span has no `gen_ai.usage.output_tokens`",
    );
}

#[test]
fn nothing_left_and_a_wrong_header_are_errors_in_any_case() {
    let empty = "{\"timestamp\": 0, \"input_length\": 0, \"output_length\": 1}\n";
    assert!(matches!(read(empty.as_bytes(), None, BadRows::Skip), Err(TraceError::Empty { skipped: 1 })));
    let wrong = read("a,b\n1,2\n".as_bytes(), Some(Format::Azure), BadRows::Skip).unwrap_err();
    assert!(matches!(&wrong, TraceError::Row { line: 1, reason } if reason.contains("TIMESTAMP")), "{wrong}");
}

#[test]
fn a_window_is_cut_and_played_faster() {
    let second = Duration::from_secs(1);
    let entries: Vec<Entry> =
        (0..10).map(|i| Entry::lengths(Some(i * 1_000_000_000), 1, i as u32 + 1)).collect();
    let window = Window { from: 2 * second, length: Some(5 * second), speedup: 10.0, most: Some(4) };
    let cut: Vec<_> =
        window.cut(entries.clone()).iter().map(|e| (e.at_ns.unwrap(), e.turns[0].output)).collect();
    let expected: Vec<_> = (0..4).map(|i| (i * 100_000_000, Some(i as u32 + 3))).collect();
    assert_eq!(cut, expected);
    assert_eq!(Window::default().cut(entries.clone()), entries);
    let slow = Window { speedup: 0.5, ..Window::default() }.cut(entries);
    assert_eq!(slow[9].at_ns, Some(18_000_000_000));
}

proptest! {
    #[test]
    fn no_input_makes_a_reader_panic(text in "[\\[{}\\]\",:0-9a-z \\n]{0,200}", format in 0..6_usize) {
        for bad_rows in [BadRows::Stop, BadRows::Skip] {
            let _ = read(text.as_bytes(), Some(ALL[format].0), bad_rows);
        }
    }

    #[test]
    fn values_are_found_wherever_the_buffer_ends(size in 1..40_usize) {
        let whole = read(SHARE_GPT.as_bytes(), Some(Format::ShareGpt), BadRows::Stop).unwrap();
        let bits = io::BufReader::with_capacity(size, SHARE_GPT.as_bytes());
        prop_assert_eq!(read(bits, Some(Format::ShareGpt), BadRows::Stop).unwrap(), whole);
    }
}

/// Found by fuzzing: the difference of the two did not fit.
#[test]
fn rows_three_centuries_apart_are_refused() {
    let text =
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-10-16 18:15:46,374,44\n1698-10-16 18:15:46,374,44\n";
    for bad_rows in [BadRows::Stop, BadRows::Skip] {
        let read = read(text.as_bytes(), None, bad_rows);
        assert!(matches!(read, Err(TraceError::Apart)), "{read:?}");
    }
}
