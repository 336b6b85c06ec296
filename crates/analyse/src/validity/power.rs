//! Were clocks stable, and do the energy's two measurements agree?

use stopwatt_core::verdict::Code;

use super::{At, Findings};

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
