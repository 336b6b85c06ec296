//! Plots of a device: roofline, working sets, latency, mixes, staircases.

use stopwatt_core::kernel_table::{Dtype, Family, KernelRow, Outcome};
use stopwatt_core::roofline::{Access, Curve, CurveKind, Extent, Peak, Roofline, Staircase};
use stopwatt_core::text::{Lang, Text, fill};

use super::{Hardware, seconds, si};
use crate::quantity::{Kind, Scale};
use crate::svg::{Axis, Chart, Height, Layer, Line};

/// Intensities that a roofline shows beyond its ridge points.
const INTENSITIES: (f64, f64) = (0.05, 512.0);
/// Lines in one plot.
const LINES_AT_MOST: usize = 6;

/// Every plot that the record supports.
pub(crate) fn charts(hardware: &Hardware, lang: Lang) -> Vec<Chart> {
    let Some(roofline) = &hardware.roofline else { return Vec::new() };
    let mut charts: Vec<Chart> = [Extent::Device, Extent::Unit]
        .into_iter()
        .filter_map(|extent| roofs(roofline, extent, &hardware.kernels, lang))
        .collect();
    let of = |extent: Extent| roofline.curves.iter().filter(move |c| c.extent == extent);
    for extent in [Extent::Device, Extent::Unit] {
        charts.extend(working_sets(&of(extent).collect::<Vec<_>>(), roofline, extent, lang));
    }
    charts.extend(latency(roofline, lang));
    charts.extend(lines(roofline, lang, Text::HardwareMix, |c| match c.kind {
        CurveKind::Mix { streaming } => Some((streaming, c.extent)),
        _ => None,
    }));
    charts.extend(pattern(roofline, CurveKind::Stride, Text::HardwareStride, Text::HardwareStrideAxis, lang));
    charts.extend(pattern(roofline, CurveKind::Random, Text::HardwareRandom, Text::HardwareRandomAxis, lang));
    charts.extend(roofline.staircases.iter().map(|s| staircase(s, lang)));
    charts
}

/// A scale for rates of this size.
fn rate(largest: f64, unit: [&'static str; 4]) -> Scale {
    match largest {
        v if v >= 2e12 => Scale { unit: unit[0], factor: 1e-12 },
        v if v >= 2e9 => Scale { unit: unit[1], factor: 1e-9 },
        v if v >= 2e6 => Scale { unit: unit[2], factor: 1e-6 },
        _ => Scale { unit: unit[3], factor: 1.0 },
    }
}

fn bytes_rate(largest: f64) -> Scale {
    rate(largest, ["TB/s", "GB/s", "MB/s", "B/s"])
}

fn flop_rate(largest: f64) -> Scale {
    rate(largest, ["TFLOP/s", "GFLOP/s", "MFLOP/s", "FLOP/s"])
}

fn who(extent: Extent, lang: Lang) -> &'static str {
    match extent {
        Extent::Unit => Text::HardwareOneUnit.get(lang),
        Extent::Device => Text::HardwareAllUnits.get(lang),
    }
}

fn line(name: String, color: usize, points: Vec<(f64, f64)>, dots: bool) -> Layer {
    Layer::Line(Line { name, color, points, steps: false, dots, area: false })
}

fn dots(name: String, color: usize, points: Vec<(f64, f64)>) -> Layer {
    Layer::Dots { name, color, points }
}

/// One slope a level and one ceiling a peak, with the kernels that ran on as much of the device.
fn roofs(roofline: &Roofline, extent: Extent, rows: &[KernelRow], lang: Lang) -> Option<Chart> {
    let peaks: Vec<&Peak> = roofline.peaks.iter().filter(|p| p.extent == extent).collect();
    let levels: Vec<_> = roofline
        .levels
        .iter()
        .filter(|l| l.extent == extent)
        .filter_map(|l| Some((l, l.read_bandwidth()?.value)))
        .collect();
    let top = peaks.iter().map(|p| p.flop_per_s.value).fold(0.0, f64::max);
    if top <= 0.0 || levels.is_empty() {
        return None;
    }
    let kernels = placed(rows, roofline, extent);
    let (mut from, mut to) = INTENSITIES;
    let slowest = levels.iter().map(|(_, b)| *b).fold(f64::INFINITY, f64::min);
    to = to.max(4.0 * top / slowest);
    for (x, _) in kernels.iter().flat_map(|(_, points)| points) {
        (from, to) = (from.min(*x), to.max(2.0 * x));
    }
    let mut layers = Vec::new();
    for (index, (level, bandwidth)) in levels.iter().enumerate() {
        // Up to the highest ceiling: between a lower one and this slope only other formats can be.
        let corner = top / bandwidth;
        let name = format!("{} {}B/s", level.name.name(), si(*bandwidth));
        let points = vec![(from, from * bandwidth), (corner, top), (to, top)];
        layers.push(line(name, index, points, false));
    }
    for peak in peaks.iter().filter(|p| p.flop_per_s.value < top) {
        let widest = levels.iter().map(|(_, b)| *b).fold(0.0, f64::max);
        let y = peak.flop_per_s.value;
        layers.push(line(peak_name(peak), 5, vec![(y / widest, y), (to, y)], false));
    }
    // Ridge points: where each slope meets each ceiling.
    let ridges: Vec<(f64, f64)> = levels
        .iter()
        .flat_map(|(_, b)| peaks.iter().map(move |p| (p.flop_per_s.value / b, p.flop_per_s.value)))
        .collect();
    layers.push(dots(Text::HardwareRidges.get(lang).to_owned(), 4, ridges));
    let lowest = kernels.iter().flat_map(|(_, points)| points.iter().map(|p| p.1)).fold(top, f64::min);
    for (index, (family, points)) in kernels.into_iter().enumerate() {
        layers.push(dots(family.name().to_owned(), index, points));
    }
    let y = Axis::log([lowest.min(from * slowest), top * 1.3], flop_rate(top), "");
    let x = Axis::log([from, to], Scale { unit: "FLOP/B", factor: 1.0 }, Text::HardwareIntensity.get(lang));
    let ceiling = peaks.iter().max_by(|a, b| a.flop_per_s.value.total_cmp(&b.flop_per_s.value))?;
    Some(Chart {
        title: format!("{}: {}", Text::HardwareRoofline.get(lang), who(extent, lang)),
        caption: fill(Text::HardwareRooflineNote.get(lang), &[&peak_name(ceiling)]),
        x,
        y,
        y_ticks: true,
        layers,
        height: Height::Normal,
    })
}

fn peak_name(peak: &Peak) -> String {
    format!("{} {} {}FLOP/s", peak.dtype.name(), peak.instructions, si(peak.flop_per_s.value))
}

/// Kernels by family: intensity and rate of those that ran on one unit, or on all.
fn placed(rows: &[KernelRow], roofline: &Roofline, extent: Extent) -> Vec<(Family, Vec<(f64, f64)>)> {
    let units = if extent == Extent::Unit { 1 } else { roofline.device.units };
    let mut families: Vec<(Family, Vec<(f64, f64)>)> = Vec::new();
    for row in rows {
        let Outcome::Measured { time, .. } = &row.outcome else { continue };
        let cpu = roofline.device.kind == "cpu";
        if cpu && row.block.is_some_and(|b| b != units) || !cpu && extent == Extent::Unit {
            continue;
        }
        let Some(work) = row.op.work().filter(|w| w.flop > 0.0) else { continue };
        let Some(intensity) = work.intensity() else { continue };
        let point = (intensity, work.flop / time.median_s);
        match families.iter_mut().find(|(family, _)| *family == row.op.kind.family()) {
            Some((_, points)) => points.push(point),
            None => families.push((row.op.kind.family(), vec![point])),
        }
    }
    families
}

fn working_sets(curves: &[&Curve], roofline: &Roofline, extent: Extent, lang: Lang) -> Option<Chart> {
    let shown: Vec<(Access, &Curve)> = curves
        .iter()
        .filter_map(|c| match c.kind {
            CurveKind::WorkingSet { access } => Some((access, *c)),
            _ => None,
        })
        .collect();
    let values = || shown.iter().flat_map(|(_, c)| c.points.iter());
    let top = values().map(|p| p.y.value).fold(0.0, f64::max);
    let mut layers = edges(roofline, extent);
    for (index, (access, curve)) in shown.iter().take(LINES_AT_MOST).enumerate() {
        let points = curve.points.iter().map(|p| (p.x, p.y.value)).collect();
        layers.push(line(access.name().to_owned(), index, points, true));
    }
    (!shown.is_empty()).then(|| Chart {
        title: format!("{}: {}", Text::HardwareWorkingSet.get(lang), who(extent, lang)),
        caption: Text::HardwareWorkingSetNote.get(lang).to_owned(),
        x: sizes(values().map(|p| p.x), lang),
        y: Axis::log(values().map(|p| p.y.value), bytes_rate(top), ""),
        y_ticks: true,
        layers,
        height: Height::Normal,
    })
}

/// An axis of bytes with ticks at powers of four.
fn sizes(values: impl Iterator<Item = f64> + Clone, lang: Lang) -> Axis {
    let most = values.clone().fold(0.0, f64::max);
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let ticks =
        (0..40).map(|i| 2f64.powi(i)).filter(|v| *v >= least && *v <= most && v.log2() as i32 % 2 == 0);
    let scale = Scale::of(Kind::Bytes, (least * most).sqrt());
    Axis::log(values, scale, Text::HardwareWorkingSetAxis.get(lang)).with_ticks(ticks.collect())
}

/// Every second cache tinted, so that a reader sees where one ends.
fn edges(roofline: &Roofline, extent: Extent) -> Vec<Layer> {
    let capacities: Vec<f64> = roofline
        .levels
        .iter()
        .filter(|l| l.extent == extent)
        .filter_map(|l| l.capacity_bytes.map(|b| b as f64))
        .collect();
    let mut begins = vec![1.0];
    begins.extend(&capacities);
    begins
        .iter()
        .zip(&capacities)
        .enumerate()
        .filter(|(index, _)| index % 2 == 0)
        .map(|(_, (&from, &to))| Layer::Shade { from, to })
        .collect()
}

fn latency(roofline: &Roofline, lang: Lang) -> Option<Chart> {
    let curve = roofline.curves.iter().find(|c| c.kind == CurveKind::Latency && !c.points.is_empty())?;
    let values = || curve.points.iter().map(|p| p.y.value);
    let top = values().fold(0.0, f64::max);
    let scale = Scale { unit: "ns", factor: 1e9 };
    let mut layers = edges(roofline, curve.extent);
    let points = curve.points.iter().map(|p| (p.x, p.y.value)).collect();
    layers.push(line(Text::HardwareLatency.get(lang).to_owned(), 0, points, true));
    let found: Vec<String> = roofline
        .levels
        .iter()
        .filter(|l| l.extent == curve.extent)
        .filter_map(|l| Some(format!("{} {}", l.name.name(), seconds(l.latency_s?.value))))
        .collect();
    Some(Chart {
        title: Text::HardwareLatency.get(lang).to_owned(),
        caption: fill(Text::HardwareLatencyNote.get(lang), &[&found.join(", ")]),
        x: sizes(curve.points.iter().map(|p| p.x), lang),
        y: Axis::log(values().chain([top * 1.1]), scale, ""),
        y_ticks: true,
        layers,
        height: Height::Normal,
    })
}

/// Bandwidth over the mix of reads and writes.
fn lines(
    roofline: &Roofline,
    lang: Lang,
    title: Text,
    of: impl Fn(&Curve) -> Option<(bool, Extent)>,
) -> Option<Chart> {
    let shown: Vec<(bool, Extent, &Curve)> =
        roofline.curves.iter().filter_map(|c| of(c).map(|(s, e)| (s, e, c))).collect();
    let top = shown.iter().flat_map(|(.., c)| c.points.iter().map(|p| p.y.value)).fold(0.0, f64::max);
    let mut layers = Vec::new();
    let mut losses = Vec::new();
    for (index, (streaming, extent, curve)) in shown.iter().take(LINES_AT_MOST).enumerate() {
        let stores = if *streaming { Text::HardwareStreamingStores } else { Text::HardwareStores };
        let name = format!("{}, {}", stores.get(lang), who(*extent, lang));
        let points = curve.points.iter().map(|p| (p.x, p.y.value)).collect();
        if let Some(turn) = curve.turnaround() {
            losses.push(format!("{name} {:.0} %", 100.0 * turn.loss().max(0.0)));
        }
        layers.push(line(name, index, points, true));
    }
    (!shown.is_empty()).then(|| Chart {
        title: title.get(lang).to_owned(),
        caption: fill(Text::HardwareMixNote.get(lang), &[&losses.join(", ")]),
        x: Axis::range(0.0, 1.0, Scale::of(Kind::Share, 1.0), Text::HardwareMixAxis.get(lang)),
        y: Axis::from_zero([top], bytes_rate(top), ""),
        y_ticks: true,
        layers,
        height: Height::Normal,
    })
}

fn pattern(roofline: &Roofline, kind: CurveKind, title: Text, axis: Text, lang: Lang) -> Option<Chart> {
    let shown: Vec<&Curve> =
        roofline.curves.iter().filter(|c| c.kind == kind && !c.points.is_empty()).collect();
    let values = || shown.iter().flat_map(|c| c.points.iter());
    let top = values().map(|p| p.y.value).fold(0.0, f64::max);
    let layers = shown.iter().enumerate().map(|(index, c)| {
        let points = c.points.iter().map(|p| (p.x, p.y.value)).collect();
        line(who(c.extent, lang).to_owned(), index, points, true)
    });
    (!shown.is_empty()).then(|| Chart {
        title: title.get(lang).to_owned(),
        caption: Text::HardwarePatternNote.get(lang).to_owned(),
        x: Axis::log(values().map(|p| p.x), Scale { unit: "B", factor: 1.0 }, axis.get(lang))
            .with_ticks(shown[0].points.iter().map(|p| p.x).collect()),
        y: Axis::log(values().map(|p| p.y.value), bytes_rate(top), ""),
        y_ticks: true,
        layers: layers.collect(),
        height: Height::Normal,
    })
}

fn staircase(staircase: &Staircase, lang: Lang) -> Chart {
    let points: Vec<(f64, f64)> =
        staircase.points.iter().map(|p| (f64::from(p.size), p.seconds.value)).collect();
    let top = points.iter().map(|p| p.1).fold(0.0, f64::max);
    let bounds = staircase
        .points
        .iter()
        .filter_map(|p| Some((f64::from(p.size), p.seconds.lo?, p.seconds.hi?)))
        .collect();
    let steps: Vec<String> = staircase.stairs.iter().map(|s| s.size.to_string()).collect();
    let found = match (staircase.tile, steps.is_empty()) {
        (_, true) => Text::HardwareNoSteps.get(lang).to_owned(),
        (Some(tile), _) => fill(Text::HardwareSteps.get(lang), &[&steps.join(", "), &tile.to_string()]),
        (None, _) => fill(Text::HardwareStepsOnly.get(lang), &[&steps.join(", ")]),
    };
    let ripple = staircase.ripple.map_or_else(String::new, |r| {
        format!(" {}", fill(Text::HardwareRipple.get(lang), &[&format!("{:.1}", 100.0 * r)]))
    });
    let from = points.first().map_or(0.0, |p| p.0);
    let to = points.last().map_or(1.0, |p| p.0);
    let mut layers = vec![Layer::Intervals { color: 0, bounds }, line("linear".to_owned(), 0, points, false)];
    let marked: Vec<(f64, f64)> = staircase
        .stairs
        .iter()
        .filter_map(|s| {
            let point = staircase.points.iter().find(|p| p.size == s.size)?;
            Some((f64::from(s.size), point.seconds.value))
        })
        .collect();
    layers.push(dots(Text::HardwareStepsKey.get(lang).to_owned(), 1, marked));
    let dtype: Dtype = staircase.op.dtypes.weight;
    Chart {
        title: format!("{}: {}", Text::HardwareStaircase.get(lang), staircase.axis.name()),
        caption: format!("linear {} {}. {found}{ripple}", staircase.op.shape.label(), dtype.name()),
        x: Axis::range(from, to, Scale::of(Kind::Plain, 1.0), staircase.axis.name()),
        y: Axis::from_zero([top], Scale::of(Kind::Time, top), ""),
        y_ticks: true,
        layers,
        height: Height::Normal,
    }
}
