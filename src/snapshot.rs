//! The last published truth: immutable, swapped in one atomic store, read by HTTP without a lock.

mod tally;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::clock;
use crate::domain::Timestamp;
use crate::domain::migration::{self, Migration};
use crate::domain::node::Node;
use crate::domain::observation::Reason;
use crate::domain::reconcile::{progressed, shown};
use crate::domain::time::Uptime;
use crate::domain::verdict::{State, Verdict};

pub use tally::{Count, Tally};

/// A node with what is held of it.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// As it stands in the registry.
    pub node: Arc<Node>,
    /// What is held of it.
    pub verdict: Verdict,
    /// Who answers for it.
    pub standing: Standing,
}

/// Who answers for a node, as seen from this instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing {
    /// This instance: it checks the node.
    Mine,
    /// Another one that is live: what is held of the node is what that one recorded.
    Of {
        /// Its name.
        owner: String,
        /// How old a verdict of it may be.
        window: Duration,
    },
    /// Another one whose heartbeat stopped: nobody looks at the node.
    Lost {
        /// Its name.
        owner: String,
    },
    /// Nobody: its instance was forgotten. It is in no count until it is taken.
    Released,
}

impl NodeView {
    /// The state that readers are told at `now`; see [`Verdict::state_at`].
    #[must_use]
    pub fn state(&self, now: Uptime, window: Duration) -> State {
        match &self.standing {
            _ if !self.node.available => State::Disabled,
            Standing::Mine => self.verdict.state_at(now, window),
            Standing::Of { window, .. } => self.verdict.state_at(now, *window),
            Standing::Lost { .. } | Standing::Released => State::Unknown,
        }
    }

    /// Why it is in that state.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self.standing {
            Standing::Lost { .. } if self.node.available => Some(Reason::InstanceLost),
            _ => self.verdict.reason,
        }
    }

    /// Does it count in the fleet's totals? One that is disabled or nobody's does not.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.node.available && self.standing != Standing::Released
    }

    /// Does this instance answer for it?
    #[must_use]
    pub fn is_mine(&self) -> bool {
        self.standing == Standing::Mine
    }

    /// Who answers for it; `here` is this instance's name.
    #[must_use]
    pub fn owner<'a>(&'a self, here: &'a str) -> Option<&'a str> {
        match &self.standing {
            Standing::Mine => Some(here),
            Standing::Of { owner, .. } | Standing::Lost { owner } => Some(owner),
            Standing::Released => None,
        }
    }
}

/// An instance as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceView {
    /// `instance.name`.
    pub name: String,
    /// Does its last heartbeat hold?
    pub live: bool,
    /// The program's version.
    pub version: String,
    /// When it started, by its own clock.
    pub since: Timestamp,
    /// Its last heartbeat, by the database's clock.
    pub last_beat: Timestamp,
    /// Nodes it answers for.
    pub nodes: u64,
    /// Locks it answers for.
    pub locks: u64,
    /// How long its last pass over the nodes took, milliseconds.
    pub tick_ms: u64,
    /// The last number it gave to what it wrote.
    pub seq: i64,
}

/// Who there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetPart {
    /// This instance's name.
    pub here: String,
    /// Is there no other instance, ever? Then every row is ours.
    pub sole: bool,
    /// All instances, by name, as last read.
    pub instances: Vec<InstanceView>,
}

impl FleetPart {
    /// Is the instance of that name live? This one is to itself.
    #[must_use]
    pub fn is_live(&self, name: &str) -> bool {
        self.here == name || self.instances.iter().any(|it| it.live && it.name == name)
    }

    /// The names of the live ones, this one included.
    #[must_use]
    pub fn live(&self) -> BTreeSet<String> {
        let others = self.instances.iter().filter(|it| it.live).map(|it| it.name.clone());
        others.chain([self.here.clone()]).collect()
    }
}

/// All nodes, by id.
#[derive(Debug, Clone, Default)]
pub struct NodesPart {
    /// Grows with each publication of this part.
    pub generation: u64,
    /// Every node, disabled ones too, ordered by id.
    pub nodes: Vec<Arc<NodeView>>,
    /// How old a verdict may be (the window W of `domain::verdict`).
    pub window: Duration,
    /// After this moment nothing here may be believed.
    pub valid_until: Uptime,
    /// Whether the database has it too.
    pub persisted: bool,
    /// Whether a first pass has ended.
    pub passed: bool,
    /// How long the last pass took.
    pub last_pass: Duration,
    /// Its nodes, counted when it was published.
    pub counted: Option<Tally>,
}

impl NodesPart {
    /// The state of one of its nodes as readers are told: nothing in a snapshot past its time is believed.
    #[must_use]
    pub fn state_of(&self, view: &NodeView, now: Uptime) -> State {
        match view.state(now, self.window) {
            State::Disabled => State::Disabled,
            _ if now > self.valid_until => State::Stale,
            state => state,
        }
    }

    /// A node by its id (digits) or its name.
    #[must_use]
    pub fn find(&self, id_or_name: &str) -> Option<&Arc<NodeView>> {
        if !id_or_name.is_empty() && id_or_name.bytes().all(|b| b.is_ascii_digit()) {
            let id: i64 = id_or_name.parse().ok()?;
            let at = self.nodes.binary_search_by_key(&id, |view| view.node.id).ok()?;
            self.nodes.get(at)
        } else {
            self.nodes.iter().find(|view| view.node.name == id_or_name)
        }
    }
}

/// A migration with what its lock says now.
#[derive(Debug, Clone)]
pub struct MigrationView {
    /// The row.
    pub row: Migration,
    /// The lock's content with secrets masked; the last recorded one where there is no lock.
    pub lock: Option<Arc<Map<String, Value>>>,
    /// Whether the lock stands.
    pub lock_exists: bool,
    /// Who answers for it.
    pub watch: Watch,
    /// Its process is gone, and its status turns to `error` then.
    pub turns_at: Option<Timestamp>,
}

/// Who watches a migration, as seen from this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Watch {
    /// This instance sees its lock or its process.
    Here,
    /// Another one that is live, or nobody any more because it is over: this is the record.
    Recorded,
    /// Another one whose heartbeat stopped: nobody knows what became of it.
    Lost,
}

impl MigrationView {
    /// The state and the reason that readers are told.
    #[must_use]
    pub fn state(&self) -> (migration::State, Option<migration::Reason>) {
        shown(&self.row, self.watch == Watch::Lost)
    }

    /// When the lock of a stalled one showed progress last.
    #[must_use]
    pub fn stalled_since(&self) -> Option<Timestamp> {
        let row = &self.row;
        if self.state().0 != migration::State::Stalled {
            return None;
        }
        let stage = self.lock.as_ref().and_then(|lock| seconds(lock.get("stage_updated_at")?));
        let mtime = row.lock_mark.map(|mark| Timestamp(mark.mtime_ns.div_euclid(1_000_000)));
        // It stood still before the state was noted, so what is later was not what it was judged by.
        Some(progressed(stage, row.lock_started, mtime.unwrap_or(row.since), row.since))
    }
}

/// Seconds since the Unix epoch as runners write them: a number, or digits in a text.
fn seconds(value: &Value) -> Option<Timestamp> {
    let secs = match value {
        Value::String(text) => text.parse().ok()?,
        // A fraction of a second is not shown.
        #[allow(clippy::cast_possible_truncation)]
        number => number.as_i64().or_else(|| number.as_f64().map(|secs| secs as i64))?,
    };
    Some(Timestamp::from_secs(secs))
}

impl MigrationView {
    /// What the database alone tells: the row, and what the lock said when it was written last.
    #[must_use]
    pub fn recorded(row: Migration) -> Self {
        let lock = row.lock_data.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Self { lock: lock.map(Arc::new), ..Self::without_lock(row) }
    }

    /// The row alone.
    #[must_use]
    pub const fn without_lock(row: Migration) -> Self {
        Self { row, lock: None, lock_exists: false, watch: Watch::Recorded, turns_at: None }
    }
}

/// A file that is or may be a lock and cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unreadable {
    /// Its name, made printable.
    pub file: String,
    /// One of the contract's words.
    pub reason: &'static str,
}

/// All migrations.
#[derive(Debug, Clone, Default)]
pub struct MigrationsPart {
    /// Grows with each publication of this part.
    pub generation: u64,
    /// Every row, ordered by its row id (oldest first).
    pub migrations: Vec<Arc<MigrationView>>,
    /// What could not be judged.
    pub unreadable: Vec<Unreadable>,
    /// `*.lock` files that are none of ours.
    pub foreign_files: u64,
    /// After this moment nothing here may be believed.
    pub valid_until: Uptime,
    /// Whether migrations are watched at all.
    pub enabled: bool,
    /// Why the directory could not be read at the last scan.
    pub trouble: Option<String>,
    /// Whether the database has it too.
    pub persisted: bool,
}

impl MigrationsPart {
    /// Locks that stand and that this instance answers for.
    #[must_use]
    pub fn locks(&self) -> usize {
        let here = |view: &&Arc<MigrationView>| view.lock_exists && view.watch == Watch::Here;
        self.migrations.iter().filter(here).count()
    }
}

/// All parts; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Nodes.
    pub nodes: Arc<NodesPart>,
    /// Migrations.
    pub migrations: Arc<MigrationsPart>,
    /// Instances.
    pub fleet: Arc<FleetPart>,
}

/// Where the snapshot stands: one writer per part, any number of readers.
#[derive(Debug, Default)]
pub struct Published {
    current: ArcSwap<Snapshot>,
    writing: Mutex<()>,
    fleet_news: Notify,
}

impl Published {
    /// The truth as it was last published.
    #[must_use]
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Replaces the nodes; they are counted and their generation is set here.
    pub fn publish_nodes(&self, mut part: NodesPart) {
        part.counted = Some(part.count(clock::uptime()));
        self.update(|snapshot| {
            part.generation = snapshot.nodes.generation + 1;
            snapshot.nodes = Arc::new(part);
        });
    }

    /// Replaces the migrations; their generation is set here.
    pub fn publish_migrations(&self, mut part: MigrationsPart) {
        self.update(|snapshot| {
            part.generation = snapshot.migrations.generation + 1;
            snapshot.migrations = Arc::new(part);
        });
    }

    /// Replaces the instances.
    pub fn publish_fleet(&self, part: FleetPart) {
        if *self.load().fleet != part {
            self.update(|snapshot| snapshot.fleet = Arc::new(part));
            self.fleet_news.notify_one();
        }
    }

    /// Until the instances are others than at the last call, or wrote something. For one task.
    pub async fn fleet_news(&self) {
        self.fleet_news.notified().await;
    }

    fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        // A poisoned lock guards no data of its own: the writer that died published nothing.
        let _writing = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.current.load());
        change(&mut next);
        self.current.store(Arc::new(next));
    }
}
