//! The one writer of node verdicts.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::Serialize;

use super::batch::{self, BATCH};
use super::db::{Arg, Session, args};
use super::dialect::Text;
use super::events::{self, NewEvent, next_seq};
use super::fleet::CLAIMED;
use super::identity::IdentityColumns;
use super::{Engine, Lease, Store, StoreError, alerts, verdict_statements, write};
use crate::domain::alert::Rules;
use crate::domain::verdict::{State, Verdict};
use crate::domain::{Method, Timestamp};

/// A verdict that differs from the recorded one.
#[derive(Debug, Clone)]
pub struct VerdictWrite {
    /// The node.
    pub id: i64,
    /// Its name, for the event.
    pub name: String,
    /// The version of the node that was checked; another one in the row means that it was edited meanwhile.
    pub version: i64,
    /// The epoch of the owner that checked it; another one in the row means that it was taken over meanwhile.
    pub owner_epoch: i64,
    /// The recorded state that the verdict was made from; another one in the row means that somebody else wrote it, or
    /// that this very write stands already.
    pub was: State,
    /// The host on which the identity was seen.
    pub host_id: String,
    /// What to record.
    pub verdict: Verdict,
    /// The state turned: an event in the same transaction.
    pub flip: bool,
}

/// Rows of one statement in SQLite; it takes 32,766 values at most.
const TOGETHER: usize = 100;

/// A row of the batch.
#[derive(Serialize)]
struct VerdictRow<'a> {
    id: i64,
    version: i64,
    epoch: i64,
    was: &'static str,
    state: &'static str,
    reason: Option<&'static str>,
    method: Option<&'static str>,
    worked: i64,
    checked_at: Option<i64>,
    since: Option<i64>,
    latency_ms: Option<u32>,
    streak: u32,
    host_id: &'a str,
    #[serde(flatten)]
    identity: IdentityColumns,
    // The long ones are the last: MariaDB walks over all that stands before a field to find it.
    message: &'a str,
    worked_data: Option<&'a str>,
}

impl<'a> VerdictRow<'a> {
    fn of(write: &'a VerdictWrite) -> Self {
        let verdict = &write.verdict;
        Self {
            id: write.id,
            version: write.version,
            epoch: write.owner_epoch,
            was: write.was.as_str(),
            state: verdict.state.as_str(),
            reason: verdict.reason.map(crate::domain::observation::Reason::as_str),
            method: verdict.method.map(Method::as_str),
            worked: i64::from(verdict.state == State::Up),
            checked_at: verdict.checked_at.map(|at| at.0),
            since: verdict.since.map(|at| at.0),
            latency_ms: verdict.latency_ms,
            streak: verdict.streak,
            host_id: &write.host_id,
            identity: IdentityColumns::of(verdict.identity.as_ref()),
            message: &verdict.message,
            worked_data: verdict.data.as_deref(),
        }
    }
}

impl VerdictRow<'_> {
    /// In the order of the fields.
    fn values(&self) -> [Arg<'_>; 20] {
        let identity = &self.identity;
        [
            self.id.into(),
            self.version.into(),
            self.epoch.into(),
            self.was.into(),
            self.state.into(),
            self.reason.into(),
            self.method.into(),
            self.worked.into(),
            self.checked_at.into(),
            self.since.into(),
            self.latency_ms.map(i64::from).into(),
            i64::from(self.streak).into(),
            self.host_id.into(),
            (&identity.boot_id).into(),
            identity.pid_ns.into(),
            identity.identity_pid.into(),
            identity.start_ticks.into(),
            identity.pidfd_inode.into(),
            self.message.into(),
            self.worked_data.into(),
        ]
    }
}

impl Store {
    /// Records verdicts and the events of those that turned, in one transaction. Gives the ids of the nodes that were
    /// left alone: edited, removed, taken over or recorded by another meanwhile.
    ///
    /// # Errors
    /// [`StoreError::LostName`], [`StoreError::Database`]: then nothing is recorded. After [`StoreError::Timeout`], or if
    /// the connection broke, all or nothing is; the same write again changes nothing that stands.
    pub async fn record_verdicts(
        &self,
        lease: &Lease,
        writes: &[VerdictWrite],
        now: Timestamp,
    ) -> Result<BTreeSet<i64>, StoreError> {
        if writes.is_empty() {
            return Ok(BTreeSet::new());
        }
        write!(self, tx => record(tx, &self.alerts, lease, writes, now))
    }
}

async fn record(
    tx: &mut Session,
    rules: &Rules,
    lease: &Lease,
    writes: &[VerdictWrite],
    now: Timestamp,
) -> Result<BTreeSet<i64>, StoreError> {
    let flips = writes.iter().filter(|write| write.flip).count();
    let seq = next_seq(tx, lease, flips).await?;
    let changed = update(tx, &lease.name, seq, writes).await?;
    let mut left = BTreeSet::new();
    if changed < writes.len() as u64 {
        let ids: Vec<(i64,)> = tx.all(CLAIMED, args![&lease.name, seq]).await?;
        let done: BTreeSet<i64> = ids.into_iter().map(|(id,)| id).collect();
        left.extend(writes.iter().map(|it| it.id).filter(|id| !done.contains(id)));
    }
    let turned = writes.iter().filter(|it| it.flip && !left.contains(&it.id));
    events::insert(tx, &lease.name, now, seq, turned.map(event).collect()).await?;
    alerts::of_verdicts(tx, rules, &lease.name, (seq, now), writes).await?;
    Ok(left)
}

async fn update(
    tx: &mut Session,
    writer: &str,
    seq: i64,
    writes: &[VerdictWrite],
) -> Result<u64, StoreError> {
    let engine = tx.engine();
    if engine == Engine::Sqlite {
        return update_bound(tx, writer, seq, writes).await;
    }
    let statement = verdict_statements::record(engine);
    let mut changed = 0;
    for batch in writes.chunks(BATCH) {
        let rows: Vec<VerdictRow<'_>> = batch.iter().map(VerdictRow::of).collect();
        let rows = batch::rows(engine, &rows)?;
        changed += match engine {
            Engine::MySql => tx.execute(statement, args![&rows, writer, seq]).await?,
            _ => tx.execute(statement, args![writer, seq, &rows]).await?,
        };
    }
    Ok(changed)
}

/// In SQLite the way to the thread that runs a statement costs more than the statement, so many rows go together: 10,000 took
/// 2.6 times as long as one bare `UPDATE` of theirs when each went alone, and half as long now (`scripts/bench`).
async fn update_bound(
    tx: &mut Session,
    writer: &str,
    seq: i64,
    writes: &[VerdictWrite],
) -> Result<u64, StoreError> {
    static MANY: LazyLock<Text> = LazyLock::new(|| verdict_statements::record_together(TOGETHER));
    let one = Text::from(verdict_statements::record(Engine::Sqlite));
    let (many, rest) = writes.as_chunks::<TOGETHER>();
    let many = many.iter().map(|batch| (&*MANY, batch.as_slice()));
    let batches = many.chain(rest.chunks(1).map(|batch| (&one, batch)));
    let mut changed = 0;
    for (statement, batch) in batches {
        let rows: Vec<VerdictRow<'_>> = batch.iter().map(VerdictRow::of).collect();
        let mut values: Vec<Arg<'_>> = rows.iter().flat_map(VerdictRow::values).collect();
        values.extend_from_slice(args![writer, seq]);
        changed += tx.execute(statement, &values).await?;
    }
    Ok(changed)
}

fn event(write: &VerdictWrite) -> NewEvent<'_> {
    NewEvent {
        seq: 0,
        kind: "node",
        id: write.id,
        name: &write.name,
        state: write.verdict.state.as_str(),
        reason: write.verdict.reason.map(crate::domain::observation::Reason::as_str),
        status: None,
        run: None,
        exit_status: None,
        was_state: Some(write.was.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::store::dialect::numbered;

    #[test]
    fn mysql_and_sqlite_take_each_field_by_its_place() {
        let write = VerdictWrite {
            id: 1,
            name: "n".to_owned(),
            version: 1,
            owner_epoch: 0,
            was: State::Unknown,
            host_id: "h".to_owned(),
            verdict: Verdict::default(),
            flip: false,
        };
        let row = VerdictRow::of(&write);
        let Value::Object(fields) = serde_json::to_value(&row).unwrap() else { unreachable!() };
        let fields: Vec<String> = fields.into_iter().map(|(name, _)| name).collect();
        assert_eq!(numbered(verdict_statements::record(Engine::MySql)), fields);
        let sqlite = verdict_statements::record(Engine::Sqlite);
        let names = sqlite.split_once("WITH v(").unwrap().1.split_once(')').unwrap().0;
        assert_eq!(names.split(", ").collect::<Vec<_>>(), fields);
    }
}
