//! How many connections are kept between checks.
//!
//! A connection that has a place keeps it until it ends. The least recently used one is not closed for a newer one: nodes
//! are checked in turns, so with more of them than places each would lose its connection just before it is needed again,
//! and none would ever be used twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use super::connection::Connection;

/// The places for kept connections; cheap to clone.
#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    most: usize,
    /// It was said that there are not enough.
    said: Arc<AtomicBool>,
}

impl Places {
    /// So many, but no more than half of the descriptors that this process may have: the database, HTTP and processes
    /// need theirs.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let half = limit.and_then(|limit| usize::try_from(limit / 2).ok());
        Self::exactly(most.min(half.unwrap_or(most)))
    }

    /// So many, whatever the limits.
    pub(super) fn exactly(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(most)), most, said: Arc::default() }
    }

    /// Gives a connection its place, or closes it.
    pub(super) fn take(&self, mut connection: Box<Connection>) -> Option<Box<Connection>> {
        if connection.place.is_none() {
            connection.place = self.free.clone().try_acquire_owned().ok();
        }
        if connection.place.is_some() {
            return Some(connection);
        }
        if !self.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                kept = self.most,
                "more nodes than connections that may be kept (nodes.keep_connections, half of the open files): the \
                 others are connected to for each check"
            );
        }
        None
    }
}
