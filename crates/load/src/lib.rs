//! The streaming load client: sockets, dispatch, stamps
