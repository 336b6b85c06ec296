//! The procedure on a simulated device.

use stopwatt_core::kernel_table::{Dtype, Dtypes, OpKind, Shape};
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_kernel::case::Case;
use stopwatt_kernel::timing::Fixed;
use stopwatt_record::Run;

use super::*;

/// A device on which `m` decides what happens.
#[derive(Default)]
struct Simulated {
    shared: bool,
    prepared: u32,
    varied: u32,
    /// Operators in the order in which they were set up.
    order: Vec<u32>,
    /// Throws the switch after so many operators.
    interrupt: Option<(u32, Stop)>,
}

struct Simple(u32, f64);

impl Case for Simple {
    fn identity(&self) -> Identity {
        Identity { kernel: Some("simple".to_owned()), ..Identity::default() }
    }

    fn check(&mut self, _seed: u64) -> Result<f64, CaseError> {
        match self.0 {
            3 => Ok(7.0),
            4 => Ok(f64::NAN),
            _ => Ok(0.5),
        }
    }

    fn sample(&mut self, calls: u32) -> Result<f64, CaseError> {
        Ok(f64::from(calls * self.0) * 1e-3 * self.1)
    }
}

impl Device for Simulated {
    fn about(&self) -> About {
        About {
            kind: "cpu",
            name: "simulated".to_owned(),
            units: 2,
            instructions: "none".to_owned(),
            libraries: vec![("library".to_owned(), "1.0".to_owned())],
        }
    }

    fn shared(&mut self) -> Option<String> {
        self.shared.then(|| "1 other process".to_owned())
    }

    fn prepare(&mut self, op: &Op, _: Launch, _: CacheState) -> Result<Box<dyn Case + '_>, CaseError> {
        self.prepared += 1;
        // Above 20 the odd ones of the calls take a tenth longer, each time all of their samples alike.
        let late = |m: u32| if m > 20 && self.varied % 2 == 1 { 1.1 } else { 1.0 };
        if let Some((after, stop)) = &self.interrupt
            && self.prepared >= *after
        {
            stop.interrupt();
        }
        let Shape::Matrix { m, .. } = op.shape else { panic!("only products are asked for") };
        self.order.push(m);
        match m {
            1 => Err(CaseError::Unsupported { reason: "one row".to_owned() }),
            2 => Err(CaseError::OutOfMemory { bytes: 1 << 40 }),
            9 => Err(CaseError::Lost { reason: "fell off the bus".to_owned() }),
            _ => Ok(Box::new(Simple(m, late(m)))),
        }
    }

    fn vary(&mut self, _seed: u64) {
        self.varied += 1;
    }
}

fn product(m: u32) -> Op {
    Op { kind: OpKind::Linear, shape: Shape::Matrix { m, n: 8, k: 8 }, dtypes: Dtypes::all(Dtype::F32) }
}

fn setup(root: &Path) -> Setup<'_> {
    Setup {
        lock: serde_json::json!({}),
        method: Method { fixed: Some(Fixed { warmup: 0, iterations: 10 }), ..Method::default() },
        rounds: 1,

        seed: 1,
        limit_s: None,
        earlier: None,
        root,
        out: None,
    }
}

fn profile(setup: Setup<'_>, device: &mut Simulated, ops: &[u32]) -> Result<Finished, ProfileError> {
    let stop = device.interrupt.as_ref().map_or_else(Stop::new, |(_, stop)| stop.clone());
    let mut plans = [Plan {
        device,
        ops: ops.iter().map(|&m| product(m)).collect(),
        has_graphs: false,
        caches: vec![CacheState::Warm],
    }];
    run(setup, &mut plans, &stop, &mut |_| {})
}

fn reasons(path: &Path) -> Vec<(u32, Option<String>)> {
    let rows = load_rows(path).unwrap();
    let reason = |row: KernelRow| {
        let Shape::Matrix { m, .. } = row.op.shape else { panic!("only products are asked for") };
        match row.outcome {
            Outcome::Measured { time, .. } => {
                assert_eq!((time.n, time.median_s), (10, f64::from(m) * 1e-3));
                (m, None)
            }
            Outcome::Skipped { reason } => (m, Some(reason)),
        }
    };
    rows.into_iter().map(reason).collect()
}

#[test]
fn what_cannot_be_measured_is_a_row_that_says_why() {
    let root = tempfile::tempdir().unwrap();
    let finished = profile(setup(root.path()), &mut Simulated::default(), &[1, 2, 3, 4, 5]).unwrap();
    let rows = reasons(&finished.path);
    let said = |i: usize| rows[i].1.clone().unwrap_or_default();
    assert!(said(0).contains("not supported: one row"));
    assert!(said(1).contains("out of memory"));
    assert!(said(2).contains("wrong result") && said(3).contains("wrong result"));
    assert_eq!(rows[4], (5, None));
    let run = Run::open(&finished.path).unwrap();
    assert_eq!(run.status(), RunStatus::Complete);
    let skipped = run.log().iter().find_map(|e| match &e.fact {
        Fact::Tabled { entries: 5, skipped, .. } => Some(skipped.clone()),
        _ => None,
    });
    let counts: Vec<(String, u64)> = skipped.unwrap().into_iter().collect();
    let expected = [("not supported", 1), ("out of memory", 1), ("wrong result", 2)];
    assert_eq!(counts, expected.map(|(k, n)| (k.to_owned(), n)));
}

#[test]
fn an_interrupted_profile_keeps_its_rows_and_the_next_measures_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let mut device = Simulated { interrupt: Some((2, Stop::new())), ..Simulated::default() };
    let cut = profile(setup(root.path()), &mut device, &[5, 6, 7]).unwrap();
    assert_eq!(cut.cut.as_deref(), Some(BY_SIGNAL));
    assert_eq!(Run::open(&cut.path).unwrap().status(), RunStatus::Incomplete);
    let rows = load_rows(&cut.path).unwrap();
    assert_eq!(rows.len(), 2);
    let mut device = Simulated::default();
    let resumed = Setup { earlier: Some(("first".to_owned(), rows)), ..setup(root.path()) };
    let whole = profile(resumed, &mut device, &[5, 6, 7]).unwrap();
    assert_eq!((device.prepared, whole.cut), (1, None));
    assert_eq!(reasons(&whole.path), [(5, None), (6, None), (7, None)]);
}

#[test]
fn the_time_limit_leaves_out_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let limited = Setup { limit_s: Some(0.0), ..setup(root.path()) };
    let finished = profile(limited, &mut Simulated::default(), &[5, 6]).unwrap();
    assert_eq!(finished.cut.as_deref(), Some("the time limit left 2 kernels out"));
    assert_eq!(load_rows(&finished.path).unwrap(), []);
}

#[test]
fn a_lost_device_ends_the_profile_and_what_was_measured_stays() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    let kept = Setup { out: Some(out.clone()), ..setup(root.path()) };
    assert!(matches!(profile(kept, &mut Simulated::default(), &[5, 9, 6]), Err(ProfileError::Lost { .. })));
    assert_eq!(reasons(&out), [(5, None)]);
    assert_eq!(Run::open(&out).unwrap().status(), RunStatus::Incomplete);
}

#[test]
fn a_device_that_others_use_makes_the_run_invalid() {
    let root = tempfile::tempdir().unwrap();
    let mut device = Simulated { shared: true, ..Simulated::default() };
    let finished = profile(setup(root.path()), &mut device, &[5]).unwrap();
    let run = Run::open(&finished.path).unwrap();
    let warned = run
        .log()
        .iter()
        .any(|e| matches!(&e.fact, Fact::Warning { code, fatal: true, .. } if code == "device_shared"));
    assert!(warned);
}

#[test]
fn an_empty_grid_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let error = profile(setup(root.path()), &mut Simulated::default(), &[]).unwrap_err();
    assert!(matches!(error, ProfileError::Nothing { .. }));
}

#[test]
fn rounds_visit_all_in_another_order_each_and_make_one_row() {
    let root = tempfile::tempdir().unwrap();
    let mut device = Simulated::default();
    let ops: Vec<u32> = (10..20).collect();
    let finished = profile(Setup { rounds: 3, ..setup(root.path()) }, &mut device, &ops).unwrap();
    let rows = load_rows(&finished.path).unwrap();
    let shape = |r: &KernelRow| r.op.shape;
    assert_eq!(
        rows.iter().map(shape).collect::<Vec<_>>(),
        ops.iter().map(|&m| product(m).shape).collect::<Vec<_>>()
    );
    for row in &rows {
        let Outcome::Measured { time, .. } = row.outcome else { panic!("all can be measured") };
        assert_eq!((time.rounds, time.n, row.unsteady.as_deref()), (3, 30, None));
    }
    let rounds: Vec<&[u32]> = device.order.chunks(10).collect();
    assert_eq!((rounds.len(), device.varied), (3, 30));
    assert!(rounds.iter().all(|r| r.iter().sum::<u32>() == ops.iter().sum::<u32>()));
    assert!(rounds[0] != rounds[1] && rounds[1] != rounds[2]);
}

#[test]
fn rounds_that_disagree_are_followed_by_as_many_again_and_the_row_says_so() {
    let root = tempfile::tempdir().unwrap();
    let mut device = Simulated::default();
    let finished = profile(Setup { rounds: 3, ..setup(root.path()) }, &mut device, &[40]).unwrap();
    let rows = load_rows(&finished.path).unwrap();
    let Outcome::Measured { time, .. } = rows[0].outcome else { panic!("it can be measured") };
    assert_eq!((time.rounds, device.prepared), (6, 6));
    assert!(time.lo_s.unwrap() < 40e-3 && time.hi_s.unwrap() > 44e-3);
    assert_eq!(rows[0].unsteady.as_deref(), Some("medians of 6 rounds lie 9.5 % apart"));
}

#[test]
fn rows_that_were_cut_off_are_measured_again() {
    let root = tempfile::tempdir().unwrap();
    let once = profile(setup(root.path()), &mut Simulated::default(), &[5]).unwrap();
    let rows = load_rows(&once.path).unwrap();
    let mut device = Simulated::default();
    let resumed = Setup { rounds: 2, earlier: Some(("once".to_owned(), rows)), ..setup(root.path()) };
    profile(resumed, &mut device, &[5]).unwrap();
    assert_eq!(device.prepared, 2);
}
