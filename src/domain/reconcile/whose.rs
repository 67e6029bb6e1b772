//! Whose row: which instance may judge it, and what another one may do that finds a lock for it.
//!
//! A PID means something on one host. So what one instance cannot see is no news about another one's process: only that
//! it sees the process alive itself, or that the run is over, lets a row change hands.

use super::{Decision, LockSight, Memory, Predicate, Rules, Scope, Sight, Standing, unchanged};
use crate::domain::migration::{Lock, Migration, Reason, State};
use crate::domain::process::Identity;
use crate::domain::time::Timestamp;

/// Do we answer for this row?
///
/// All rows are ours on a database of our own. Else those of which only an adopted table tells, which are anybody's, those
/// under our name, and those whose process was seen in this PID
/// table while the instance that saw it is lost: it may have been an earlier one on this host.
#[must_use]
pub fn is_ours(row: &Migration, rules: &Rules) -> bool {
    rules.sole
        || row.is_announced()
        || row.instance == rules.instance
        || (row.identity.as_ref().is_some_and(|id| id.is_of(&rules.here)) && is_lost(row, rules))
}

/// What is shown of a row whose instance is lost (`lost`) or not, for it is not written: nobody can tell about an
/// unfinished run of a lost one.
#[must_use]
pub fn shown(row: &Migration, lost: bool) -> (State, Option<Reason>) {
    if lost && !row.status.is_final() {
        (State::Unknown, Some(Reason::InstanceLost))
    } else {
        (row.state, row.reason)
    }
}

fn is_lost(row: &Migration, rules: &Rules) -> bool {
    !rules.live.contains(&row.instance)
}

/// Does the lock at hand let us act on this row as on one of ours? Always, if it is.
#[must_use]
pub fn may_act(row: &Migration, lock: &Lock, standing: &Standing, rules: &Rules) -> bool {
    if is_ours(row, rules) {
        return true;
    }
    let alive = match standing {
        Standing::Alive(Some(alive)) => Some(&alive.identity),
        _ => None,
    };
    let same = row.is_attempt_of(lock);
    if row.status.is_final() {
        // What is left of that run is for its own instance to remove; another attempt is anybody's who can tell.
        return !same && (alive.is_some() || rules.scope == Scope::Local);
    }
    let Some(alive) = alive else { return false };
    match &row.identity {
        None => true,
        Some(known) if same => is_out_of_its_sight(row) && is_the_same(known, alive, rules),
        Some(_) => is_lost(row, rules),
    }
}

/// The instance that answers for it says itself that it cannot tell (any more), or that it sees the process dead.
const fn is_out_of_its_sight(row: &Migration) -> bool {
    matches!(row.state, State::Foreign | State::Unknown)
}

fn is_the_same(known: &Identity, alive: &Identity, rules: &Rules) -> bool {
    known.is_of(&rules.here) && !known.differs_from(alive)
}

/// The judgement over a row that is not ours and on which nothing here lets us act; `None` if we may act.
pub(super) fn hands_off(
    row: Option<&Migration>,
    sight: &Sight,
    rules: &Rules,
    now: Timestamp,
) -> Option<Decision> {
    let row = row.filter(|row| !is_ours(row, rules))?;
    if let LockSight::Present(lock) = &sight.lock {
        let standing = super::standing(Some(row), sight, rules, now);
        if may_act(row, lock, &standing, rules) {
            return None;
        }
    }
    let owner = Predicate {
        name: "instance",
        value: row.instance.clone(),
        threshold: Some(rules.instance.clone()),
        holds: false,
    };
    Some(unchanged(Some(row), Memory::default(), vec![owner]))
}
