//! What a person reads on a terminal.

mod sample;

use sample::{Plan, Sample, odd};
use stopwatt_core::metrics_doc::Validity;
use stopwatt_core::text::Lang;
use stopwatt_report::{Style, terminal};
use unicode_width::UnicodeWidthStr as _;

const PLAIN: Style<'_> = Style { color: false, width: 80, files: Some("runs/20260814-101530-bench-7f3a") };

/// A run without findings: which ones analysis makes is not what is looked at here.
fn sound(plan: &Plan) -> Sample {
    let mut run = Sample::new(plan);
    run.doc.validity = Validity { valid: true, reasons: vec![] };
    run
}

#[test]
fn a_sweep_at_80_columns() {
    insta::assert_snapshot!(terminal(&sound(&Plan::sweep()).view(Lang::En), PLAIN));
}

#[test]
fn a_sweep_at_140_columns() {
    insta::assert_snapshot!(terminal(
        &Sample::new(&Plan::sweep()).view(Lang::En),
        Style { width: 140, ..PLAIN }
    ));
}

#[test]
fn a_single_point_in_korean() {
    insta::assert_snapshot!(terminal(&sound(&Plan::single()).view(Lang::Ko), PLAIN));
}

#[test]
fn a_run_that_was_cut_off_says_so_first() {
    insta::assert_snapshot!(terminal(&Sample::cut_off().view(Lang::En), PLAIN));
}

#[test]
fn a_run_without_a_measurement_is_still_a_report() {
    insta::assert_snapshot!(terminal(&Sample::empty().view(Lang::En), PLAIN));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for run in [Sample::new(&Plan::sweep()), Sample::new(&Plan::single()), Sample::cut_off(), Sample::empty()]
    {
        for (lang, width) in [(Lang::En, 80), (Lang::Ko, 80), (Lang::En, 100), (Lang::Ko, 120)] {
            for line in terminal(&run.view(lang), Style { width, ..PLAIN }).lines() {
                assert!(line.width() <= usize::from(width), "{width}: {line}");
            }
        }
    }
}

#[test]
fn colour_adds_nothing_but_colour() {
    let run = Sample::cut_off();
    let plain = terminal(&run.view(Lang::En), PLAIN);
    let painted = terminal(&run.view(Lang::En), Style { color: true, ..PLAIN });
    assert!(!plain.contains('\x1b') && painted.contains('\x1b'));
    let mut stripped = String::new();
    for part in painted.split('\x1b') {
        stripped
            .push_str(part.strip_prefix('[').and_then(|p| p.split_once('m')).map_or(part, |(_, text)| text));
    }
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&stripped), words(&plain));
}

#[test]
fn no_name_can_steer_the_terminal() {
    let text = terminal(&Sample::hostile().view(Lang::En), PLAIN);
    assert!(odd::HOSTILE.iter().any(|h| h.contains('\x1b')), "the sample holds terminal codes");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
}

#[test]
fn a_device_is_told_by_its_roofs_and_not_by_empty_latencies() {
    let run = Sample::of_a_device();
    let text = terminal(&run.view(Lang::En), Style { color: false, width: 100, files: Some("run") });
    assert!(
        text.contains("cuBLASLt") && text.contains("ridge point") && text.contains("run/report.html"),
        "{text}"
    );
    assert!(!text.contains("TTFT") && !text.contains("requests"), "{text}");
    assert!(text.lines().all(|line| line == line.trim_end()), "no line ends with blanks: {text:?}");
}
