//! The ends of processes, told by the kernel: all pidfds in one epoll, and that one in the runtime's reactor.
//!
//! A pidfd becomes readable once every thread of its process has ended (`pidfd_open(2)`): 0.1 ms later we know
//! (measured). One set for all of them costs no task for each.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use tokio::io::unix::AsyncFd;

use super::Handle;
use crate::reactor::readable;

/// Ends taken in one call.
const AT_ONCE: usize = 512;

/// A set of watched processes; cheap to clone. A process leaves it when its handle is dropped.
#[derive(Debug, Clone)]
pub struct Exits {
    epoll: Arc<AsyncFd<OwnedFd>>,
}

impl Exits {
    /// An empty set. Needs a runtime.
    ///
    /// # Errors
    /// Out of descriptors, or a filter forbids `epoll_create1`.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll: Arc::new(readable(epoll)?) })
    }

    /// Adds a process: its token comes once, as soon as it has ended, and at once if it has.
    ///
    /// # Errors
    /// Out of memory or of `fs.epoll.max_user_watches`; added already.
    pub fn add(&self, handle: &Handle, token: u64) -> io::Result<()> {
        let once = EventFlags::IN | EventFlags::ONESHOT;
        epoll::add(self.epoll.get_ref(), handle.as_fd(), EventData::new_u64(token), once)?;
        Ok(())
    }

    /// Those that have ended and were not told yet, asked of the kernel now: one call, however many live.
    ///
    /// # Errors
    /// The kernel's; none is known.
    pub fn ended(&self) -> io::Result<Vec<u64>> {
        let mut tokens = Vec::new();
        loop {
            let some = self.some()?;
            let is_all = some.len() < AT_ONCE;
            tokens.extend(some);
            if is_all {
                return Ok(tokens);
            }
        }
    }

    fn some(&self) -> io::Result<Vec<u64>> {
        let mut events = Vec::with_capacity(AT_ONCE);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(self.epoll.get_ref(), spare_capacity(&mut events), Some(&at_once))?;
        Ok(events.iter().map(|event| event.data.u64()).collect())
    }

    /// Waits until some have ended; their tokens.
    ///
    /// # Errors
    /// The kernel's; none is known.
    pub async fn next(&self) -> io::Result<Vec<u64>> {
        loop {
            let mut ready = self.epoll.readable().await?;
            let some = self.some()?;
            if !some.is_empty() {
                return Ok(some);
            }
            ready.clear_ready();
        }
    }
}

#[cfg(test)]
#[path = "exits_tests.rs"]
mod tests;
