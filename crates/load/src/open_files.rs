//! The number of sockets the process may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::LoadError;

/// Descriptors for everything that is no connection of the load: files of the run, the engine's pipes, the loop.
const OTHERS: u64 = 64;

/// Makes room for `connections` (`None`: as many as may be), raising the soft limit as far as the hard one.
pub(crate) fn make_room(connections: Option<usize>) -> Result<(), LoadError> {
    let limit = getrlimit(Resource::Nofile);
    let needed = connections.map(|n| n as u64 + OTHERS);
    let allowed = |soft: Option<u64>| soft.is_none_or(|s| needed.is_some_and(|n| n <= s));
    if allowed(limit.current) {
        return Ok(());
    }
    let wanted = match (needed, limit.maximum) {
        (_, Some(hard)) => hard,
        (Some(n), None) => n,
        // No hard limit: macOS refuses an unlimited soft one.
        (None, None) => 10_240,
    };
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    match (needed, raised) {
        (Some(needed), Ok(())) if wanted < needed => Err(LoadError::OpenFiles { needed, limit: wanted }),
        (Some(needed), Err(_)) => {
            Err(LoadError::OpenFiles { needed, limit: limit.current.unwrap_or(u64::MAX) })
        }
        _ => Ok(()),
    }
}

/// Whether an error says that no more files can be opened.
pub(crate) fn ran_out(error: &std::io::Error) -> Option<LoadError> {
    use rustix::io::Errno;
    let code = error.raw_os_error()?;
    (code == Errno::MFILE.raw_os_error() || code == Errno::NFILE.raw_os_error()).then(|| {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        LoadError::OpenFiles { needed: limit.saturating_add(1), limit }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_needs_are_refused_and_small_ones_met() {
        assert!(make_room(Some(8)).is_ok());
        if getrlimit(Resource::Nofile).maximum.is_some() {
            assert!(matches!(make_room(Some(1 << 40)), Err(LoadError::OpenFiles { .. })));
        }
    }

    #[test]
    fn running_out_is_told_from_other_errors() {
        let error = |e: rustix::io::Errno| std::io::Error::from_raw_os_error(e.raw_os_error());
        assert!(ran_out(&error(rustix::io::Errno::MFILE)).is_some());
        assert!(ran_out(&error(rustix::io::Errno::CONNREFUSED)).is_none());
    }
}
