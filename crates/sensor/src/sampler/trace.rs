//! Rows as the traces that [`energy`](crate::energy) reads.

use super::row::Row;
use crate::energy::PowerSample;

/// One GPU's trace.
pub fn gpu_trace(rows: &[Row], gpu: usize) -> Vec<PowerSample> {
    rows.iter()
        .filter_map(|row| {
            let reading = row.gpus.get(gpu)?.reading;
            Some(PowerSample {
                t: row.t,
                energy_j: reading.energy_j,
                instant_w: reading.instant_w,
                average_w: reading.average_w,
            })
        })
        .collect()
}

/// The CPU packages' trace.
pub fn cpu_trace(rows: &[Row]) -> Vec<PowerSample> {
    rows.iter()
        .map(|row| PowerSample { t: row.t, energy_j: row.cpu.energy_j, ..PowerSample::default() })
        .collect()
}
