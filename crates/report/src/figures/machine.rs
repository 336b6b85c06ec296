//! What the machine did over time: power, clock, temperature and use of the GPUs; on the axis of the timeline.

use stopwatt_core::text::Text;

use super::timeline::Panels;
use crate::quantity::{Kind, Scale};
use crate::svg::{Axis, Chart};
use crate::trace::Trace;

/// The panels that the readings support.
pub(super) fn panels(page: &Panels<'_>, trace: &Trace) -> Vec<Chart> {
    [
        ("power_w", Kind::Plain, Text::PowerTitle, Text::PowerLine),
        ("sm_clock_mhz", Kind::Plain, Text::ClockTitle, Text::ClockLine),
        ("temp_c", Kind::Plain, Text::TemperatureTitle, Text::TemperatureLine),
        ("sm_util", Kind::Share, Text::GpuUseTitle, Text::GpuUseLine),
        ("mem_used_bytes", Kind::Bytes, Text::GpuMemoryTitle, Text::GpuMemoryLine),
    ]
    .into_iter()
    .filter_map(|(column, kind, title, line)| {
        let readings = trace.column(column);
        if readings.is_empty() {
            return None;
        }
        let largest = readings.iter().map(|r| r.1).fold(0., f64::max);
        let scale = Scale::of(kind, if kind == Kind::Bytes { largest } else { 1. });
        let y = Axis::from_zero(readings.iter().map(|r| r.1), scale, "");
        Some(page.panel(title, "", y, vec![page.line(line, 0, page.slices.largest(readings))]))
    })
    .collect()
}
