//! The one writer of node verdicts.

use super::events::{self, Event};
use super::identity::IdentityColumns;
use super::{Store, StoreError};
use crate::domain::Timestamp;
use crate::domain::verdict::{State, Verdict};

/// A verdict that differs from the recorded one.
#[derive(Debug, Clone)]
pub struct VerdictWrite {
    /// The node.
    pub id: i64,
    /// Its name, for the event.
    pub name: String,
    /// The version of the node that was checked; another one in the row means that it was edited meanwhile.
    pub version: i64,
    /// The host on which the identity was seen.
    pub host_id: String,
    /// What to record.
    pub verdict: Verdict,
    /// The state turned: an event in the same transaction.
    pub flip: bool,
}

impl Store {
    /// Records verdicts and the events of those that turned, in one transaction.
    /// Nodes that were edited or removed meanwhile are left alone.
    ///
    /// # Errors
    /// [`StoreError::Database`]: then nothing is recorded.
    pub async fn record_verdicts(
        &self,
        instance: &str,
        writes: &[VerdictWrite],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for write in writes {
            let verdict = &write.verdict;
            let identity = IdentityColumns::of(verdict.identity.as_ref());
            let [pid_ns, pid, ticks, inode] = identity.numbers();
            let done = sqlx::query(
                "UPDATE procwarden_nodes SET state = ?, reason = ?, message = ?, method = ?, worked = ?, \
                 worked_data = ?, checked_at = ?, since = ?, latency_ms = ?, streak = ?, host_id = ?, boot_id = ?, \
                 pid_ns = ?, identity_pid = ?, start_ticks = ?, pidfd_inode = ? \
                 WHERE id = ? AND version = ?",
            )
            .bind(verdict.state.as_str())
            .bind(verdict.reason.map(crate::domain::observation::Reason::as_str))
            .bind(&verdict.message)
            .bind(verdict.method.map(crate::domain::Method::as_str))
            .bind(i64::from(verdict.state == State::Up))
            .bind(&verdict.data)
            .bind(verdict.checked_at.map(|at| at.0))
            .bind(verdict.since.map(|at| at.0))
            .bind(verdict.latency_ms.map(i64::from))
            .bind(i64::from(verdict.streak))
            .bind(&write.host_id)
            .bind(identity.boot_id())
            .bind(pid_ns)
            .bind(pid)
            .bind(ticks)
            .bind(inode)
            .bind(write.id)
            .bind(write.version)
            .execute(&mut *tx)
            .await?;
            if write.flip && done.rows_affected() > 0 {
                events::insert(&mut tx, instance, now, &event(write)).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }
}

fn event(write: &VerdictWrite) -> Event {
    Event {
        instance: String::new(),
        seq: 0,
        at: 0,
        kind: "node".to_owned(),
        subject_id: write.id,
        name: write.name.clone(),
        state: write.verdict.state.as_str().to_owned(),
        reason: write.verdict.reason.map(|reason| reason.as_str().to_owned()),
        status: None,
        run: None,
    }
}
