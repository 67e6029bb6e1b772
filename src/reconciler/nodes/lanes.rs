//! Where checks wait for their turn: those of nodes that answer, and, apart from them, those of nodes that let us wait.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// Checks of nodes that let us wait that are under way at once.
const SLOW: usize = 2048;

/// A check that has no answer after that long moves to the slow ones, if there is room: at a first look nobody knows who
/// hangs, and ten thousand that do would hold up all others for minutes.
const PATIENCE: Duration = Duration::from_millis(250);

/// Both lanes.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    concurrency: usize,
    room: usize,
    patience: Duration,
    fast: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

impl Lanes {
    /// With so many places for nodes that answer (`nodes.concurrency`).
    pub(super) fn new(concurrency: usize) -> Self {
        Self::with(concurrency.max(1), SLOW, PATIENCE)
    }

    fn with(concurrency: usize, room: usize, patience: Duration) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { concurrency, room, patience, fast: places(concurrency), slow: places(room) }
    }

    /// How many checks are under way in the fast and in the slow one.
    pub(super) fn in_use(&self) -> (usize, usize) {
        let fast = self.concurrency.saturating_sub(self.fast.available_permits());
        (fast, self.room.saturating_sub(self.slow.available_permits()))
    }

    /// Makes the check when there is a place for it.
    pub(super) async fn run<T>(&self, is_slow: bool, check: impl Future<Output = T>) -> T {
        // The semaphores are never closed; without a permit the check would only be early.
        if is_slow {
            let _place = self.slow.acquire().await;
            return check.await;
        }
        let place = self.fast.acquire().await;
        let mut check = pin!(check);
        tokio::select! {
            biased;
            done = &mut check => return done,
            () = tokio::time::sleep(self.patience) => {}
        }
        let _wider = tokio::select! {
            biased;
            done = &mut check => return done,
            wider = self.slow.acquire() => wider,
        };
        drop(place);
        check.await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::task::JoinHandle;

    use super::*;

    /// Longer than anything takes; nothing that works waits for it.
    const SOON: Duration = Duration::from_secs(60);

    fn hangs(lanes: &Lanes, is_slow: bool) -> JoinHandle<()> {
        let lanes = lanes.clone();
        tokio::spawn(async move { lanes.run(is_slow, pending::<()>()).await })
    }

    async fn becomes(lanes: &Lanes, in_use: (usize, usize)) {
        let until = tokio::time::timeout(SOON, async {
            while lanes.in_use() != in_use {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        until.await.unwrap_or_else(|_| panic!("{:?} in use", lanes.in_use()));
    }

    #[tokio::test]
    async fn those_that_hang_make_room_for_those_that_answer() {
        let lanes = Lanes::with(2, 8, Duration::from_millis(5));
        let mut hanging: Vec<_> = (0..9).map(|_| hangs(&lanes, false)).collect();
        becomes(&lanes, (1, 8)).await;
        for _ in 0..10 {
            // One place is left, and that is enough for all that answer.
            tokio::time::timeout(SOON, lanes.run(false, ready(()))).await.unwrap();
        }
        assert_eq!(
            lanes.in_use(),
            (1, 8),
            "what hangs stays where it is as long as there is no room"
        );
        hanging.remove(0).abort();
        becomes(&lanes, (0, 8)).await;
    }

    #[tokio::test]
    async fn one_that_is_known_to_hang_takes_no_place_of_the_others() {
        let lanes = Lanes::with(1, 8, SOON * 9);
        let _hangs = hangs(&lanes, true);
        becomes(&lanes, (0, 1)).await;
        assert_eq!(tokio::time::timeout(SOON, lanes.run(false, ready(7))).await, Ok(7));
        assert_eq!(lanes.in_use(), (0, 1));
    }
}
