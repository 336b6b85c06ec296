//! Writes the reports of made-up runs, to look at: `cargo run -p stopwatt-report --example sample_report -- DIR`.

#[path = "../tests/sample/mod.rs"]
mod sample;

use std::io::Write as _;
use std::path::PathBuf;

use sample::{Plan, Sample};
use stopwatt_core::text::Lang;
use stopwatt_report::{Style, csv, html, json, terminal};

fn main() -> std::io::Result<()> {
    let dir = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let runs = [
        ("sweep", Sample::new(&Plan::sweep())),
        ("single", Sample::new(&Plan::single())),
        ("large", Sample::new(&Plan::large(100_000))),
        ("cut-off", Sample::cut_off()),
        ("hostile", Sample::hostile()),
        ("empty", Sample::empty()),
    ];
    let pair = sample::pair::Pair::faster();
    for (tag, lang) in [("en", Lang::En), ("ko", Lang::Ko)] {
        std::fs::write(dir.join(format!("before-after.{tag}.html")), pair.page(lang))?;
    }
    for (name, run) in runs {
        for (tag, lang) in [("en", Lang::En), ("ko", Lang::Ko)] {
            let style = Style { color: true, width: 80, files: dir.to_str() };
            writeln!(std::io::stdout(), "{}", terminal(&run.view(lang), style))?;
            std::fs::write(dir.join(format!("{name}.{tag}.html")), html(&run.view(lang)))?;
        }
        std::fs::write(dir.join(format!("{name}.csv")), csv(&run.doc))?;
        std::fs::write(dir.join(format!("{name}.json")), json(&run.doc))?;
    }
    Ok(())
}
