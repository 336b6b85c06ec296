//! What `stopwatt watch` keeps, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use stopwatt_ops::store::{Settings, Store, StoreError};

use super::Failure;
use super::bench::parse_time;
use crate::exit::Outcome;

// No doc comment: clap would show it in place of the command's own.
#[derive(Debug, Args)]
pub(crate) struct WatchStoreArgs {
    /// Keep requests, metrics and incidents in this folder, for `stopwatt watch query` and the page
    #[arg(long, value_name = "DIR", help_heading = "History")]
    store: Option<PathBuf>,
    /// How long to keep them
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = parse_days, requires = "store", help_heading = "History")]
    keep: Duration,
    /// How much to keep; the oldest goes first
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size, requires = "store", help_heading = "History")]
    keep_size: u64,
}

impl WatchStoreArgs {
    /// Opens the store.
    pub(crate) fn open(&self) -> anyhow::Result<Option<(Store, PathBuf)>> {
        let Some(dir) = &self.store else { return Ok(None) };
        let settings = Settings { keep: self.keep, keep_bytes: self.keep_size, ..Settings::new(dir.clone()) };
        Ok(Some((Store::open(settings).map_err(failure)?, dir.clone())))
    }
}

/// A store that cannot be used, with what to try.
pub(super) fn failure(error: StoreError) -> Failure {
    let hint = error.hint();
    let failure = Failure::new(Outcome::Usage, anyhow::Error::new(error));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A time such as `7d`, or in the units of other times.
pub(super) fn parse_days(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d') {
        None => parse_time(text).map_err(|e| e.replace("s, m or h", "s, m, h or d")),
        Some(days) => {
            let days: f64 = days.trim().parse().map_err(|_| format!("`{days}` is not a number"))?;
            let time = Duration::try_from_secs_f64(days * 86_400.0).map_err(|_| "a time must be positive")?;
            if time.is_zero() { Err("a time must be positive".to_owned()) } else { Ok(time) }
        }
    }
}

/// Bytes such as `500MiB`.
fn parse_size(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = match unit {
        "" | "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        "TiB" => 1_099_511_627_776.0,
        other => return Err(format!("unknown unit `{other}`; use KiB, MiB, GiB or TiB")),
    };
    let value: f64 = number.trim().parse().map_err(|_| format!("`{number}` is not a number"))?;
    if value > 0.0 && value.is_finite() {
        Ok((value * scale) as u64)
    } else {
        Err("a size is above 0".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(parse_days("7d").unwrap(), Duration::from_secs(604_800));
        assert_eq!(parse_days("1.5h").unwrap(), Duration::from_secs(5400));
        assert!(
            parse_days("0d").is_err()
                && parse_days("xd").is_err()
                && parse_days("1y").unwrap_err().contains('d')
        );
        assert_eq!((parse_size("1GiB"), parse_size("10")), (Ok(1 << 30), Ok(10)));
        assert!(parse_size("1GB").is_err() && parse_size("0").is_err());
    }
}
