//! The page as a file: inert, self-contained, well formed, small, always the same.

mod sample;

use sample::{Plan, Sample, odd};
use sha2::{Digest, Sha256};
use stopwatt_core::text::Lang;
use stopwatt_report::{Style, html, terminal};

const PLAIN: Style<'_> = Style { color: false, width: 200, files: None };

/// Start tags in order, with the text of their attributes. Fails on markup that is not well nested.
fn tags(page: &str) -> Vec<(&str, &str)> {
    const EMPTY: [&str; 1] = ["!doctype"];
    let mut found = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>').expect("every tag ends") + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in order");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag.trim_end_matches('/'), ""));
        found.push((name, attributes));
        if name == "style" || name == "script" {
            let close = format!("</{name}>");
            rest = &rest[rest.find(&close).expect("style and script end") + close.len()..];
        } else if !tag.ends_with('/') && !EMPTY.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0], "everything is closed");
    found
}

fn runs() -> [Sample; 5] {
    [
        Sample::new(&Plan::sweep()),
        Sample::new(&Plan::single()),
        Sample::cut_off(),
        Sample::empty(),
        Sample::hostile(),
    ]
}

#[test]
fn every_page_is_well_formed_in_both_languages() {
    for run in runs() {
        for lang in [Lang::En, Lang::Ko] {
            let page = html(&run.view(lang));
            assert!(tags(&page).len() > 40);
            assert!(!page.contains("{}"), "an unfilled text");
        }
    }
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let run = Sample::new(&Plan::sweep());
    assert!(html(&run.view(Lang::En)) == html(&run.clone().view(Lang::En)));
    assert!(html(&run.view(Lang::En)) == html(&Sample::new(&Plan::sweep()).view(Lang::En)));
}

#[test]
fn nothing_is_loaded_and_nothing_but_its_own_script_runs() {
    for run in runs() {
        let page = html(&run.view(Lang::En));
        let tags = tags(&page);
        let count = |name: &str| tags.iter().filter(|(n, _)| *n == name).count();
        assert_eq!((count("script"), count("style")), (1, 1));
        for name in
            ["link", "img", "iframe", "object", "embed", "base", "form", "image", "use", "foreignObject"]
        {
            assert_eq!(count(name), 0, "{name}");
        }
        for (name, attributes) in &tags {
            let names: Vec<&str> = attributes.split("=\"").filter_map(|a| a.split(' ').next_back()).collect();
            assert!(
                !names.iter().any(|a| a.starts_with("on") || *a == "style" || *a == "src"),
                "{name} {attributes}"
            );
            if let Some((_, target)) = attributes.split_once("href=\"") {
                assert!(target.starts_with('#'), "{target}");
            }
        }
    }
}

#[test]
fn a_korean_verdict_has_no_english_sentence() {
    let run = Sample::cut_off();
    let korean = [html(&run.view(Lang::Ko)), terminal(&run.view(Lang::Ko), PLAIN)];
    assert!(run.doc.validity.reasons.len() >= 3);
    for reason in &run.doc.validity.reasons {
        for page in &korean {
            assert!(page.contains(&reason.code));
            assert!(!page.contains(&reason.detail), "{}", reason.detail);
            assert!(reason.hint.as_ref().is_some_and(|hint| !page.contains(hint)));
        }
    }
}

#[test]
fn the_policy_names_exactly_the_style_and_the_script() {
    let page = html(&Sample::new(&Plan::single()).view(Lang::En));
    let between = |open: &str, close: &str| {
        let begin = page.find(open).expect("it is there") + open.len();
        &page[begin..begin + page[begin..].find(close).expect("it ends")]
    };
    let policy = between("Content-Security-Policy\" content=\"", "\"").replace("&#39;", "'");
    assert!(policy.starts_with("default-src 'none'; "));
    for (directive, text) in
        [("style-src", between("<style>", "</style>")), ("script-src", between("<script>", "</script>"))]
    {
        let listed =
            policy.split("; ").find_map(|d| d.strip_prefix(directive)).expect("the directive is there");
        let stated =
            listed.trim().trim_matches('\'').strip_prefix("sha256-").expect("one hash and nothing else");
        assert_eq!(decoded(stated), Sha256::digest(text.as_bytes()).to_vec(), "{directive}");
    }
}

fn decoded(base64: &str) -> Vec<u8> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = base64
        .trim_end_matches('=')
        .chars()
        .map(|c| LETTERS.find(c).expect("a letter of base64") as u8)
        .flat_map(|v| (0..6).rev().map(move |i| v >> i & 1))
        .collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |b, bit| b << 1 | bit)).collect()
}

#[test]
fn hostile_texts_are_shown_as_text() {
    let page = html(&Sample::hostile().view(Lang::En));
    for text in odd::HOSTILE.iter().filter(|t| t.contains('<')) {
        assert!(!page.contains(text), "{text}");
        let escaped = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#39;");
        assert!(page.contains(&escaped), "{text}");
    }
    assert!(!page.contains('\x1b'));
}

#[test]
fn a_run_of_100_000_requests_stays_a_small_page() {
    let run = Sample::new(&Plan::large(100_000));
    assert!(run.requests.len() > 95_000, "{}", run.requests.len());
    let page = html(&run.view(Lang::En));
    assert!(page.len() < 400_000, "{} bytes", page.len());
}

#[test]
fn every_number_of_the_headline_has_its_interval_beside_it() {
    let page = html(&Sample::new(&Plan::single()).view(Lang::En));
    let tiles = &page[page.find("class=\"tiles\"").expect("tiles")
        ..page.find("id=\"latency\"").expect("the next section")];
    assert_eq!(tiles.matches("class=\"tile\"").count(), 6);
    assert_eq!(tiles.matches('±').count() + tiles.matches('[').count(), 5, "all but the count of failures");
}

#[test]
fn a_page_of_a_device_has_no_empty_parts_about_requests() {
    let run = Sample::of_a_device();
    for lang in [Lang::En, Lang::Ko] {
        let page = html(&run.view(lang));
        tags(&page);
        for part in ["tiles", "metrics", "errors", "trials", "definitions"] {
            let (class, id) = (format!("class=\"{part}\""), format!("id=\"{part}\""));
            assert!(!page.contains(&class) && !page.contains(&id), "{part}");
            assert!(!page.contains(&format!("href=\"#{part}\"")), "{part}");
        }
        for part in ["hardware", "environment", "settings", "again"] {
            assert!(page.contains(&format!("id=\"{part}\"")), "{part}");
        }
        assert!(page.contains(stopwatt_core::text::Text::HardwareBeside.get(lang)));
    }
}
