//! What people and runners say of a migration: the runner's report, the operator's removal of a lock.

use super::migration::{Key, Lock, Migration, Reason, Source, Status};
use super::reconcile::{
    Rules, Sight, Standing, Write, finish, first_row, may_act, row_for, standing, write,
};
use super::time::Now;

/// `PATCH /migrations/{id}`: the runner's own word about its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Report {
    /// `success`, `completed` or `error`, stored as sent.
    pub status: Status,
    /// For people, with `error`.
    pub error: Option<String>,
    /// The run that is meant, if the runner knows it.
    pub run: Option<i64>,
}

/// Why a report changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No row, no lock, and nothing to make a row of.
    NotFound,
    /// The run has ended otherwise.
    AlreadyFinished(Status),
    /// The row is at another run.
    RunMismatch(i64),
}

/// What a report does to a row. `lock` is what this id's lock shows now, if there is one; `may_insert` is true
/// when the body names the key in full.
///
/// # Errors
/// [`Refusal`] when it changes nothing and is not a repetition.
pub fn report(
    key: &Key,
    row: Option<&Migration>,
    lock: Option<(&Lock, &Sight)>,
    body: &Report,
    may_insert: bool,
    rules: &Rules,
    now: Now,
) -> Result<(Write, Migration), Refusal> {
    let mut next = match (row, lock) {
        (None, None) if !may_insert => return Err(Refusal::NotFound),
        (Some(row), None) => row.clone(),
        (None, None) => first_row(key, rules, now),
        (row, Some((lock, sight))) => seen(key, row, lock, sight, rules, now),
    };
    if body.run.is_some_and(|run| run != next.run) {
        return Err(Refusal::RunMismatch(next.run));
    }
    if next.status.is_final() {
        let guessed = next.status_source.is_some_and(Source::is_guess)
            || next.reason == Some(Reason::LockRemoved);
        if !guessed {
            return if next.status == body.status {
                Ok((Write::None, next))
            } else {
                Err(Refusal::AlreadyFinished(next.status))
            };
        }
    }
    next.ended_at = None;
    finish(&mut next, body.status, Reason::Reported, Source::Runner, now);
    next.error = body.error.clone().filter(|_| body.status == Status::Error);
    Ok((write(row, &next, now), next))
}

/// The row as this id's lock would have it; as it stands, if it is another instance's and the lock is not for us to judge.
fn seen(
    key: &Key,
    row: Option<&Migration>,
    lock: &Lock,
    sight: &Sight,
    rules: &Rules,
    now: Now,
) -> Migration {
    let standing = standing(row, sight, rules, now.wall);
    match row {
        Some(row) if !may_act(row, lock, &standing, rules) => row.clone(),
        _ => row_for(key, row, lock, &standing, sight, rules, now),
    }
}

/// May an operator remove the lock of a process in this standing without `force`?
#[must_use]
pub const fn may_take(standing: &Standing) -> bool {
    match standing {
        Standing::Dead(_) | Standing::Unknown(Reason::NoPid) => true,
        Standing::Alive(_) | Standing::Unknown(_) | Standing::Foreign => false,
    }
}

/// The row after its lock was taken by an operator: an unfinished one waits for its process's end.
#[must_use]
pub fn take(
    key: &Key,
    row: Option<&Migration>,
    lock: &Lock,
    sight: &Sight,
    rules: &Rules,
    now: Now,
) -> (Write, Migration) {
    let mut next = seen(key, row, lock, sight, rules, now);
    // Another instance's row is about this lock only if that shows its attempt.
    if !next.status.is_final() && next.is_attempt_of(lock) {
        next.lock_taken = true;
        next.reason = next.reason.or(Some(Reason::LockRemoved));
    }
    (write(row, &next, now), next)
}
