//! Why a GPU's clock is not higher ("clock event reasons"), as words.

use nvml_wrapper::Device;
use serde::Serialize;

/// A set of reasons, as NVML's bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Throttle(u64);

/// Bits of `nvmlClocksEventReasons` (nvml.h) and their words. The first three do not slow work down unasked.
const WORDS: &[(u64, &str)] = &[
    (0x001, "idle"),
    (0x002, "application_clock"),
    (0x100, "display_clock"),
    (0x004, "power_cap"),
    (0x008, "hw_slowdown"),
    (0x010, "sync_boost"),
    (0x020, "sw_thermal"),
    (0x040, "hw_thermal"),
    (0x080, "power_brake"),
];

/// Reasons that make a measurement slower than the machine can be: cap, heat, brake, another GPU.
const HARMFUL: u64 = 0x004 | 0x008 | 0x010 | 0x020 | 0x040 | 0x080;

impl Throttle {
    /// Takes NVML's bits.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// NVML's bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The reasons of either.
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether power, heat or a neighbour slows the GPU down.
    pub fn is_harmful(self) -> bool {
        self.0 & HARMFUL != 0
    }

    /// Whether the power limit holds the clock down.
    pub fn is_power_cap(self) -> bool {
        self.0 & 0x004 != 0
    }

    /// Whether the clock is low because nothing runs.
    pub fn is_idle(self) -> bool {
        self.0 & 0x001 != 0
    }

    /// Whether the clock is held by the application-clock setting.
    pub fn is_application_clock(self) -> bool {
        self.0 & 0x002 != 0
    }

    /// The reasons, joined by `+`; `none` when there is none. A reason newer than this list shows as its bit.
    pub fn words(self) -> String {
        if self.0 == 0 {
            return "none".to_owned();
        }
        let mut words: Vec<String> =
            WORDS.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, word)| (*word).to_owned()).collect();
        let known = WORDS.iter().fold(0, |all, (bit, _)| all | bit);
        let unknown = self.0 & !known;
        words.extend(
            (0..64).map(|i| 1u64 << i).filter(|bit| unknown & bit != 0).map(|bit| format!("{bit:#x}")),
        );
        words.join("+")
    }
}

impl Serialize for Throttle {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.words())
    }
}

/// The reasons now; `None` when the GPU does not say. Bits that the wrapper does not know are dropped by it.
pub(super) fn of(device: &Device<'_>) -> Option<Throttle> {
    device.current_throttle_reasons().ok().map(|r| Throttle(r.bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_words() {
        assert_eq!(Throttle::from_bits(0).words(), "none");
        assert_eq!(Throttle::from_bits(0x1).words(), "idle");
        assert_eq!(Throttle::from_bits(0x44).words(), "power_cap+hw_thermal");
        assert_eq!(Throttle::from_bits(0x1000).words(), "0x1000");
    }

    #[test]
    fn idling_and_asked_for_clocks_do_no_harm() {
        assert!(!Throttle::from_bits(0x103).is_harmful());
        assert!(Throttle::from_bits(0x1).or(Throttle::from_bits(0x4)).is_harmful());
    }
}
