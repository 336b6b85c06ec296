//! Environment drift: another machine, other clocks, heat, other load.

use stopwatt_core::cause::CauseCode;
use stopwatt_core::log::Fact;

use super::{Case, Found, Look, POSSIBLE, Seen, UNFAIR, percent, short};

/// Clocks by the columns that sensors write; work takes longer when they run slower.
const CLOCKS: [&str; 3] = ["sm_clock_mhz", "mem_clock_mhz", "cpu_freq_mhz"];
/// Temperatures.
const TEMPERATURES: [&str; 2] = ["temp_c", "cpu_temp_c"];
/// Share of all CPU time that other processes used.
const OTHERS: &str = "cpu_others";
/// Reasons for a low clock that slow nothing down unasked.
const HARMLESS: [&str; 4] = ["none", "idle", "application_clock", "display_clock"];

/// Clocks differ from here on, as a share.
const CLOCK_STEP: f64 = 0.01;
/// Temperatures differ from here on, in degrees Celsius.
const DEGREES: f64 = 3.0;
/// Shares of time differ from here on.
const TIME_STEP: f64 = 0.02;

pub(super) fn look(case: &Case<'_>) -> Look {
    let mut look = Look::of(recorded(case));
    match readings(case) {
        Some(found) => look.found.extend(found),
        None => look.blind = Some(CauseCode::NoSensors),
    }
    look
}

/// What the fingerprints say.
fn recorded<'a>(case: &'a Case<'_>) -> impl Iterator<Item = Found> + 'a {
    case.differences().filter_map(|d| {
        let (group, name) = d.what.split_once('.')?;
        let (code, what, weight) = match group {
            "machine" => {
                (CauseCode::MachineDiffers, d.what.as_str(), if d.forbids { UNFAIR } else { POSSIBLE })
            }
            "engine" => (CauseCode::EngineDiffers, name, POSSIBLE),
            _ => return None,
        };
        let side = |v: &Option<String>| v.clone().unwrap_or_else(|| "–".to_owned());
        Some(Found::ranked(code, weight, [what.to_owned(), side(&d.baseline), side(&d.candidate)]))
    })
}

/// What the sensors read in the measuring windows; `None` without sensors on both sides.
fn readings(case: &Case<'_>) -> Option<Vec<Found>> {
    let (a, b) = (Side::of(&case.a)?, Side::of(&case.b)?);
    let both = |column: &str| Some((a.mean(column)?, b.mean(column)?));
    let slower = case.symptoms.iter().filter_map(|s| super::slower(s)).any(|s| s > 0.0);
    let faster = case.symptoms.iter().filter_map(|s| super::slower(s)).any(|s| s < 0.0);
    // More of it slows down, less of it speeds up; the other way round it is no cause.
    let agrees = |rise: f64| (rise > 0.0 && slower) || (rise < 0.0 && faster);
    let mut found = Vec::new();
    let mut known = false;
    for column in CLOCKS {
        let Some((x, y)) = both(column).filter(|(x, y)| *x > 0.0 && *y > 0.0) else { continue };
        known = true;
        let share = case.explained(-(y / x).ln(), case.symptoms.iter().copied());
        if (y / x - 1.0).abs() >= CLOCK_STEP && share > 0.0 {
            let values = [column.to_owned(), format!("{x:.0}"), format!("{y:.0}"), percent(y / x - 1.0)];
            found.push(Found::explaining(CauseCode::ClockDiffers, share, values));
        }
    }
    for column in TEMPERATURES {
        let Some((x, y)) = both(column) else { continue };
        known = true;
        if (y - x).abs() >= DEGREES && agrees(y - x) {
            found.push(Found::ranked(CauseCode::TemperatureDiffers, POSSIBLE / 2.0, [short(x), short(y)]));
        }
    }
    if let Some((x, y)) = both(OTHERS) {
        known = true;
        if (y - x).abs() >= TIME_STEP && agrees(y - x) {
            let values = [format!("{:.1}", x * 100.0), format!("{:.1}", y * 100.0)];
            found.push(Found::ranked(CauseCode::BackgroundLoad, POSSIBLE, values));
        }
    }
    if let (Some(x), Some(y)) = (a.throttle(), b.throttle()) {
        known = true;
        let mut words: Vec<&String> = x.keys().chain(y.keys()).collect();
        words.sort();
        words.dedup();
        for word in words.into_iter().filter(|w| !HARMLESS.contains(&w.as_str())) {
            let share =
                |side: &std::collections::BTreeMap<String, f64>| side.get(word).copied().unwrap_or(0.0);
            if (share(&y) - share(&x)).abs() >= TIME_STEP && agrees(share(&y) - share(&x)) {
                let values =
                    [word.clone(), format!("{:.0}", share(&x) * 100.0), format!("{:.0}", share(&y) * 100.0)];
                found.push(Found::ranked(CauseCode::Throttled, POSSIBLE * 2.0, values));
            }
        }
    }
    known.then_some(found)
}

/// The sensors of a run, in its measuring windows.
struct Side<'a> {
    sensors: &'a super::Sensors,
    windows: Vec<(f64, f64)>,
}

impl<'a> Side<'a> {
    fn of(seen: &Seen<'a>) -> Option<Self> {
        let window = |fact: &Fact| match fact {
            Fact::TrialEnded { start_ns, end_ns, .. } => Some((*start_ns as f64 / 1e9, *end_ns as f64 / 1e9)),
            _ => None,
        };
        let windows = seen.log.iter().filter_map(|e| window(&e.fact)).collect();
        Some(Self { sensors: seen.sensors?, windows })
    }

    fn mean(&self, column: &str) -> Option<f64> {
        self.sensors.mean(column, &self.windows)
    }

    fn throttle(&self) -> Option<std::collections::BTreeMap<String, f64>> {
        self.sensors.words("throttle", &self.windows)
    }
}
