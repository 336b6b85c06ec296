//! What the sensors said as OpenMetrics text with times, in the names of NVIDIA's DCGM exporter where it has them:
//! `promtool tsdb create-blocks-from openmetrics` puts a run beside what Prometheus scraped.

use std::fmt::Write as _;

use stopwatt_core::label::escaped;
use stopwatt_core::log::Fact;

use super::vllm::ExportError;
use crate::facts::Facts;
use crate::rebuild::Analysed;

/// A column of `power.csv` as a metric.
struct Family {
    column: &'static str,
    name: &'static str,
    help: &'static str,
    /// From the column's unit to the metric's.
    factor: f64,
    /// The value is of one GPU when the run watched one.
    gpu: bool,
}

const fn gpu(column: &'static str, name: &'static str, help: &'static str, factor: f64) -> Family {
    Family { column, name, help, factor, gpu: true }
}

const fn host(column: &'static str, name: &'static str, help: &'static str) -> Family {
    Family { column, name, help, factor: 1.0, gpu: false }
}

/// Names, units and meanings of dcgm-exporter; of the host, of Stopwatt.
const FAMILIES: &[Family] = &[
    gpu("power_w", "DCGM_FI_DEV_POWER_USAGE_INSTANT", "Power draw in W, of about 25 ms.", 1.0),
    gpu("power_avg_w", "DCGM_FI_DEV_POWER_USAGE", "Power draw in W, averaged over about 1 s.", 1.0),
    gpu(
        "energy_j",
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        "Energy since the driver was loaded, in mJ.",
        1e3,
    ),
    gpu("temp_c", "DCGM_FI_DEV_GPU_TEMP", "Temperature in degrees Celsius.", 1.0),
    gpu("sm_clock_mhz", "DCGM_FI_DEV_SM_CLOCK", "SM clock in MHz.", 1.0),
    gpu("mem_clock_mhz", "DCGM_FI_DEV_MEM_CLOCK", "Memory clock in MHz.", 1.0),
    gpu("mem_used_bytes", "DCGM_FI_DEV_FB_USED", "Memory in use, in MiB.", 1.0 / 1_048_576.0),
    gpu("sm_util", "DCGM_FI_PROF_SM_ACTIVE", "Share of the time in which an SM had work.", 1.0),
    gpu(
        "tensor_util",
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
        "Share of the time in which tensor cores worked.",
        1.0,
    ),
    gpu("dram_util", "DCGM_FI_PROF_DRAM_ACTIVE", "Share of the memory bandwidth in use.", 1.0),
    gpu("pcie_tx_bytes_s", "DCGM_FI_PROF_PCIE_TX_BYTES", "Bytes a second sent over PCIe.", 1.0),
    gpu("pcie_rx_bytes_s", "DCGM_FI_PROF_PCIE_RX_BYTES", "Bytes a second received over PCIe.", 1.0),
    host("cpu_power_w", "stopwatt_cpu_power_watts", "Power of the CPU packages."),
    host("cpu_busy", "stopwatt_cpu_busy_ratio", "Share of all CPU time in use."),
    host("cpu_others", "stopwatt_cpu_others_ratio", "The part of it that the watched process did not use."),
    host("process_rss_bytes", "stopwatt_process_resident_memory_bytes", "Memory of the watched process."),
];

/// The sensors of a run as OpenMetrics text.
///
/// A run that watched several GPUs has the power of each; what else it holds of them are sums and extremes, which are
/// nobody's metric and are left out.
///
/// # Errors
/// The run holds no readings.
pub fn to_openmetrics(run: &Analysed) -> Result<String, ExportError> {
    let sensors = run.sensors()?.ok_or(ExportError::NoSensors)?;
    let facts = Facts::read(&run.log);
    let clock = facts.clock.ok_or(ExportError::NoSensors)?;
    let zero_s = clock.t0_unix_ns as f64 * 1e-9;
    let watched: Vec<u32> = run
        .log
        .iter()
        .rev()
        .find_map(|event| match &event.fact {
            Fact::Sensors { gpus, .. } => gpus.clone(),
            _ => None,
        })
        .unwrap_or_default();
    let of_gpu = |index: u32| {
        let known = facts.fingerprint.and_then(|f| f.gpu_facts.iter().find(|g| g.index == index));
        let model = known.and_then(|g| g.name.as_deref()).map(|n| format!(",modelName=\"{}\"", escaped(n)));
        let hash =
            known.and_then(|g| g.uuid_hash.as_deref()).map(|h| format!(",uuid_hash=\"{}\"", escaped(h)));
        let [model, hash] = [model, hash].map(Option::unwrap_or_default);
        format!("gpu=\"{index}\",device=\"nvidia{index}\"{model}{hash}")
    };
    let run_id = format!("run=\"{}\"", escaped(&run.doc.run_id));
    let mut text = String::new();
    for family in FAMILIES {
        let mut columns: Vec<(String, String)> = Vec::new();
        match (&watched[..], family.gpu) {
            ([one], true) => columns.push((family.column.to_owned(), format!("{},{run_id}", of_gpu(*one)))),
            (several, true) if family.column == "power_w" => {
                let each = several.iter().enumerate();
                columns.extend(
                    each.map(|(at, gpu)| (format!("gpu{at}_power_w"), format!("{},{run_id}", of_gpu(*gpu)))),
                );
            }
            (_, true) => {}
            (_, false) => columns.push((family.column.to_owned(), run_id.clone())),
        }
        let series: Vec<_> =
            columns.iter().map(|(column, labels)| (sensors.series(column), labels)).collect();
        if series.iter().all(|(readings, _)| readings.is_empty()) {
            continue;
        }
        // The energy counter keeps DCGM's name, which OpenMetrics does not allow a counter; gauges may have any.
        let _ = writeln!(text, "# TYPE {0} gauge\n# HELP {0} {1}", family.name, family.help);
        for (readings, labels) in series {
            for (t_s, value) in readings {
                let _ = writeln!(
                    text,
                    "{}{{{labels}}} {} {:.3}",
                    family.name,
                    value * family.factor,
                    zero_s + t_s
                );
            }
        }
    }
    text.push_str("# EOF\n");
    Ok(text)
}
