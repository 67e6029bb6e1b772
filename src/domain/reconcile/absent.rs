//! Once the lock is gone: two scans apart end the run, by the first rule that applies.

use super::explain::{row_predicate, secs};
use super::row::{finish, set_state, write};
use super::standing::standing;
use super::{Dead, Decision, Memory, Outcome, Predicate, Rules, Sight, Standing, unchanged};
use crate::domain::migration::{Migration, Reason, Source, State, Status};
use crate::domain::process::Exit;
use crate::domain::time::{Now, Uptime};

pub(super) fn absent(
    row: Option<&Migration>,
    sight: &Sight,
    memory: &Memory,
    rules: &Rules,
    now: Now,
) -> Decision {
    // A run of which no lock was seen yet has none to miss.
    let Some(row) = row.filter(|row| !row.status.is_final() && !row.is_announced()) else {
        return unchanged(row, Memory::default(), Vec::new());
    };
    if row.dir.is_some() && row.dir != sight.dir {
        // Another directory stands at the path: it says nothing about this one's locks.
        return elsewhere(row, sight, memory, rules, now);
    }
    let since = memory.absent.unwrap_or(now.up);
    let gone_for = now.up.since(since);
    let settled = memory.absent.is_some() && gone_for >= rules.settle;
    let mut memory = Memory { absent: Some(since), ..memory.clone() };
    let mut explain = vec![Predicate {
        name: "lock_missing_for",
        value: secs(gone_for),
        threshold: Some(secs(rules.settle)),
        holds: settled,
    }];
    let mut next = row.clone();
    let mut wake = Some(since.plus(rules.settle));
    if row.lock_taken {
        wake = taken(&mut next, sight, &mut memory, rules, now, wake);
    } else if settled {
        next.exit = sight.exit.or(next.exit);
        released(&mut next, memory.watched, now);
        wake = None;
    }
    let outcome = match next.status {
        Status::Error => Outcome::Error,
        Status::Completed => Outcome::Completed,
        _ => Outcome::Wait,
    };
    explain.push(row_predicate(row));
    if next.status.is_final() {
        memory = Memory::default();
    }
    Decision {
        write: write(Some(row), &next, now),
        memory,
        row: Some(next),
        remove_lock: false,
        wake,
        turns_at: None,
        stalls_at: None,
        outcome,
        explain,
    }
}

/// Nothing follows for the status; but nobody is told that a process lives which is proven dead. A file that is being
/// written or a directory that fails is over in a moment; this may stay.
fn elsewhere(row: &Migration, sight: &Sight, memory: &Memory, rules: &Rules, now: Now) -> Decision {
    let nothing = unchanged(Some(row), Memory { absent: None, ..memory.clone() }, Vec::new());
    // A death that was told while the lock stood is told already.
    let is_news = matches!(row.state, State::Alive | State::Stalled | State::Unknown);
    let Standing::Dead(proof) = standing(Some(row), sight, rules, now.wall) else { return nothing };
    if !is_news {
        return nothing;
    }
    let mut next = row.clone();
    next.exit = sight.exit.or(next.exit);
    let reason = Reason::of_death(proof, next.exit);
    set_state(&mut next, State::Unknown, Some(reason), now);
    Decision { write: write(Some(row), &next, now), row: Some(next), ..nothing }
}

/// The lock went by itself: the first rule that applies ends the run (the runner's report has ended it already).
fn released(next: &mut Migration, watched: bool, now: Now) {
    match next.exit {
        Some(Exit::Code(0)) => {
            finish(next, Status::Completed, Reason::Exited, Source::Monitor, now);
        }
        Some(exit) => {
            let reason =
                if matches!(exit, Exit::Signal(_)) { Reason::Killed } else { Reason::Exited };
            finish(next, Status::Error, reason, Source::Monitor, now);
            next.error = Some(format!("{} {exit}", whom(next)));
        }
        None if next.death_recorded() => {
            finish(next, Status::Error, Reason::LockRemoved, Source::Monitor, now);
            next.error = Some(format!("{} was gone before its lock was removed", whom(next)));
        }
        None => {
            let source = if watched { Source::LockReleased } else { Source::LockReleasedUnwatched };
            finish(next, Status::Completed, Reason::LockRemoved, source, now);
            next.reason = None;
        }
    }
}

fn whom(row: &Migration) -> String {
    row.lock_pid.map_or_else(|| "The process".to_owned(), |pid| format!("Process {pid}"))
}

/// The lock was removed through our API: the run goes on until its process has ended.
fn taken(
    next: &mut Migration,
    sight: &Sight,
    memory: &mut Memory,
    rules: &Rules,
    now: Now,
    wake: Option<Uptime>,
) -> Option<Uptime> {
    let whose = (next.lock_pid, next.lock_started);
    let mut second = wake.is_some_and(|wake| wake <= now.up);
    let ended = match standing(Some(next), sight, rules, now.wall) {
        Standing::Alive(_) => {
            memory.dead = None;
            set_state(next, State::Alive, Some(Reason::LockRemoved), now);
            return None;
        }
        // That identity may live on where it cannot be seen now; only its end ends the run.
        Standing::Unknown(_) | Standing::Foreign if next.identity.is_some() => {
            memory.dead = None;
            set_state(next, State::Unknown, Some(Reason::LockRemoved), now);
            return None;
        }
        // Without an identity nobody can be waited for; the absence itself is proven twice.
        Standing::Unknown(_) | Standing::Foreign => memory.absent.map_or(now.up, |since| since),
        Standing::Dead(_) => {
            let earlier = memory.dead.filter(|dead| dead.whose == whose);
            let dead = earlier.unwrap_or(Dead { whose, up: now.up, wall: now.wall });
            memory.dead = Some(dead);
            second = earlier.is_some();
            dead.up
        }
    };
    if !second || now.up.since(ended) < rules.settle {
        return wake.max(Some(ended.plus(rules.settle)));
    }
    finish(next, Status::Error, Reason::LockRemoved, Source::Operator, now);
    next.error = Some(format!("{} ended after its lock was removed by an operator", whom(next)));
    None
}
