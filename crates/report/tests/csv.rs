//! What a spreadsheet and a script read.

mod sample;

use sample::{Plan, Sample};
use stopwatt_core::metrics_doc::MetricsDoc;
use stopwatt_report::{csv, json};

#[test]
fn one_row_a_statistic() {
    let run = Sample::new(&Plan { trials: 2, trial_s: 2., concurrency: vec![2, 4], ..Plan::sweep() });
    let text = csv(&run.doc);
    let statistics: usize = run.doc.points.iter().map(|p| p.metrics.len() * 8).sum();
    let others = text.lines().filter(|l| l.contains(",engine.") || l.contains(",cost.")).count();
    assert_eq!(text.lines().count(), 1 + statistics + others);
    let of_ttft: Vec<&str> =
        text.lines().filter(|l| l.starts_with("point,") || l.contains(",ttft,")).collect();
    insta::assert_snapshot!(of_ttft.join("\n"));
}

#[test]
fn values_come_back_exactly() {
    let run = Sample::new(&Plan::single());
    let text = csv(&run.doc);
    for (name, summary) in &run.doc.points[0].metrics {
        for (statistic, estimate) in summary.statistics() {
            let begin =
                |l: &&str| l.split(',').skip(2).take(3).eq([name.as_str(), summary.unit.as_str(), statistic]);
            let line = text.lines().find(begin).expect("every statistic has its row");
            let cells: Vec<&str> = line.split(',').collect();
            assert_eq!(cells[5].parse().ok(), estimate.value);
            assert_eq!(cells[8].parse().ok(), estimate.interval.map(|i| i.lo));
        }
    }
}

#[test]
fn hostile_labels_stay_cells() {
    let text = csv(&Sample::hostile().doc);
    assert!(text.contains(r#"0,"'=HYPERLINK(""http://example.invalid"")",ttft,s,mean,"#));
}

#[test]
fn json_reads_back() {
    let doc = Sample::new(&Plan::sweep()).doc;
    let again: MetricsDoc = serde_json::from_str(&json(&doc)).expect("our own text");
    let rows =
        |doc: &MetricsDoc| csv(doc).lines().map(|l| l.split(',').map(str::to_owned).collect()).collect();
    let (rows, again): (Vec<Vec<String>>, Vec<Vec<String>>) = (rows(&doc), rows(&again));
    for (a, b) in rows.iter().zip(&again) {
        // The parser may be off by the last bit of a number.
        let same = |x: &str, y: &str| match (x.parse::<f64>(), y.parse::<f64>()) {
            (Ok(x), Ok(y)) => (x - y).abs() <= 1e-15 * x.abs(),
            _ => x == y,
        };
        assert!(a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same(x, y)), "{a:?} {b:?}");
    }
    assert_eq!(rows.len(), again.len());
}
