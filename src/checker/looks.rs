//! Looks at processes, on threads that may block.

use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::process::descriptor_limit;

/// Looks at once for each core: they are the kernel's work and wait for nothing, so more of them would be no faster.
const EACH_CORE: usize = 8;

/// A look holds up to three descriptors. All of them together hold a tenth of the limit at most: with none left, nothing
/// could be said of nodes that work.
const DESCRIPTORS: u64 = 32;

/// Room for some looks at once; the others wait.
#[derive(Debug)]
pub struct Looks(Semaphore);

impl Looks {
    /// As many as this machine, and the limit of descriptors, make sensible.
    #[must_use]
    pub fn new() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let few = usize::try_from(descriptor_limit() / DESCRIPTORS).unwrap_or(usize::MAX);
        Self(Semaphore::new(few.clamp(1, EACH_CORE * cores)))
    }

    /// Makes a look when there is room, which may take `limit` then; `None` if it takes longer. It makes room for another
    /// one even so: what the kernel holds up would hold up all.
    pub async fn make<T, F>(&self, limit: Duration, look: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        // The semaphore is never closed; without a permit the look would only be early.
        let _room = self.0.acquire().await;
        timeout(limit, tokio::task::spawn_blocking(look)).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn one_that_hangs_makes_room_for_the_next() {
        let looks = Looks(Semaphore::new(1));
        let (ends, ended) = mpsc::channel::<()>();
        let hangs = looks.make(Duration::from_millis(1), move || ended.recv().is_ok());
        assert_eq!(hangs.await, None);
        assert_eq!(looks.make(Duration::from_mins(1), || 7).await, Some(7));
        drop(ends);
    }
}
