//! A descriptor in the runtime's reactor.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits for a descriptor that can be polled and is ours alone to become readable. Needs a runtime.
///
/// # Errors
/// The reactor is out of descriptors or memory, or the descriptor cannot be polled.
pub fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // Deprecated for types whose `as_raw_fd` may change its answer or outlive its descriptor (tokio 1.54); an `OwnedFd`
    // does neither. What replaces it is `unsafe`, which is denied here.
    #[allow(deprecated)]
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}
