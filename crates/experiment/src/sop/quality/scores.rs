//! Scores that a command prints.
//!
//! | standard output | items |
//! |---|---|
//! | `0.81` | one, which has no interval |
//! | `{"score": 0.81}` | the same |
//! | `{"scores": [1, 0, 1]}` or `{"scores": {"a": 1, "b": 0}}` | one a score |
//! | lines of `{"id": "a", "score": 1}` (`id` may be left out) | one a line |
//!
//! `true` and `false` are 1 and 0.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::quality::{QualityItem, QualityScale};

use super::super::process::{end_group, kill_group};
use super::{Judged, short_hash};
use crate::bench::{CommandTemplate, Exit};

/// Longest output that is read.
const MOST_BYTES: u64 = 64 << 20;
/// How often it is looked at the command.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs the command and reads what it prints.
pub(super) fn of_command(
    side: &Judged<'_>,
    command: &str,
    url: Option<&str>,
) -> Result<Vec<QualityItem>, String> {
    let config = side.config;
    let template = CommandTemplate::split(command).map_err(|why| format!("quality.command: {why}"))?;
    let mut places = BTreeMap::from([
        ("seed".to_owned(), config.seed.to_string()),
        ("mode".to_owned(), config.pipeline.mode.clone()),
    ]);
    places.extend(url.map(|url| ("url".to_owned(), url.to_owned())));
    let words = template.fill(&places);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).process_group(0).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command.env("STOPWATT_SEED", config.seed.to_string()).env("STOPWATT_MODE", &config.pipeline.mode);
    let mut child = command.spawn().map_err(|e| format!("the quality command could not be started: {e}"))?;
    let pid = child.id();
    let reader = child.stdout.take().map(|stdout| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            stdout.take(MOST_BYTES + 1).read_to_end(&mut text).map(|_| text)
        })
    });
    let until = monotonic_raw().saturating_add((config.quality.timeout_s * 1e9) as i64);
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(Exit::from(status)),
            Err(e) => break Err(format!("the quality command could not be waited for: {e}")),
            Ok(None) if side.stop.is_interrupted() => break Err("interrupted by a signal".to_owned()),
            Ok(None) if monotonic_raw() >= until => {
                break Err(format!("the quality command took longer than {} s", config.quality.timeout_s));
            }
            Ok(None) => std::thread::sleep(LOOK_EVERY),
        }
    };
    if ended.is_err() {
        kill_group(pid);
        let _ = child.wait();
    }
    end_group(pid);
    let exit = ended?;
    if !exit.is_success() {
        return Err(format!("the quality command failed ({exit}); run it by hand to see why"));
    }
    let text = reader.and_then(|r| r.join().ok()).and_then(Result::ok).unwrap_or_default();
    if text.len() as u64 > MOST_BYTES {
        return Err(format!("the quality command printed more than {MOST_BYTES} bytes"));
    }
    let text = String::from_utf8(text).map_err(|_| "the quality command printed no text".to_owned())?;
    let items = read(&text)?;
    match items.iter().find(|i| !i.score.is_some_and(|s| fits(s, config.quality.scale))) {
        None => Ok(items),
        Some(item) => Err(format!(
            "the score {} does not fit `quality.scale`; shares lie between 0 and 1, per cent between 0 and 100, relative \
             scores are positive",
            item.score.unwrap_or(f64::NAN)
        )),
    }
}

fn fits(score: f64, scale: QualityScale) -> bool {
    match scale {
        QualityScale::Share => (0.0..=1.0).contains(&score),
        QualityScale::Percent => (0.0..=100.0).contains(&score),
        QualityScale::Relative => score > 0.0 && score.is_finite(),
    }
}

/// Reads any of the forms. A problem names the line, not its content.
fn read(text: &str) -> Result<Vec<QualityItem>, String> {
    let text = text.trim();
    let item = |name: &str, score: f64| QualityItem {
        key: short_hash(name.as_bytes()),
        score: Some(score),
        ..QualityItem::default()
    };
    if let Ok(score) = text.parse::<f64>() {
        return Ok(vec![item("all", score)]);
    }
    if let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text)
        && let Some(scores) = object.get("scores")
    {
        let named: Vec<(String, &Value)> = match scores {
            Value::Array(list) => list.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
            Value::Object(map) => map.iter().map(|(name, v)| (name.clone(), v)).collect(),
            _ => return Err("`scores` of the quality command is neither a list nor an object".to_owned()),
        };
        let bad = |name: &str| {
            format!("the score {} of the quality command is no number", short_hash(name.as_bytes()))
        };
        let items = named.iter().map(|(name, v)| Ok(item(name, number(v).ok_or_else(|| bad(name))?)));
        return distinct(items.collect::<Result<_, String>>()?);
    }
    let mut items = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let bad = |what: &str| format!("line {} of the quality command's output {what}", i + 1);
        let value: Value = serde_json::from_str(line).map_err(|_| bad("is neither a number nor JSON"))?;
        let score = value.get("score").and_then(number).ok_or_else(|| bad("has no number as `score`"))?;
        let name = match value.get("id") {
            Some(Value::String(name)) => name.clone(),
            Some(other) => other.to_string(),
            None => items.len().to_string(),
        };
        items.push(item(&name, score));
    }
    distinct(items)
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or(value.as_bool().map(|b| f64::from(u8::from(b))))
}

/// In order of their keys, so that both sides may print them in any order.
fn distinct(mut items: Vec<QualityItem>) -> Result<Vec<QualityItem>, String> {
    if items.is_empty() {
        return Err("the quality command printed no score".to_owned());
    }
    items.sort_by(|a, b| a.key.cmp(&b.key));
    match items.windows(2).any(|w| w[0].key == w[1].key) {
        true => Err("the quality command scored an item twice".to_owned()),
        false => Ok(items),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(text: &str) -> Vec<f64> {
        read(text).unwrap().iter().map(|i| i.score.unwrap()).collect()
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(scores("0.81\n"), [0.81]);
        assert_eq!(scores("{\"score\": 0.5}"), [0.5]);
        assert_eq!(scores("{\"scores\": [1, true, 0.5]}").iter().sum::<f64>(), 2.5);
        let lines = scores("{\"id\": \"a\", \"score\": 1}\n\n{\"score\": false}\n");
        assert_eq!(lines.iter().sum::<f64>(), 1.0);
        // The order of printing does not matter, the names do.
        let (a, b) =
            ("{\"id\":\"x\",\"score\":1}\n{\"id\":\"y\",\"score\":0}", "{\"scores\":{\"y\":0,\"x\":1}}");
        assert_eq!(read(a).unwrap(), read(b).unwrap());
    }

    #[test]
    fn what_is_no_score_is_named_by_its_line_and_not_quoted() {
        for (text, part) in [
            ("", "no score"),
            ("{\"score\": 1}\nsecret", "line 2"),
            ("{\"score\": \"good\"}", "line 1"),
            ("{\"scores\": 3}", "neither"),
            ("{\"id\":1,\"score\":1}\n{\"id\":1,\"score\":0}", "twice"),
        ] {
            let problem = read(text).unwrap_err();
            assert!(problem.contains(part) && !problem.contains("secret"), "{text}: {problem}");
        }
    }
}
