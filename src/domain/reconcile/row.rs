//! The row: which run a lock belongs to, how a run ends, and what is worth a write.

use super::standing::rewritten;
use super::{Basis, Rules, Sight, Standing, Write};
use crate::domain::migration::{Key, Lock, LockPid, Migration, Reason, Source, State, Status};
use crate::domain::time::Now;

/// The row as the lock at hand would have it, before its process is judged: a new one, the next run, or the same.
#[must_use]
pub fn row_for(
    key: &Key,
    row: Option<&Migration>,
    lock: &Lock,
    standing: &Standing,
    sight: &Sight,
    rules: &Rules,
    now: Now,
) -> Migration {
    let mut next = match row {
        None => first_row(key, rules, now),
        Some(row) if is_another_attempt(row, lock, standing) => {
            Migration { run: row.run + 1, created_at: row.created_at, ..first_row(key, rules, now) }
        }
        Some(row) => row.clone(),
    };
    if next.status == Status::Pending {
        next.status = Status::InProgress;
    }
    if next.status.is_final() && next.is_announced() && lock.pid == LockPid::Missing {
        // It ended, by their word, without a lock that was seen: one that names nobody yet is hardly its own, and the row
        // stays as it is for the run of whoever it names once it is written.
        return next;
    }
    if next.is_announced() {
        // It was nobody's; whoever sees its lock first answers for it.
        next.instance.clone_from(&rules.instance);
        next.host_id.clone_from(&rules.here.host_id);
    }
    if !next.is_attempt_of(lock) {
        if next.status.is_final() {
            // An older attempt's lock under a finished row: it changes nothing that is recorded.
            return next;
        }
        next.identity = None;
        next.exit = None;
        next.lock_taken = false;
        next.ended_at = None;
    }
    if matches!(standing, Standing::Unknown(_)) && rewritten(row, &sight.lock) {
        // Whoever wrote it cannot be seen now; the identity of before need not be its.
        next.identity = None;
    }
    next.lock_file = Some(lock.file.to_string());
    if let LockPid::Number(pid) = lock.pid {
        // It stands again, or was never removed: the usual rules apply to it.
        next.lock_taken = false;
        next.lock_pid = Some(pid);
        next.lock_started = lock.started;
    }
    next.lock_mark = Some(lock.mark);
    next.dir = sight.dir.or(next.dir);
    if let Standing::Alive(Some(alive)) = standing {
        // A later look that /proc hides must not wipe out what the first one knew.
        let known = next.identity.take().filter(|known| {
            (known.start_ticks, known.inode) != (None, None)
                && known.is_of(&rules.here)
                && !known.differs_from(&alive.identity)
        });
        next.identity = known.or_else(|| Some(alive.identity.clone()));
        next.host_id.clone_from(&rules.here.host_id);
        next.instance.clone_from(&rules.instance);
    }
    if sight.data.is_some() {
        next.lock_data.clone_from(&sight.data);
    }
    next
}

/// A row at its first sight, before anything is known of its lock and process.
#[must_use]
pub fn first_row(key: &Key, rules: &Rules, now: Now) -> Migration {
    Migration {
        key: key.clone(),
        instance: rules.instance.clone(),
        host_id: rules.here.host_id.clone(),
        status: Status::InProgress,
        state: State::Alive,
        reason: None,
        status_source: None,
        error: None,
        run: 1,
        since: now.wall,
        created_at: now.wall,
        updated_at: now.wall,
        status_updated_at: None,
        ended_at: None,
        lock_file: None,
        lock_pid: None,
        lock_started: None,
        lock_mark: None,
        dir: None,
        identity: None,
        lock_taken: false,
        their_status: None,
        exit: None,
        lock_data: None,
    }
}

/// A row whose run is over, or dead for certain, and a lock that shows a process or a start after that.
pub(super) fn is_another_attempt(row: &Migration, lock: &Lock, standing: &Standing) -> bool {
    if !(row.status.is_final() || row.death_recorded()) {
        return false;
    }
    let same = row.is_attempt_of(lock);
    match standing {
        _ if same && lock.started.is_some() => false,
        // A row that its runner's report made, its lock unseen: only what began after that end is another attempt.
        Standing::Alive(Some(_)) if row.identity.is_none() && row.lock_pid.is_none() => {
            // When it ended by an adopted table's word is told by another clock, in a zone that nobody names.
            let by_theirs = row.is_announced() && row.status_source != Some(Source::Runner);
            by_theirs || row.ended_at.is_some_and(|ended| lock.began() > ended)
        }
        Standing::Alive(Some(alive)) => row.identity.as_ref().map_or(!same, |recorded| {
            recorded.boot_id != alive.identity.boot_id || recorded.differs_from(&alive.identity)
        }),
        _ => !same && row.ended_at.is_some_and(|ended| lock.began() > ended),
    }
}

pub(super) fn set_state(row: &mut Migration, state: State, reason: Option<Reason>, now: Now) {
    if row.state != state {
        row.since = now.wall;
    }
    row.state = state;
    row.reason = reason;
}

/// Ends the run of a row.
pub fn finish(row: &mut Migration, status: Status, reason: Reason, source: Source, now: Now) {
    set_state(row, State::Finished, Some(reason), now);
    row.status = status;
    row.status_source = Some(source);
    row.status_updated_at = Some(now.wall);
    row.ended_at = row.ended_at.or(Some(now.wall));
    row.lock_taken = false;
    row.error = None;
}

/// The write that turns `row` into `next`: none if nothing that is recorded differs.
#[must_use]
pub fn write(row: Option<&Migration>, next: &Migration, now: Now) -> Write {
    let Some(row) = row else {
        return Write::Insert(Box::new(next.clone()));
    };
    // The file's own mark and content move with every progress write; alone they are not worth a row.
    let quiet = Migration {
        lock_mark: row.lock_mark,
        lock_data: row.lock_data.clone(),
        updated_at: row.updated_at,
        ..next.clone()
    };
    if quiet == *row {
        return Write::None;
    }
    // That it stalls, or goes on again, is told as a turn of the status is.
    let stalls = (next.state == State::Stalled) != (row.state == State::Stalled);
    let flip = next.status != row.status
        || (next.run != row.run && row.status.is_final())
        || (stalls && !next.status.is_final());
    let mut next = next.clone();
    next.updated_at = now.wall;
    Write::Update { basis: Basis::of(row), row: Box::new(next), flip }
}
