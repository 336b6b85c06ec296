//! The Linux poller: level-triggered epoll and an absolute timerfd.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use stopwatt_core::clock::Nanos;

use super::{Interest, Ready, Wait};

const TIMER: u64 = u64::MAX;
const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// See the module above.
pub(crate) struct Poller {
    epoll: OwnedFd,
    /// `epoll_wait`'s own timeout has the slack of the kernel (0.1 % of the wait); a timerfd has none.
    timer: OwnedFd,
    armed: Option<Nanos>,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        Ok(Self { epoll, timer, armed: None, events: Vec::with_capacity(256) })
    }

    pub(crate) fn add(&mut self, socket: &impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        debug_assert_ne!(key, TIMER);
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(key), flags(interest))?)
    }

    pub(crate) fn change(&mut self, socket: &impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(key), flags(interest))?)
    }

    pub(crate) fn remove(&mut self, socket: &impl AsFd, _key: u64) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// Appends what happened to `ready`.
    pub(crate) fn wait(&mut self, wait: Wait, ready: &mut Vec<Ready>) -> io::Result<()> {
        let timeout = match wait {
            Wait::No => Some(&NO_TIME),
            Wait::Until(at) => {
                self.arm(Some(at))?;
                None
            }
            Wait::Forever => {
                self.arm(None)?;
                None
            }
        };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        for event in &self.events {
            let (key, got) = (event.data.u64(), event.flags);
            if key == TIMER {
                // Once fired it would stay readable: setting it anew clears it.
                self.armed = Some(Nanos::MIN);
                continue;
            }
            let gone = epoll::EventFlags::HUP | epoll::EventFlags::ERR | epoll::EventFlags::RDHUP;
            ready.push(Ready {
                key,
                readable: got.contains(epoll::EventFlags::IN),
                writable: got.contains(epoll::EventFlags::OUT),
                gone: got.intersects(gone),
            });
        }
        if self.armed == Some(Nanos::MIN) {
            self.arm(None)?;
        }
        Ok(())
    }

    fn arm(&mut self, at: Option<Nanos>) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        // A zero time would disarm instead of firing at once.
        let ns = at.map_or(0, |at| at.max(1));
        let it_value = Timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 };
        let spec = Itimerspec { it_interval: NO_TIME, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        self.armed = at;
        Ok(())
    }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::RDHUP;
    if interest.read {
        flags |= epoll::EventFlags::IN;
    }
    if interest.write {
        flags |= epoll::EventFlags::OUT;
    }
    flags
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use stopwatt_core::clock::monotonic_raw;

    use super::*;

    #[test]
    fn a_deadline_ends_the_wait_and_not_before() {
        let mut poller = Poller::new().unwrap();
        let mut ready = Vec::new();
        for ahead in [300_000, 2_000_000] {
            let at = monotonic_raw() + ahead;
            poller.wait(Wait::Until(at), &mut ready).unwrap();
            assert!(monotonic_raw() >= at);
        }
        assert!(ready.is_empty());
    }

    #[test]
    fn a_past_deadline_does_not_hang() {
        let mut poller = Poller::new().unwrap();
        poller.wait(Wait::Until(1), &mut Vec::new()).unwrap();
        poller.wait(Wait::Until(-5), &mut Vec::new()).unwrap();
    }

    #[test]
    fn data_and_departure_are_told_apart() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.add(&near, 7, Interest::READ).unwrap();
        let mut ready = Vec::new();
        poller.wait(Wait::No, &mut ready).unwrap();
        assert!(ready.is_empty());
        far.write_all(b"x").unwrap();
        poller.wait(Wait::Forever, &mut ready).unwrap();
        assert!(ready[0].key == 7 && ready[0].readable && !ready[0].gone);
        poller.change(&near, 7, Interest::NONE).unwrap();
        ready.clear();
        poller.wait(Wait::No, &mut ready).unwrap();
        assert!(ready.is_empty(), "unwatched data is not reported");
        drop(far);
        poller.wait(Wait::Forever, &mut ready).unwrap();
        assert!(ready[0].gone);
    }
}
