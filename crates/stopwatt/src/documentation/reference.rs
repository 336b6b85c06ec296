//! `docs/reference/metrics.md` and its Korean twin from the table of metrics; `docs/reference/schemas.md` from `schemas/`.

use std::fmt::Write as _;

use serde_json::Value;
use stopwatt_analyse::dialect::Explained;
use stopwatt_core::Metric;
use stopwatt_core::metric::{Direction, Per};
use stopwatt_core::text::Lang;

use super::{check, root};

/// Words of the page in one language.
struct Words {
    title: &'static str,
    intro: &'static str,
    facts: &'static str,
    elsewhere: &'static str,
    lang: Lang,
}

const MADE: &str = "`UPDATE_DOCS=1 cargo test -p stopwatt documentation`";

#[test]
fn reference_of_metrics() {
    let english = Words {
        title: "Metrics",
        intro: "Every metric that a run can hold, as `metrics.json` names it. `stopwatt explain METRIC` prints the same.",
        facts: "| unit | better | one value a | definition |\n|---|---|---|---|",
        elsewhere: "| tool | its name | by its rules |\n|---|---|---|",
        lang: Lang::En,
    };
    let korean = Words {
        title: "지표",
        intro: "실행에 담길 수 있는 모든 지표입니다. 이름은 `metrics.json`에 적히는 그대로이고, `stopwatt explain 지표 --lang ko`로도 볼 수 있습니다.",
        facts: "| 단위 | 좋은 방향 | 값 하나의 단위 | 정의 |\n|---|---|---|---|",
        elsewhere: "| 도구 | 그 도구의 이름 | 그 도구의 규칙 |\n|---|---|---|",
        lang: Lang::Ko,
    };
    check("docs/reference/metrics.md", &metrics(&english));
    check("docs/ko/metrics.md", &metrics(&korean));
}

fn metrics(words: &Words) -> String {
    let Words { title, intro, facts, elsewhere, lang } = *words;
    let mut page = format!("# {title}\n\n{intro} ({MADE})\n");
    for metric in Metric::ALL {
        let info = metric.info();
        let better = match (info.better, lang) {
            (Direction::Lower, Lang::En) => "lower",
            (Direction::Higher, Lang::En) => "higher",
            (Direction::Neutral, Lang::En) => "–",
            (Direction::Lower, Lang::Ko) => "작을수록",
            (Direction::Higher, Lang::Ko) => "클수록",
            (Direction::Neutral, Lang::Ko) => "–",
        };
        let per = match (info.per, lang) {
            (Per::Request, Lang::En) => "request",
            (Per::Gap, Lang::En) => "gap",
            (Per::Trial, Lang::En) => "trial",
            (Per::Request, Lang::Ko) => "요청",
            (Per::Gap, Lang::Ko) => "간격",
            (Per::Trial, Lang::Ko) => "시행",
        };
        write!(page, "\n## {}\n\n", info.name).unwrap();
        write!(page, "**{}.** {}\n\n", metric.title(lang), cell(metric.formula(lang))).unwrap();
        writeln!(page, "{facts}\n| {} | {better} | {per} | `{}` |", info.unit, info.definition).unwrap();
        let explained = Explained::of(*metric, lang);
        if !explained.elsewhere.is_empty() {
            write!(page, "\n{elsewhere}\n").unwrap();
            for other in &explained.elsewhere {
                let tool = format!("{} {}", other.dialect, other.version);
                writeln!(page, "| {tool} | {} | {} |", cell(other.name), cell(other.formula)).unwrap();
            }
        }
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<").replace('*', "\\*").replace('\n', " ")
}

#[test]
fn reference_of_schemas() {
    let mut page = format!(
        "# Schemas\n\nWhat Stopwatt prints as JSON and keeps in files follows the schemas of the folder \
         [`schemas/`](../../schemas/metrics.schema.json); tests hold real output to them. ({MADE})\n",
    );
    let mut names: Vec<String> = std::fs::read_dir(root().join("schemas"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.ends_with(".schema.json"))
        .collect();
    names.sort();
    for name in names {
        let text = std::fs::read_to_string(root().join("schemas").join(&name)).unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        write!(
            page,
            "\n## {}\n\n[`schemas/{name}`](../../schemas/{name})",
            name.trim_end_matches(".schema.json")
        )
        .unwrap();
        if let Some(about) = schema["description"].as_str() {
            write!(page, ": {}", cell(about)).unwrap();
        }
        page.push('\n');
        let Some(properties) = schema["properties"].as_object() else { continue };
        page.push_str("\n| key | |\n|---|---|\n");
        for (key, property) in properties {
            let about = property["description"].as_str().unwrap_or_default();
            writeln!(page, "| `{key}` | {} |", cell(about)).unwrap();
        }
    }
    check("docs/reference/schemas.md", &page);
}
