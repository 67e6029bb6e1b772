//! Their row and ours: what of theirs is news for ours, and whose word ends a run.
//!
//! A final status in their row wins over ours, but only for the run that it is about. So what was taken over last is kept
//! in our row (`their_status`): the word, after a final one and where our error is still to be told a digest as well, and
//! `~` before what is another run's. Only something else is news. A run that ends asks
//! once more: what stands there then counts, unless it is of the run before.

use super::record::Record;
use crate::domain::migration::{Key, Migration, Source, State, Status};
use crate::domain::reconcile::{Rules, first_row};
use crate::domain::time::Now;

/// Our row of a migration of which only their row is known.
#[must_use]
pub fn first(key: &Key, record: &Record, rules: &Rules, now: Now) -> Migration {
    let made = record.created_at.or(record.updated_at).unwrap_or(now.wall);
    let written = record.updated_at.unwrap_or(made);
    let mut row = Migration {
        status: record.status().unwrap_or(Status::Pending),
        // Where its process is, if it has one, nobody can tell without a lock.
        state: State::Unknown,
        since: written,
        created_at: made,
        updated_at: written,
        their_status: Some(mark_of(record)),
        ..first_row(key, rules, now)
    };
    if row.status.is_final() {
        row.state = State::Finished;
        row.status_source = Some(Source::Adopted);
        row.status_updated_at = Some(written);
        // Not by their clock, whose zone nobody names: runs are told apart by it.
        row.ended_at = Some(now.wall);
        row.error.clone_from(&record.error);
    }
    row
}

/// Our row with what is news in theirs.
#[must_use]
pub fn take_over(row: &Migration, record: &Record, now: Now) -> Migration {
    let mut next = row.clone();
    if is_known(row, record) {
        return next;
    }
    next.their_status = Some(mark_of(record));
    let known = row.their_status.is_some();
    match (record.final_status(), row.status.is_final()) {
        // What stood there at the first look at it is not about a run that goes on.
        (Some(_), false) if !known && !row.is_announced() => {}
        (Some(status), over) if !over || status != row.status => {
            end(&mut next, status, record, now);
        }
        (None, true) if known && was_final(row) => set_back(&mut next, record, now),
        // Begun anew, as far as can be told. A row that could not be understood before was mended.
        (None, true) if record.is_in_progress() && known_status(row).is_some() => {
            next.their_status = Some(format!("{OF_ANOTHER}{}", record.mark()));
        }
        (None, false) if row.is_announced() => {
            next.status = record.status().unwrap_or(Status::Pending);
        }
        _ => {}
    }
    next
}

/// Our row after it was judged, with their word on a run that ends now.
#[must_use]
pub fn settle(
    before: Option<&Migration>,
    judged: Migration,
    record: &Record,
    now: Now,
) -> Migration {
    let mut next = judged;
    let ended_before = before.is_some_and(|it| it.status.is_final() && it.run == next.run);
    if next.their_status.is_none() {
        let mark = mark_of(record);
        let of_another = before.is_some() && record.final_status().is_some();
        next.their_status = Some(if of_another { format!("{OF_ANOTHER}{mark}") } else { mark });
        if before.is_none() {
            next.created_at = record.created_at.unwrap_or(next.created_at);
        }
    }
    if next.status.is_final()
        && !ended_before
        && !is_of_another(&next)
        && let Some(status) = record.final_status()
        && status != next.status
    {
        end(&mut next, status, record, now);
    }
    next
}

/// The run is over, with their word.
fn end(next: &mut Migration, status: Status, record: &Record, now: Now) {
    if next.state != State::Finished {
        next.since = now.wall;
    }
    next.state = State::Finished;
    next.status = status;
    next.status_source = Some(Source::Adopted);
    next.status_updated_at = Some(now.wall);
    next.ended_at = next.ended_at.or(Some(now.wall));
    next.lock_taken = false;
    // Why a process died is still why, if they call it an error as well.
    next.reason = next.reason.filter(|reason| status == Status::Error && reason.is_death());
    next.error = record.error.clone().filter(|_| status == Status::Error);
}

/// What stands before a mark that is another run's: of the one before, or one that is about to begin.
const OF_ANOTHER: char = '~';

/// What is remembered of their row.
fn mark_of(record: &Record) -> String {
    if record.final_status().is_some() { record.mark() } else { record.word().to_owned() }
}

/// Is it what was taken over last?
#[must_use]
pub fn is_known(row: &Migration, record: &Record) -> bool {
    let known = row.their_status.as_deref().map(|known| known.trim_start_matches(OF_ANOTHER));
    known.is_some_and(|known| {
        if known.contains(':') { known == record.mark() } else { known == record.word() }
    })
}

/// Is their word, as it was taken over last, about another run?
#[must_use]
pub fn is_of_another(row: &Migration) -> bool {
    row.their_status.as_deref().is_some_and(|known| known.starts_with(OF_ANOTHER))
}

/// The status that was taken over last.
fn known_status(row: &Migration) -> Option<Status> {
    let known = row.their_status.as_deref()?.trim_start_matches(OF_ANOTHER);
    Status::parse(known.split(':').next()?)
}

fn was_final(row: &Migration) -> bool {
    known_status(row).is_some_and(Status::is_final)
}

/// They have set it back: the next lock that shows another attempt begins another run, an old one means nothing.
fn set_back(next: &mut Migration, record: &Record, now: Now) {
    next.status = record.status().unwrap_or(Status::Pending);
    next.state = State::Unknown;
    next.since = now.wall;
    next.reason = None;
    next.error = None;
    next.status_source = None;
    next.status_updated_at = Some(now.wall);
    next.lock_file = None;
}
