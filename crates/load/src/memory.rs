//! What the allocator keeps.

/// Gives all threads of the process one heap, for a process that measures as a client. glibc gives each thread its own:
/// a request is prepared by one thread, read by a second and freed by a third, and every heap then keeps room for the
/// most that ever lay in it. To be called before threads start; elsewhere than on glibc it does nothing.
pub fn share_one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "a setting of glibc that is not in the standard library")]
    // SAFETY: sets a number that the allocator reads when it next needs a heap.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
