//! The task that follows their table of nodes, and tells it what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::book::Book;
use super::difference::differences;
use super::mirror::{LeftOut, plan, take};
use super::tell::Tellings;
use crate::clock;
use crate::config::Settings;
use crate::domain::adopt::{Code, Difference};
use crate::domain::time::Uptime;
use crate::registry::{Registry, RegistryError};
use crate::snapshot::{NodesPart, Published};
use crate::store::{Store, StoreError, StoredNode, TheirNode, TheirNodesTable, Told};

/// How often is looked whether there is something to tell, at most.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How long a table that may not be written is left alone.
const DENIED_PAUSE: Duration = Duration::from_mins(1);

/// Rows of one transaction.
const ROWS_AT_ONCE: usize = 500;

/// What follows while their table cannot be read, and while it may not be written.
const UNFOLLOWED: &str = "their nodes cannot be followed; those that are known stay as they are";
const UNWRITTEN: &str = "worked and worked_data are not written";

/// Why their nodes cannot be adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Ids are theirs, so none may be ours.
    #[error(
        "the registry has {count} nodes of its own, and with adopt.nodes the nodes are those of {table}: remove them \
         (`procwarden nodes remove`), or leave adopt.nodes out and copy theirs once (`procwarden nodes import --from \
         laravel`)"
    )]
    OwnNodes {
        /// How many.
        count: i64,
        /// Whose nodes are meant.
        table: String,
    },
    /// Their table, or the database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Ours.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a write to theirs did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Untold {
    /// We may not; what the database says.
    Denied(String),
    /// The database.
    Failed,
}

/// The task's state.
#[derive(Debug)]
pub struct Nodes {
    store: Store,
    registry: Registry,
    table: TheirNodesTable,
    interval: Duration,
    /// May theirs be written?
    writes: bool,
    /// The rows that are mirrored, each with its id as it is written there.
    keys: BTreeMap<i64, String>,
    left_out: Vec<LeftOut>,
    renamed: Vec<LeftOut>,
    unreadable: bool,
    /// Why they are not told how they are.
    untold: Option<Untold>,
    /// Nothing is told before.
    pause: Option<Instant>,
    tellings: Tellings,
    book: Book,
}

impl Nodes {
    /// Looks their table up and mirrors it for the first time. None if the settings name no table: then what was mirrored
    /// before is removed.
    ///
    /// # Errors
    /// [`AdoptError`].
    pub async fn start(
        store: &Store,
        registry: &Registry,
        settings: &Settings,
    ) -> Result<Option<Self>, AdoptError> {
        let Some(name) = settings.adopt.nodes() else { return Ok(None) };
        let table = store.their_nodes_table(name).await?;
        let count = registry.own().await?;
        if count > 0 {
            return Err(AdoptError::OwnNodes { count, table: name.to_string() });
        }
        let writes = settings.adopt.writes();
        if writes && !table.kept().is_empty() {
            tracing::warn!(
                table = %name,
                columns = table.kept().join(", "),
                "these change by themselves with each UPDATE: they are set to what they are, which takes the right to \
                 UPDATE them as well"
            );
        }
        let mut nodes = Self {
            store: store.clone(),
            registry: registry.clone(),
            table,
            interval: settings.nodes.interval,
            writes,
            keys: BTreeMap::new(),
            left_out: Vec::new(),
            renamed: Vec::new(),
            unreadable: false,
            untold: None,
            pause: None,
            tellings: Tellings::default(),
            book: Book::new(
                settings.instance.name.clone(),
                "node",
                &name.to_string(),
                settings.nodes.interval * 2,
            ),
        };
        // Who lives is not judged yet.
        nodes.read(&BTreeMap::new()).await?;
        tracing::info!(table = %name, nodes = nodes.keys.len(), writes, "their nodes are adopted");
        Ok(Some(nodes))
    }

    /// Removes what was mirrored by an instance that adopts no nodes any more, ours or one that is gone.
    ///
    /// # Errors
    /// [`AdoptError::Registry`].
    pub async fn end(registry: &Registry, settings: &Settings) -> Result<(), AdoptError> {
        if settings.adopt.nodes().is_none() {
            let nodes = registry.let_go().await?;
            if nodes > 0 {
                tracing::info!(nodes, "no nodes are adopted any more: their mirror is removed");
            }
        }
        Ok(())
    }

    /// The same, waking through this registry.
    #[must_use]
    pub fn through(self, registry: Registry) -> Self {
        Self { registry, ..self }
    }

    /// Follows their table until the token is cancelled.
    pub async fn run(mut self, published: Arc<Published>, token: CancellationToken) {
        let mut reading = interval(self.interval);
        let mut telling = interval(self.interval.min(TELL_EVERY));
        reading.set_missed_tick_behavior(MissedTickBehavior::Delay);
        telling.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                _ = reading.tick() => {
                    self.follow(&published).await;
                    self.report().await;
                }
                _ = telling.tick(), if self.writes => self.tell(&published).await,
            }
        }
    }

    async fn follow(&mut self, published: &Published) {
        let snapshot = Arc::clone(&published.load());
        let fleet = snapshot.fleet.instances.iter();
        let live = fleet.map(|it| (it.name.clone(), it.live)).collect();
        match self.read(&live).await {
            Ok(rows) => {
                if std::mem::take(&mut self.unreadable) {
                    tracing::info!(table = %self.table.name(), "their nodes can be followed again");
                }
                self.compare(&rows, &snapshot.nodes);
            }
            Err(error) => {
                self.unreadable = true;
                let why = crate::causes::chain(&error);
                self.book.see_table(Difference::unreadable(why, UNFOLLOWED), clock::now());
            }
        }
    }

    /// Reads their table and brings ours in line with it; `live` says which of the known instances are.
    async fn read(&mut self, live: &BTreeMap<String, bool>) -> Result<Vec<TheirNode>, AdoptError> {
        let rows = self.store.their_nodes(&self.table).await?;
        let taken = take(&rows);
        self.left_out.clone_from(&taken.left_out);
        self.renamed.clone_from(&taken.renamed);
        let planned = |ours: &[StoredNode], instance: &str, lost: &BTreeSet<String>| {
            plan(&taken.nodes, ours, instance, lost)
        };
        let (ours, wrote) = self.registry.mirror(live, planned).await?;
        if wrote {
            tracing::info!(table = %self.table.name(), nodes = ours.len(), "their nodes changed");
        }
        let rows: Vec<TheirNode> = rows.into_iter().flatten().collect();
        let mirrored: BTreeSet<i64> = ours.iter().map(|it| it.node.id).collect();
        self.keys.clear();
        for row in rows.iter().filter(|row| mirrored.contains(&row.id)) {
            self.keys.entry(row.id).or_insert_with(|| row.key.clone());
        }
        Ok(rows)
    }

    fn compare(&mut self, rows: &[TheirNode], part: &NodesPart) {
        let now = clock::now();
        let told = part.nodes.iter().filter(|view| view.is_mine() && view.node.available);
        let told: BTreeSet<i64> = told.map(|view| view.node.id).collect();
        self.tellings.keep(&self.keys, |id| told.contains(&id));
        for (id, difference) in differences(rows, part, now.up) {
            self.book.see(id, difference, now);
        }
        for (id, why) in self.tellings.refused() {
            self.book.see(id, refused_row(why), now);
        }
        for LeftOut { id, problem } in &self.left_out {
            self.book.see(id, bad_row(problem, "left out"), now);
        }
        for LeftOut { id, problem } in &self.renamed {
            self.book.see(id, bad_row(problem, "taken under another name"), now);
        }
        if let Some(Untold::Denied(why)) = &self.untold {
            self.book.see_table(Difference::denied(why, UNWRITTEN), now);
        }
    }

    /// Ends a look: what was not seen in it is over.
    async fn report(&mut self) {
        let now = clock::now();
        // The next look comes by itself.
        let _ = self.book.end_look(now);
        if let Err(error) = self.book.flush(&self.store, now).await {
            tracing::debug!(error = error.chain(), "what adoption found is not written yet");
        }
    }

    /// Writes what is due; what could not be written is due again.
    async fn tell(&mut self, published: &Published) {
        if self.pause.is_some_and(|end| Instant::now() < end) {
            return;
        }
        self.pause = None;
        let part = Arc::clone(&published.load().nodes);
        let now = clock::now().up;
        let due = self.tellings.due(&self.keys, &part, now);
        let alone = due.alone.chunks(1);
        for batch in due.together.chunks(ROWS_AT_ONCE).chain(alone) {
            if let Err(error) = self.tell_batch(batch, now).await {
                self.not_told(&error);
                return;
            }
        }
    }

    /// Writes these rows, one by one if they cannot be written together: one that is refused keeps no other back. Fails
    /// if none can be.
    async fn tell_batch(&mut self, batch: &[(i64, Told)], now: Uptime) -> Result<(), StoreError> {
        let told: Vec<_> = batch.iter().map(|(_, told)| told.clone()).collect();
        match self.store.tell_their_nodes(&self.table, &told).await {
            Ok(_) => {
                self.told(batch, now);
                return Ok(());
            }
            Err(error) if error.is_absence() => return Err(error),
            Err(_) => self.store.can_tell_their_nodes(&self.table).await?,
        }
        for row in batch {
            match self.store.tell_their_nodes(&self.table, std::slice::from_ref(&row.1)).await {
                Ok(_) => self.told(std::slice::from_ref(row), now),
                Err(error) if error.is_absence() => return Err(error),
                Err(error) => self.tellings.refuse(row, &error.chain(), now),
            }
        }
        Ok(())
    }

    fn told(&mut self, rows: &[(i64, Told)], now: Uptime) {
        self.tellings.stands(rows, now);
        if self.untold.take().is_some() {
            tracing::info!(table = %self.table.name(), "their nodes are told again how they are");
        }
    }

    fn not_told(&mut self, error: &StoreError) {
        let (why, pause) = match error {
            StoreError::TheirsDenied { .. } => (Untold::Denied(error.chain()), DENIED_PAUSE),
            _ => (Untold::Failed, self.interval),
        };
        self.pause = Some(Instant::now() + pause);
        let denied = matches!(why, Untold::Denied(_));
        if self.untold.replace(why).is_none() && !denied {
            let (table, error) = (self.table.name(), error.chain());
            tracing::error!(%table, error, "their nodes are not told how they are; it is tried again");
        }
    }
}

fn bad_row(problem: &str, ours: &str) -> Difference {
    Difference {
        code: Code::BadRow,
        theirs: problem.to_owned(),
        ours: ours.to_owned(),
        rule: "names have 1 to 128 characters, no '/', and are not all digits; ports are 1 to 65535; hosts are not empty",
    }
}

fn refused_row(why: &str) -> Difference {
    Difference {
        code: Code::WriteFailed,
        theirs: why.to_owned(),
        ours: "worked and worked_data of this row are not written; it is tried again each minute"
            .to_owned(),
        rule: "the database refuses the UPDATE of this row alone: look at the table's triggers, constraints and policies, \
               and at who holds the row",
    }
}
