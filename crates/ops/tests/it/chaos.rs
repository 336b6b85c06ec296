//! The procedure of faults, short, on engines in this process.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use stopwatt_engine::exact::ExactHandle;
use stopwatt_load::Stop;
use stopwatt_ops::chaos::{Backend, ChaosReport, Fault, Proxied, Settings, run};

use crate::support::{engine, short};

struct Engine(ExactHandle);

impl Backend for Engine {
    fn addr(&self) -> SocketAddr {
        self.0.addr()
    }
    fn pid(&self) -> Option<u32> {
        None
    }
    fn restart(&mut self) -> io::Result<()> {
        Err(io::Error::other("not ours"))
    }
}

fn settings(faults: &[Fault]) -> Settings {
    Settings {
        faults: faults.to_vec(),
        repeats: 1,
        rate: 20.0,
        tokens: 20,
        around: Duration::from_secs(1),
        fault: Duration::from_millis(1500),
        deadline: Duration::from_secs(8),
        proxy: short(),
        seed: 1,
        model: "stopwatt-exact".to_owned(),
    }
}

fn chaos(faults: &[Fault]) -> ChaosReport {
    let mut backends: Vec<Box<dyn Backend>> =
        (0..2).map(|_| Box::new(Engine(engine(|c| c.itl_s = 0.005))) as Box<dyn Backend>).collect();
    run(&settings(faults), &mut backends, &Proxied::Own, &Stop::new(), |_, _| {}).unwrap()
}

#[test]
fn a_control_loses_nothing_and_ejects_nobody() {
    let report = chaos(&[Fault::None]);
    let control = &report.faults[0];
    assert_eq!((control.sent.value, control.answered.value), (Some(70.0), Some(70.0)));
    assert_eq!((control.false_ejections.value, control.retried.value), (Some(0.0), Some(0.0)));
    assert_eq!(control.goodput.value, Some(1.0));
}

#[test]
fn no_fault_of_one_of_two_loses_a_request_or_cuts_a_stream_in_silence() {
    let faults = [Fault::Refused, Fault::Http500, Fault::Reset, Fault::CleanCut, Fault::Malformed];
    for fault in chaos(&faults).faults {
        assert_eq!(
            (fault.lost.value, fault.cut.value, fault.late.value),
            (Some(0.0), Some(0.0), Some(0.0)),
            "{fault:?}"
        );
        assert!(fault.eject_s.value.is_some_and(|s| s < 1.5), "{fault:?}");
        assert!(fault.false_ejections.value == Some(0.0), "{fault:?}");
        if matches!(fault.fault, Fault::Reset | Fault::CleanCut | Fault::Malformed) {
            assert!(fault.marked.value.is_some_and(|n| n > 0.0), "{fault:?}");
        }
    }
}

#[test]
fn all_down_is_told_at_once_and_recovers() {
    let report = chaos(&[Fault::AllDown]);
    let fault = &report.faults[0];
    assert_eq!((fault.late.value, fault.cut.value), (Some(0.0), Some(0.0)));
    assert!(fault.lost.value.unwrap() > 0.0 && fault.answered.value.unwrap() > 20.0, "{fault:?}");
}
