//! The node reconciler: every available node is checked once per interval, each at its own time; what changed is
//! recorded in one batch, and the snapshot is published.

mod endings;
mod entry;
mod find;
mod fleet;
mod handle;
mod io;
mod jobs;
mod lanes;
mod pace;
mod pass;
mod publish;
mod registry;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checker::{Checked, Checker};
use crate::clock;
use crate::config::Settings;
use crate::domain::details::{details, tell_end};
use crate::domain::verdict::{State, evaluate, window};
use crate::domain::{Exit, Here, Node, Observation};
use crate::events::Hub;
use crate::gauges::{Gauges, Loop, Queue, TURNS_WITHIN};
use crate::process::Processes;
use crate::snapshot::Published;
use crate::store::{Lease, Store, StoreError};

use entry::Entry;
pub use handle::Handle;
use handle::Request;
use io::{Io, Known};
use lanes::Lanes;
use pace::Pace;
use pass::Passes;
use registry::{Taking, Vouching};
use watch::Watch;

/// The snapshot is published at most this often, except that a flip is published at once.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// How long readers wait for what they are shown to be on record.
const RECORD_WAIT: Duration = Duration::from_secs(2);

/// After a record, or a publication, that took this share of the time, the next flip waits: ten thousand flips in a row are a
/// few batches.
const FLIP_SHARE: u32 = 10;

/// How often the database is asked what others wrote and the heartbeat may be written; more often only if that is to
/// come more often.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How long the last words may take at the end, each.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Rows of one transaction: enough that a tick's flips are one batch, few enough that the first look at a hundred
/// thousand nodes ends within `database.statement_timeout`.
const ROWS_AT_ONCE: usize = 10_000;

/// Checks that are started, or taken in, before anything else has its turn.
const CHECKS_AT_ONCE: usize = 512;

/// A step that takes longer is worth a line in the log: nothing else of ours goes on meanwhile.
const LONG_STEP: Duration = Duration::from_millis(50);

/// What the reconciler works with.
#[derive(Debug)]
pub struct Parts {
    /// Where nodes and verdicts stand.
    pub store: Store,
    /// The shared checker service.
    pub checker: Checker,
    /// Where the truth is published.
    pub published: Arc<Published>,
    /// All of it: `[nodes]`, `[instance]`, `[instances]`, `[database]`.
    pub settings: Arc<Settings>,
    /// Our name.
    pub lease: Lease,
    /// This host and boot.
    pub here: Here,
    /// Where the nodes' processes are held on to.
    pub processes: Processes,
    /// Set while the database fails.
    pub store_trouble: Arc<AtomicBool>,
    /// Where it is told.
    pub events: Hub,
    /// What is kept of the loop itself.
    pub gauges: Gauges,
}

/// The task's state.
#[derive(Debug)]
pub struct Reconciler {
    parts: Parts,
    inbox: mpsc::UnboundedReceiver<Request>,
    entries: BTreeMap<i64, Entry>,
    queue: BTreeSet<(Instant, i64)>,
    checks: JoinSet<Outcome>,
    lanes: Lanes,
    passes: Passes,
    /// Nodes that are ours, checked and counted.
    available: usize,
    io: Io,
    fleet: fleet::View,
    /// Rows that were read, on their way into the entries.
    taking: Option<Taking>,
    /// What others vouch for, on its way into their nodes' views.
    vouching: Option<Vouching>,
    known: Known,
    pace: Pace,
    dirty: BTreeSet<i64>,
    /// Who answers for what has to be thought over.
    plan: bool,
    waiting: Waiting,
    /// What is held of the nodes' processes.
    watch: Watch,
}

/// Who waits for readers to see the registry as it is.
#[derive(Debug, Default)]
struct Waiting {
    /// For it to be read.
    read: Vec<oneshot::Sender<()>>,
    /// For the read that is under way, which began after they asked.
    reading: Vec<oneshot::Sender<()>>,
    /// For what was read to be published.
    published: Vec<oneshot::Sender<()>>,
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
        let (now, started) = (clock::now(), Instant::now());
        let me = parts.lease.name.clone();
        let lease = parts.settings.instance.lease();
        let reconciler = Self {
            inbox,
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
            checks: JoinSet::new(),
            lanes: Lanes::new(parts.settings.nodes.concurrency),
            passes: Passes::new(now),
            available: 0,
            io: Io::default(),
            fleet: fleet::View::new(me, parts.store.is_sole(), lease),
            taking: None,
            vouching: None,
            known: Known::default(),
            pace: Pace::new(started),
            dirty: BTreeSet::new(),
            plan: false,
            waiting: Waiting::default(),
            watch: Watch::new(
                parts.processes.clone(),
                parts.checker.pid_files(),
                parts.events.clone(),
                parts.settings.events.enabled,
            ),
            parts,
        };
        (reconciler, handle)
    }

    /// Runs until the token is cancelled, then records what is known.
    ///
    /// # Errors
    /// [`StoreError::LostName`]: another instance bears our name, so this one must not go on.
    pub async fn run(mut self, token: CancellationToken) -> Result<(), StoreError> {
        loop {
            self.keep_figures();
            self.passes.turn(clock::uptime());
            timed("checks started", || self.start_due());
            timed("a job started", || self.start_job());
            timed("rows taken over", || self.take_some());
            timed("vouched", || self.vouch());
            self.watch.start_search(self.available, self.parts.settings.nodes.method);
            let next = self.queue.first().map(|(due, _)| *due);
            let more = (self.vouching.is_some() || self.taking.is_some()).then(Instant::now);
            let due = self.publish_due().into_iter().chain(self.job_due());
            let turn = Instant::now() + TURNS_WITHIN;
            let next = next.into_iter().chain(more).chain(due).chain([turn]).min();
            tokio::select! {
                () = token.cancelled() => break,
                Some(request) = self.inbox.recv() => self.serve(request),
                Some(ended) = self.checks.join_next(), if !self.checks.is_empty() => {
                    timed("checks judged", || self.all_ended(ended));
                }
                news = self.watch.next() => timed("processes", || self.hear(news)),
                done = self.io.join() => timed("a job finished", || self.finish_job(done))?,
                () = sleep_until(next) => {}
            }
            self.end_pass();
            if self.publish_due().is_some_and(|due| due <= Instant::now()) {
                timed("published", || self.publish());
            }
        }
        self.checks.shutdown().await;
        self.last_words().await
    }

    fn keep_figures(&self) {
        let gauges = &self.parts.gauges;
        let (fast, slow) = self.lanes.in_use();
        gauges.turn(Loop::Nodes);
        gauges.queue(Queue::Checks, fast + slow);
        gauges.queue(Queue::SlowLane, slow);
        gauges.queue(Queue::ChecksWaiting, self.checks.len().saturating_sub(fast + slow));
        gauges.queue(Queue::Unrecorded, self.dirty.len());
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Wake(id) => self.wake(id),
            Request::Reload(done) => {
                self.pace.reload = true;
                self.waiting.read.push(done);
            }
        }
    }

    fn wake(&mut self, id: i64) {
        let Some(entry) = self.entries.get_mut(&id).filter(|it| it.is_checked()) else {
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
        if let Some((due, _)) = self.queue.first().filter(|(due, _)| *due <= now) {
            self.parts.gauges.late(Loop::Nodes, now - *due);
        }
        for _ in 0..CHECKS_AT_ONCE {
            let first = self.queue.first().copied();
            let Some((due, id)) = first.filter(|(due, _)| *due <= now) else { return };
            self.queue.remove(&(due, id));
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.in_flight = true;
            let (lanes, is_slow) = (self.lanes.clone(), entry.is_slow());
            let checker = self.parts.checker.clone();
            let (view, version) = (Arc::clone(&entry.view), entry.version);
            let (method, pass) = (self.parts.settings.nodes.method, self.passes.current);
            self.checks.spawn(async move {
                let checked = lanes.run(is_slow, checker.check(&view.node, method)).await;
                Outcome { id, version, pass, checked }
            });
        }
    }

    fn all_ended(&mut self, first: Result<Outcome, tokio::task::JoinError>) {
        self.ended(first);
        for _ in 1..CHECKS_AT_ONCE {
            let Some(more) = self.checks.try_join_next() else { return };
            self.ended(more);
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
        for (id, entry) in self.entries.iter_mut().filter(|(_, it)| it.is_checked()) {
            entry.in_flight = false;
            entry.due = now + self.parts.settings.nodes.interval;
            self.queue.insert((entry.due, *id));
        }
    }

    fn apply(&mut self, outcome: &Outcome) {
        let Some(entry) = self.entries.get_mut(&outcome.id) else { return };
        entry.in_flight = false;
        if !entry.is_checked() {
            return;
        }
        let now = Instant::now();
        let edited = outcome.version != entry.version;
        if edited || entry.again {
            entry.again = false;
            entry.due = now;
        } else {
            entry.reschedule(self.parts.settings.nodes.interval, now);
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
        let thresholds = self.parts.settings.nodes.thresholds();
        let Some(entry) = self.entries.get_mut(&outcome.id) else { return };
        let previous = &entry.view.verdict;
        let (node, checked) = (&entry.view.node, &outcome.checked);
        let mut verdict = evaluate(node, previous, &checked.observation, thresholds, checked.at);
        let end = end_of(&self.parts.processes, node, &checked.observation);
        let end = end.filter(|_| verdict.state == State::Down);
        if let (Some((pid, exit)), None) = (end, checked.observation.pid()) {
            let mut data = details(&checked.observation, checked.at.wall);
            tell_end(&mut data, pid, exit);
            verdict.data = Some(data.to_string());
        }
        crate::failpoint::at("node-judged");
        let flipped = verdict.flipped_from(previous);
        let turned = verdict.changed_from(previous);
        if flipped {
            self.pace.flipped = true;
            self.parts.checker.forget(outcome.id);
            publish::announce(node, previous, &verdict, end);
            publish::observed(&self.parts.events, node, &verdict);
        }
        entry.judge(verdict);
        entry.tell(end);
        self.watch.consider(&entry.view, turned);
        if entry.is_dirty() {
            self.dirty.insert(outcome.id);
        } else {
            self.dirty.remove(&outcome.id);
        }
        self.pace.change();
    }

    /// Ends the pass if every node of ours was looked at.
    fn end_pass(&mut self) {
        let (now, nodes) = (clock::now(), self.available);
        // Before the registry was read once, nobody knows whether there are nodes.
        let known = self.known.revision.is_some();
        if known && self.passes.is_over(nodes, self.parts.settings.nodes.interval, now) {
            self.passes.end(nodes, now);
            self.parts.gauges.tick(Loop::Nodes, self.passes.last);
            self.pace.change();
            self.pace.passed = true;
        }
    }

    fn window(&self) -> Duration {
        let s = &self.parts.settings.nodes;
        window(s.interval, self.passes.last, s.connect_timeout, s.api_timeout)
    }
}

/// How the node's process ended, as far as it was witnessed: by the look, or of the one that was observed last.
fn end_of(processes: &Processes, node: &Node, observation: &Observation) -> Option<(i64, Exit)> {
    if let Some(facts) = observation.pid() {
        return facts.pid.zip(facts.exit);
    }
    let observed = node.identity.as_ref().filter(|it| it.is_of(processes.here()));
    let pid = observed.map(|it| i64::from(it.pid)).or(node.pid)?;
    processes.remembered(pid, observed).map(|exit| (pid, exit))
}

/// Takes a step of the loop, and says so if the others had to wait for it.
fn timed<T>(step: &str, work: impl FnOnce() -> T) -> T {
    let (began, cpu) = (Instant::now(), clock::thread_cpu());
    let result = work();
    let took = began.elapsed();
    if took > LONG_STEP {
        let cpu = clock::thread_cpu().saturating_sub(cpu).as_millis();
        tracing::debug!(step, ms = took.as_millis(), cpu, "a long step of the node reconciler");
    }
    result
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
