//! The GPUs of a run in words: how each stood, and what was set for the measurement.

use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::gpu::{GpuFacts, GpuSetting};
use stopwatt_core::text::{Lang, Text, fill};

/// Title and value of each; what is not known is left out.
pub(crate) fn rows(f: &Fingerprint, set: &[GpuSetting], lang: Lang) -> Vec<(String, String)> {
    let stood = f.gpu_facts.iter().map(|gpu| {
        (fill(Text::EnvGpuStood.get(lang), &[&gpu.index.to_string()]), stood(gpu, lang).join(", "))
    });
    let set = set.iter().map(|s| {
        let to = format!("{} = {}", s.setting, s.to);
        let before = s.from.as_deref().unwrap_or(Text::Unknown.get(lang));
        let text = if s.restored { Text::EnvGpuRestored } else { Text::EnvGpuNotRestored };
        (fill(Text::EnvGpuSet.get(lang), &[&s.gpu.to_string()]), fill(text.get(lang), &[&to, before]))
    });
    stood.filter(|(_, value)| !value.is_empty()).chain(set).collect()
}

fn stood(gpu: &GpuFacts, lang: Lang) -> Vec<String> {
    let switch = |on: bool| if on { Text::On.get(lang) } else { Text::Off.get(lang) };
    let named = |text: Text, value: Option<String>| value.map(|v| fill(text.get(lang), &[&v]));
    let watts = gpu.power_limit_w.map(|now| match gpu.default_power_limit_w.filter(|d| *d != now) {
        Some(delivered) => {
            fill(Text::EnvGpuOf.get(lang), &[&format!("{now:.0} W"), &format!("{delivered:.0} W")])
        }
        None => format!("{now:.0} W"),
    });
    let clock = gpu.application_sm_clock_mhz.map(|now| {
        match gpu.default_application_sm_clock_mhz.filter(|d| *d != now) {
            Some(delivered) => {
                fill(Text::EnvGpuOf.get(lang), &[&format!("{now} MHz"), &format!("{delivered} MHz")])
            }
            None => format!("{now} MHz"),
        }
    });
    [
        named(Text::EnvGpuPower, watts),
        named(Text::EnvGpuClock, clock),
        gpu.ecc.map(|on| format!("ECC {}", switch(on))),
        gpu.mig.map(|on| format!("MIG {}", switch(on))),
        named(Text::EnvGpuPersistence, gpu.persistence.map(|on| switch(on).to_owned())),
        gpu.vbios.as_ref().map(|v| format!("VBIOS {v}")),
        gpu.pcie.as_ref().map(|v| format!("PCIe {v}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_what_was_changed_are_told() {
        let gpu = GpuFacts {
            power_limit_w: Some(500.0),
            default_power_limit_w: Some(700.0),
            application_sm_clock_mhz: Some(1980),
            default_application_sm_clock_mhz: Some(1980),
            ecc: Some(true),
            mig: Some(false),
            ..GpuFacts::default()
        };
        let f = Fingerprint {
            gpu_facts: vec![gpu, GpuFacts { index: 1, ..GpuFacts::default() }],
            ..Fingerprint::default()
        };
        let set = |setting: &str, from: Option<&str>, restored| GpuSetting {
            gpu: 0,
            setting: setting.to_owned(),
            from: from.map(str::to_owned),
            to: "500".to_owned(),
            restored,
        };
        let set = [set("power_limit_w", Some("700"), true), set("locked_sm_clock_mhz", None, false)];
        let rows = rows(&f, &set, Lang::En);
        let row = |i: usize| (rows[i].0.as_str(), rows[i].1.as_str());
        assert_eq!(rows.len(), 3, "nothing is known of the second GPU: {rows:?}");
        assert_eq!(
            row(0),
            (
                "GPU 0 stood at",
                "power limit 500 W (delivered: 700 W), application clock 1980 MHz, ECC on, MIG off"
            )
        );
        assert_eq!(row(1), ("Set on GPU 0", "power_limit_w = 500 while measuring; before: 700, put back"));
        assert_eq!(
            row(2),
            ("Set on GPU 0", "locked_sm_clock_mhz = 500 while measuring; before: unknown, NOT put back")
        );
    }
}
