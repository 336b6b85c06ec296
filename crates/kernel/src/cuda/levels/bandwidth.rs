//! Bandwidth over working sets, mixes and patterns.

use stopwatt_core::roofline::{
    Access, Bandwidth, Curve, CurveKind, CurvePoint, Extent, Fastest, Level, LevelName, Measured, Roofline,
};

use super::{Bench, CHECKED_BYTES, note};
use crate::case::CaseError;
use crate::cuda::issue::Issue as _;
use crate::cuda::probes::bandwidth::{Order, SHARES, cached, copy, gather, stream, triad};
use crate::cuda::probes::{Level as Place, Measures, Probe};

/// Smallest working set of the whole device, in bytes: below it not every multiprocessor has work.
const SMALLEST: u64 = 4 << 20;
/// Bytes that a call moves at least where it goes over its working set several times.
const MOVED: u64 = 512 << 20;

impl Bench<'_> {
    /// Bytes a second of a probe.
    fn rate(&self, probe: Probe) -> Result<Measured, CaseError> {
        let Measures::Traffic { read_bytes, write_bytes } = probe.measures else {
            return Err(CaseError::Failed { reason: "a probe that moves nothing".to_owned() });
        };
        let time = self.time(&mut self.prepare(probe)?)?;
        Ok(Measured::rate(read_bytes + write_bytes, &time))
    }

    /// Copies of main memory, each in the way that is the fastest at its size. Every way is held against what it should
    /// do before; one that is wrong is named and taken by none.
    fn copies(&self, roofline: &mut Roofline, sizes: &[u64]) -> Result<Vec<CurvePoint>, CaseError> {
        let target = self.device.target();
        let mut wrong = Vec::new();
        for (number, way) in copy(CHECKED_BYTES / 2, &target)?.plan.ways.into_iter().enumerate() {
            let mut probe = copy(CHECKED_BYTES / 2, &target)?;
            probe.plan.steps = way.steps;
            probe.plan.ways.clear();
            if let Err(reason) = self.prepare(probe).map(drop) {
                note(roofline, &format!("copy: {}", way.name), Err(reason))?;
                wrong.push(number);
            }
        }
        let mut points = Vec::new();
        for &bytes in sizes {
            let mut probe = copy(bytes, &target)?;
            let mut number = 0..;
            probe.plan.ways.retain(|_| number.next().is_none_or(|n| !wrong.contains(&n)));
            let Some(first) = probe.plan.ways.first() else { break };
            probe.plan.steps.clone_from(&first.steps);
            let Measures::Traffic { read_bytes, write_bytes } = probe.measures else { break };
            let measured = self.prepare(probe).and_then(|mut case| {
                let way = case.issue().way().map(str::to_owned);
                Ok((way, Measured::rate(read_bytes + write_bytes, &self.time(&mut case)?)))
            });
            match measured {
                Ok((way, y)) => {
                    points.push(CurvePoint { x: bytes as f64, y });
                    roofline.fastest.extend(way.map(|way| Fastest {
                        what: Access::Copy.name().to_owned(),
                        bytes: bytes as f64,
                        way,
                    }));
                }
                Err(reason) => note(roofline, &format!("copy at {bytes}"), Err(reason))?,
            }
        }
        Ok(points)
    }

    /// Points of a curve; what fails at one point is named and leaves the others.
    fn points(
        &self,
        roofline: &mut Roofline,
        what: &str,
        probes: impl Iterator<Item = (f64, Result<Probe, CaseError>)>,
    ) -> Result<Vec<CurvePoint>, CaseError> {
        let mut points = Vec::new();
        for (x, probe) in probes {
            match probe.and_then(|probe| self.rate(probe)) {
                Ok(y) => points.push(CurvePoint { x, y }),
                Err(reason) => note(roofline, &format!("{what} at {x:.0}"), Err(reason))?,
            }
        }
        Ok(points)
    }

    /// Working sets from small to large.
    fn sizes(&self) -> Result<Vec<u64>, CaseError> {
        let most = self.most_bytes()?;
        let step = if self.fine { 2f64.sqrt() } else { 2.0 };
        let sizes = (0..).map(|i| (SMALLEST as f64 * f64::powi(step, i)) as u64 & !0x7fff);
        Ok(sizes.take_while(|s| *s <= most).collect())
    }
}

fn push(roofline: &mut Roofline, kind: CurveKind, points: Vec<CurvePoint>) {
    if !points.is_empty() {
        roofline.curves.push(Curve { kind, extent: Extent::Device, points });
    }
}

/// Reads, writes, copies and triads over working sets from a part of the second level to main memory.
pub(super) fn working_sets(bench: &mut Bench<'_>, roofline: &mut Roofline) -> Result<(), CaseError> {
    let target = bench.device.target();
    let sizes = bench.sizes()?;
    for (access, reads) in [(Access::Read, SHARES), (Access::Write, 0), (Access::Copy, SHARES / 2)] {
        // A copy of main memory has ways of its own.
        let (cached, larger): (Vec<u64>, Vec<u64>) =
            sizes.iter().partition(|bytes| access != Access::Copy || **bytes <= target.l2_bytes);
        let probes = cached.iter().map(|&bytes| {
            let probe = if bytes <= target.l2_bytes {
                let passes = (MOVED / bytes).max(1) as u32;
                stream(Place::Second, bytes, reads, passes, &target)
            } else {
                stream(Place::Memory, bytes, reads, 1, &target)
            };
            (bytes as f64, probe)
        });
        let mut points = bench.points(roofline, access.name(), probes)?;
        if !larger.is_empty() {
            points.extend(bench.copies(roofline, &larger)?);
        }
        push(roofline, CurveKind::WorkingSet { access }, points);
    }
    let access = Access::Triad;
    let large = sizes.iter().filter(|bytes| **bytes > 2 * target.l2_bytes);
    let points = bench.points(roofline, access.name(), large.map(|b| (*b as f64, triad(*b))))?;
    push(roofline, CurveKind::WorkingSet { access }, points);
    Ok(())
}

/// The first-level caches of all multiprocessors together.
pub(super) fn first_level(bench: &mut Bench<'_>, _: &mut Roofline) -> Result<(), CaseError> {
    let target = bench.device.target();
    let bytes_per_s = bench.rate(cached(Place::First, 1001, &target)?)?;
    bench.first_level = Some(Level {
        name: LevelName::L1,
        extent: Extent::Device,
        capacity_bytes: None,
        bandwidths: vec![Bandwidth { access: Access::Read, bytes_per_s }],
        latency_s: None,
    });
    Ok(())
}

/// Every share of reads between writing alone and reading alone, in main memory.
pub(super) fn mix(bench: &mut Bench<'_>, roofline: &mut Roofline) -> Result<(), CaseError> {
    let target = bench.device.target();
    let bytes = bench.most_bytes()?.min(2 << 30);
    let probes = (0..=SHARES)
        .map(|reads| (f64::from(reads) / f64::from(SHARES), stream(Place::Memory, bytes, reads, 1, &target)));
    let points = bench.points(roofline, "mix", probes)?;
    push(roofline, CurveKind::Mix { streaming: false }, points);
    Ok(())
}

/// Strides between accesses of 16 bytes, and granules at random places, in main memory.
pub(super) fn patterns(bench: &mut Bench<'_>, roofline: &mut Roofline) -> Result<(), CaseError> {
    const ACCESS: u32 = 16;
    let target = bench.device.target();
    let bytes = bench.most_bytes()?.min(1 << 30);
    let strides = (0..=if bench.fine { 8 } else { 5 }).map(|i| 1_u32 << i);
    let probes = strides.map(|stride| {
        let order = Order::Stride(stride);
        (f64::from(stride * ACCESS), gather(Place::Memory, bytes, ACCESS, order, &target))
    });
    let points = bench.points(roofline, "stride", probes)?;
    push(roofline, CurveKind::Stride, points);
    let granules = [16_u32, 32, 64, 128, 256, 512];
    let probes = granules
        .map(|granule| (f64::from(granule), gather(Place::Memory, bytes, granule, Order::Random, &target)));
    let points = bench.points(roofline, "random", probes.into_iter())?;
    push(roofline, CurveKind::Random, points);
    Ok(())
}
