//! The CPU: its model and the instruction sets that matter to the operators.

/// CPU model, for instance `AMD EPYC 9R14`; `None` when the system does not say.
pub fn model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    model_in(&text).or_else(|| device_tree_model().or_else(|| arm_part(&text)))
}

/// x86 writes `model name`, POWER and RISC-V `cpu` or `uarch`.
fn model_in(cpuinfo: &str) -> Option<String> {
    ["model name", "Model Name", "cpu model", "uarch", "cpu"].iter().find_map(|key| field(cpuinfo, key))
}

fn field(cpuinfo: &str, key: &str) -> Option<String> {
    cpuinfo
        .lines()
        .filter_map(|l| l.split_once(':'))
        .find(|(k, _)| k.trim() == key)
        .map(|(_, v)| v.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|v| !v.is_empty())
}

/// The board, on small ARM machines: `Raspberry Pi 5 Model B Rev 1.0`.
fn device_tree_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/device-tree/model").ok()?;
    Some(text.trim_matches(['\0', ' ', '\n']).to_owned()).filter(|t| !t.is_empty())
}

/// ARM servers give numbers only (implementer and part, Arm "MIDR_EL1").
fn arm_part(cpuinfo: &str) -> Option<String> {
    let implementer = field(cpuinfo, "CPU implementer")?;
    let part = field(cpuinfo, "CPU part")?;
    let name = match (implementer.as_str(), part.as_str()) {
        ("0x41", "0xd0c") => "Neoverse-N1",
        ("0x41", "0xd40") => "Neoverse-V1",
        ("0x41", "0xd49") => "Neoverse-N2",
        ("0x41", "0xd4f") => "Neoverse-V2",
        _ => return Some(format!("ARM implementer {implementer} part {part}")),
    };
    Some(name.to_owned())
}

/// Instruction sets of this CPU that the operators can use, widest last.
pub fn features() -> Vec<String> {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        macro_rules! have {
            ($($name:tt),+) => { [$(($name, std::arch::is_x86_feature_detected!($name))),+] };
        }
        let all = have!(
            "sse4.2",
            "avx",
            "f16c",
            "fma",
            "avx2",
            "avxvnni",
            "avx512f",
            "avx512bw",
            "avx512vnni",
            "avx512bf16",
            "avx512fp16"
        );
        all.into_iter().filter(|(_, have)| *have).map(|(name, _)| name.to_owned()).collect()
    }
    #[cfg(target_arch = "aarch64")]
    {
        macro_rules! have {
            ($($name:tt),+) => { [$(($name, std::arch::is_aarch64_feature_detected!($name))),+] };
        }
        let all = have!("neon", "fp16", "dotprod", "i8mm", "bf16", "sve", "sve2");
        all.into_iter().filter(|(_, have)| *have).map(|(name, _)| name.to_owned()).collect()
    }
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_several_makers() {
        let x86 = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel name\t: AMD EPYC 9R14   96-Core\n";
        assert_eq!(model_in(x86).as_deref(), Some("AMD EPYC 9R14 96-Core"));
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n";
        assert_eq!(model_in(arm), None);
        assert_eq!(arm_part(arm).as_deref(), Some("Neoverse-V2"));
        let power = "processor\t: 0\ncpu\t\t: POWER9, altivec supported\n";
        assert_eq!(model_in(power).as_deref(), Some("POWER9, altivec supported"));
        assert_eq!(model_in("").or(arm_part("")), None);
    }
}
