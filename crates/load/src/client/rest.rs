//! Resting: fewer wake-ups, where the kernel's stamps make them needless.
//!
//! With many slow streams nearly every token is a wake-up of its own, which costs several times what reading and parsing
//! it does, and takes CPU from an engine on the same machine. A token that the kernel stamps can as well be read a
//! moment later, together with others. So the loop looks at its sockets no more often than every [`PERIOD`], as a
//! network card moderates its interrupts. At low rates it is never held back; arrivals of an open loop end a rest.
//!
//! What a rest costs is told by the record: in a closed loop the next request leaves up to a period after the end of
//! the last one, which is its send lag. There is no rest
//!
//! - without kernel stamps, since then a late read is a late stamp;
//! - once reads hold several pieces of one answer that a prompter read would have told apart, since only the last one's
//!   stamp is exact;
//! - while requests are so short that waiting for the next one would show in the throughput.

use stopwatt_core::Nanos;
use stopwatt_core::log::ReadStamps;

/// Shortest time between two looks at the sockets.
const PERIOD: Nanos = 250_000;
/// Reads after which is decided anew.
const WINDOW: u64 = 256;
/// One in so many reads may hold several pieces, besides the first and the last of each answer: role and first token, or
/// last token and end, are sent together.
const JOINED: u64 = 50;
/// Reads of a request below which there is no rest.
const READS_A_REQUEST: u64 = 32;

/// Decides whether to rest.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Counts when the window began.
    before: Counts,
    allowed: bool,
    /// Streams are too fast: for good, or every other window would be spoilt.
    too_fast: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    kernel: u64,
    user: u64,
    joined: u64,
    sent: u64,
    ended: u64,
}

impl Rest {
    /// How long to rest now. `sent` and `ended` count requests, `last_wait` is when the last wait for sockets began.
    pub(super) fn left(
        &mut self,
        stamps: &ReadStamps,
        sent: u64,
        ended: u64,
        last_wait: Nanos,
        now: Nanos,
    ) -> Option<Nanos> {
        let ReadStamps { kernel, user, joined, .. } = *stamps;
        let counts = Counts { kernel, user, joined, sent, ended };
        let reads = counts.kernel + counts.user - self.before.kernel - self.before.user;
        if reads >= WINDOW {
            let b = self.before;
            let ends = (sent - b.sent) + (ended - b.ended);
            self.too_fast |= joined - b.joined > ends + reads / JOINED;
            let stamped = (user - b.user) * 100 <= reads;
            let long = (ended - b.ended) * READS_A_REQUEST <= reads;
            self.allowed = stamped && long && !self.too_fast;
            self.before = counts;
        }
        let left = last_wait.saturating_add(PERIOD) - now;
        (self.allowed && (1..=PERIOD).contains(&left)).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a period 100 µs after it began, once so many reads were counted.
    fn left(kernel: u64, user: u64, joined: u64, ended: u64) -> Option<Nanos> {
        let sent = 5 + ended;
        let stamps = ReadStamps { kernel, user, joined, ..ReadStamps::default() };
        Rest::default().left(&stamps, sent, ended, 5_000_000, 5_100_000)
    }

    #[test]
    fn slow_stamped_streams_leave_time_to_rest() {
        assert_eq!(left(1000, 0, 10, 8), Some(150_000));
        assert_eq!(left(1000, 0, 30, 8), Some(150_000), "begins and ends of answers");
        assert_eq!(left(100, 0, 0, 0), None, "too early to tell");
    }

    #[test]
    fn what_a_rest_would_harm_forbids_it() {
        assert_eq!(left(900, 100, 0, 0), None, "reads without stamp");
        assert_eq!(left(1000, 0, 40, 0), None, "joined reads");
        assert_eq!(left(1000, 0, 0, 100), None, "short requests");
    }

    #[test]
    fn a_period_that_is_over_is_not_waited_for() {
        let stamps = ReadStamps { kernel: 1000, ..ReadStamps::default() };
        let mut rest = Rest::default();
        assert_eq!(rest.left(&stamps, 0, 0, 1_000_000, 1_250_000), None);
        assert_eq!(rest.left(&stamps, 0, 0, 1_000_000, 1_249_999), Some(1));
        assert_eq!(rest.left(&stamps, 0, 0, Nanos::MAX, 5), None, "before the first wait");
    }

    #[test]
    fn streams_that_were_too_fast_once_get_no_rest_again() {
        let mut rest = Rest::default();
        let mut stamps = ReadStamps { kernel: 1000, joined: 500, ..ReadStamps::default() };
        assert_eq!(rest.left(&stamps, 0, 0, 5_000_000, 5_100_000), None);
        stamps.kernel = 9000;
        assert_eq!(rest.left(&stamps, 0, 0, 5_000_000, 5_100_000), None);
    }
}
