//! The node reconciler: every available node is checked once per interval, each at its own time; what changed is
//! recorded in one batch, and the snapshot is published.

mod entry;
mod handle;
mod pass;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checker::{Checked, Checker};
use crate::clock;
use crate::config;
use crate::domain::Here;
use crate::domain::verdict::{Thresholds, evaluate, window};
use crate::snapshot::Published;
use crate::store::{Lease, Store};

use entry::Entry;
pub use handle::Handle;
use handle::Request;
use pass::Passes;

/// The snapshot is published at most this often, except that a flip is published at once.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// After a flush that took this share of the time, the next flip waits: ten thousand flips in a row are a few batches.
const FLUSH_SHARE: u32 = 10;

/// How often the registry's revision is read, and the heartbeat's slower share is due.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// The heartbeat is written this often, and at the end of each pass, but at most once a second.
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// How long a database that failed is left alone: as long as it may have kept us waiting (the store's busy timeout).
const DATABASE_REST: Duration = Duration::from_secs(3);

/// Checks of nodes that timed out last time wait apart, so that they never take the place of the living.
const SLOW_LANE: usize = 2048;

/// What the reconciler works with.
#[derive(Debug)]
pub struct Parts {
    /// Where nodes and verdicts stand.
    pub store: Store,
    /// The shared checker service.
    pub checker: Checker,
    /// Where the truth is published.
    pub published: Arc<Published>,
    /// `[nodes]`.
    pub settings: config::Nodes,
    /// Our name.
    pub lease: Lease,
    /// This host and boot.
    pub here: Here,
    /// Set while the database fails.
    pub store_trouble: Arc<AtomicBool>,
}

/// The task's state.
#[derive(Debug)]
pub struct Reconciler {
    parts: Parts,
    inbox: mpsc::UnboundedReceiver<Request>,
    entries: BTreeMap<i64, Entry>,
    queue: BTreeSet<(Instant, i64)>,
    checks: JoinSet<Outcome>,
    fast: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    passes: Passes,
    /// Nodes that are checked and counted; changes with the registry only.
    available: usize,
    revision: Option<i64>,
    dirty: BTreeSet<i64>,
    changed: bool,
    flipped: bool,
    published_at: Instant,
    flush_cost: Duration,
    beat_at: Instant,
    /// When the database failed us last.
    failed_at: Option<Instant>,
    waiting: Vec<oneshot::Sender<()>>,
}

/// A check that ended.
#[derive(Debug)]
struct Outcome {
    id: i64,
    version: i64,
    pass: u64,
    checked: Checked,
}

impl Reconciler {
    /// A reconciler and the handle by which others reach it.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, Handle) {
        let (handle, inbox) = Handle::new();
        let now = clock::now();
        let started = Instant::now();
        let reconciler = Self {
            inbox,
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
            checks: JoinSet::new(),
            fast: Arc::new(Semaphore::new(parts.settings.concurrency.max(1))),
            slow: Arc::new(Semaphore::new(SLOW_LANE)),
            passes: Passes::new(now),
            available: 0,
            revision: None,
            dirty: BTreeSet::new(),
            changed: true,
            flipped: false,
            published_at: started,
            flush_cost: Duration::ZERO,
            beat_at: started,
            failed_at: None,
            waiting: Vec::new(),
            parts,
        };
        (reconciler, handle)
    }

    /// Runs until the token is cancelled, then records what is known.
    pub async fn run(mut self, token: CancellationToken) {
        self.reload().await;
        self.flush(true).await;
        self.beat().await;
        let mut poll = tokio::time::interval(POLL_EVERY);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.start_due();
            let next = self.queue.first().map(|(due, _)| *due).into_iter().chain(self.flush_due());
            let next = next.min();
            tokio::select! {
                () = token.cancelled() => break,
                Some(request) = self.inbox.recv() => self.serve(request).await,
                Some(ended) = self.checks.join_next(), if !self.checks.is_empty() => {
                    self.ended(ended);
                    while let Some(more) = self.checks.try_join_next() {
                        self.ended(more);
                    }
                }
                _ = poll.tick() => self.poll().await,
                () = sleep_until(next) => {}
            }
            // Passes may follow each other faster than a disk likes to write.
            if self.end_pass() && self.beat_at.elapsed() >= POLL_EVERY {
                self.beat().await;
            }
            self.flush(false).await;
        }
        self.checks.shutdown().await;
        self.failed_at = None;
        self.flush(true).await;
        self.beat().await;
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Wake(id) => self.wake(id),
            Request::Reload(done) => {
                self.reload().await;
                self.waiting.push(done);
                self.flipped = true;
            }
        }
    }

    fn wake(&mut self, id: i64) {
        let Some(entry) = self.entries.get_mut(&id).filter(|it| it.view.node.available) else {
            return;
        };
        if entry.in_flight {
            entry.again = true;
        } else {
            self.queue.remove(&(entry.due, id));
            entry.due = Instant::now();
            self.queue.insert((entry.due, id));
        }
    }

    /// Starts the check of every node that is due. Each waits for a place in its lane by itself.
    fn start_due(&mut self) {
        let now = Instant::now();
        while let Some((due, id)) = self.queue.first().copied().filter(|(due, _)| *due <= now) {
            self.queue.remove(&(due, id));
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.in_flight = true;
            let lane = Arc::clone(if entry.is_slow() { &self.slow } else { &self.fast });
            let checker = self.parts.checker.clone();
            let (view, version) = (Arc::clone(&entry.view), entry.version);
            let (method, pass) = (self.parts.settings.method, self.passes.current);
            self.checks.spawn(async move {
                // The semaphore is never closed; without a permit the check would only be early.
                let _place = lane.acquire().await;
                let checked = checker.check(&view.node, method).await;
                Outcome { id, version, pass, checked }
            });
        }
    }

    fn ended(&mut self, ended: Result<Outcome, tokio::task::JoinError>) {
        match ended {
            Ok(outcome) => self.apply(&outcome),
            // A check that panicked has no id; its node would never be due again, so all are scheduled anew.
            Err(error) if error.is_panic() => {
                tracing::error!(%error, "a check failed inside; every node is scheduled anew");
                self.reschedule_all();
            }
            Err(_) => {}
        }
    }

    fn reschedule_all(&mut self) {
        self.checks.abort_all();
        self.queue.clear();
        let now = Instant::now();
        for (id, entry) in self.entries.iter_mut().filter(|(_, it)| it.view.node.available) {
            entry.in_flight = false;
            entry.due = now + self.parts.settings.interval;
            self.queue.insert((entry.due, *id));
        }
    }

    fn apply(&mut self, outcome: &Outcome) {
        let Some(entry) = self.entries.get_mut(&outcome.id) else { return };
        entry.in_flight = false;
        if !entry.view.node.available {
            return;
        }
        let now = Instant::now();
        let edited = outcome.version != entry.version;
        if edited || entry.again {
            entry.again = false;
            entry.due = now;
        } else {
            entry.reschedule(self.parts.settings.interval, now);
        }
        self.queue.insert((entry.due, outcome.id));
        if edited {
            return;
        }
        if outcome.pass == self.passes.current && entry.pass != outcome.pass {
            entry.pass = outcome.pass;
            self.passes.done();
        }
        self.judge(outcome);
    }

    fn judge(&mut self, outcome: &Outcome) {
        let thresholds = Thresholds {
            failure: self.parts.settings.failure_threshold,
            success: self.parts.settings.success_threshold,
        };
        let Some(entry) = self.entries.get_mut(&outcome.id) else { return };
        let previous = &entry.view.verdict;
        let (node, checked) = (&entry.view.node, &outcome.checked);
        let verdict = evaluate(node, previous, &checked.observation, thresholds, checked.at);
        if verdict.flipped_from(previous) {
            self.flipped = true;
            self.parts.checker.forget(outcome.id);
            record::announce(node, previous, &verdict);
        }
        entry.judge(verdict);
        if entry.is_dirty() {
            self.dirty.insert(outcome.id);
        } else {
            self.dirty.remove(&outcome.id);
        }
        self.changed = true;
    }

    /// Ends the pass if every node was looked at; true if it did.
    fn end_pass(&mut self) -> bool {
        let now = clock::now();
        let nodes = self.available;
        // Before the registry was read once, nobody knows whether there are nodes.
        if self.revision.is_none() || !self.passes.is_over(nodes, self.parts.settings.interval, now)
        {
            return false;
        }
        self.passes.end(nodes, now);
        self.changed = true;
        true
    }

    fn window(&self) -> Duration {
        let s = &self.parts.settings;
        window(s.interval, self.passes.last, s.connect_timeout, s.api_timeout)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
