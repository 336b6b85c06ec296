//! Were clocks stable, and do the energy's two measurements agree?

use stopwatt_core::log::Fact;
use stopwatt_core::verdict::Code;

use super::{At, Evidence, Findings};

/// Share of a trial's readings with lowered clocks above which its times are not the machine's.
const SHARE: f64 = 0.05;
/// Lowered clocks that are the ordinary state of a GPU at full load.
const ORDINARY: &str = "power_cap";

pub(super) fn check(at: &At<'_>, findings: &mut Findings) {
    let label = Some(at.document.label.as_str());
    let power = &at.document.power;
    for (reason, share) in power.gpu.iter().flat_map(|g| &g.throttle).filter(|(_, share)| *share > SHARE) {
        let values = [reason.clone(), format!("{:.0}", share * 100.0)];
        findings.add_weighted(Code::Throttled, reason != ORDINARY, label, values);
    }
    if power.disagreement {
        let percent = power.largest_difference.unwrap_or_default().abs() * 100.0;
        findings.add(Code::EnergyDisagrees, label, [format!("{percent:.1}")]);
    }
}

/// Whether somebody else worked on the GPUs: the most that any trial of a point saw.
pub(super) fn check_foreign(evidence: &Evidence<'_>, findings: &mut Findings) {
    for measured in &evidence.measured.points {
        let seen = evidence.log.iter().filter_map(|e| match e.fact {
            Fact::ForeignGpuProcesses { point, count, memory_bytes, .. } if point == measured.index => {
                Some((count, memory_bytes))
            }
            _ => None,
        });
        if let Some((count, memory)) = seen.max_by_key(|(count, memory)| (*count, *memory)) {
            let memory = memory
                .map_or_else(|| "?".to_owned(), |b| format!("{:.2} GiB", b as f64 / f64::from(1 << 30)));
            let label = Some(measured.planned.label.as_str());
            findings.add(Code::ForeignGpu, label, [count.to_string(), memory]);
        }
    }
}
