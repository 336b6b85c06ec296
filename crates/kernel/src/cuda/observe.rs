//! What the sensors say while kernels run. Kernels read no sensors themselves: the caller lends functions that do.

use std::cell::{Cell, RefCell};

use stopwatt_core::clock::{Nanos, monotonic_raw};
use stopwatt_core::kernel_table::Clocks;

/// A reading of the sensors.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reading {
    /// Clocks and power.
    pub clocks: Clocks,
    /// The clock is where the power limit puts it: then a low one is how the device works, not a disturbance.
    pub power_capped: bool,
}

/// Functions that read sensors.
pub struct Observers {
    /// Clocks and power now.
    pub read: Box<dyn FnMut() -> Reading>,
    /// Why times are not this program's alone; `None` when they are.
    pub shared: Box<dyn FnMut() -> Option<String>>,
    /// Clock that applications are given, in MHz: what a low one is held against. `None` when it is not known.
    pub application_mhz: Option<f64>,
}

/// Share of the application clock below which a sample does not count (nvbench uses the same).
const SLOW: f64 = 0.75;
/// Sensors are read no more often than this: they change slowly, and asking takes longer than a short sample.
const INTERVAL_NS: Nanos = 5_000_000;

/// Observers, asked no more often than makes sense.
#[derive(Default)]
pub(super) struct Watch {
    observers: RefCell<Option<Observers>>,
    last: Cell<Option<(Nanos, Reading)>>,
}

impl Watch {
    pub(super) fn set(&self, observers: Observers) {
        *self.observers.borrow_mut() = Some(observers);
        self.last.set(None);
    }

    /// The sensors, read anew when the last reading is old.
    pub(super) fn read(&self) -> Reading {
        let now = monotonic_raw();
        if let Some((_, reading)) = self.last.get().filter(|(at, _)| now - at < INTERVAL_NS) {
            return reading;
        }
        let reading = self.observers.borrow_mut().as_mut().map_or_else(Reading::default, |o| (o.read)());
        self.last.set(Some((monotonic_raw(), reading)));
        reading
    }

    /// The clock is low, and not because of the power limit.
    pub(super) fn throttled(&self) -> bool {
        let application = self.observers.borrow().as_ref().and_then(|o| o.application_mhz);
        let reading = self.read();
        slow(reading, application)
    }

    pub(super) fn shared(&self) -> Option<String> {
        self.observers.borrow_mut().as_mut().and_then(|o| (o.shared)())
    }
}

fn slow(reading: Reading, application_mhz: Option<f64>) -> bool {
    match (reading.clocks.sm_mhz, application_mhz) {
        (Some(now), Some(application)) => !reading.power_capped && now < SLOW * application,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn at(mhz: f64) -> Reading {
        Reading { clocks: Clocks { sm_mhz: Some(mhz), ..Clocks::default() }, power_capped: false }
    }

    #[test]
    fn three_quarters_of_the_application_clock_are_enough() {
        assert!(slow(at(1400.0), Some(1980.0))); // below 1485
        assert!(!slow(at(1500.0), Some(1980.0)));
    }

    #[test]
    fn a_power_limit_is_no_disturbance_and_an_unknown_clock_no_reason() {
        assert!(!slow(Reading { power_capped: true, ..at(1200.0) }, Some(1980.0)));
        assert!(!slow(at(1200.0), None));
        assert!(!slow(Reading::default(), Some(1980.0)));
    }

    #[test]
    fn sensors_are_not_asked_at_every_sample() {
        let asked = Rc::new(Cell::new(0));
        let count = asked.clone();
        let watch = Watch::default();
        watch.set(Observers {
            read: Box::new(move || {
                count.set(count.get() + 1);
                at(1980.0)
            }),
            shared: Box::new(|| None),
            application_mhz: Some(1980.0),
        });
        let began = monotonic_raw();
        for _ in 0..100 {
            assert!(!watch.throttled());
        }
        let intervals = (monotonic_raw() - began) / INTERVAL_NS;
        assert!(asked.get() <= 1 + intervals, "{} readings", asked.get());
    }
}
