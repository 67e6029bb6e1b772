//! Migrations as rows, and the one compare-and-set that writes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::db::{Session, args};
use super::events::{self, NewEvent, next_seq};
use super::identity::IdentityColumns;
use super::migration_update::{Update, update};
use super::{
    Lease, Store, StoreError, TheirMigrations, TheirWrite, alerts, single, their_migrations, write,
};
use crate::domain::alert::{self, News, Rules};
use crate::domain::migration::{DirMark, Key, Mark, Migration, Reason, Source, State, Status};
use crate::domain::reconcile::{Basis, Write};
use crate::domain::{Exit, Timestamp};

/// A migration's row with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMigration {
    /// Never reused; the order of first sight.
    pub id: i64,
    /// The row.
    pub row: Migration,
}

/// What became of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It stands; the row as it is now.
    Done(Box<StoredMigration>),
    /// The row was written by somebody else since it was read, or was inserted by somebody else: nothing was written.
    Lost,
    /// The adopted row is not as it was read: nothing was written, of ours neither.
    TheirsMoved,
    /// Nothing was to be written here; the adopted row says it now.
    Told,
}

/// What is written into an adopted table with the writes: for each of them at most one row, written first, and only if
/// it stands as it was read is ours written.
#[derive(Debug, Clone, Copy)]
pub struct Tells<'a> {
    /// The table.
    pub table: &'a TheirMigrations,
    /// One for each of the writes.
    pub rows: &'a [Option<TheirWrite>],
}

impl<'a> Tells<'a> {
    fn part(self, from: usize, count: usize) -> Self {
        Self { rows: &self.rows[from..from + count], ..self }
    }

    fn of(self, at: usize) -> Option<&'a TheirWrite> {
        self.rows.get(at).and_then(Option::as_ref)
    }
}

/// What one transaction on a server may weigh. The heartbeat waits for the instance's row meanwhile: 25 first sights take
/// 2.5 s over a network that takes 50 ms there and back, and a statement may take 5 s by default.
const HEAVIEST: usize = 500;

/// A first sight is two statements of its own, other rows share one by the hundreds.
const fn weight(write: &Write) -> usize {
    match write {
        Write::Insert(_) => 20,
        Write::None | Write::Update { .. } => 1,
    }
}

/// How many of the writes the next transaction takes.
fn part<T>(writes: &[(T, Write)]) -> usize {
    let mut weighs = 0;
    let fits = writes.iter().take_while(|(_, write)| {
        weighs += weight(write);
        weighs <= HEAVIEST
    });
    fits.count()
}

/// The columns of [`MigrationRow`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, mb_project_uuid, brz_project_id, instance, host_id, status, state, reason, status_source, error, \
             run, since, created_at, updated_at, status_updated_at, ended_at, lock_file, lock_pid, lock_started, \
             lock_dev, lock_ino, lock_mtime_ns, lock_size, dir_dev, dir_ino, boot_id, pid_ns, identity_pid, \
             start_ticks, pidfd_inode, lock_taken, lock_data, their_status, exit_status FROM procwarden_migrations ",
            $rest
        )
    };
}

pub(super) const ALL: &str = select!("ORDER BY id");
pub(super) const CHANGED: &str = select!("WHERE writer = ? AND change_seq > ? ORDER BY id");
pub(super) const INSERT: &str = "INSERT INTO procwarden_migrations (mb_project_uuid, brz_project_id, instance, host_id, \
     status, state, run, since, created_at, updated_at, lock_taken) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0 FROM_DUAL \
     WHERE NOT EXISTS (SELECT 1 FROM procwarden_migrations WHERE mb_project_uuid = ? AND brz_project_id = ?)";
pub(super) const ID_OF: &str =
    "SELECT id FROM procwarden_migrations WHERE mb_project_uuid = ? AND brz_project_id = ?";
/// A row as it stands; the same type for every engine.
#[derive(sqlx::FromRow)]
struct MigrationRow {
    id: i64,
    mb_project_uuid: String,
    brz_project_id: i64,
    instance: String,
    host_id: String,
    status: String,
    state: String,
    reason: Option<String>,
    status_source: Option<String>,
    error: Option<String>,
    run: i64,
    since: i64,
    created_at: i64,
    updated_at: i64,
    status_updated_at: Option<i64>,
    ended_at: Option<i64>,
    lock_file: Option<String>,
    lock_pid: Option<i64>,
    lock_started: Option<i64>,
    lock_dev: Option<i64>,
    lock_ino: Option<i64>,
    lock_mtime_ns: Option<i64>,
    lock_size: Option<i64>,
    dir_dev: Option<i64>,
    dir_ino: Option<i64>,
    #[sqlx(flatten)]
    identity: IdentityColumns,
    lock_taken: i64,
    lock_data: Option<String>,
    their_status: Option<String>,
    exit_status: Option<i64>,
}

impl TryFrom<MigrationRow> for StoredMigration {
    type Error = StoreError;

    fn try_from(row: MigrationRow) -> Result<Self, StoreError> {
        let unknown = |column: &str, word: &str| StoreError::Corrupt {
            table: "procwarden_migrations",
            problem: format!("row {}: {column} '{word}'", row.id),
        };
        Ok(Self {
            id: row.id,
            row: Migration {
                status: Status::parse(&row.status).ok_or_else(|| unknown("status", &row.status))?,
                state: State::parse(&row.state).ok_or_else(|| unknown("state", &row.state))?,
                reason: row.reason.as_deref().and_then(Reason::parse),
                status_source: row.status_source.as_deref().and_then(Source::parse),
                lock_mark: row.mark(),
                dir: row.dir(),
                key: Key {
                    mb_project_uuid: row.mb_project_uuid,
                    brz_project_id: row.brz_project_id,
                },
                instance: row.instance,
                host_id: row.host_id,
                error: row.error,
                run: row.run,
                since: Timestamp(row.since),
                created_at: Timestamp(row.created_at),
                updated_at: Timestamp(row.updated_at),
                status_updated_at: row.status_updated_at.map(Timestamp),
                ended_at: row.ended_at.map(Timestamp),
                lock_file: row.lock_file,
                lock_pid: row.lock_pid,
                lock_started: row.lock_started.map(Timestamp),
                identity: row.identity.into_identity(),
                lock_taken: row.lock_taken != 0,
                lock_data: row.lock_data.map(Arc::from),
                their_status: row.their_status,
                exit: row.exit_status.and_then(Exit::of_wait_status),
            },
        })
    }
}

impl MigrationRow {
    fn mark(&self) -> Option<Mark> {
        Some(Mark {
            dev: self.lock_dev?.cast_unsigned(),
            ino: self.lock_ino?.cast_unsigned(),
            mtime_ns: self.lock_mtime_ns?,
            size: self.lock_size?.cast_unsigned(),
        })
    }

    fn dir(&self) -> Option<DirMark> {
        Some(DirMark { dev: self.dir_dev?.cast_unsigned(), ino: self.dir_ino?.cast_unsigned() })
    }
}

fn stored(rows: Vec<MigrationRow>) -> Result<Vec<StoredMigration>, StoreError> {
    rows.into_iter().map(StoredMigration::try_from).collect()
}

impl Store {
    /// Every migration, in the order of first sight.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn migrations(&self) -> Result<Vec<StoredMigration>, StoreError> {
        stored(single!(self, session => session.all(ALL, &[]))?)
    }

    /// The id of a migration's row.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn migration_id(&self, key: &Key) -> Result<Option<i64>, StoreError> {
        let (uuid, id) = (&key.mb_project_uuid, key.brz_project_id);
        single!(self, session => session.number(ID_OF, args![uuid, id]))
    }

    /// The migrations that an instance has written after the number `after`.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn migrations_changed(
        &self,
        writer: &str,
        after: i64,
    ) -> Result<Vec<StoredMigration>, StoreError> {
        stored(single!(self, session => session.all(CHANGED, args![writer, after]))?)
    }

    /// Applies writes, each by compare-and-set, with the events of those that flipped in the same transaction. At most one
    /// write is for any one row.
    ///
    /// # Errors
    /// [`StoreError::LostName`], [`StoreError::Database`]: then a part of the writes may stand, or none; rows are to be read
    /// again.
    pub async fn apply(
        &self,
        lease: &Lease,
        writes: &[(Option<i64>, Write)],
        now: Timestamp,
    ) -> Result<Vec<Applied>, StoreError> {
        self.apply_and_tell(lease, writes, None, now).await
    }

    /// The same, with what is written into an adopted table in the same transaction.
    ///
    /// # Errors
    /// As [`Store::apply`]; [`StoreError::TheirsDenied`] if that table may not be written.
    pub async fn apply_and_tell(
        &self,
        lease: &Lease,
        writes: &[(Option<i64>, Write)],
        tells: Option<Tells<'_>>,
        now: Timestamp,
    ) -> Result<Vec<Applied>, StoreError> {
        let mut applied = Vec::with_capacity(writes.len());
        while applied.len() < writes.len() {
            let (from, rest) = (applied.len(), &writes[applied.len()..]);
            let count = if self.is_sole() { rest.len() } else { part(rest) };
            let tells = tells.map(|tells| tells.part(from, count));
            applied.extend(self.apply_part(lease, &rest[..count], tells, now).await?);
        }
        Ok(applied)
    }

    /// One transaction.
    async fn apply_part(
        &self,
        lease: &Lease,
        writes: &[(Option<i64>, Write)],
        tells: Option<Tells<'_>>,
        now: Timestamp,
    ) -> Result<Vec<Applied>, StoreError> {
        match write!(self, tx => apply(tx, &self.alerts, lease, writes, tells, now)) {
            // Two instances inserted the same key at once. Nothing stands of ours; the second look finds the other's row.
            Err(StoreError::Database(sqlx::Error::Database(error)))
                if error.is_unique_violation() =>
            {
                write!(self, tx => apply(tx, &self.alerts, lease, writes, tells, now))
            }
            result => result,
        }
    }
}

async fn apply(
    tx: &mut Session,
    rules: &Rules,
    lease: &Lease,
    writes: &[(Option<i64>, Write)],
    tells: Option<Tells<'_>>,
    now: Timestamp,
) -> Result<Vec<Applied>, StoreError> {
    // Before our instance's own row is locked: somebody may hold theirs, and the heartbeat waits for ours.
    let mut moved = BTreeMap::new();
    for at in 0..writes.len() {
        if let Some((table, row)) = tells.and_then(|tells| Some((tells.table, tells.of(at)?))) {
            let stands = their_migrations::write(tx, table, row).await?;
            moved.insert(at, if stands { Applied::Told } else { Applied::TheirsMoved });
        }
    }
    let seq = next_seq(tx, lease, writes.len()).await?;
    let mut updates = Vec::with_capacity(writes.len());
    // For each write the id of its row, and whether it is told of.
    let mut targets = Vec::with_capacity(writes.len());
    for (at, (id, write)) in writes.iter().enumerate() {
        if moved.get(&at) == Some(&Applied::TheirsMoved) {
            targets.push(None);
            continue;
        }
        targets.push(match write {
            Write::None => None,
            Write::Insert(row) => insert(tx, row).await?.map(|id| {
                updates.push(Update::new(id, Basis::of(row), row));
                // A first sight is no flip, unless the row is born finished by its runner's report: what others have
                // recorded long ago is no news.
                (
                    id,
                    row.as_ref(),
                    row.status.is_final() && row.status_source != Some(Source::Adopted),
                )
            }),
            Write::Update { basis, row, flip } => {
                let id = id.unwrap_or_default();
                updates.push(Update::new(id, basis.clone(), row));
                Some((id, row.as_ref(), *flip))
            }
        });
    }
    let left = update(tx, (&lease.name, seq), &updates).await?;
    let stands = |target: &&Target<'_>| !left.contains(&target.0);
    let told = targets.iter().flatten().filter(stands).filter(|(_, _, told)| *told);
    let events = told.map(|(id, row, _)| event(*id, row)).collect();
    events::insert(tx, &lease.name, now, seq, events).await?;
    if rules.wants_any() {
        let stand = targets.iter().zip(writes).filter_map(|(target, (_, write))| {
            let (_, row, told) = target.as_ref().filter(stands)?;
            told.then(|| alert::of_migration(write.basis(), row))
        });
        let news: Vec<News> = stand.flatten().collect();
        alerts::tell(tx, rules, (&lease.name, seq), now, news).await?;
    }
    let applied = |target: &Option<Target<'_>>| match target.as_ref().filter(stands) {
        Some((id, row, _)) => {
            Applied::Done(Box::new(StoredMigration { id: *id, row: Migration::clone(row) }))
        }
        None => Applied::Lost,
    };
    let mut applied: Vec<Applied> = targets.iter().map(applied).collect();
    for (at, outcome) in moved {
        // A row of ours that was written says it by itself; one that lost its race undoes what was told.
        match (&writes[at].1, &applied[at], &outcome) {
            (_, _, Applied::TheirsMoved) | (Write::None, ..) => applied[at] = outcome,
            (_, Applied::Lost, _) => return Err(StoreError::Undone),
            _ => {}
        }
    }
    Ok(applied)
}

/// A row's id, the row, and whether an event tells of it.
type Target<'a> = (i64, &'a Migration, bool);

/// The id of the new row; none if there is one of that key. What is not in the key is written by the update after it.
async fn insert(tx: &mut Session, row: &Migration) -> Result<Option<i64>, StoreError> {
    let (uuid, project) = (&row.key.mb_project_uuid, row.key.brz_project_id);
    let inserted = tx
        .execute(
            INSERT,
            args![
                uuid,
                project,
                &row.instance,
                &row.host_id,
                row.status.as_str(),
                row.state.as_str(),
                row.run,
                row.since.0,
                row.created_at.0,
                row.updated_at.0,
                uuid,
                project,
            ],
        )
        .await?;
    if inserted == 0 {
        return Ok(None);
    }
    // Read back: no way to ask for the new id is common to the engines.
    Ok(Some(tx.number(ID_OF, args![uuid, project]).await?.unwrap_or_default()))
}

fn event(id: i64, row: &Migration) -> NewEvent<'_> {
    NewEvent {
        seq: 0,
        kind: "migration",
        id,
        name: &row.key.mb_project_uuid,
        state: row.state.as_str(),
        reason: row.reason.map(Reason::as_str),
        status: Some(row.status.as_str()),
        run: Some(row.run),
        exit_status: row.exit.map(Exit::wait_status),
        was_state: None,
    }
}
