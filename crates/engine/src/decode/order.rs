//! What the threads tell each other.

use std::sync::mpsc::{Receiver, Sender, channel};

use stopwatt_core::clock::Nanos;

use crate::api::{ApiError, Call, Finish, GenerateRequest};
use crate::net::{Reply, Waker};

/// A number that no other request of this process has.
pub(super) type Serial = u64;

/// From the loop to the intake.
#[derive(Debug)]
pub(super) enum Order {
    /// A body to read.
    Read { serial: Serial, slot: usize, call: Call, body: Vec<u8>, received_ns: Nanos },
    /// Its client has gone.
    Abort { serial: Serial },
}

/// From the intake to the engine.
#[derive(Debug)]
pub(super) enum Work {
    /// Generate.
    Add(Box<Task>),
    /// Stop generating.
    Abort { serial: Serial },
}

/// A request that is ready to be computed.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) serial: Serial,
    /// Where its client is connected.
    pub(super) slot: usize,
    pub(super) request: GenerateRequest,
    pub(super) prompt: Vec<u32>,
    pub(super) max_tokens: u32,
    pub(super) received_ns: Nanos,
}

/// To the loop, about the request `serial` of the client at `slot`.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) serial: Serial,
    pub(super) slot: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// The answer, without generation.
    Reply(Reply),
    /// It will be computed.
    Accepted(Box<GenerateRequest>),
    /// A token.
    Token(Token),
    /// It cannot go on.
    Failed(ApiError),
    /// A thread has ended, so that no request can go on; of no request in particular.
    Ended,
}

/// A generated token.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) id: u32,
    /// The text that became certain with it; may be empty.
    pub(super) text: String,
    /// Set with the last one, with the stop string that was met.
    pub(super) finish: Option<(Finish, Option<String>)>,
    pub(super) prompt_tokens: u32,
    pub(super) cached_tokens: u32,
}

/// The way to the loop: puts notices in its queue and wakes it.
#[derive(Debug, Clone)]
pub(super) struct Notices {
    sender: Sender<Notice>,
    waker: Waker,
}

impl Notices {
    pub(super) fn channel(waker: Waker) -> (Self, Receiver<Notice>) {
        let (sender, receiver) = channel();
        (Self { sender, waker }, receiver)
    }

    /// Queues a notice; [`Self::wake`] makes the loop look. When the loop has ended nobody needs it any more.
    pub(super) fn queue(&self, notice: Notice) {
        let _ = self.sender.send(notice);
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }
}

impl Drop for Notices {
    /// A thread that ends, also by a panic, says so: while the loop runs, none should.
    fn drop(&mut self) {
        self.queue(Notice { serial: Serial::MAX, slot: usize::MAX, what: What::Ended });
        self.wake();
    }
}
