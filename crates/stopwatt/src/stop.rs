//! Ctrl-C and SIGTERM: the first asks the run to close its files, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit::Outcome;

/// Which signal asked for the end, if any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals(Arc<AtomicI32>);

impl Signals {
    /// Installs the handlers. `on_signal` runs on its own thread at the first signal.
    pub(crate) fn install(on_signal: impl Fn() + Send + 'static) -> anyhow::Result<Self> {
        let signals = Self::default();
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Registered first, so that it acts only when an earlier signal has armed it.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&armed))
                .context("failed to install a signal handler")?;
            signal_hook::flag::register(signal, Arc::clone(&armed))
                .context("failed to install a signal handler")?;
        }
        let mut waiting = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
            .context("failed to install a signal handler")?;
        let seen = Arc::clone(&signals.0);
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                if let Some(signal) = waiting.forever().next() {
                    seen.store(signal, Ordering::SeqCst);
                    on_signal();
                }
            })
            .context("failed to start a thread")?;
        Ok(signals)
    }

    /// The outcome that the signal stands for; `None` when there was none.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            SIGTERM => Some(Outcome::Terminated),
            _ => Some(Outcome::Interrupted),
        }
    }
}
