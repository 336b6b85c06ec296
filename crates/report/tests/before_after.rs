//! Before and after: the page and the terminal, from made-up runs whose difference is known.

mod sample;

use sample::pair::Pair;
use sample::{Plan, Sample, odd};
use stopwatt_analyse::compare::{Options, Side, compare};
use stopwatt_analyse::rca::{self, Seen, Sensors};
use stopwatt_core::text::Lang;
use stopwatt_report::{ComparedView, ComparisonView, Style, comparison, comparison_html};

const PLAIN: Style<'_> = Style { color: false, width: 100, files: None };

/// What a reader sees, without tags, one line a block.
fn words(page: &str) -> String {
    let body = &page[page.find("<main>").expect("a body")..page.find("</main>").expect("it ends")];
    let mut out = String::new();
    let mut rest = body;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let end = rest[at..].find('>').expect("a tag ends") + at;
        let tag = &rest[at + 1..end];
        let block = ["/tr", "/p", "/h1", "/h2", "/h3", "/li", "/ul", "/div", "/svg", "/pre"];
        out.push(if block.contains(&tag) { '\n' } else { ' ' });
        rest = &rest[end + 1..];
    }
    let lines = out.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_page_in_words() {
    insta::assert_snapshot!(words(&Pair::faster().page(Lang::En)));
}

#[test]
fn the_comparison_on_a_terminal() {
    insta::assert_snapshot!(comparison(&Pair::faster().doc, Lang::En, PLAIN));
}

#[test]
fn korean_has_every_section() {
    let pair = Pair::faster();
    let page = words(&pair.page(Lang::Ko));
    for title in ["전후 비교", "차이", "원인 분석", "절차 체크리스트", "라이선스", "명시되지 않음", "미완료"]
    {
        assert!(page.contains(title), "{title}");
    }
    for english in ["Root causes", "not done", "Checklist", "not stated", "Not checked"] {
        assert!(!page.contains(english), "{english}");
    }
    assert!(comparison(&pair.doc, Lang::Ko, PLAIN).contains("원인 분석"));
}

#[test]
fn the_page_loads_nothing_and_shows_hostile_texts_as_text() {
    let mut hostile = Sample::hostile();
    hostile.doc.validity.valid = true;
    let mut pair = Pair::new(Sample::new(&Plan::single()), hostile, &[]);
    pair.doc.candidates[0].name = odd::HOSTILE[0].to_owned();
    pair.doc.warnings.push(odd::HOSTILE[2].to_owned());
    for row in &mut pair.doc.comparisons {
        row.run = odd::HOSTILE[0].to_owned();
    }
    let page = pair.page(Lang::En);
    for text in odd::HOSTILE.iter().filter(|t| t.contains('<')) {
        assert!(!page.contains(text), "{text}");
    }
    assert!(!page.contains("{}") && !page.contains('\x1b'));
    assert_eq!((page.matches("<script>").count(), page.matches("<style>").count()), (1, 1));
    for tag in ["<img", "<link", "<iframe", "<object", "href=\"http", "url("] {
        assert!(!page.contains(tag), "{tag}");
    }
    assert!(page.contains("default-src &#39;none&#39;"));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert!(Pair::faster().page(Lang::En) == Pair::faster().page(Lang::En));
}

#[test]
fn energy_has_limits_only_where_it_was_measured() {
    let mut pair = Pair::faster();
    assert!(!pair.page(Lang::En).contains("id=\"energy\""));
    pair.sensors = Sensors::of_csv("t_s,power_w,temp_c\n0.0,70,40\n0.1,300,41\n0.2,310,42\n");
    let page = pair.page(Lang::En);
    assert!(page.contains("id=\"energy\"") && page.contains("Power was read every 100 ms"));
    assert!(page.contains("id=\"sensors\""));
}

#[test]
fn licences_are_those_that_the_configuration_states() {
    let mut pair = Pair::faster();
    pair.before.config["settings"]["target.licence"] =
        serde_json::json!({ "value": "Apache-2.0", "origin": { "from": "flag", "name": "--override" } });
    let page = words(&pair.page(Lang::En));
    assert!(
        page.contains("before Apache-2.0 not stated") && page.contains("after not stated not stated"),
        "{page}"
    );
}

#[test]
fn samples_without_a_run_make_a_page_too() {
    let side = |name: &str, csv: &str| {
        Side::of_csv(name, csv, "step_time", stopwatt_core::Direction::Lower).expect("samples")
    };
    let mut doc = compare(
        &side("a.csv", "1,10\n2,10.1\n3,9.9\n"),
        &[side("b.csv", "1,8\n2,8.1\n3,7.9\n")],
        &Options::default(),
    );
    rca::explain(&mut doc, Seen::default(), &[Seen::default()]);
    let candidates = [ComparedView::default()];
    let view = ComparisonView {
        doc: &doc,
        baseline: ComparedView::default(),
        candidates: &candidates,
        lang: Lang::En,
    };
    let page = words(&comparison_html(&view));
    assert!(page.contains("✓ 1 improved") && page.contains("a.csv, b.csv is a table of samples"), "{page}");
}
