//! Every name that an alert or a panel asks for is on a page: the proxy's with everything there is to tell, or the file
//! of rules itself.

use std::collections::BTreeSet;

use stopwatt_wire::engine_metrics::samples;

use super::{Settings, prometheus};
use crate::dashboard;
use crate::exchange::{End, Exchange, Failure};
use crate::exposition::Page;
use crate::feedback::Feedback;
use crate::fleet::{self, Fleet, Gauges};
use crate::machine::{self, Reading};
use crate::quality::tests::judged;
use crate::telemetry::Telemetry;
use crate::upstream::Spec;

/// Names of metrics in text: of ours, of dcgm-exporter, of engines and of recorded rules.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let ours = |w: &&str| ["stopwatt_", "DCGM_", "vllm:", "slo:"].iter().any(|p| w.starts_with(p));
    text.split(|c| !word(c)).filter(ours).map(str::to_owned).collect()
}

fn exported() -> BTreeSet<String> {
    let spec = Spec::parse("http://h:1,name=u,gpu-hour=1").unwrap();
    let fleet = Fleet::new(vec![spec], fleet::Settings::default(), |_| None).unwrap();
    let all = Some(1.0);
    fleet.upstreams()[0].set_gauges(Gauges {
        running: all,
        waiting: all,
        kv_usage: all,
        prefix_queries: all,
        prefix_hits: all,
        preemptions: all,
        kv_evictions: all,
        kv_fragmentation: all,
    });
    let telemetry = Telemetry::new(1);
    for end in [End::Answered, End::Failed(Failure::Reset)] {
        telemetry.finished(&Exchange {
            upstream: Some(0),
            end,
            first_token: Some(1),
            tokens: 1,
            prompt_tokens: Some(1),
            cached_tokens: Some(1),
            ..Exchange::new("/v1/completions", 0)
        });
    }
    let mut page = Page::new();
    Reading { gpus: vec![machine::tests::talkative()], ..Reading::default() }.render(&mut page);
    judged().render(&mut page, &fleet);
    Feedback::new(false, None).render(&mut page, &fleet);
    let page = telemetry.render(&fleet) + &page.finish();
    samples(&page).map(|s| s.name.to_owned()).collect()
}

#[test]
fn what_rules_and_panels_ask_for_is_exported() {
    let rules = prometheus::rule_file(&Settings::default().alerts().unwrap());
    let recorded: BTreeSet<String> =
        rules.lines().filter_map(|l| l.trim().strip_prefix("- record: ")).map(str::to_owned).collect();
    let exported = exported();
    let expressions =
        rules.lines().filter(|l| l.trim_start().starts_with("expr:")).collect::<Vec<_>>().join("\n");
    let wanted = names(&(expressions + "\n" + &dashboard::expressions().join("\n")));
    assert!(wanted.len() > 20, "{wanted:?}");
    let missing: Vec<_> =
        wanted.iter().filter(|n| !exported.contains(*n) && !recorded.contains(*n)).collect();
    assert!(missing.is_empty(), "nobody exports {missing:?}");
    assert!(wanted.contains("stopwatt_answers_judged_total") && wanted.contains("DCGM_FI_DEV_XID_ERRORS"));
}

/// Names on the runbook's page: alerts are its third-level headings, metrics stand between backticks.
#[test]
fn the_runbook_has_every_alert_and_names_only_what_is_exported() {
    let page = include_str!("../../../../docs/runbook.md");
    let headings: BTreeSet<&str> = page.lines().filter_map(|l| l.strip_prefix("### ")).collect();
    let alerts = Settings::default().alerts().unwrap().alerts;
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in &alerts {
        assert!(headings.contains(alert.name.as_str()), "docs/runbook.md has no entry for {}", alert.name);
    }
    let known: BTreeSet<&str> = alerts.iter().map(|a| a.name.as_str()).collect();
    let stale = headings.iter().filter(|h| {
        (h.starts_with("Stopwatt") || h.starts_with("Gpu")) && !h.contains(' ') && !known.contains(*h)
    });
    assert_eq!(stale.count(), 0, "docs/runbook.md has entries for alerts that are not there: {headings:?}");

    // What a store, a tracer, a price or a sensor adds is not on the page of `exported`; its names stand in the sources.
    let elsewhere = [
        include_str!("../store/writer.rs"),
        include_str!("../trace/export.rs"),
        include_str!("../telemetry.rs"),
        include_str!("../machine.rs"),
        include_str!("../feedback.rs"),
        include_str!("../quality/mod.rs"),
    ]
    .concat();
    // Histograms are on the page as their buckets, sums and counts.
    let mut exported = exported();
    let ends = ["_bucket", "_sum", "_count"];
    let families: Vec<_> = exported
        .iter()
        .flat_map(|n| ends.iter().filter_map(|e| n.strip_suffix(e)))
        .map(str::to_owned)
        .collect();
    exported.extend(families);
    let wanted = names(page);
    assert!(wanted.len() > 20, "{wanted:?}");
    let missing: Vec<_> =
        wanted.iter().filter(|n| !exported.contains(*n) && !elsewhere.contains(n.as_str())).collect();
    assert!(missing.is_empty(), "docs/runbook.md names what nobody exports: {missing:?}");
}
