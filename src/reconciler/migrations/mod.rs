//! The migration reconciler: scan the locks, ask the process table, judge, compare-and-set, and only then remove.

mod adoption;
mod beside;
mod compare;
mod dry_run;
mod follow;
mod handle;
mod observe;
mod publish;
mod requests;
mod theirs;
mod tick;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::domain::Exit;
use crate::domain::migration::Key;
use crate::domain::reconcile::{Memory, Rules};
use crate::events::Hub;
use crate::locks::LockDir;
use crate::process::Processes;
use crate::snapshot::{Published, Unreadable};
use crate::store::{Lease, Store, StoreError};

pub use adoption::Adopted;
use adoption::Adoption;
pub use dry_run::dry_run;
use follow::Cursors;
pub use follow::publish_records;
use handle::Request;
pub use handle::{Handle, Inspection, RequestError, Taken, Target};
use observe::{Look, Observer, Rows};

/// Two ticks are at least this far apart, whatever wakes them.
const MIN_GAP: Duration = Duration::from_millis(20);

/// A look at the directory that takes longer than this is said to hang; the next one waits for it.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

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
    /// Does the kernel tell us of ends and of changes?
    pub watches: bool,
}

impl Parts {
    /// An observer that holds on to no process yet.
    fn observer(&self) -> Observer {
        let mut observer = Observer::new(
            self.processes.clone(),
            self.dir.clone(),
            self.settings.clone(),
            self.lease.name.clone(),
            self.store.is_sole(),
        );
        observer.live = self.published.load().fleet.live();
        observer
    }
}

/// The task's state.
#[derive(Debug)]
pub struct Reconciler {
    parts: Parts,
    inbox: mpsc::UnboundedReceiver<Request>,
    /// `None` while a look is under way with it.
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
    exits: HashMap<Key, Exit>,
    locks: HashMap<Key, Option<Arc<Map<String, Value>>>>,
    adoption: Option<Adoption>,
    unreadable: Vec<Unreadable>,
    foreign_files: u64,
    trouble: Option<String>,
    said: Said,
    put_back: bool,
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

type Looking = JoinHandle<(Observer, Look)>;

impl Reconciler {
    /// A reconciler and the handle by which others reach it.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, Handle) {
        let (handle, inbox) = Handle::new();
        let observer = parts.observer();
        let reconciler = Self {
            inbox,
            observer: Some(observer),
            rows: None,
            cursors: Cursors::default(),
            live: BTreeSet::new(),
            rules: None,
            reread: false,
            memory: HashMap::new(),
            exits: HashMap::new(),
            locks: HashMap::new(),
            adoption: parts.adopted.clone().map(|adopted| {
                Adoption::new(adopted, parts.lease.name.clone(), parts.settings.interval)
            }),
            unreadable: Vec::new(),
            foreign_files: 0,
            trouble: None,
            said: Said::default(),
            put_back: false,
            next: Instant::now(),
            took: Duration::ZERO,
            parts,
        };
        (reconciler, handle)
    }

    /// Runs until the token is cancelled, then finishes the tick that is under way.
    pub async fn run(mut self, token: CancellationToken) {
        let mut looking: Option<(Looking, Instant)> = None;
        loop {
            if looking.is_none() && self.next <= Instant::now() {
                looking = self.start_look().await.map(|look| (look, Instant::now()));
            }
            let late = looking.as_ref().map(|(_, since)| *since + LOOK_LIMIT);
            tokio::select! {
                () = token.cancelled() => break,
                Some(request) = self.inbox.recv() => self.serve(request).await,
                () = self.parts.published.fleet_news() => self.follow().await,
                ended = join(&mut looking) => {
                    looking = None;
                    self.finish(ended).await;
                }
                () = tokio::time::sleep_until(self.next), if looking.is_none() => {}
                () = sleep_until(late), if !self.said.hangs => self.say_it_hangs(),
            }
        }
        if let Some((look, _)) = looking
            && let Ok(ended) = tokio::time::timeout(LAST_LOOK, look).await
        {
            // Nobody waits for a database that hangs: the next start finishes what was begun.
            let _ = tokio::time::timeout(LAST_LOOK, self.finish(ended)).await;
        }
    }

    /// Starts a look on a blocking thread; `None` if there is nothing to look with yet.
    async fn start_look(&mut self) -> Option<Looking> {
        self.next = Instant::now() + self.parts.settings.interval;
        let fleet = Arc::clone(&self.parts.published.load().fleet);
        if fleet.here.is_empty() {
            // Nobody knows yet who there is, so whose a row is cannot be told.
            self.next = Instant::now() + MIN_GAP;
            return None;
        }
        // With the rows of before a look is worth taking: its writes are compared with what stands there.
        if !self.load_rows().await && self.rows.is_none() {
            self.next = Instant::now() + Duration::from_secs(1);
            return None;
        }
        if let Some(adoption) = &mut self.adoption
            && !self.parts.store_trouble.load(Ordering::Relaxed)
        {
            adoption.read(&self.parts.store).await;
        }
        // Before every look until the directory could be read once, and never for a request: a GET removes nothing.
        self.put_asides_back().await;
        let rows = Arc::clone(self.rows.as_ref()?);
        let mut observer = self.observer.take()?;
        observer.live = fleet.live();
        Some(tokio::task::spawn_blocking(move || {
            let look = observer.look(&rows);
            (observer, look)
        }))
    }

    /// The rows, read once; what others write later is followed. False while the database fails.
    async fn load_rows(&mut self) -> bool {
        if self.rows.is_some() && !self.reread {
            return true;
        }
        if self.database_fails() {
            return false;
        }
        let cursors = Cursors::at(&self.parts.published.load().fleet);
        match self.parts.store.migrations().await {
            Ok(rows) => {
                self.cursors = cursors;
                let rows = rows.into_iter().map(|row| (row.row.key.clone(), Arc::new(row)));
                self.rows = Some(Arc::new(rows.collect()));
                self.reread = false;
                true
            }
            Err(error) => {
                self.store_fails(&error);
                false
            }
        }
    }

    /// Takes over what other instances recorded, and who of them is still there.
    async fn follow(&mut self) {
        if self.rows.is_none() {
            return;
        }
        let fleet = Arc::clone(&self.parts.published.load().fleet);
        let rows = match self.cursors.news(&self.parts.store, &fleet).await {
            Ok(Some(rows)) => rows,
            Ok(None) => {
                self.reread = true;
                return self.wake_in(Duration::ZERO);
            }
            Err(error) => return self.store_fails(&error),
        };
        let live = fleet.live();
        if rows.is_empty() && live == self.live {
            return;
        }
        self.live = live;
        for row in rows {
            self.set_row(row);
        }
        self.publish();
    }

    async fn finish(&mut self, ended: Result<(Observer, Look), tokio::task::JoinError>) {
        self.said.hangs = false;
        match ended {
            Ok((observer, look)) => {
                self.observer = Some(observer);
                self.tick(look).await;
            }
            Err(error) => {
                tracing::error!(%error, "a look at the lock directory failed inside");
                self.observer = Some(self.parts.observer());
            }
        }
    }

    /// The database was waited for in vain; readers are told that this loop turns all the same.
    fn store_fails(&self, error: &StoreError) {
        super::trouble::fails(&self.parts.store_trouble, error);
        if self.rules.is_some() {
            self.publish();
        }
    }

    fn say_it_hangs(&mut self) {
        self.said.hangs = true;
        let text = format!("no answer for {} s", LOOK_LIMIT.as_secs());
        tracing::warn!(path = %self.parts.dir.path().display(), "the lock directory gives {text}");
        self.trouble = Some(text);
        self.publish();
    }

    fn wake_in(&mut self, after: Duration) {
        self.next = self.next.min(Instant::now() + after.max(MIN_GAP));
    }
}

async fn join(
    looking: &mut Option<(Looking, Instant)>,
) -> Result<(Observer, Look), tokio::task::JoinError> {
    match looking {
        Some((look, _)) => look.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
