//! The last published truth: immutable, swapped in one atomic store, read by HTTP without a lock.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};

use crate::domain::migration::Migration;
use crate::domain::node::Node;
use crate::domain::process::Exit;
use crate::domain::time::Uptime;
use crate::domain::verdict::{State, Verdict};

/// A node with what is held of it.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// As it stands in the registry.
    pub node: Node,
    /// What is held of it.
    pub verdict: Verdict,
}

impl NodeView {
    /// The state that readers are told at `now`; see [`Verdict::state_at`].
    #[must_use]
    pub fn state(&self, now: Uptime, window: Duration) -> State {
        if self.node.available { self.verdict.state_at(now, window) } else { State::Disabled }
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
    /// Available nodes.
    pub total: u64,
    /// Available nodes that were up when this was published.
    pub working: u64,
    /// Whether the database has it too.
    pub persisted: bool,
    /// Whether a first pass has ended.
    pub passed: bool,
    /// How long the last pass took.
    pub last_pass: Duration,
}

impl NodesPart {
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
    /// How its process ended, where the kernel told.
    pub exit: Option<Exit>,
}

impl MigrationView {
    /// What the database alone tells: the row, and what the lock said when it was written last.
    #[must_use]
    pub fn recorded(row: Migration) -> Self {
        let lock = row.lock_data.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Self { row, lock: lock.map(Arc::new), lock_exists: false, exit: None }
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
    /// Locks that stand.
    #[must_use]
    pub fn locks(&self) -> usize {
        self.migrations.iter().filter(|view| view.lock_exists).count()
    }
}

/// Both parts; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Nodes.
    pub nodes: Arc<NodesPart>,
    /// Migrations.
    pub migrations: Arc<MigrationsPart>,
}

/// Where the snapshot stands: one writer per part, any number of readers.
#[derive(Debug, Default)]
pub struct Published {
    current: ArcSwap<Snapshot>,
    writing: Mutex<()>,
}

impl Published {
    /// The truth as it was last published.
    #[must_use]
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Replaces the nodes; their generation is set here.
    pub fn publish_nodes(&self, mut part: NodesPart) {
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

    fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        // A poisoned lock guards no data of its own: the writer that died published nothing.
        let _writing = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.current.load());
        change(&mut next);
        self.current.store(Arc::new(next));
    }
}
