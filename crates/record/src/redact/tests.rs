//! Every kind of secret, and what only looks like one.

use serde_json::json;

use super::home::without_home;
use super::*;

#[test]
fn urls_lose_user_and_secret_parameters() {
    let same = ["http://127.0.0.1:8000/v1", "https://h/p?max_tokens=3&token_ids=1#top", "no url", "host@x"];
    for text in same {
        assert_eq!(url(text), text);
    }
    assert_eq!(url("https://kim:pa@ss@host:1/x@y"), "https://[redacted]@host:1/x@y");
    assert_eq!(
        url("http://tok@h?api_key=1&a=2&Key=3"),
        "http://[redacted]@h?api_key=[redacted]&a=2&Key=[redacted]"
    );
    assert_eq!(url("http://h?x=hf_0123456789abcdefgh"), "http://h?x=[redacted]");
}

#[test]
fn names_tell_secrets_from_settings() {
    for name in [
        "api_key",
        "api-key",
        "apiKey",
        "X-Api-Key",
        "Authorization",
        "Proxy-Authorization",
        "hf_token",
        "token",
        "Set-Cookie",
        "client_secret",
        "--api-key",
        "OPENAI_API_KEY",
        "password",
        "accessToken",
        "X-Amz-Security-Token",
    ] {
        assert!(is_secret_name(name), "{name}");
    }
    for name in [
        "api_key_env",
        "max_tokens",
        "tokenizer",
        "first_token",
        "return_token_ids",
        "key",
        "seed",
        "keep_chunks",
        "monkey",
        "",
        "num_token",
        "cookie_file",
    ] {
        assert!(!is_secret_name(name), "{name}");
    }
}

#[test]
fn text_loses_what_looks_like_a_credential() {
    let check = |given: &str, expected: &str| assert_eq!(text(given), expected);
    check("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]");
    check("curl -H 'Authorization: Bearer abc'", "curl -H 'Authorization: Bearer [redacted]'");
    check("api_key = \"abc\"  # mine", "api_key = \"[redacted]\"  # mine");
    check("api_key: abc", "api_key: [redacted]");
    check("--api-key=abc --model m", "--api-key=[redacted] --model m");
    check("--api-key abc --model m", "--api-key [redacted] --model m");
    check("target.api_key=abc", "target.api_key=[redacted]");
    check("failed at https://u:p@h/x, retry", "failed at https://[redacted]@h/x, retry");
    check("url=https://u:p@h/x", "url=https://[redacted]@h/x");
    check("found sk-0123456789abcdefghij here", "found [redacted] here");
    check("{\"api_key\":\"abc\"}", "{\"api_key\":\"[redacted]\"}");
    check("a token is a word, 8 tokens: fine", "a token is a word, 8 tokens: fine");
    check("  warmup_request: 8\n", "  warmup_request: 8\n");
    check("2 | tokenizer = x", "2 | tokenizer = x");
}

#[test]
fn home_directories_become_a_tilde() {
    let check = |given: &str, expected: &str| assert_eq!(without_home(given, Some("/root")), expected);
    check("/root/models/x.gguf", "~/models/x.gguf");
    check("/rootfs/x /a/root/x", "/rootfs/x /a/root/x");
    check("at /home/kim/x and /Users/Kim/y", "at ~/x and ~/y");
    check("\"/home/kim\"", "\"~\"");
    check("/srv/home/x /home/", "/srv/home/x /home/");
    check("C:\\Users\\kim\\x", "~\\x");
}

#[test]
fn values_are_redacted_by_their_key() {
    let given = json!({
        "target": {
            "url": "http://u:p@h", "api_key_env": "MY_KEY", "api_key": "abc",
            "headers": ["X-Tenant: blue", "Authorization: Bearer x", "odd"],
        },
        "extra_body": { "user": "kim", "token": 5, "max_tokens": 5, "nested": [{ "password": "x" }] },
    });
    let expected = json!({
        "target": {
            "url": "http://[redacted]@h", "api_key_env": "MY_KEY", "api_key": "[redacted]",
            "headers": ["X-Tenant: [redacted]", "Authorization: [redacted]", "[redacted]"],
        },
        "extra_body": {
            "user": "kim", "token": "[redacted]", "max_tokens": 5, "nested": [{ "password": "[redacted]" }],
        },
    });
    assert_eq!(json("", &given), expected);
}

#[test]
fn only_the_name_of_a_file_is_told() {
    assert_eq!(file_name("/home/kim/a.yaml"), "a.yaml");
    assert_eq!(file_name("a.yaml"), "a.yaml");
    assert_eq!(file_name("/"), "/");
}
