//! A GPU's power sensors as documented, over a load whose energy is known exactly.
//!
//! Counter: ticks of 100 ms, ideal values. INSTANT: updated each 100 ms, mean of the 25 ms before. AVERAGE: updated each
//! 100 ms, mean of the 1 s before (Yang et al., SC'24; as seen on an H100).

use stopwatt_core::Nanos;
use stopwatt_sensor::energy::PowerSample;

/// Piecewise constant power: idle, load from 0 to `length` (a share of each period when it pulses), idle.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) idle_w: f64,
    pub(crate) load_w: f64,
    pub(crate) length_s: f64,
    /// Period and duty of a pulsing load.
    pub(crate) pulse: Option<(f64, f64)>,
}

impl Load {
    /// True energy from the start of the load to `t`, in joules; negative before it.
    pub(crate) fn energy(&self, t: f64) -> f64 {
        let extra = self.load_w - self.idle_w;
        let inside = t.clamp(0.0, self.length_s);
        let on = match self.pulse {
            None => inside,
            Some((period, duty)) => {
                let whole = (inside / period).floor();
                whole * period * duty + (inside - whole * period).min(period * duty)
            }
        };
        self.idle_w * t + extra * on
    }

    fn mean(&self, from: f64, to: f64) -> f64 {
        (self.energy(to) - self.energy(from)) / (to - from)
    }
}

/// One card: where its ticks lie, how its readings err.
#[derive(Clone, Copy)]
pub(crate) struct Card {
    pub(crate) counter_phase_s: f64,
    pub(crate) power_phase_s: f64,
    pub(crate) gain: f64,
}

const TICK_S: f64 = 0.1;

impl Card {
    /// What a poll at `t` reads.
    pub(crate) fn read(&self, load: &Load, t: f64) -> PowerSample {
        let held = |phase: f64| ((t - phase) / TICK_S).floor() * TICK_S + phase;
        let (tick, update) = (held(self.counter_phase_s), held(self.power_phase_s));
        // Real readings are never twice the same: a little ripple, fixed by the update's number.
        let ripple = 1.0 + 0.002 * (((update / TICK_S).round() * 0.618).rem_euclid(1.0) - 0.5);
        PowerSample {
            t: (t * 1e9) as Nanos,
            energy_j: Some(1e6 + ((load.energy(tick) * self.gain) * 1000.0).floor() / 1000.0),
            instant_w: Some(load.mean(update - 0.025, update) * self.gain * ripple),
            average_w: Some(load.mean(update - 1.0, update) * self.gain * ripple),
        }
    }

    /// Polls from `from` to `to`, each `gap()` after the one before.
    pub(crate) fn poll(
        &self,
        load: &Load,
        from: f64,
        to: f64,
        mut gap: impl FnMut() -> f64,
    ) -> Vec<PowerSample> {
        let mut t = from;
        std::iter::from_fn(|| {
            let now = t;
            t += gap();
            (now < to).then(|| self.read(load, now))
        })
        .collect()
    }
}

/// Numbers in [0, 1) by SplitMix64 (Steele et al., OOPSLA'14).
pub(crate) struct Uniform(pub(crate) u64);

impl Uniform {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
