//! The measured roofline: peaks and levels of a device, its launch floors and its staircases.
//!
//! `roofline.json` is written anew after every part, so that an interrupted measurement leaves the parts that are done.

use std::path::{Path, PathBuf};

use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes, Launch, Op, OpKind, Shape};
use stopwatt_core::log::Fact;
use stopwatt_core::roofline::{
    self, LaunchFloor, Measured, Roofline, Stair, StairPoint, Staircase, Unavailable,
};
use stopwatt_core::verdict::{BY_SIGNAL, Code, Remark};
use stopwatt_kernel::case::{CaseError, Effort, Levels, Stairs};
use stopwatt_kernel::timing::{Method, measure, monotonic_s};
use stopwatt_load::Stop;
use stopwatt_record::run_dir::RunError;
use stopwatt_stats::staircase;

use super::ProfileError;
use super::record::{Finished, Recording};

/// Name of the document in a run.
pub const FILE: &str = "roofline.json";

/// Everything that a measurement needs.
pub struct Setup<'a> {
    /// What `config.lock.json` will hold.
    pub lock: serde_json::Value,
    /// How fine.
    pub effort: Effort,
    /// Where runs live.
    pub root: &'a Path,
    /// The run's own folder, if it has one.
    pub out: Option<PathBuf>,
}

/// Measures and writes a run. `watch` is told of every part before it begins.
///
/// # Errors
/// The record cannot be written, or the device is lost.
pub fn run(
    setup: &Setup<'_>,
    device: &mut dyn Levels,
    stop: &Stop,
    watch: &mut dyn FnMut(&str),
) -> Result<Finished, ProfileError> {
    let recording = Recording::create("roofline", &setup.lock, setup.root, setup.out.clone())?;
    let about = device.about();
    let mut found = Roofline::empty(
        env!("CARGO_PKG_VERSION"),
        roofline::Device {
            kind: about.kind.to_owned(),
            name: about.name.clone(),
            units: about.units,
            instructions: about.instructions.clone(),
        },
    );
    recording.stage("fingerprint")?;
    recording.fingerprint(&[about])?;
    let outcome = parts(setup.effort, device, &mut found, &recording, stop, watch);
    write(&recording, &found)?;
    let cut = match &outcome {
        Err(error) => Some(error.to_string()),
        Ok(()) if stop.is_interrupted() => Some(BY_SIGNAL.to_owned()),
        Ok(()) => None,
    };
    recording.writer.log(Fact::Tabled {
        file: FILE.to_owned(),
        entries: (found.peaks.len() + found.levels.len() + found.curves.len() + found.staircases.len())
            as u64,
        resumed: 0,
        skipped: found.unavailable.iter().map(|u| (u.what.clone(), 1)).collect(),
    })?;
    if let Some(reason) = device.shared() {
        recording.warn(&Remark::new(Code::DeviceShared, [reason]))?;
    }
    let finished = recording.close(cut)?;
    outcome.map(|()| finished)
}

/// The roofline of a run; `None` when it has none.
///
/// # Errors
/// The file cannot be read, or is not a roofline.
pub fn load(run: &Path) -> Result<Option<Roofline>, ProfileError> {
    let path = run.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RunError::Io { action: "read", path, source }.into()),
    }
}

fn write(recording: &Recording, found: &Roofline) -> Result<(), ProfileError> {
    let mut text = serde_json::to_vec_pretty(found)?;
    text.push(b'\n');
    Ok(recording.writer.write_file(FILE, &text)?)
}

fn parts(
    effort: Effort,
    device: &mut dyn Levels,
    found: &mut Roofline,
    recording: &Recording,
    stop: &Stop,
    watch: &mut dyn FnMut(&str),
) -> Result<(), ProfileError> {
    recording.stage("levels")?;
    let mut failed = None;
    let result = device.levels(effort, found, &mut |part, so_far| {
        watch(part);
        failed = write(recording, so_far).err();
        failed.is_none() && !stop.is_interrupted()
    });
    if let Some(error) = failed {
        return Err(error);
    }
    absorb(result, "levels", found)?;
    if stop.is_interrupted() {
        return Ok(());
    }
    recording.stage("launch")?;
    watch("launch floors");
    floors(device, found)?;
    recording.stage("staircases")?;
    for stairs in device.stairs(effort) {
        watch(&format!("staircase over {} of {}", stairs.axis.name(), stairs.op.shape.label()));
        if stop.is_interrupted() {
            return Ok(());
        }
        let climbed = climb(device, &stairs, effort, stop);
        if let Some(staircase) = absorb(climbed, "staircase", found)? {
            found.staircases.push(staircase);
        }
        write(recording, found)?;
    }
    Ok(())
}

/// A part that a device cannot do is named; only the loss of the device ends everything.
fn absorb<T>(
    result: Result<T, CaseError>,
    what: &str,
    found: &mut Roofline,
) -> Result<Option<T>, ProfileError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(CaseError::Lost { reason }) => Err(ProfileError::Lost { reason }),
        Err(error) => {
            found.unavailable.push(Unavailable { what: what.to_owned(), reason: error.to_string() });
            Ok(None)
        }
    }
}

fn method(effort: Effort) -> Method {
    let limit_s = if effort == Effort::Full { 0.4 } else { 0.15 };
    Method { warmup_s: 0.005, least_samples: 12, precision: 0.01, limit_s, ..Method::default() }
}

fn floors(device: &mut dyn Levels, found: &mut Roofline) -> Result<(), ProfileError> {
    for (kind, launch) in [(OpKind::EmptyLaunch, Launch::Eager), (OpKind::EmptyGraph, Launch::Graph)] {
        for kernels in [1, 32] {
            let op = Op { kind, shape: Shape::Launches { kernels }, dtypes: Dtypes::all(Dtype::F32) };
            let method = Method { sample_s: device.sample_s(), ..method(Effort::Full) };
            let time = device
                .prepare(&op, launch, CacheState::Warm)
                .and_then(|mut case| measure(&mut *case, &method, &mut monotonic_s));
            let what = format!("launch floor, {}", kind.name());
            if let Some(time) = absorb(time, &what, found)? {
                let seconds = Measured::seconds(&time).divided(f64::from(kernels));
                found.launches.push(LaunchFloor { launch, kernels, seconds });
            } else {
                break;
            }
        }
    }
    Ok(())
}

fn climb(
    device: &mut dyn Levels,
    stairs: &Stairs,
    effort: Effort,
    stop: &Stop,
) -> Result<Staircase, CaseError> {
    let method = Method { sample_s: device.sample_s(), ..method(effort) };
    let mut points = Vec::new();
    for &size in stairs.sizes.iter().take_while(|_| !stop.is_interrupted()) {
        let op = stairs.axis.set(&stairs.op, size);
        let mut case = device.prepare(&op, Launch::Eager, CacheState::Warm)?;
        let deviation = case.check(u64::from(size))?;
        if deviation.is_nan() || deviation > 1.0 {
            return Err(CaseError::Failed { reason: format!("wrong result at {}", op.shape.label()) });
        }
        let time = measure(&mut *case, &method, &mut monotonic_s)?;
        let identity = case.identity();
        let seconds = Measured::seconds(&time);
        points.push(StairPoint { size, seconds, kernel: identity.kernel, grid: identity.grid });
    }
    Ok(read_off(stairs, points))
}

/// Finds the steps in measured points.
fn read_off(stairs: &Stairs, points: Vec<StairPoint>) -> Staircase {
    let values: Vec<f64> = points.iter().map(|p| p.seconds.value).collect();
    // Standard error of a median of n values with this median deviation, roughly.
    let noise = |p: &StairPoint| 1.4826 * 1.2533 * p.seconds.mad / f64::from(p.seconds.n.max(1)).sqrt();
    let noises: Vec<f64> = points.iter().map(noise).collect();
    let noise = if noises.is_empty() { 0.0 } else { stopwatt_stats::quantile::median(&noises) };
    let steps = staircase::steps(&values, noise);
    let found: Vec<Stair> =
        steps.iter().map(|s| Stair { size: points[s.index].size, rise_s: s.rise }).collect();
    let positions: Vec<u32> = found.iter().map(|s| s.size).collect();
    Staircase {
        op: stairs.axis.set(&stairs.op, stairs.sizes.first().copied().unwrap_or(1)),
        axis: stairs.axis,
        tile: staircase::common_distance(&positions),
        ripple: staircase::ripple(&values, &steps),
        stairs: found,
        points,
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::kernel_table::Clocks;
    use stopwatt_core::metrics_doc::RunStatus;
    use stopwatt_core::roofline::{Axis, ComputeUnit, Extent, Peak};
    use stopwatt_kernel::case::{About, Case, Device, Identity};
    use stopwatt_record::Run;

    use super::*;

    /// A device that multiplies in tiles of 16 rows, a millisecond each.
    struct Tiled;

    struct Product(u32);

    impl Case for Product {
        fn identity(&self) -> Identity {
            Identity { kernel: Some("tile16".to_owned()), grid: Some(self.0.div_ceil(16)), block: None }
        }
        fn check(&mut self, _: u64) -> Result<f64, CaseError> {
            Ok(0.1)
        }
        fn sample(&mut self, calls: u32) -> Result<f64, CaseError> {
            Ok(f64::from(calls * self.0.div_ceil(16)) * 1e-3)
        }
        fn clocks(&mut self) -> Clocks {
            Clocks::default()
        }
    }

    impl Device for Tiled {
        fn about(&self) -> About {
            About {
                kind: "cpu",
                name: "tiled".to_owned(),
                units: 1,
                instructions: "none".to_owned(),
                libraries: Vec::new(),
            }
        }
        fn prepare(
            &mut self,
            op: &Op,
            launch: Launch,
            _: CacheState,
        ) -> Result<Box<dyn Case + '_>, CaseError> {
            match op.shape {
                Shape::Matrix { m, .. } => Ok(Box::new(Product(m))),
                Shape::Launches { .. } if launch == Launch::Eager => Ok(Box::new(Product(1))),
                _ => Err(CaseError::Unsupported { reason: "no graphs".to_owned() }),
            }
        }
    }

    impl Levels for Tiled {
        fn levels(
            &mut self,
            _: Effort,
            roofline: &mut Roofline,
            go_on: &mut dyn FnMut(&str, &Roofline) -> bool,
        ) -> Result<(), CaseError> {
            assert!(go_on("peaks", roofline));
            roofline.peaks.push(Peak {
                dtype: Dtype::F32,
                unit: ComputeUnit::Vector,
                instructions: "none".to_owned(),
                extent: Extent::Device,
                flop_per_s: Measured { value: 1e12, n: 3, mad: 0.0, lo: None, hi: None },
            });
            Err(CaseError::Unsupported { reason: "the rest".to_owned() })
        }
        fn stairs(&self, _: Effort) -> Vec<Stairs> {
            let op = Op {
                kind: OpKind::Linear,
                shape: Shape::Matrix { m: 1, n: 8, k: 8 },
                dtypes: Dtypes::all(Dtype::F32),
            };
            vec![Stairs { op, axis: Axis::M, sizes: (1..=64).collect() }]
        }
    }

    #[test]
    fn what_a_device_can_do_is_written_and_the_rest_is_named() {
        let root = tempfile::tempdir().unwrap();
        let lock = serde_json::json!({});
        let setup = Setup { lock, effort: Effort::Quick, root: root.path(), out: None };
        let mut told = Vec::new();
        let finished = run(&setup, &mut Tiled, &Stop::new(), &mut |part| told.push(part.to_owned())).unwrap();
        assert_eq!(Run::open(&finished.path).unwrap().status(), RunStatus::Complete);
        let found = load(&finished.path).unwrap().unwrap();
        assert_eq!(found.peaks.len(), 1);
        let stairs = &found.staircases[0];
        let sizes: Vec<u32> = stairs.stairs.iter().map(|s| s.size).collect();
        assert_eq!((sizes, stairs.tile), (vec![17, 33, 49], Some(16)));
        assert!(stairs.stairs.iter().all(|s| (s.rise_s - 1e-3).abs() < 1e-9));
        assert_eq!(found.launches.len(), 2);
        let missing: Vec<&str> = found.unavailable.iter().map(|u| u.what.as_str()).collect();
        assert_eq!(missing, ["levels", "launch floor, empty_graph"]);
        assert_eq!(told[0], "peaks");
        assert!(load(root.path()).unwrap().is_none());
    }

    #[test]
    fn an_interrupted_roofline_is_incomplete() {
        let root = tempfile::tempdir().unwrap();
        let lock = serde_json::json!({});
        let setup = Setup { lock, effort: Effort::Quick, root: root.path(), out: None };
        let stop = Stop::new();
        stop.interrupt();
        struct Stopped(Tiled);
        let mut device = Stopped(Tiled);
        impl Device for Stopped {
            fn about(&self) -> About {
                self.0.about()
            }
            fn prepare(
                &mut self,
                op: &Op,
                l: Launch,
                c: CacheState,
            ) -> Result<Box<dyn Case + '_>, CaseError> {
                self.0.prepare(op, l, c)
            }
        }
        impl Levels for Stopped {
            fn levels(
                &mut self,
                _: Effort,
                roofline: &mut Roofline,
                go_on: &mut dyn FnMut(&str, &Roofline) -> bool,
            ) -> Result<(), CaseError> {
                assert!(!go_on("peaks", roofline));
                Ok(())
            }
            fn stairs(&self, _: Effort) -> Vec<Stairs> {
                panic!("nothing follows an interruption")
            }
        }
        let finished = run(&setup, &mut device, &stop, &mut |_| {}).unwrap();
        assert_eq!(Run::open(&finished.path).unwrap().status(), RunStatus::Incomplete);
        assert!(load(&finished.path).unwrap().is_some());
    }
}
