//! Our name among the instances: taken when nobody has it, taken over from a holder that is gone, refused otherwise.

use std::time::Duration;

use crate::clock;
use crate::domain::fleet::{NameRow, NameStep, name_step};
use crate::domain::{Here, Presence, Timestamp};
use crate::process::Processes;
use crate::store::{Holder, InstanceRow, Lease, Store, StoreError};

/// How often a holder's lease is looked at while it is waited for.
const PAUSE: Duration = Duration::from_millis(250);

/// Why the name was not had.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// Another instance has it and is alive.
    #[error(
        "the instance '{name}' runs already: PID {pid} on host {host}, last heartbeat {} ago; give this one another \
         instance.name",
        humantime::format_duration(*.ago)
    )]
    Held {
        /// Which name.
        name: String,
        /// The holder's PID, as its host counts.
        pid: i64,
        /// The holder's host identity.
        host: String,
        /// Age of its last heartbeat, in whole seconds, by the database's clock.
        ago: Duration,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is done about a holder whose lease still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Its lease is waited for; only if it is renewed the name is refused.
    Wait,
    /// The name is refused at once, unless the holder's process is dead for certain.
    None,
}

/// Takes the name `name` for this process, for as long as `lease` after each heartbeat.
///
/// # Errors
/// [`NameError`].
pub async fn take(
    store: &Store,
    processes: &Processes,
    name: &str,
    lease: Duration,
    patience: Patience,
) -> Result<Lease, NameError> {
    let holder = Holder {
        name: name.to_owned(),
        here: processes.here().clone(),
        pid: std::process::id(),
        start_ticks: ticks_of(processes.look(i64::from(std::process::id()))),
        since: clock::now().wall,
        lease,
    };
    let began = tokio::time::Instant::now();
    let mut first_beat = None;
    loop {
        let fleet = store.fleet().await?;
        let row = fleet.instances.into_iter().find(|row| row.name == name);
        let Some(row) = row else {
            if let Some(lease) = store.take_name(&holder, None, false).await? {
                return Ok(lease);
            }
            continue;
        };
        let same_host = is_of(&row, &holder.here);
        // One server per file: that it is ours was proven by its lock.
        let holder_dead = if store.is_sole() {
            Some(true)
        } else {
            same_host.then(|| is_dead(processes, &row)).flatten()
        };
        let seen = NameRow {
            expires_at: row.expires_at,
            beats_seen_first: *first_beat.get_or_insert(row.last_beat),
            last_beat: row.last_beat,
            lease_ms: row.lease_ms,
            waited_ms: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
            same_host: same_host || store.is_sole(),
            holder_dead,
        };
        let step = match name_step(&seen, fleet.now) {
            NameStep::Wait if patience == Patience::None => NameStep::Refuse,
            step => step,
        };
        match step {
            NameStep::Take => {
                let is_dead = holder_dead == Some(true);
                if let Some(lease) = store.take_name(&holder, Some(&row), is_dead).await? {
                    return Ok(lease);
                }
            }
            NameStep::Wait => {
                if began.elapsed() < PAUSE {
                    tracing::info!(
                        name,
                        "the name is held by an instance that may be gone: its lease is waited for"
                    );
                }
            }
            NameStep::Refuse => {
                let ago = Timestamp(fleet.now).since(Timestamp(row.last_beat)).as_secs();
                return Err(NameError::Held {
                    name: row.name,
                    pid: row.pid,
                    host: row.host_id,
                    ago: Duration::from_secs(ago),
                });
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Was the row written in this very PID table: this machine, this boot, this PID namespace? Machine ids alone may be
/// cloned.
fn is_of(row: &InstanceRow, here: &Here) -> bool {
    (row.host_id.as_str(), row.boot_id.as_str(), row.pid_ns)
        == (here.host_id.as_str(), here.boot_id.as_str(), here.pid_ns.cast_signed())
}

/// Is the process that wrote the row dead? None if it cannot be told.
fn is_dead(processes: &Processes, row: &InstanceRow) -> Option<bool> {
    match processes.look(row.pid) {
        Presence::Dead(_) => Some(true),
        Presence::Alive(alive) => {
            let now = alive.identity.start_ticks?;
            Some(now != row.start_ticks?.cast_unsigned())
        }
        Presence::Unknown(_) => None,
    }
}

fn ticks_of(presence: Presence) -> Option<u64> {
    match presence {
        Presence::Alive(alive) => alive.identity.start_ticks,
        _ => None,
    }
}
