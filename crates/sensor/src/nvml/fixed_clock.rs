//! Whether the clocks of a GPU are fixed, as far as it can be read.
//!
//! NVML tells the clock that applications ask for (`nvidia-smi -ac`) and not the range set with `nvidia-smi -lgc`.
//! So a fixed clock is seen in what it does, and "cannot be told" is a possible answer.

use super::throttle::Throttle;

/// What speaks for or against a fixed clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClockEvidence {
    /// SM clock that applications ask for, in MHz.
    pub application_mhz: Option<u32>,
    /// The same as delivered.
    pub default_application_mhz: Option<u32>,
    /// SM clock now, in MHz.
    pub current_mhz: Option<u32>,
    /// Why the clock is not higher now.
    pub throttle: Option<Throttle>,
}

/// Whether somebody fixed the clock.
///
/// - An application clock other than the delivered one, or a clock held down by that setting: fixed.
/// - Idle at less than the application clock: not locked, the clock follows the load.
/// - Otherwise it cannot be told from one look; `None`.
pub fn fixed_clock(evidence: &ClockEvidence) -> Option<bool> {
    let asked = evidence.application_mhz;
    if asked.zip(evidence.default_application_mhz).is_some_and(|(now, delivered)| now != delivered)
        || evidence.throttle.is_some_and(Throttle::is_application_clock)
    {
        return Some(true);
    }
    let idle = evidence.throttle.is_some_and(Throttle::is_idle);
    let below = asked.zip(evidence.current_mhz).is_some_and(|(asked, current)| current < asked);
    (idle && below).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(application: u32, current: u32, throttle: Throttle) -> ClockEvidence {
        ClockEvidence {
            application_mhz: Some(application),
            default_application_mhz: Some(1980),
            current_mhz: Some(current),
            throttle: Some(throttle),
        }
    }

    #[test]
    fn a_clock_that_follows_the_load_is_not_fixed() {
        // An idle H100: 345 MHz, application clock 1980 MHz.
        assert_eq!(fixed_clock(&evidence(1980, 345, Throttle::from_bits(1))), Some(false));
    }

    #[test]
    fn an_application_clock_that_was_set_is_fixed() {
        assert_eq!(fixed_clock(&evidence(1410, 1410, Throttle::from_bits(2))), Some(true));
    }

    #[test]
    fn a_busy_gpu_at_its_highest_clock_cannot_be_told() {
        assert_eq!(fixed_clock(&evidence(1980, 1980, Throttle::from_bits(0))), None);
        assert_eq!(fixed_clock(&ClockEvidence::default()), None);
    }
}
