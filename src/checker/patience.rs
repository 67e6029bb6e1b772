//! What blocks and may hang: a PID file or a secret on a disk that does not answer, the memory map of a process that waits
//! for one. What was given up keeps its thread for as long as it hangs, and other work needs threads too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::time::timeout;

/// Threads at once of each kind of look, for all nodes together: all four kinds leave a quarter of those that tokio has for
/// what blocks (512), so that locks and answers go on while so many nodes hang.
const MOST: usize = 96;

/// What of a node is looked at, and where. Each has one thread at most; whoever points a node elsewhere has another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Its process: this PID, or the one in this file.
    Process(Option<i64>, Option<String>),
    /// Its PID file alone.
    PidFile(String),
    /// Who listens on this port.
    Listener(u16),
    /// Its password, which this names.
    Secret(String),
}

impl Subject {
    const fn kind(&self) -> usize {
        match self {
            Self::Process(..) => 0,
            Self::PidFile(_) => 1,
            Self::Listener(_) => 2,
            Self::Secret(_) => 3,
        }
    }
}

type Key = (i64, Subject);
type Turn = Arc<tokio::sync::Mutex<()>>;
type Turns = Mutex<HashMap<Key, Turn>>;

/// Waits for what blocks, but not for ever; cheap to clone.
#[derive(Debug, Clone)]
pub struct Patience {
    rooms: [Arc<Semaphore>; 4],
    turns: Arc<Turns>,
}

impl Default for Patience {
    fn default() -> Self {
        let rooms = std::array::from_fn(|_| Arc::new(Semaphore::new(MOST)));
        Self { rooms, turns: Arc::default() }
    }
}

impl Patience {
    /// What `work` brings, on a thread of its own, once the one before it about the same has ended and there is room.
    /// `None` if all that takes longer than `limit`: what has begun then goes on, unheard, and what has not never does.
    pub async fn wait<T: Send + 'static>(
        &self,
        node: i64,
        subject: Subject,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        timeout(limit, self.done((node, subject), work)).await.ok().flatten()
    }

    async fn done<T: Send + 'static>(
        &self,
        key: Key,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let room = self.rooms.get(key.1.kind())?.clone();
        let mut claim = self.claim(key);
        claim.await_turn().await;
        let place = room.acquire_owned().await.ok()?;
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((place, claim));
            done
        });
        working.await.ok()
    }

    fn claim(&self, key: Key) -> Claim {
        let turn = lock(&self.turns).entry(key.clone()).or_default().clone();
        Claim { key, turn: Some(turn), held: None, turns: self.turns.clone() }
    }
}

/// A wish to look, whether its turn has come or not.
struct Claim {
    key: Key,
    turn: Option<Turn>,
    held: Option<OwnedMutexGuard<()>>,
    turns: Arc<Turns>,
}

impl Claim {
    async fn await_turn(&mut self) {
        if let Some(turn) = self.turn.clone() {
            self.held = Some(turn.lock_owned().await);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Claims are made and given back under this lock, so nobody else can be about to wait for the turn.
        let mut turns = lock(&self.turns);
        self.held = None;
        self.turn = None;
        if turns.get(&self.key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(&self.key);
        }
    }
}

fn lock(turns: &Turns) -> MutexGuard<'_, HashMap<Key, Turn>> {
    // A panic cannot leave the map half changed.
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    fn process() -> Subject {
        Subject::Process(Some(1), None)
    }

    /// Work that ends once the sender is dropped, counted while it hangs.
    fn hanging(count: &Arc<AtomicUsize>) -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (sender, receiver) = mpsc::channel::<()>();
        let count = Arc::clone(count);
        let work = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = receiver.recv();
            count.fetch_sub(1, Ordering::SeqCst);
        };
        (sender, work)
    }

    /// Threads of a busy machine start late; more than these never do, since they hold turns and room.
    async fn until_there_are(expected: usize, count: &AtomicUsize) {
        let reached = async {
            while count.load(Ordering::SeqCst) < expected {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, reached).await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), expected);
    }

    #[tokio::test]
    async fn a_node_that_hangs_keeps_one_thread_however_often_it_is_looked_at() {
        let (patience, count) = (Patience::default(), Arc::default());
        let mut held = Vec::new();
        for _ in 0..20 {
            let (sender, work) = hanging(&count);
            held.push(sender);
            assert_eq!(patience.wait(1, process(), SHORT, work).await, None);
        }
        until_there_are(1, &count).await;
        // Nothing else waits for it.
        assert_eq!(patience.wait(1, Subject::Listener(80), LONG, || 7).await, Some(7));
        assert_eq!(patience.wait(2, process(), LONG, || 8).await, Some(8));
        // Nor the node itself, once it is said to be elsewhere.
        let elsewhere = Subject::Process(Some(2), None);
        assert_eq!(patience.wait(1, elsewhere, LONG, || 6).await, Some(6));
        drop(held);
        assert_eq!(patience.wait(1, process(), LONG, || 9).await, Some(9));
        assert!(lock(&patience.turns).is_empty(), "what has ended leaves nothing behind");
    }

    #[tokio::test]
    async fn many_nodes_that_hang_leave_threads_for_others() {
        let (patience, count) = (Patience::default(), Arc::default());
        let mut held = Vec::new();
        let mut waits = Vec::new();
        for node in 0..200 {
            let (sender, work) = hanging(&count);
            held.push(sender);
            let patience = patience.clone();
            waits.push(tokio::spawn(async move {
                patience.wait(node, process(), Duration::from_secs(1), work).await
            }));
        }
        for wait in waits {
            assert_eq!(wait.await.unwrap(), None);
        }
        until_there_are(MOST, &count).await;
        let other = timeout(LONG, tokio::task::spawn_blocking(|| 5)).await;
        assert_eq!(other.unwrap().unwrap(), 5);
        let secret = Subject::Secret("file:/a".into());
        assert_eq!(patience.wait(1, secret, LONG, || 4).await, Some(4));
        drop(held);
        assert_eq!(patience.wait(201, process(), LONG, || 6).await, Some(6));
    }

    #[tokio::test]
    async fn who_gives_up_before_its_turn_leaves_nothing_behind() {
        let (patience, count) = (Patience::default(), Arc::default());
        let (sender, work) = hanging(&count);
        assert_eq!(patience.wait(1, Subject::Secret("file:/a".into()), SHORT, work).await, None);
        assert_eq!(patience.wait(1, Subject::Secret("file:/a".into()), SHORT, || ()).await, None);
        drop(sender);
        assert_eq!(patience.wait(1, Subject::Secret("file:/a".into()), LONG, || 1).await, Some(1));
        assert!(lock(&patience.turns).is_empty());
    }
}
