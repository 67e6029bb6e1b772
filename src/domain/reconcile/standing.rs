//! What a process is: alive, proven dead, foreign, or not to be told.

use std::time::Duration;

use super::{LockSight, Rules, Scope, Sight, Standing, is_ours, may_act};
use crate::domain::migration::{LockPid, Migration, Reason};
use crate::domain::process::{
    Alive, DeathProof, Here, Identity, OtherNamespaces, Presence, Unknowable,
};
use crate::domain::time::Timestamp;

/// How much later than its lock a process must have started to count as a stranger at first sight.
/// The launcher writes the lock before or just after the start; 5 s covers a slow start and a coarse clock.
pub const REUSE_MARGIN: Duration = Duration::from_secs(5);

/// How long a lock without a PID counts as alive after its last write: a launcher between two writes.
pub const PIDLESS_ALIVE: Duration = Duration::from_secs(300);

/// The PID whose process has to be looked at, and the identity recorded for it, if it is this attempt's.
#[must_use]
pub fn subject<'a>(
    row: Option<&'a Migration>,
    lock: &LockSight,
    rules: &Rules,
) -> (Option<i64>, Option<&'a Identity>) {
    let here = &rules.here;
    // Another boot of this host proves death in every PID namespace; otherwise the number must mean the same. Hosts may
    // have been cloned, their machine ids with them: what another instance recorded may be of another host.
    let recorded = row.filter(|row| is_ours(row, rules)).and_then(|row| {
        row.identity.as_ref().filter(|id| {
            row.host_id == here.host_id && (id.pid_ns == here.pid_ns || id.boot_id != here.boot_id)
        })
    });
    match lock {
        LockSight::Present(lock) => match lock.pid {
            LockPid::Number(pid) => {
                let same = row.is_some_and(|row| row.is_attempt_of(lock));
                (Some(pid), recorded.filter(|id| same && i64::from(id.pid) == pid))
            }
            LockPid::Missing => (recorded.map(|id| i64::from(id.pid)), recorded),
        },
        _ => (recorded.map(|id| i64::from(id.pid)), recorded),
    }
}

/// Must the other PID namespaces be searched before this death may be believed?
///
/// Only a process that was never seen alive here can live elsewhere under the same number.
#[must_use]
pub fn needs_namespace_scan(row: Option<&Migration>, sight: &Sight, rules: &Rules) -> bool {
    let (pid, recorded) = subject(row, &sight.lock, rules);
    if pid.is_none() || recorded.is_some() || rules.scope != Scope::Local {
        return false;
    }
    let standing = standing(row, sight, rules, Timestamp(0));
    let may_act = match (row, &sight.lock) {
        (Some(row), LockSight::Present(lock)) => may_act(row, lock, &standing, rules),
        (Some(row), _) => is_ours(row, rules),
        (None, _) => true,
    };
    may_act && matches!(standing, Standing::Dead(_))
}

/// What the process is, with the recorded identity, the scope and the other namespaces considered.
#[must_use]
pub fn standing(row: Option<&Migration>, sight: &Sight, rules: &Rules, now: Timestamp) -> Standing {
    let (pid, recorded) = subject(row, &sight.lock, rules);
    let Some(presence) = sight.process.as_ref().filter(|_| pid.is_some()) else {
        return standing_without_pid(&sight.lock, now);
    };
    if let Some(recorded) = recorded {
        return match presence {
            // The PID came back and the lock was written again: its writer may be the one who lives.
            Presence::Alive(alive)
                if rewritten(row, &sight.lock) && !is_stranger(row, &sight.lock, alive, rules) =>
            {
                Standing::Alive(Some(alive.clone()))
            }
            Presence::Unknown(why) if rewritten(row, &sight.lock) => {
                Standing::Unknown(unknown_reason(*why))
            }
            _ => standing_recorded(recorded, presence, &rules.here),
        };
    }
    let dead = match presence {
        Presence::Alive(alive) => {
            if !is_stranger(row, &sight.lock, alive, rules) {
                return Standing::Alive(Some(alive.clone()));
            }
            DeathProof::Reused
        }
        Presence::Dead(proof) => *proof,
        Presence::Unknown(why) => return Standing::Unknown(unknown_reason(*why)),
    };
    if rules.scope == Scope::Shared {
        return Standing::Foreign;
    }
    match sight.elsewhere {
        None | Some(OtherNamespaces::Clear) => Standing::Dead(dead),
        Some(OtherNamespaces::Namesake | OtherNamespaces::Hidden) => {
            Standing::Unknown(Reason::PidNamespace)
        }
    }
}

fn standing_without_pid(lock: &LockSight, now: Timestamp) -> Standing {
    match lock {
        LockSight::Present(lock) if now.since(lock.mtime) < PIDLESS_ALIVE => Standing::Alive(None),
        _ => Standing::Unknown(Reason::NoPid),
    }
}

fn standing_recorded(recorded: &Identity, presence: &Presence, here: &Here) -> Standing {
    if recorded.boot_id != here.boot_id {
        return Standing::Dead(DeathProof::Rebooted);
    }
    match presence {
        Presence::Alive(alive) if recorded.differs_from(&alive.identity) => {
            Standing::Dead(DeathProof::Reused)
        }
        Presence::Alive(alive) => Standing::Alive(Some(alive.clone())),
        Presence::Dead(proof) => Standing::Dead(*proof),
        Presence::Unknown(why @ (Unknowable::BadPid | Unknowable::Refused)) => {
            Standing::Unknown(unknown_reason(*why))
        }
        // The number came back as a thread or a kernel thread: no process of that identity is left.
        Presence::Unknown(_) => Standing::Dead(DeathProof::Reused),
    }
}

const fn unknown_reason(why: Unknowable) -> Reason {
    match why {
        Unknowable::Refused => Reason::PidNamespace,
        Unknowable::BadPid | Unknowable::KernelThread | Unknowable::ThreadId => Reason::NoPid,
    }
}

/// At first sight of an attempt: is this live process certainly not the one that the lock means?
fn is_stranger(row: Option<&Migration>, lock: &LockSight, alive: &Alive, rules: &Rules) -> bool {
    let again = rewritten(row, lock);
    let LockSight::Present(lock) = lock else { return false };
    // Its death was proven already in this PID table: whoever stands under the number now is somebody else.
    if row.is_some_and(|row| {
        is_ours(row, rules)
            && row.is_attempt_of(lock)
            && !again
            && row.death_recorded()
            && (!row.status.is_final() || row.reason.is_some_and(Reason::is_death))
    }) {
        return true;
    }
    let latest = lock.started.map_or(lock.mtime, |started| started.max(lock.mtime));
    alive.started.is_some_and(|started| started.since(latest) > REUSE_MARGIN)
}

/// Was a lock that names a PID but no time of start written since the row was?
///
/// Then the same PID does not make it the recorded process's: PIDs come back, at some places with every boot.
pub(super) fn rewritten(row: Option<&Migration>, lock: &LockSight) -> bool {
    let (Some(row), LockSight::Present(lock)) = (row, lock) else { return false };
    matches!(lock.pid, LockPid::Number(_))
        && lock.started.is_none()
        && row.lock_mark != Some(lock.mark)
}
