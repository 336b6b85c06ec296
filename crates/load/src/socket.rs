//! Reading with the kernel's receive stamp (`SO_TIMESTAMPING`, Linux).
//!
//! The kernel stamps a segment when it arrives, whatever the reader is doing then. `recvmsg` hands over the stamp of
//! the segment that held the last byte read (`tcp_update_recv_tstamps`), in CLOCK_REALTIME; what it is worth is for
//! [`stamps`](crate::stamps) to judge. This module is the only one of the crate with foreign functions.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mio::Poll;
use stopwatt_core::Nanos;

/// What one read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes; 0 when the peer has closed its side.
    pub(crate) bytes: usize,
    /// Arrival of the last byte, in UNIX nanoseconds; `None` when the kernel gave none.
    pub(crate) stamp: Option<Nanos>,
}

/// Asks the kernel to stamp what a socket receives.
pub(crate) fn ask_for_stamps(socket: &impl AsFd) -> io::Result<()> {
    imp::ask_for_stamps(socket.as_fd())
}

/// Reads once, with the stamp of what was read.
#[inline]
pub(crate) fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    imp::receive(socket.as_fd(), buffer)
}

/// The descriptor of a poll, so that the poll itself can be waited for.
#[allow(unsafe_code, reason = "mio gives the number only")]
pub(crate) fn descriptor(poll: &Poll) -> BorrowedFd<'_> {
    // SAFETY: the number is that of the poll's own open descriptor, and the borrow ends before the poll does.
    unsafe { BorrowedFd::borrow_raw(poll.as_raw_fd()) }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "neither the standard library nor rustix reads control messages with stamps")]
mod imp {
    use std::io;
    use std::mem::size_of;
    use std::os::fd::{AsRawFd, BorrowedFd};

    use stopwatt_core::Nanos;

    use super::Received;

    /// Room for one control message with three times, aligned as its header must be.
    #[repr(C, align(8))]
    struct Control([u8; 128]);

    pub(super) fn ask_for_stamps(socket: BorrowedFd<'_>) -> io::Result<()> {
        let wanted = libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
        let size = size_of::<libc::c_uint>() as libc::socklen_t;
        // SAFETY: the descriptor is open, and the pointer is to `size` bytes that live until the call returns.
        let answer = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_TIMESTAMPING,
                (&raw const wanted).cast(),
                size,
            )
        };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    #[inline]
    pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
        let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut control = Control([0; 128]);
        // SAFETY: a message header is plain data, for which zero is a value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut piece;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<Control>();
        // SAFETY: the descriptor is open; the header points to `buffer` and `control` with their true lengths, both
        // outlive the call, and nothing else refers to them meanwhile.
        let n = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
        let bytes = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        Ok(Received { bytes, stamp: stamp(&message) })
    }

    /// The software stamp among the control messages.
    #[inline]
    fn stamp(message: &libc::msghdr) -> Option<Nanos> {
        // SAFETY: the kernel has set `msg_controllen` to the bytes that it wrote to the buffer, which is still alive;
        // the macro looks at no more than these.
        let header = unsafe { libc::CMSG_FIRSTHDR(message) };
        if header.is_null() {
            return None;
        }
        // SAFETY: not null, so a whole header lies in the buffer, aligned as `Control` is.
        let (level, kind, len) = unsafe { ((*header).cmsg_level, (*header).cmsg_type, (*header).cmsg_len) };
        // SAFETY: arithmetic only.
        let whole = unsafe { libc::CMSG_LEN(size_of::<[libc::timespec; 3]>() as libc::c_uint) } as usize;
        if level != libc::SOL_SOCKET || kind != libc::SCM_TIMESTAMPING || len < whole {
            return None;
        }
        // SAFETY: the header says that three times follow it (software, unused, hardware), and the length was checked.
        // The data of a control message is aligned for them, but an unaligned read costs nothing more.
        let time = unsafe { libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned() };
        (time.tv_sec != 0).then(|| time.tv_sec * 1_000_000_000 + time.tv_nsec)
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::os::fd::BorrowedFd;

    use super::Received;

    pub(super) fn ask_for_stamps(_: BorrowedFd<'_>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
        let bytes = rustix::io::read(socket, buffer)?;
        Ok(Received { bytes, stamp: None })
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "helpers of tests")]
mod tests {
    use std::io::{ErrorKind, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use stopwatt_core::clock::unix_now;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    #[test]
    fn a_stamp_tells_the_arrival_and_not_the_read() {
        let (near, mut far) = pair();
        ask_for_stamps(&near).unwrap();
        let mut buffer = [0; 64];
        // The kernel begins to stamp a moment after the first socket asked for it.
        for attempt in 0.. {
            let before = unix_now();
            far.write_all(b"hello").unwrap();
            let written = unix_now();
            std::thread::sleep(Duration::from_millis(30));
            let got = receive(&near, &mut buffer).unwrap();
            assert_eq!(&buffer[..got.bytes], b"hello");
            match got.stamp {
                // Loopback delivers inside the write, or right after it on another CPU.
                Some(t) => return assert!((before..written + 20_000_000).contains(&t), "{}", t - written),
                None => assert!(attempt < 100, "no stamp after {attempt} reads"),
            }
        }
    }

    #[test]
    fn without_asking_there_is_no_stamp() {
        let (near, mut far) = pair();
        far.write_all(b"x").unwrap();
        assert_eq!(receive(&near, &mut [0; 8]).unwrap(), Received { bytes: 1, stamp: None });
        drop(far);
        assert_eq!(receive(&near, &mut [0; 8]).unwrap().bytes, 0);
    }

    #[test]
    fn nothing_to_read_is_told_as_such() {
        let (near, _far) = pair();
        near.set_nonblocking(true).unwrap();
        assert_eq!(receive(&near, &mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
