//! The server over real loopback sockets: what a client sends and sees, byte for byte.

mod agreement;
mod client;
mod decode;
mod exact;
mod exact_faults;
mod protocol;
