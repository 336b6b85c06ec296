//! Time of a dependent load over the working set: the ladder of caches.

use stopwatt_core::roofline::{Curve, CurveKind, CurvePoint, Extent, Measured, Roofline};
use stopwatt_stats::quantile::median;

use super::{Bench, note};
use crate::case::CaseError;
use crate::cuda::issue::Issue as _;
use crate::cuda::probes::latency::chase;
use crate::cuda::probes::{Level as Place, Measures};

/// Bytes of a line.
const LINE: u32 = 128;
/// Working sets of up to so many bytes are followed in the first-level cache.
const FIRST_LEVEL: u64 = 128 << 10;
/// Loads of which the time is taken together.
const STEPS: u32 = 8192;

/// One thread follows a chain through working sets from 4 KiB to main memory.
pub(super) fn curve(bench: &mut Bench<'_>, roofline: &mut Roofline) -> Result<(), CaseError> {
    let l2_bytes = bench.device.target().l2_bytes;
    let most = bench.most_bytes()?.min(1 << 30);
    let mut points = Vec::new();
    let mut bytes: u64 = 4 << 10;
    while bytes <= most {
        let place = match bytes {
            b if b <= FIRST_LEVEL => Place::First,
            b if b <= l2_bytes => Place::Second,
            _ => Place::Memory,
        };
        match point(bench, place, bytes) {
            Ok(y) => points.push(CurvePoint { x: bytes as f64, y }),
            Err(reason) => note(roofline, &format!("latency at {bytes} bytes"), Err(reason))?,
        }
        bytes *= 2;
    }
    if !points.is_empty() {
        roofline.curves.push(Curve { kind: CurveKind::Latency, extent: Extent::Unit, points });
    }
    Ok(())
}

fn point(bench: &Bench<'_>, place: Place, bytes: u64) -> Result<Measured, CaseError> {
    let probe = chase(place, bytes, LINE, STEPS)?;
    let Measures::StepTime { operand } = probe.measures else {
        return Err(CaseError::Failed { reason: "a chase that takes no time itself".to_owned() });
    };
    let case = bench.prepare(probe)?;
    let runs = if bench.fine { 9 } else { 5 };
    let mut seconds = Vec::new();
    for _ in 0..runs {
        case.issue().issue(0)?;
        // Cycles, then nanoseconds, of one load.
        let times = case.issue().values(operand)?;
        match times.get(1).filter(|ns| ns.is_finite() && **ns > 0.0) {
            Some(ns) => seconds.push(ns * 1e-9),
            None => {
                return Err(CaseError::Failed { reason: format!("the chase told no time: {times:?}") });
            }
        }
    }
    let value = median(&seconds);
    let mad = median(&seconds.iter().map(|s| (s - value).abs()).collect::<Vec<_>>());
    Ok(Measured { value, n: runs, mad, lo: None, hi: None })
}
