use super::*;
use proptest::prelude::*;

fn accepts(text: &str) -> bool {
    let mut reader = Reader::new(text);
    reader.skip().and_then(|()| reader.end()).is_ok()
}

#[track_caller]
fn check(text: &str) {
    let theirs = serde_json::from_str::<serde::de::IgnoredAny>(text);
    assert_eq!(accepts(text), theirs.is_ok(), "{text:?}: {theirs:?}");
}

#[test]
fn the_verdict_is_that_of_serde_json() {
    for text in [
        "",
        " ",
        "{}",
        "[]",
        "[1,]",
        "{\"a\":1,}",
        "{,}",
        "[,]",
        "{\"a\" 1}",
        "{a:1}",
        "01",
        "-",
        "-0",
        "-01",
        "1.",
        "1.5e",
        "1e+5",
        ".5",
        "+1",
        "1 2",
        "nul",
        "null",
        "nulll",
        "true",
        "tru",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12aF\"",
        "\"a\tb\"",
        "\"0123456\u{1}\"",
        "\"\u{7f}한\"",
        "[[[[]]]]",
        "[[[[]]]",
        "{\"a\":{\"b\":[1,{}]}}",
        "\u{feff}{}",
        "[1 ,\t2\r\n]",
    ] {
        check(text);
    }
    check(&"[".repeat(100_000));
}

#[test]
fn strings_are_unescaped() {
    let check = |raw: &str, expected: &str| {
        let mut out = String::from(">");
        unescape(raw, &mut out);
        assert_eq!(&out[1..], expected, "{raw}");
    };
    check("plain 한", "plain 한");
    check(r#"a\"\\\/\b\f\n\r\tz"#, "a\"\\/\u{8}\u{c}\n\r\tz");
    check(r"\ud55c\u0041", "한A");
    check(r"\ud83d\ude00!", "😀!");
    check(r"\ud83d", "\u{FFFD}");
    check(r"\ud83dx\ude00", "\u{FFFD}x\u{FFFD}");
    check(r"\ud83d\u0041", "\u{FFFD}A");
}

proptest! {
    #[test]
    fn arbitrary_text_gets_the_verdict_of_serde_json(
        text in r#"([\[\]{},:"\\ tfn0-9eE.+-]|"[a-z한]{0,9}"|null|true|\\u00[0-9a-g]{2}){0,12}"#,
    ) {
        check(&text);
    }

    #[test]
    fn a_broken_value_gets_the_verdict_of_serde_json(
        content in ".{0,20}", at in any::<prop::sample::Index>(), with in "[\\PC\u{0}-\u{1f}]?",
    ) {
        let mut text = serde_json::json!({"id":"cmpl-1","choices":[{"delta":{"content":content},"n":-1.5e3}],"usage":null}).to_string();
        check(&text);
        let at = (0..=at.index(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap();
        text.remove(at);
        text.insert_str(at, &with);
        check(&text);
    }

    #[test]
    fn unescaping_undoes_serde_json(text in ".{0,40}") {
        let json = serde_json::to_string(&text).unwrap();
        let mut out = String::new();
        unescape(Reader::new(&json).string().unwrap(), &mut out);
        prop_assert_eq!(out, text);
    }

    #[test]
    fn plain_runs_have_the_right_length(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let slow = bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1F)).unwrap_or(bytes.len());
        prop_assert_eq!(plain_length(&bytes), slow);
    }
}
