//! The migration reconciler: scan the locks, ask the process table, judge, compare-and-set, and only then remove.

mod adoption;
mod beside;
mod compare;
mod dry_run;
mod follow;
mod handle;
mod hints;
mod looks;
mod meanwhile;
mod observe;
mod removal;
mod requests;
mod said;
mod theirs;
mod tick;
mod views;
mod watched;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::domain::Timestamp;
use crate::domain::migration::{Key, Reason, State, Status};
use crate::domain::reconcile::{Memory, Rules};
use crate::events::{Hub, Source, Watch};
use crate::gauges::{Gauges, Loop, Queue, TURNS_WITHIN};
use crate::locks::{Change, DirWatch, LockDir};
use crate::process::{Exits, Processes, ceiling, descriptor_limit};
use crate::snapshot::{Published, Unreadable};
use crate::store::{Lease, Store};

pub use adoption::Adopted;
use adoption::Adoption;
pub use dry_run::dry_run;
use follow::Cursors;
pub use follow::publish_records;
use handle::Request;
pub use handle::{Handle, Inspection, RequestError, Taken, Target};
use hints::Hints;
use looks::{LookAtAll, LookAtSome};
use observe::{Observer, Rows, Scout};
use views::Views;
use watched::Watched;

/// Two ticks are at least this far apart, whatever wakes them.
const MIN_GAP: Duration = Duration::from_millis(20);

/// A look at the directory that takes longer than this is said to hang; the next one waits for it.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// How long a look at some that is under way may hold up what was seen of all. It takes less, unless the directory hangs.
const SOME_FIRST: Duration = Duration::from_millis(200);

/// How long the last look is waited for at the end.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// What the reconciler works with.
#[derive(Debug)]
pub struct Parts {
    /// Where migrations stand.
    pub store: Store,
    /// The process table.
    pub processes: Processes,
    /// The lock directory.
    pub dir: LockDir,
    /// Where the truth is published.
    pub published: Arc<Published>,
    /// `[migrations]`.
    pub settings: config::Migrations,
    /// Our name.
    pub lease: Lease,
    /// Their table, where one is adopted.
    pub adopted: Option<Adopted>,
    /// No lock is removed: they are somebody else's.
    pub keeps_locks: bool,
    /// Set while the database fails.
    pub store_trouble: Arc<AtomicBool>,
    /// Where it is told.
    pub events: Hub,
    /// What is kept of the loop itself.
    pub gauges: Gauges,
    /// Does the kernel tell us of ends and of changes?
    pub watches: bool,
}

impl Parts {
    fn scout(&self, watched: Arc<Watched>) -> Scout {
        Scout {
            processes: self.processes.clone(),
            dir: self.dir.clone(),
            settings: self.settings.clone(),
            instance: self.lease.name.clone(),
            sole: self.store.is_sole(),
            live: self.published.load().fleet.live(),
            watched,
        }
    }
}

/// The task's state.
#[derive(Debug)]
pub struct Reconciler {
    parts: Parts,
    inbox: mpsc::UnboundedReceiver<Request>,
    scout: Scout,
    /// `None` while a look at everything is under way with it.
    observer: Option<Observer>,
    rows: Option<Arc<Rows>>,
    /// How far the others' writes have been followed.
    cursors: Cursors,
    /// Who was live when that was looked at last.
    live: BTreeSet<String>,
    /// The rules of the last look.
    rules: Option<Rules>,
    /// A write lost its race: somebody else wrote, so the rows are read again.
    reread: bool,
    memory: HashMap<Key, Memory>,
    /// When the status of those turns whose process is gone.
    turns_at: HashMap<Key, Timestamp>,
    locks: HashMap<Key, Option<Arc<Map<String, Value>>>>,
    adoption: Option<Adoption>,
    unreadable: Vec<Unreadable>,
    foreign_files: u64,
    trouble: Option<String>,
    said: Said,
    /// What was told of each since its row was written last.
    told: HashMap<Key, (Status, State, Option<Reason>)>,
    put_back: bool,
    /// Where changes of the directory are told.
    changes: Option<DirWatch>,
    hints: Hints,
    /// Looked at since the look at everything that is under way began.
    seen_since: HashSet<Key>,
    /// When that look began.
    all_began: Option<std::time::Instant>,
    views: Views,
    next: Instant,
    took: Duration,
}

/// What has been said and is not said again until it changes.
#[derive(Debug, Default)]
struct Said {
    trouble: Option<String>,
    hangs: bool,
    unreadable: HashSet<Unreadable>,
    denied: HashSet<Key>,
}

impl Reconciler {
    /// A reconciler and the handle by which others reach it. Needs a runtime.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, Handle) {
        let (handle, inbox) = Handle::new();
        let scout = parts.scout(Arc::new(watched(parts.watches, &parts.events)));
        let reconciler = Self {
            inbox,
            observer: Some(Observer::new(scout.clone())),
            scout,
            rows: None,
            cursors: Cursors::default(),
            live: BTreeSet::new(),
            rules: None,
            reread: false,
            memory: HashMap::new(),
            turns_at: HashMap::new(),
            locks: HashMap::new(),
            adoption: parts.adopted.clone().map(|adopted| {
                Adoption::new(adopted, parts.lease.name.clone(), parts.settings.interval)
            }),
            unreadable: Vec::new(),
            foreign_files: 0,
            trouble: None,
            said: Said::default(),
            told: HashMap::new(),
            put_back: false,
            changes: None,
            hints: Hints::default(),
            seen_since: HashSet::new(),
            all_began: None,
            views: Views::default(),
            next: Instant::now(),
            took: Duration::ZERO,
            parts,
        };
        (reconciler, handle)
    }

    /// Runs until the token is cancelled, then finishes the tick that is under way.
    pub async fn run(mut self, token: CancellationToken) {
        let mut all: Option<(LookAtAll, Instant)> = None;
        let mut some: Option<LookAtSome> = None;
        loop {
            self.parts.gauges.turn(Loop::Migrations);
            self.parts.gauges.queue(Queue::Hints, self.hints.waiting());
            if all.is_none() && self.next <= Instant::now() {
                self.parts.gauges.late(Loop::Migrations, self.next.elapsed());
                all = self.look_at_all().await.map(|look| (look, Instant::now()));
            }
            if some.is_none() && self.hints.due().is_some_and(|due| due <= Instant::now()) {
                some = self.look_at_some();
            }
            let late = all.as_ref().map(|(_, since)| *since + LOOK_LIMIT);
            let hinted = self.hints.due().filter(|_| some.is_none() && self.rules.is_some());
            let unpublished = self.views.due().filter(|_| self.rules.is_some());
            tokio::select! {
                () = token.cancelled() => break,
                Some(request) = self.inbox.recv() => self.serve(request).await,
                () = self.parts.published.fleet_news() => self.follow().await,
                tokens = ends(self.scout.watched.exits()) => self.ended(&tokens),
                change = changes(self.changes.as_mut()) => self.changed(change),
                looked = join(all.as_mut().map(|(look, _)| look)) => {
                    all = None;
                    // What is told of some does not wait until all are judged.
                    if let Some(look) = &mut some
                        && let Ok(looked) = tokio::time::timeout(SOME_FIRST, look).await
                    {
                        some = None;
                        self.looked_at_some(looked).await;
                    }
                    self.looked_at_all(looked).await;
                }
                looked = join(some.as_mut()) => {
                    some = None;
                    self.looked_at_some(looked).await;
                }
                () = tokio::time::sleep_until(self.next), if all.is_none() => {}
                () = sleep_until(hinted) => {}
                () = sleep_until(unpublished) => self.publish(),
                () = sleep_until(late), if !self.said.hangs => self.say_it_hangs(),
                () = tokio::time::sleep(TURNS_WITHIN) => {}
            }
        }
        if let Some((look, _)) = all
            && let Ok(looked) = tokio::time::timeout(LAST_LOOK, look).await
        {
            // Nobody waits for a database that hangs: the next start finishes what was begun.
            let _ = tokio::time::timeout(LAST_LOOK, self.looked_at_all(looked)).await;
        }
    }
}

/// The set of processes whose ends are told, if that is wanted and the kernel gives one.
fn watched(wanted: bool, events: &Hub) -> Watched {
    let exits = wanted.then(Exits::new).and_then(|exits| {
        let refused = |error: &std::io::Error| {
            events.set_watch(Source::Processes, Watch::Polling(format!("no epoll: {error}")));
        };
        exits.inspect_err(refused).ok()
    });
    Watched::new(exits, ceiling(descriptor_limit()))
}

async fn join<T>(task: Option<&mut JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What changed in the directory.
async fn changes(watch: Option<&mut DirWatch>) -> Change {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// The processes that have ended.
async fn ends(exits: Option<&Exits>) -> Vec<u64> {
    match exits {
        Some(exits) => match exits.next().await {
            Ok(tokens) => tokens,
            Err(error) => {
                tracing::error!(%error, "the ends of processes are told no more");
                std::future::pending().await
            }
        },
        None => std::future::pending().await,
    }
}
