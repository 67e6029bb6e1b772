//! How many calls may hang in a file system that does not answer: each keeps a thread for as long as it does, and other
//! work needs threads too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::LockDir;

/// Calls for requests and removals at once. They come one after the other, so more than one is under way only where
/// some were given up.
const MOST: usize = 8;

/// A call that is under way, whether it is still waited for or not.
#[derive(Debug)]
pub struct Entered(Arc<AtomicUsize>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LockDir {
    /// Begins a call that may hang; to be kept until it has ended. None if too many hang already.
    #[must_use]
    pub fn enter(&self) -> Option<Entered> {
        let entered = Entered(Arc::clone(&self.entered));
        (self.entered.fetch_add(1, Ordering::Relaxed) < MOST).then_some(entered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_bounded_and_what_ends_makes_room() {
        let dir = LockDir::new("/nowhere".into());
        let mut held: Vec<_> = (0..MOST).map_while(|_| dir.enter()).collect();
        assert_eq!(held.len(), MOST);
        assert!(dir.enter().is_none() && dir.clone().enter().is_none());
        held.pop();
        assert!(dir.enter().is_some());
    }
}
