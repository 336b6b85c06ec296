//! UNIX time to a calendar date in UTC. A report names the time zone, so that no machine's own zone changes it.

use stopwatt_core::Nanos;
use stopwatt_core::calendar::civil_from_days;

/// `2026-08-14 10:15 UTC`.
pub(crate) fn minutes_utc(unix_ns: Nanos) -> String {
    let minutes = unix_ns.div_euclid(60_000_000_000);
    let (year, month, day) = civil_from_days(minutes.div_euclid(24 * 60));
    let in_day = minutes.rem_euclid(24 * 60);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", in_day / 60, in_day % 60)
}

/// `20260814-101530`.
pub(crate) fn compact_utc(unix_ns: Nanos) -> String {
    let seconds = unix_ns.div_euclid(1_000_000_000);
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let in_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (unix_s, expected) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_827_696, "2000-02-29 12:34 UTC"),
            (1_786_702_530, "2026-08-14 10:15 UTC"),
            (4_107_542_399, "2100-02-28 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(minutes_utc(unix_s * 1_000_000_000), expected);
        }
        assert_eq!(compact_utc(1_786_702_530 * 1_000_000_000), "20260814-101530");
    }
}
