//! Points in time as files and people write them.

use stopwatt_core::Nanos;

/// UNIX nanoseconds of `2023-11-16 18:17:03.9799600`, `2026-11-22T10:00:00Z` or `2026-11-22T19:00:00.5+09:00`; without
/// an offset the time is UTC. `None` when the text is no such time.
pub fn parse(text: &str) -> Option<Nanos> {
    let text = text.trim();
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let (time, offset_s) = split_offset(rest)?;
    let mut date = date.split('-');
    let (year, month, day) = (date.next()?, int(date.next()?, 2)?, int(date.next()?, 2)?);
    let mut parts = time.split(':');
    let (hour, minute, second) = (int(parts.next()?, 2)?, int(parts.next()?, 2)?, parts.next()?);
    if date.next().is_some() || parts.next().is_some() {
        return None;
    }
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let (year, second) = (int(year, 4)?, int(second, 2)?);
    let legal = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !legal || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let seconds =
        days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_s;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Digits of exactly this number.
fn int(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `18:17:03Z` → the time and its offset from UTC in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (time, offset) = text.split_at(at);
    let (hours, minutes) = offset[1..].split_once(':')?;
    let seconds = int(hours, 2)? * 3_600 + int(minutes, 2)? * 60;
    Some((time, if offset.starts_with('-') { -seconds } else { seconds }))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        // `date -u -d … +%s`
        for (text, ns) in [
            ("1970-01-01 00:00:00", 0),
            ("2000-02-29T23:59:59Z", 951_868_799_000_000_000),
            ("2023-11-16 18:17:03.9799600", 1_700_158_623_979_960_000),
            ("2026-11-22T06:15:30Z", 1_795_328_130_000_000_000),
            ("2026-11-22T15:15:30.25+09:00", 1_795_328_130_250_000_000),
            ("2026-11-22T01:15:30-05:00", 1_795_328_130_000_000_000),
            ("1969-12-31 23:59:59.5", -500_000_000),
        ] {
            assert_eq!(parse(text), Some(ns), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-13-01 00:00:00",
            "2026-02-29 00:00:00",
            "2026-01-01",
            "2026-01-01 24:00:00",
            "2026-01-01 1:00:00",
            "2026-01-01T00:00:00+9",
            "2026-01-01 00:00:00.",
            "26-01-01 00:00:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
