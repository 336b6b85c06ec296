//! Devices: how fast they compute and move bytes, by their data sheets or by the user's own file.
//!
//! Published peaks are upper bounds that no kernel reaches; what a device really does is measured. Every number that
//! rests on this module alone is therefore called *datasheet*.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::kernel_table::Dtype;
use stopwatt_core::roofline::Roofline;

const GIB: f64 = (1_u64 << 30) as f64;
/// Share of the nominal memory, counted in GiB, that programs see where no report of it is known.
const SEEN: f64 = 0.98;

/// A device as a file writes it (`--gpu FILE` in TOML or YAML), and as a preset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuSpec {
    /// Name on the command line; the name in small letters where absent.
    #[serde(default)]
    pub id: String,
    /// Name to print.
    pub name: String,
    /// Other names on the command line.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Dense operations a second by format: `{ bf16 = 312e12, int8 = 624e12 }`.
    pub peak_flop_s: BTreeMap<String, f64>,
    /// Memory bandwidth in bytes a second.
    pub bandwidth_bytes_s: f64,
    /// Memory in 10⁹ bytes, as vendors count it.
    pub memory_gb: f64,
    /// Memory that a program sees, in GiB; 98 % of the nominal figure where absent.
    #[serde(default)]
    pub usable_gib: Option<f64>,
    /// Multiprocessors.
    #[serde(default)]
    pub sms: Option<u32>,
    /// Last-level cache in bytes.
    #[serde(default)]
    pub l2_bytes: Option<f64>,
    /// Bytes a second to other devices of the host, one way.
    #[serde(default)]
    pub link_bytes_s: Option<f64>,
    /// Figures of the textbook roofline, where they differ.
    #[serde(default)]
    pub textbook: Option<Textbook>,
    /// Where the figures are from.
    #[serde(default)]
    pub source: Option<String>,
}

/// The three figures of the textbook roofline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Textbook {
    /// Operations a second in 16-bit floating point.
    pub flop_s: f64,
    /// Bytes a second.
    pub bandwidth_bytes_s: f64,
    /// Memory in 10⁹ bytes.
    pub memory_gb: f64,
}

/// A device whose figures have been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpu {
    /// Name on the command line.
    pub id: String,
    /// Name to print.
    pub name: String,
    /// Memory bandwidth in bytes a second.
    pub bandwidth: f64,
    /// Memory in 10⁹ bytes.
    pub memory_gb: f64,
    /// Memory that a program sees, in bytes.
    pub usable_bytes: f64,
    /// Whether that is a known figure or a share of the nominal one.
    pub usable_known: bool,
    /// Bytes a second to other devices of the host, one way.
    pub link: Option<f64>,
    /// Multiprocessors.
    pub sms: Option<u32>,
    /// Figures of the textbook roofline.
    pub textbook: Textbook,
    /// What the figures are: `datasheet` or `measured`.
    pub basis: &'static str,
    /// Where the figures are from.
    pub source: String,
    peaks: BTreeMap<Dtype, f64>,
}

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// A figure that is no positive number.
    #[error("`{key}` is {found}, expected a number above 0")]
    Figure {
        /// The key.
        key: String,
        /// Its value.
        found: f64,
    },
    /// A format that is not known.
    #[error("`peak_flop_s` names the format `{found}`; known are fp32, tf32, fp16, bf16, fp8, int8, int4")]
    Format {
        /// The name.
        found: String,
    },
    /// No 16-bit or 32-bit rate at all.
    #[error("`peak_flop_s` holds none of bf16, fp16 and fp32")]
    NoPeak,
    /// A measured roofline that lacks what is needed.
    #[error("the measured roofline of {device} has no {what}")]
    NotMeasured {
        /// The device.
        device: String,
        /// What is missing.
        what: &'static str,
    },
    /// The device computes this format neither itself nor by a wider one that is known.
    #[error("{gpu} has no rate for {dtype}")]
    NoRate {
        /// The device.
        gpu: String,
        /// The format.
        dtype: &'static str,
    },
}

impl TryFrom<GpuSpec> for Gpu {
    type Error = GpuError;

    fn try_from(s: GpuSpec) -> Result<Self, GpuError> {
        let positive = |key: &str, value: f64| {
            let good = value.is_finite() && value > 0.0;
            if good { Ok(value) } else { Err(GpuError::Figure { key: key.to_owned(), found: value }) }
        };
        let mut peaks = BTreeMap::new();
        for (name, rate) in &s.peak_flop_s {
            let dtype = Dtype::parse(name).ok_or_else(|| GpuError::Format { found: name.clone() })?;
            peaks.insert(dtype, positive(&format!("peak_flop_s.{name}"), *rate)?);
        }
        let half = [Dtype::Bf16, Dtype::F16, Dtype::F32].iter().find_map(|d| peaks.get(d)).copied();
        let bandwidth = positive("bandwidth_bytes_s", s.bandwidth_bytes_s)?;
        let memory_gb = positive("memory_gb", s.memory_gb)?;
        let textbook = s.textbook.unwrap_or(Textbook {
            flop_s: half.ok_or(GpuError::NoPeak)?,
            bandwidth_bytes_s: bandwidth,
            memory_gb,
        });
        positive("textbook.flop_s", textbook.flop_s)?;
        positive("textbook.bandwidth_bytes_s", textbook.bandwidth_bytes_s)?;
        let usable = s.usable_gib.map(|gib| positive("usable_gib", gib)).transpose()?;
        Ok(Self {
            id: if s.id.is_empty() { key_of(&s.name) } else { s.id },
            bandwidth,
            memory_gb,
            // Vendors call 80 GiB of chips 80 GB.
            usable_bytes: usable.unwrap_or(SEEN * memory_gb) * GIB,
            usable_known: usable.is_some(),
            link: s.link_bytes_s.map(|rate| positive("link_bytes_s", rate)).transpose()?,
            sms: s.sms,
            textbook,
            basis: "datasheet",
            source: s.source.unwrap_or_else(|| "the user's file".to_owned()),
            name: s.name,
            peaks,
        })
    }
}

impl TryFrom<&Roofline> for Gpu {
    type Error = GpuError;

    /// A device as it was measured: peaks and the bandwidth of reading from memory. Its size is that of the memory where
    /// the system states it, else that of the preset of the same name.
    fn try_from(roofline: &Roofline) -> Result<Self, GpuError> {
        let name = roofline.device.name.clone();
        let missing = |what| GpuError::NotMeasured { device: name.clone(), what };
        let memory = roofline.memory().ok_or_else(|| missing("main memory"))?;
        let bandwidth = memory.read_bandwidth().ok_or_else(|| missing("bandwidth of main memory"))?.value;
        let peaks: BTreeMap<Dtype, f64> =
            Dtype::ALL.iter().filter_map(|&d| Some((d, roofline.peak(d)?.flop_per_s.value))).collect();
        let half = [Dtype::Bf16, Dtype::F16, Dtype::F32].iter().find_map(|d| peaks.get(d)).copied();
        let same = presets().find(|gpu| name.contains(gpu.name.trim_start_matches("NVIDIA ")));
        let bytes = memory.capacity_bytes.map(|bytes| bytes as f64).or(same.map(|gpu| gpu.usable_bytes));
        let bytes = bytes.ok_or_else(|| missing("size of main memory"))?;
        for (key, value) in [("bandwidth", bandwidth), ("memory", bytes)]
            .into_iter()
            .chain(peaks.values().map(|v| ("peak", *v)))
        {
            if !(value.is_finite() && value > 0.0) {
                return Err(GpuError::Figure { key: key.to_owned(), found: value });
            }
        }
        Ok(Self {
            id: "measured".to_owned(),
            bandwidth,
            memory_gb: bytes / 1e9,
            usable_bytes: bytes,
            usable_known: true,
            link: None,
            sms: Some(roofline.device.units),
            textbook: Textbook {
                flop_s: half.ok_or(GpuError::NoPeak)?,
                bandwidth_bytes_s: bandwidth,
                memory_gb: bytes / 1e9,
            },
            basis: "measured",
            source: format!("measured by Stopwatt {}", roofline.stopwatt),
            name,
            peaks,
        })
    }
}

impl Gpu {
    /// Dense operations a second on operands of this format. A format without a rate of its own runs at that of the
    /// narrowest wider one that has: 8-bit weights are then unpacked before the product. Where no 32-bit rate is stated,
    /// that of 16 bits stands for it; only small operators compute in 32 bits.
    pub fn peak(&self, dtype: Dtype) -> Result<f64, GpuError> {
        let wider: &[Dtype] = match dtype {
            Dtype::F32 => &[Dtype::F32, Dtype::Tf32, Dtype::Bf16, Dtype::F16],
            Dtype::Tf32 => &[Dtype::Tf32, Dtype::F32, Dtype::Bf16, Dtype::F16],
            Dtype::F16 => &[Dtype::F16, Dtype::Bf16, Dtype::F32],
            Dtype::Bf16 => &[Dtype::Bf16, Dtype::F16, Dtype::F32],
            Dtype::F8E4m3 => &[Dtype::F8E4m3, Dtype::Bf16, Dtype::F16, Dtype::F32],
            Dtype::I8 => &[Dtype::I8, Dtype::Bf16, Dtype::F16, Dtype::F32],
            Dtype::I4 => &[Dtype::I4, Dtype::I8, Dtype::Bf16, Dtype::F16, Dtype::F32],
        };
        wider
            .iter()
            .find_map(|d| self.peaks.get(d))
            .copied()
            .ok_or_else(|| GpuError::NoRate { gpu: self.name.clone(), dtype: dtype.name() })
    }

    /// Formats with a rate of their own, and the rate.
    pub fn peaks(&self) -> impl Iterator<Item = (Dtype, f64)> {
        self.peaks.iter().map(|(d, rate)| (*d, *rate))
    }

    /// Operations a byte at which computing takes as long as moving.
    pub fn ridge(&self, dtype: Dtype) -> Result<f64, GpuError> {
        Ok(self.peak(dtype)? / self.bandwidth)
    }
}

#[derive(Deserialize)]
struct Presets {
    gpu: Vec<GpuSpec>,
}

static PRESETS: LazyLock<Vec<(Vec<String>, Gpu)>> = LazyLock::new(|| {
    let presets: Presets =
        toml::from_str(include_str!("../data/gpus.toml")).expect("the built-in file is valid");
    presets
        .gpu
        .into_iter()
        .map(|spec| {
            let names = std::iter::once(&spec.id).chain(&spec.aliases).cloned().collect();
            (names, Gpu::try_from(spec).expect("the built-in figures are read by a test"))
        })
        .collect()
});

/// A device by its name: `h100-sxm`, `H100`, `rtx_4090`.
#[must_use]
pub fn preset(name: &str) -> Option<&'static Gpu> {
    let key = key_of(name);
    let key = key.strip_prefix("nvidia-").unwrap_or(&key);
    PRESETS.iter().find(|(names, _)| names.iter().any(|n| n == key)).map(|(_, gpu)| gpu)
}

/// All devices that are known by name.
pub fn presets() -> impl Iterator<Item = &'static Gpu> {
    PRESETS.iter().map(|(_, gpu)| gpu)
}

fn key_of(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace(['_', ' '], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_hold_the_figures_of_the_textbook() {
        for (id, tflops, tb_s, gb, ridge) in [
            ("a100_80gb", 312.0, 2.0, 80.0, 156.0),
            ("h100_sxm", 990.0, 3.35, 80.0, 296.0),
            ("l40s", 366.0, 0.864, 48.0, 424.0),
            ("rtx_4090", 165.0, 1.008, 24.0, 164.0),
            ("rtx_3090", 35.6, 0.936, 24.0, 38.0),
            ("rtx_3060", 12.7, 0.360, 12.0, 35.0),
        ] {
            let t = preset(id).unwrap_or_else(|| panic!("{id}")).textbook;
            let close = |a: f64, b: f64| (a - b).abs() < 1e-9 * b;
            assert!(close(t.flop_s, tflops * 1e12) && close(t.bandwidth_bytes_s, tb_s * 1e12), "{id}: {t:?}");
            assert!(close(t.memory_gb, gb) && (t.flop_s / t.bandwidth_bytes_s).round() == ridge, "{id}");
        }
    }

    #[test]
    fn every_preset_is_complete() {
        assert!(presets().count() >= 20);
        for gpu in presets() {
            assert!(gpu.peak(Dtype::Bf16).is_ok() && gpu.peak(Dtype::I4).is_ok(), "{}", gpu.id);
            assert!(preset(&gpu.id).is_some() && gpu.source.contains("20"), "{}", gpu.id);
            assert!((0.9..=1.0).contains(&(gpu.usable_bytes / GIB / gpu.memory_gb)), "{}", gpu.id);
        }
    }

    #[test]
    fn a_format_without_a_rate_runs_at_a_wider_one() {
        // A100 has no 8-bit floating point, H100 no 4-bit integers.
        let a100 = preset("a100").unwrap();
        assert_eq!(a100.peak(Dtype::F8E4m3), a100.peak(Dtype::Bf16));
        assert!((preset("h100").unwrap().ridge(Dtype::Bf16).unwrap() - 295.3).abs() < 0.1);
    }

    #[test]
    fn a_measured_device_has_its_measured_roofs() {
        use stopwatt_core::roofline::{
            Access, Bandwidth, ComputeUnit, Device, Extent, Level, LevelName, Measured, Peak,
        };
        let device = Device {
            kind: "cpu".to_owned(),
            name: "Some CPU".to_owned(),
            units: 2,
            instructions: "avx2".to_owned(),
        };
        let measured = |value| Measured { value, n: 9, mad: 0.0, lo: None, hi: None };
        let mut roofline = Roofline::empty("0.1.0", device);
        assert!(matches!(Gpu::try_from(&roofline), Err(GpuError::NotMeasured { what: "main memory", .. })));
        roofline.levels.push(Level {
            name: LevelName::Memory,
            extent: Extent::Device,
            capacity_bytes: Some(8 << 30),
            bandwidths: vec![Bandwidth { access: Access::Read, bytes_per_s: measured(2e10) }],
            latency_s: None,
        });
        assert_eq!(Gpu::try_from(&roofline), Err(GpuError::NoPeak));
        roofline.peaks.push(Peak {
            dtype: Dtype::F32,
            unit: ComputeUnit::Vector,
            instructions: "avx2 fma".to_owned(),
            extent: Extent::Device,
            flop_per_s: measured(2e11),
        });
        let gpu = Gpu::try_from(&roofline).unwrap();
        assert_eq!(
            (gpu.ridge(Dtype::Bf16), gpu.basis, gpu.usable_bytes),
            (Ok(10.0), "measured", (8_u64 << 30) as f64)
        );
    }

    #[test]
    fn own_figures_are_checked() {
        let own = |text: &str| Gpu::try_from(toml::from_str::<GpuSpec>(text).unwrap());
        let good = "name = 'Mine'\npeak_flop_s = { fp16 = 1e14 }\nbandwidth_bytes_s = 1e12\nmemory_gb = 10\n";
        let gpu = own(good).unwrap();
        assert_eq!((gpu.id.as_str(), gpu.peak(Dtype::Bf16), gpu.textbook.flop_s), ("mine", Ok(1e14), 1e14));
        assert!(matches!(own(&good.replace("1e12", "-1")), Err(GpuError::Figure { .. })));
        assert!(matches!(own(&good.replace("fp16", "fp7")), Err(GpuError::Format { .. })));
        assert_eq!(own(&good.replace("fp16", "int8")), Err(GpuError::NoPeak));
    }
}
