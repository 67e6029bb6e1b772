//! While the lock stands: dead at two looks and older than the grace is an error.

use std::time::Duration;

use super::explain::explain;
use super::row::{finish, is_another_attempt, row_for, set_state, write};
use super::stall::Progress;
use super::standing::standing;
use super::{Dead, Decision, Memory, Outcome, Rules, Sight, Standing, unchanged};
use crate::domain::migration::{Key, Lock, LockPid, Migration, Reason, Source, State, Status};
use crate::domain::process::{DeathProof, Exit};
use crate::domain::time::{Now, Uptime};

pub(super) fn present(
    key: &Key,
    row: Option<&Migration>,
    lock: &Lock,
    sight: &Sight,
    memory: &Memory,
    rules: &Rules,
    now: Now,
) -> Decision {
    let standing = standing(row, sight, rules, now.wall);
    if row.is_some_and(|row| {
        row.is_announced()
            && row.death_recorded()
            && !row.status.is_final()
            && !is_another_attempt(row, lock, &standing)
    }) {
        // Set back by an adopted table: the lock that was left by the attempt before means nothing.
        return unchanged(row, Memory::default(), Vec::new());
    }
    let mut next = row_for(key, row, lock, &standing, sight, rules, now);
    let unfinished = !next.status.is_final();
    let age = lock.age(now.wall);
    let whose = match lock.pid {
        LockPid::Number(pid) => (Some(pid), lock.started),
        LockPid::Missing => (next.lock_pid, next.lock_started),
    };
    let mut memory = Memory { dead: memory.dead, absent: None, watched: true };
    let mut held = Look { settled: false, old: age > rules.grace, wake: None };
    if let Standing::Dead(_) = standing {
        let earlier = memory.dead.filter(|dead| dead.whose == whose);
        let dead = earlier.unwrap_or(Dead { whose, up: now.up, wall: now.wall });
        memory.dead = Some(dead);
        // A run that is not recorded yet begins unfinished, whatever earlier looks saw that could not be written: its
        // error is a turn with an event of its own.
        let recorded = row.is_some_and(|row| row.run == next.run);
        held.settled = recorded && earlier.is_some() && now.up.since(dead.up) >= rules.settle;
        held.wake = held.next(dead.up, age, rules, now.up);
        if held.settled && next.ended_at.is_none() {
            next.ended_at = Some(dead.wall);
        }
    } else {
        memory.dead = None;
        if unfinished && matches!(standing, Standing::Alive(_)) {
            next.ended_at = None;
        }
    }
    let progress = Progress::of(lock, &standing, rules, now.wall);
    // As with an error: a run that is not recorded yet begins alive, so that its turn is an event of its own.
    let recorded = row.is_some_and(|row| row.run == next.run);
    let stalled = progress.stands() && recorded;
    if progress.stands() && !recorded && unfinished {
        held.wake = Some(now.up);
    }
    let still = progress.still();
    let explain = explain(&standing, &memory, (age, still), row.or(Some(&next)), sight, rules, now);
    if unfinished {
        next.exit = match standing {
            // Told once, and to whoever held on to it: who looks later sees only that it is gone.
            Standing::Dead(_) => sight.exit.or(next.exit),
            Standing::Alive(_) => None,
            Standing::Unknown(_) | Standing::Foreign => next.exit,
        };
        judge(&mut next, &standing, stalled, held, rules, now);
    }
    let dead = matches!(standing, Standing::Dead(_));
    let remove_lock = dead
        && held.settled
        && held.old
        && next.status.is_final()
        && !is_a_later_attempts(lock, &next, rules);
    let turns_at = memory.dead.filter(|_| !next.status.is_final());
    let turns_at = turns_at.map(|dead| {
        dead.wall.plus(rules.settle).max(lock.counted_from(now.wall).plus(rules.grace))
    });
    let outcome = match (unfinished, dead) {
        (true, true) if next.status == Status::Error => Outcome::Error,
        (_, true) if !remove_lock => Outcome::Wait,
        _ => Outcome::None,
    };
    Decision {
        write: write(row, &next, now),
        memory,
        row: Some(next),
        remove_lock,
        wake: held.wake,
        turns_at,
        stalls_at: progress.stalls_at(now.up).filter(|_| unfinished),
        outcome,
        explain,
    }
}

/// Does a lock without a PID, under a row that is final, belong to nobody that is known? A late progress write of the
/// run comes soon after its end; what comes later, or under a row of which no lock was seen, is another launcher's, and an
/// operator removes it.
fn is_a_later_attempts(lock: &Lock, row: &Migration, rules: &Rules) -> bool {
    let late = row.ended_at.is_some_and(|ended| lock.mtime.since(ended) > rules.grace);
    lock.pid == LockPid::Missing && (late || row.is_announced())
}

/// What of a dead process's conditions holds at this look.
#[derive(Clone, Copy)]
struct Look {
    settled: bool,
    old: bool,
    wake: Option<Uptime>,
}

impl Look {
    /// When the next condition will hold: the second look, then the end of the grace.
    fn next(self, dead: Uptime, age: Duration, rules: &Rules, now: Uptime) -> Option<Uptime> {
        if !self.settled {
            Some(dead.plus(rules.settle))
        } else if !self.old {
            // The age must be over the grace, not equal to it.
            Some(now.plus(rules.grace.saturating_sub(age) + Duration::from_millis(1)))
        } else {
            None
        }
    }
}

/// Sets state, reason and, when every condition holds, the error on a row that is not final.
fn judge(
    next: &mut Migration,
    standing: &Standing,
    stalled: bool,
    look: Look,
    rules: &Rules,
    now: Now,
) {
    let exit = next.exit;
    let (state, reason) = match standing {
        Standing::Alive(_) if stalled => (State::Stalled, None),
        Standing::Alive(_) => (State::Alive, None),
        Standing::Foreign => (State::Foreign, None),
        Standing::Unknown(reason) => (State::Unknown, Some(*reason)),
        Standing::Dead(proof) => {
            let reason = Some(Reason::of_death(*proof, exit));
            (if look.old { State::Gone } else { State::Waiting }, reason)
        }
    };
    set_state(next, state, reason, now);
    if let (Standing::Dead(proof), true, true) = (standing, look.settled, look.old) {
        let error = death_text(next.lock_pid, *proof, exit, rules);
        finish(next, Status::Error, reason.unwrap_or(Reason::ProcessGone), Source::Monitor, now);
        next.error = Some(error);
    }
}

fn death_text(pid: Option<i64>, proof: DeathProof, exit: Option<Exit>, rules: &Rules) -> String {
    let who = pid.map_or_else(|| "The process".to_owned(), |pid| format!("Process {pid}"));
    let grace = rules.grace.as_secs();
    match (exit, proof) {
        (Some(exit), _) => format!("{who} {exit}; its lock is older than {grace} s"),
        (None, DeathProof::Reused) => {
            format!("{who} is another process now; its lock is older than {grace} s")
        }
        (None, DeathProof::Rebooted) => {
            format!("{who} ended with the machine's restart; its lock is older than {grace} s")
        }
        (None, _) => format!("{who} is gone; its lock is older than {grace} s"),
    }
}
