//! The retry budget: second attempts are a share of first ones, so that they cannot melt an engine that is full.

use stopwatt_core::Nanos;

/// How many second attempts may be made.
#[derive(Debug, Clone)]
pub struct Budget {
    share: f64,
    /// Attempts a second that are free of the share, for services with little traffic.
    floor: f64,
    saved: f64,
    at: Nanos,
}

/// Most attempts that are saved up, in seconds of the floor and in requests of the share.
const MOST: f64 = 20.0;

impl Budget {
    /// `share` second attempts a request, and `floor` a second besides; it begins with what that saves at most.
    pub fn new(share: f64, floor: f64, now: Nanos) -> Self {
        Self { share, floor, saved: MOST.min(floor * 10.0), at: now }
    }

    /// A request came.
    pub fn request(&mut self) {
        self.saved = (self.saved + self.share).min(MOST);
    }

    /// Takes one second attempt; `false` when none is left.
    pub fn take(&mut self, now: Nanos) -> bool {
        let gained = (now - self.at).max(0) as f64 * 1e-9 * self.floor;
        self.saved = (self.saved + gained).min(MOST);
        self.at = now;
        let may = self.saved >= 1.0;
        if may {
            self.saved -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_attempts_are_a_tenth_of_the_first_and_one_a_second() {
        let mut budget = Budget::new(0.1, 1.0, 0);
        let mut taken = 0;
        // 100 requests a second for 100 seconds, all of which would like a second attempt.
        for n in 0..10_000 {
            budget.request();
            taken += u32::from(budget.take(n * 10_000_000));
        }
        // 1000 of the share, 100 of the floor, 10 saved at the start.
        assert!((1100..=1111).contains(&taken), "{taken}");
    }

    #[test]
    fn what_is_saved_up_is_bounded() {
        let mut budget = Budget::new(0.5, 1.0, 0);
        for _ in 0..1000 {
            budget.request();
        }
        let burst = (0..1000).filter(|_| budget.take(0)).count();
        assert_eq!(burst, 20);
    }
}
