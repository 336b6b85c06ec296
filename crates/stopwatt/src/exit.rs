//! Exit codes: the one documented place.

use std::process::ExitCode;

use stopwatt_core::comparison::GateState;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 0: done, or every gate passed.
    Done,
    /// 1: wrong usage, or a file or socket failed.
    Usage,
    /// 2: the configuration is wrong.
    Configuration,
    /// 3: something that is needed is missing: a model, a library, a device.
    MissingResource,
    /// 4: the measurement failed, or is invalid under `--strict`.
    MeasurementFailed,
    /// 5: a solver's time was over; the best so far was measured.
    SolverTimeout,
    /// 10: a gate failed.
    GateFailed,
    /// 11: no gate failed, but the measurement does not support a pass.
    Inconclusive,
    /// 130: stopped by Ctrl-C; what was measured is kept.
    Interrupted,
    /// 143: stopped by SIGTERM; what was measured is kept.
    Terminated,
}

impl Outcome {
    /// How a command ends that judges a gate.
    pub(crate) const fn of_gate(gate: GateState) -> Self {
        match gate {
            GateState::Passed => Self::Done,
            GateState::Failed => Self::GateFailed,
            GateState::Inconclusive => Self::Inconclusive,
        }
    }

    /// The number that the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 1,
            Self::Configuration => 2,
            Self::MissingResource => 3,
            Self::MeasurementFailed => 4,
            Self::SolverTimeout => 5,
            Self::GateFailed => 10,
            Self::Inconclusive => 11,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

/// The table printed by `stopwatt help`.
pub(crate) const TABLE: &str = "\
Exit codes:
  0    done
  1    wrong usage, or a file or socket failed
  2    the configuration is wrong
  3    a model, library or device is missing
  4    the measurement failed, or is invalid under --strict
  5    a solver's time was over: the best so far was measured
  10   a gate failed
  11   inconclusive: the measurement does not support a pass
  130  stopped by Ctrl-C (the run is kept, marked incomplete)
  143  stopped by SIGTERM (likewise)";
