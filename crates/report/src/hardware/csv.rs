//! A roofline as one flat table: a line a number.

use stopwatt_core::roofline::{CurveKind, Extent, Measured, Roofline};

/// A line a measured number: what it is, of how much of the device, at which abscissa.
#[must_use]
pub fn roofline_csv(roofline: &Roofline) -> String {
    let mut text = "part,what,extent,x,unit,value,n,mad,lo,hi\n".to_owned();
    let mut line = |part: &str, what: &str, extent: &str, x: Option<f64>, unit: &str, m: &Measured| {
        let optional = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
        let what = if what.contains([',', '"']) {
            format!("\"{}\"", what.replace('"', "\"\""))
        } else {
            what.to_owned()
        };
        let numbers =
            [m.value.to_string(), m.n.to_string(), m.mad.to_string(), optional(m.lo), optional(m.hi)];
        text.push_str(&format!("{part},{what},{extent},{},{unit},{}\n", optional(x), numbers.join(",")));
    };
    for peak in &roofline.peaks {
        let what = format!("{} {}", peak.dtype.name(), peak.instructions);
        line("peak", &what, name(peak.extent), None, "FLOP/s", &peak.flop_per_s);
    }
    for level in &roofline.levels {
        for b in &level.bandwidths {
            let what = format!("{} {}", level.name.name(), b.access.name());
            line("level", &what, name(level.extent), None, "B/s", &b.bytes_per_s);
        }
        if let Some(latency) = &level.latency_s {
            line("level", &format!("{} latency", level.name.name()), name(level.extent), None, "s", latency);
        }
    }
    for curve in &roofline.curves {
        let (part, what, unit) = match curve.kind {
            CurveKind::WorkingSet { access } => ("working_set", access.name(), "B/s"),
            CurveKind::Latency => ("latency", "", "s"),
            CurveKind::Mix { streaming: false } => ("mix", "stores", "B/s"),
            CurveKind::Mix { streaming: true } => ("mix", "streaming stores", "B/s"),
            CurveKind::Stride => ("stride", "", "B/s"),
            CurveKind::Random => ("random", "", "B/s"),
        };
        for point in &curve.points {
            line(part, what, name(curve.extent), Some(point.x), unit, &point.y);
        }
    }
    for staircase in &roofline.staircases {
        let what = format!("{} over {}", staircase.op.shape.label(), staircase.axis.name());
        for point in &staircase.points {
            line("staircase", &what, "all", Some(f64::from(point.size)), "s", &point.seconds);
        }
    }
    for floor in &roofline.launches {
        let launch = serde_json::to_value(floor.launch).unwrap_or_default();
        let what = format!("{} in a row; {}", floor.kernels, launch.as_str().unwrap_or_default());
        line("launch", &what, "all", None, "s", &floor.seconds);
    }
    text
}

fn name(extent: Extent) -> &'static str {
    match extent {
        Extent::Unit => "unit",
        Extent::Device => "device",
    }
}
