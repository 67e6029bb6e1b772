//! Migrations as rows, and the one compare-and-set that writes them.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, Sqlite, Transaction};

use super::events::{self, Event};
use super::identity::IdentityColumns;
use super::{Store, StoreError};
use crate::domain::migration::{DirMark, Key, Mark, Migration, Reason, Source, State, Status};
use crate::domain::reconcile::Write;
use crate::domain::{Identity, Timestamp};

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
    /// The row had another run or status, or was inserted by somebody else: nothing was written.
    Lost,
}

const SELECT: &str = "SELECT id, mb_project_uuid, brz_project_id, instance, host_id, status, state, reason, \
     status_source, error, run, since, created_at, updated_at, status_updated_at, ended_at, lock_file, lock_pid, \
     lock_started, lock_dev, lock_ino, lock_mtime_ns, lock_size, dir_dev, dir_ino, boot_id, pid_ns, identity_pid, \
     start_ticks, pidfd_inode, lock_taken, lock_data FROM procwarden_migrations ORDER BY id";

impl FromRow<'_, SqliteRow> for StoredMigration {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let identity: Option<Identity> = IdentityColumns::from_row(row)?.into_identity();
        Ok(Self {
            id: row.try_get("id")?,
            row: Migration {
                key: Key {
                    mb_project_uuid: row.try_get("mb_project_uuid")?,
                    brz_project_id: row.try_get("brz_project_id")?,
                },
                instance: row.try_get("instance")?,
                host_id: row.try_get("host_id")?,
                status: word(row, "status", Status::parse)?,
                state: word(row, "state", State::parse)?,
                reason: maybe_word(row, "reason", Reason::parse)?,
                status_source: maybe_word(row, "status_source", Source::parse)?,
                error: row.try_get("error")?,
                run: row.try_get("run")?,
                since: Timestamp(row.try_get("since")?),
                created_at: Timestamp(row.try_get("created_at")?),
                updated_at: Timestamp(row.try_get("updated_at")?),
                status_updated_at: time(row, "status_updated_at")?,
                ended_at: time(row, "ended_at")?,
                lock_file: row.try_get("lock_file")?,
                lock_pid: row.try_get("lock_pid")?,
                lock_started: time(row, "lock_started")?,
                lock_mark: mark(row)?,
                dir: dir(row)?,
                identity,
                lock_taken: row.try_get::<i64, _>("lock_taken")? != 0,
                lock_data: row.try_get("lock_data")?,
            },
        })
    }
}

fn word<T>(row: &SqliteRow, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    parse(&text).ok_or_else(|| sqlx::Error::Decode(format!("{column}: '{text}'").into()))
}

fn maybe_word<T>(
    row: &SqliteRow,
    column: &str,
    parse: fn(&str) -> Option<T>,
) -> Result<Option<T>, sqlx::Error> {
    let text: Option<String> = row.try_get(column)?;
    Ok(text.as_deref().and_then(parse))
}

fn time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp))
}

fn unsigned(row: &SqliteRow, column: &str) -> Result<Option<u64>, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(i64::cast_unsigned))
}

fn mark(row: &SqliteRow) -> Result<Option<Mark>, sqlx::Error> {
    let (dev, ino) = (unsigned(row, "lock_dev")?, unsigned(row, "lock_ino")?);
    let mtime: Option<i64> = row.try_get("lock_mtime_ns")?;
    Ok(match (dev, ino, mtime, unsigned(row, "lock_size")?) {
        (Some(dev), Some(ino), Some(mtime_ns), Some(size)) => {
            Some(Mark { dev, ino, mtime_ns, size })
        }
        _ => None,
    })
}

fn dir(row: &SqliteRow) -> Result<Option<DirMark>, sqlx::Error> {
    let both = (unsigned(row, "dir_dev")?, unsigned(row, "dir_ino")?);
    Ok(if let (Some(dev), Some(ino)) = both { Some(DirMark { dev, ino }) } else { None })
}

impl Store {
    /// Every migration, in the order of first sight.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn migrations(&self) -> Result<Vec<StoredMigration>, StoreError> {
        Ok(sqlx::query_as(SELECT).fetch_all(&self.pool).await?)
    }

    /// Applies writes in one transaction, each by compare-and-set on run and status; an event for each that turns.
    /// A write that lost its race changes nothing and does not hold up the others.
    ///
    /// # Errors
    /// [`StoreError::Database`]: then nothing is written.
    pub async fn apply(
        &self,
        instance: &str,
        writes: &[(Option<i64>, Write)],
        now: Timestamp,
    ) -> Result<Vec<Applied>, StoreError> {
        let mut tx = self.begin().await?;
        let mut applied = Vec::with_capacity(writes.len());
        for (id, write) in writes {
            applied.push(match write {
                Write::None => Applied::Lost,
                Write::Insert(row) => insert(&mut tx, instance, row, now).await?,
                Write::Update { run, status, row, flip, .. } => {
                    let id = id.unwrap_or_default();
                    let changed = update(&mut tx, id, *run, *status, row).await?;
                    if changed && *flip {
                        events::insert(&mut tx, instance, now, &event(id, row)).await?;
                    }
                    if changed {
                        Applied::Done(Box::new(StoredMigration { id, row: Migration::clone(row) }))
                    } else {
                        Applied::Lost
                    }
                }
            });
        }
        crate::failpoint::at("in-transaction");
        tx.commit().await?;
        Ok(applied)
    }
}

async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    instance: &str,
    row: &Migration,
    now: Timestamp,
) -> Result<Applied, StoreError> {
    let done = sqlx::query(
        "INSERT INTO procwarden_migrations (mb_project_uuid, brz_project_id, instance, host_id, status, state, run, \
         since, created_at, updated_at, lock_taken) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0) \
         ON CONFLICT (mb_project_uuid, brz_project_id) DO NOTHING",
    )
    .bind(&row.key.mb_project_uuid)
    .bind(row.key.brz_project_id)
    .bind(&row.instance)
    .bind(&row.host_id)
    .bind(row.status.as_str())
    .bind(row.state.as_str())
    .bind(row.run)
    .bind(row.since.0)
    .bind(row.created_at.0)
    .bind(row.updated_at.0)
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(Applied::Lost);
    }
    let id = done.last_insert_rowid();
    update(tx, id, row.run, row.status, row).await?;
    // A first sight is no flip, unless the row is born finished by its runner's report.
    if row.status.is_final() {
        events::insert(tx, instance, now, &event(id, row)).await?;
    }
    Ok(Applied::Done(Box::new(StoredMigration { id, row: row.clone() })))
}

async fn update(
    tx: &mut Transaction<'_, Sqlite>,
    id: i64,
    run: i64,
    status: Status,
    row: &Migration,
) -> Result<bool, StoreError> {
    let identity = IdentityColumns::of(row.identity.as_ref());
    let [pid_ns, pid, ticks, inode] = identity.numbers();
    let done = sqlx::query(
        "UPDATE procwarden_migrations SET instance = ?, host_id = ?, status = ?, state = ?, reason = ?, \
         status_source = ?, error = ?, run = ?, since = ?, updated_at = ?, status_updated_at = ?, ended_at = ?, \
         lock_file = ?, lock_pid = ?, lock_started = ?, lock_dev = ?, lock_ino = ?, lock_mtime_ns = ?, \
         lock_size = ?, dir_dev = ?, dir_ino = ?, boot_id = ?, pid_ns = ?, identity_pid = ?, start_ticks = ?, \
         pidfd_inode = ?, lock_taken = ?, lock_data = ? WHERE id = ? AND run = ? AND status = ?",
    )
    .bind(&row.instance)
    .bind(&row.host_id)
    .bind(row.status.as_str())
    .bind(row.state.as_str())
    .bind(row.reason.map(Reason::as_str))
    .bind(row.status_source.map(Source::as_str))
    .bind(&row.error)
    .bind(row.run)
    .bind(row.since.0)
    .bind(row.updated_at.0)
    .bind(row.status_updated_at.map(|at| at.0))
    .bind(row.ended_at.map(|at| at.0))
    .bind(&row.lock_file)
    .bind(row.lock_pid)
    .bind(row.lock_started.map(|at| at.0))
    .bind(row.lock_mark.map(|mark| mark.dev.cast_signed()))
    .bind(row.lock_mark.map(|mark| mark.ino.cast_signed()))
    .bind(row.lock_mark.map(|mark| mark.mtime_ns))
    .bind(row.lock_mark.map(|mark| mark.size.cast_signed()))
    .bind(row.dir.map(|dir| dir.dev.cast_signed()))
    .bind(row.dir.map(|dir| dir.ino.cast_signed()))
    .bind(identity.boot_id())
    .bind(pid_ns)
    .bind(pid)
    .bind(ticks)
    .bind(inode)
    .bind(i64::from(row.lock_taken))
    .bind(&row.lock_data)
    .bind(id)
    .bind(run)
    .bind(status.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn event(id: i64, row: &Migration) -> Event {
    Event {
        instance: String::new(),
        seq: 0,
        at: 0,
        kind: "migration".to_owned(),
        subject_id: id,
        name: row.key.mb_project_uuid.clone(),
        state: row.state.as_str().to_owned(),
        reason: row.reason.map(|reason| reason.as_str().to_owned()),
        status: Some(row.status.as_str().to_owned()),
        run: Some(row.run),
    }
}
