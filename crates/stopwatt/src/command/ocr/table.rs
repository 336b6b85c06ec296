//! Scores for people and spreadsheets.

use std::fmt::Write as _;

use stopwatt_core::text::{Lang, Text, fill};
use stopwatt_ocr::read::Failure;
use stopwatt_ocr::run::RunDoc;
use stopwatt_ocr::score::ScoreDoc;
use stopwatt_ocr::verdict::{Check, Verdict};
use stopwatt_quality::drug::Drug;
use stopwatt_quality::number::Quantity;
use stopwatt_quality::summary::{Rate, Summary};

use crate::command::columns::{seconds, table};
use crate::command::csv_field;

/// The scores as tables.
pub(super) fn text(doc: &ScoreDoc, lang: Lang) -> String {
    let t = |text: Text| text.get(lang);
    let mut out = String::new();
    let counts = [doc.pages.to_string(), doc.documents.to_string()];
    let _ = writeln!(out, "{}", fill(t(Text::OcrTitle), &[doc.normalisation.id(), &counts[0], &counts[1]]));
    let groups: Vec<(&str, &Summary)> =
        doc.types.iter().map(|(n, s)| (n.as_str(), s)).chain([(t(Text::OcrAll), &doc.all)]).collect();
    let rates: Vec<[String; 8]> = groups
        .iter()
        .map(|(name, s)| {
            [
                (*name).to_owned(),
                s.documents.to_string(),
                with_interval(&s.cer.micro),
                share(s.cer_nospace.micro.value),
                share(s.cer_jamo.micro.value),
                with_interval(&s.wer.micro),
                share(s.cer_any_order.micro.value),
                share(s.bag_of_words.f1),
            ]
        })
        .collect();
    let header = [
        t(Text::OcrType),
        t(Text::OcrDocuments),
        "CER",
        t(Text::OcrNoSpace),
        t(Text::OcrJamo),
        "WER",
        t(Text::OcrAnyOrder),
        t(Text::OcrWordsF1),
    ];
    out.push_str(&table(header, &rates));
    fields(&mut out, &groups, lang);
    further(&mut out, &doc.all, lang);
    doc.notes.iter().for_each(|note| _ = writeln!(out, "! {note}"));
    let _ = writeln!(out, "\n{}", t(Text::OcrNote));
    out
}

fn fields(out: &mut String, groups: &[(&str, &Summary)], lang: Lang) {
    let t = |text: Text| text.get(lang);
    let mut rows: Vec<[String; 6]> = Vec::new();
    for (group, summary) in &groups[..groups.len() - 1] {
        for (name, f) in &summary.fields {
            rows.push([
                format!("{group} · {name}"),
                f.n.to_string(),
                with_interval(&f.accuracy),
                share(Some(f.exact as f64 / f.n as f64)),
                share(Some(f.found as f64 / f.n as f64)),
                format!("{:.3}", f.similarity),
            ]);
        }
    }
    if rows.is_empty() {
        return;
    }
    let header = [
        Text::OcrFields,
        Text::OcrCount,
        Text::OcrRight,
        Text::OcrExact,
        Text::OcrFound,
        Text::OcrSimilarity,
    ];
    out.push('\n');
    out.push_str(&table(header.map(t), &rows));
}

fn further(out: &mut String, all: &Summary, lang: Lang) {
    let t = |text: Text| text.get(lang);
    let list = |items: Vec<(&str, u64)>| {
        let items: Vec<String> =
            items.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect();
        items.join(" · ")
    };
    out.push('\n');
    if let Some(f) = all.all_fields.as_ref().filter(|f| !f.quantities.is_empty()) {
        let items = f.quantities.iter().map(|(class, n)| (t(quantity(*class)), *n)).collect();
        let _ = writeln!(out, "{}: {}", t(Text::OcrNumbers), list(items));
    }
    if !all.drugs.is_empty() {
        let items = all.drugs.iter().map(|(class, n)| (t(drug(*class)), *n)).collect();
        let _ = writeln!(out, "{}: {}", t(Text::OcrDrugs), list(items));
    }
    for (label, codes) in [(Text::OcrCodes, &all.codes), (Text::OcrCategories, &all.code_categories)] {
        if let Some(c) = codes {
            let values = [c.f1, c.precision, c.recall].map(share);
            let _ = writeln!(
                out,
                "{}: {}",
                t(label),
                fill(t(Text::OcrF1), &[&values[0], &values[1], &values[2]])
            );
        }
    }
    if all.documents_all_right.value.is_some() {
        let _ = writeln!(out, "{}: {}", t(Text::OcrDocumentsRight), with_interval(&all.documents_all_right));
    }
    let a = all.anomalies;
    let odd = list(vec![
        (t(Text::OcrLoops), a.repetition_loops),
        (t(Text::OcrRefusals), a.refusals),
        (t(Text::OcrChatter), a.chatter),
        (t(Text::OcrCutOff), a.cut_off),
        (t(Text::OcrCleaned), a.cleaned),
        (t(Text::OcrSpurious), all.spurious_fields),
    ]);
    if !odd.is_empty() {
        let _ = writeln!(out, "{}: {odd}", t(Text::OcrOdd));
    }
    let c = all.cer.counts;
    let counts =
        [c.substitutions, c.deletions, c.insertions, c.reference, a.longest_insertion].map(|n| n.to_string());
    let counts: Vec<&str> = counts.iter().map(String::as_str).collect();
    let _ = writeln!(out, "{}", fill(t(Text::OcrCounts), &counts));
}

pub(super) const fn quantity(class: Quantity) -> Text {
    match class {
        Quantity::Equal => Text::OcrNumEqual,
        Quantity::Zeros => Text::OcrNumZeros,
        Quantity::UnitSpelling => Text::OcrNumSpelling,
        Quantity::Digit => Text::OcrNumDigit,
        Quantity::Decimal => Text::OcrNumDecimal,
        Quantity::Sign => Text::OcrNumSign,
        Quantity::Comparator => Text::OcrNumComparator,
        Quantity::Unit => Text::OcrNumUnit,
        Quantity::Count => Text::OcrNumCount,
        Quantity::Words => Text::OcrNumWords,
        Quantity::Missing => Text::OcrMissing,
    }
}

const fn drug(class: Drug) -> Text {
    match class {
        Drug::Equal => Text::OcrNumEqual,
        Drug::AnotherDrug => Text::OcrAnotherDrug,
        Drug::Garbled => Text::OcrGarbled,
        Drug::Missing => Text::OcrMissing,
    }
}

/// A rate.
pub(super) fn number(value: f64) -> String {
    format!("{value:.4}")
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

fn with_interval(rate: &Rate) -> String {
    match (rate.value, rate.interval) {
        (Some(v), Some(i)) => format!("{v:.4} [{:.4}, {:.4}]", i.lo, i.hi),
        (value, _) => share(value),
    }
}

/// The rates as lines of `group,field,metric,value,lo,hi,n`.
pub(super) fn csv(doc: &ScoreDoc) -> String {
    let mut out = "group,field,metric,value,lo,hi,n\n".to_owned();
    let groups = doc.types.iter().map(|(n, s)| (n.as_str(), s)).chain([("all", &doc.all)]);
    let mut line = |group: &str, field: &str, metric: &str, rate: &Rate, n: u64| {
        let number = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
        let (lo, hi) = (rate.interval.map(|i| i.lo), rate.interval.map(|i| i.hi));
        let (group, field) = (csv_field(group), csv_field(field));
        let numbers = format!("{},{},{}", number(rate.value), number(lo), number(hi));
        let _ = writeln!(out, "{group},{field},{metric},{numbers},{n}");
    };
    for (group, s) in groups {
        for (metric, errors) in [
            ("cer", &s.cer),
            ("cer_nospace", &s.cer_nospace),
            ("cer_jamo", &s.cer_jamo),
            ("cer_any_order", &s.cer_any_order),
            ("wer", &s.wer),
        ] {
            line(group, "", &format!("{metric}_micro"), &errors.micro, errors.counts.reference);
            line(group, "", &format!("{metric}_macro"), &errors.r#macro, s.pages);
        }
        for (name, f) in &s.fields {
            line(group, name, "field_accuracy", &f.accuracy, f.n);
        }
        if let Some(c) = &s.codes {
            let rate = Rate { value: c.f1, ..Rate::default() };
            line(group, "", "diagnosis_code_f1", &rate, c.counts.right + c.counts.missed);
        }
    }
    out
}

/// What a run came to.
pub(super) fn run_text(doc: &RunDoc, lang: Lang) -> String {
    let t = |text: Text| text.get(lang);
    let mut out = String::new();
    let verdict = t(verdict_text(doc.verdict));
    let _ = writeln!(out, "{}: {verdict}", t(Text::OcrVerdict));
    let ms = |s: Option<f64>| s.map_or_else(|| "–".to_owned(), seconds);
    let mut rows: Vec<[String; 10]> = Vec::new();
    for setting in &doc.settings {
        for (name, result) in &setting.types {
            let scores = setting.score.types.get(name);
            let timing = result.timing.as_ref();
            let latency = timing.and_then(|t| t.latency_s);
            rows.push([
                name.clone(),
                setting.dpi.map_or_else(|| "–".to_owned(), |d| d.to_string()),
                setting.degrade.clone().unwrap_or_else(|| "–".to_owned()),
                scores.map_or(0, |s| s.documents).to_string(),
                scores.map_or_else(|| "–".to_owned(), |s| with_interval(&s.cer.micro)),
                share(scores.and_then(|s| s.wer.micro.value)),
                ms(latency.map(|l| l.p50)),
                ms(latency.map(|l| l.p95)),
                timing.map_or_else(|| "–".to_owned(), |t| format!("{:.1}", t.documents_per_min)),
                result.verdict.map_or("–", |v| t(verdict_text(v))).to_owned(),
            ]);
        }
    }
    let header = [
        t(Text::OcrType),
        "DPI",
        t(Text::OcrDegrade),
        t(Text::OcrDocuments),
        "CER",
        "WER",
        "p50",
        "p95",
        t(Text::OcrPerMinute),
        t(Text::OcrVerdict),
    ];
    out.push_str(&table(header, &rows));
    for setting in &doc.settings {
        for (name, result) in &setting.types {
            let open: Vec<&Check> = result.checks.iter().filter(|c| c.verdict != Verdict::Pass).collect();
            if !open.is_empty() {
                let dpi = setting.dpi.map_or_else(String::new, |d| format!(" {d} DPI"));
                let how = setting.degrade.as_ref().map_or_else(String::new, |d| format!(" {d}"));
                let _ = writeln!(out, "\n{name}{dpi}{how}");
                for check in open {
                    let mark = if check.verdict == Verdict::Fail { "✗" } else { "?" };
                    let _ = writeln!(out, "  {mark} {}", reason(check, lang));
                }
            }
            let failures = result.timing.iter().flat_map(|t| &t.failures);
            for (failure, n) in failures {
                let _ = writeln!(out, "  ! {}: {n}", t(failure_text(*failure)));
            }
        }
    }
    doc.notes.iter().for_each(|note| _ = writeln!(out, "! {note}"));
    if doc.synthetic {
        let _ = writeln!(out, "\n{}", t(Text::OcrSynthetic));
    }
    out
}

/// Why a limit is not met.
pub(super) fn reason(check: &Check, lang: Lang) -> String {
    let t = |text: Text| text.get(lang);
    let what = match check.what.as_str() {
        "cer" => "CER",
        "latency" => t(Text::OcrLatency),
        "samples" => t(Text::OcrDocuments),
        field => field,
    };
    let number = |v: f64| match check.what.as_str() {
        "latency" => seconds(v),
        "samples" => format!("{v:.0}"),
        _ => format!("{v:.4}"),
    };
    let value = check.value.map_or_else(|| "–".to_owned(), number);
    let at_least = !matches!(check.what.as_str(), "cer" | "latency");
    let limit = format!("{} {}", if at_least { "≥" } else { "≤" }, number(check.limit));
    // That of latency is of the share of pages that are too slow.
    let interval = match check.interval {
        Some(i) if check.what != "latency" => format!(" [{:.4}, {:.4}]", i.lo, i.hi),
        _ => check
            .no_interval
            .as_ref()
            .map_or_else(String::new, |why| format!(" ({})", fill(t(Text::OcrNoInterval), &[why]))),
    };
    let more = check
        .needs_more
        .map_or_else(String::new, |n| format!(", {}", fill(t(Text::OcrNeedsMore), &[&n.to_string()])));
    let status = check.status.as_ref().map_or_else(String::new, |s| format!(" ({s})"));
    format!("{what} {value}{interval}{status}, {limit}{more}")
}

pub(super) const fn verdict_text(verdict: Verdict) -> Text {
    match verdict {
        Verdict::Pass => Text::OcrPass,
        Verdict::Fail => Text::OcrFail,
        Verdict::Inconclusive => Text::OcrInconclusive,
    }
}

pub(super) const fn failure_text(failure: Failure) -> Text {
    match failure {
        Failure::Image => Text::OcrFailImage,
        Failure::Start => Text::OcrFailStart,
        Failure::Exit => Text::OcrFailExit,
        Failure::Timeout => Text::OcrFailTimeout,
        Failure::Encoding => Text::OcrFailEncoding,
        Failure::Refused => Text::OcrFailRefused,
        Failure::Service => Text::OcrFailService,
        Failure::Nothing => Text::OcrFailNothing,
        Failure::Interrupted => Text::OcrFailInterrupted,
    }
}

/// The limits as lines of `type,dpi,degrade,what,value,lo,hi,limit,verdict,needs_more`.
pub(super) fn run_csv(doc: &RunDoc) -> String {
    let mut out = "type,dpi,degrade,what,value,lo,hi,limit,verdict,needs_more\n".to_owned();
    let text = |v: Option<String>| v.unwrap_or_default();
    for setting in &doc.settings {
        for (name, result) in &setting.types {
            for c in &result.checks {
                let number = |v: Option<f64>| text(v.map(|v| v.to_string()));
                let verdict = match c.verdict {
                    Verdict::Pass => "pass",
                    Verdict::Fail => "fail",
                    Verdict::Inconclusive => "inconclusive",
                };
                let _ = writeln!(
                    out,
                    "{},{},{},{},{},{},{},{},{verdict},{}",
                    csv_field(name),
                    text(setting.dpi.map(|d| d.to_string())),
                    csv_field(&text(setting.degrade.clone())),
                    csv_field(&c.what),
                    number(c.value),
                    number(c.interval.map(|i| i.lo)),
                    number(c.interval.map(|i| i.hi)),
                    c.limit,
                    text(c.needs_more.map(|n| n.to_string())),
                );
            }
        }
    }
    out
}
