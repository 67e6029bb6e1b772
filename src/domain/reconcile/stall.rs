//! Stalled is not dead: a process that lives while its lock shows no progress.

use std::time::Duration;

use super::{Rules, Standing};
use crate::domain::migration::Lock;
use crate::domain::time::{Timestamp, Uptime};

/// When a lock showed progress last: by its `stage_updated_at`, else by its mtime; not before the attempt began. What
/// lies in the future tells nothing.
///
/// Of a lock without that field this is the last write by anybody. While an earlier monitor goes on rewriting it, its
/// mtime proves nothing, and it never grows old: nothing is concluded. Once nobody writes, the runner did not either.
#[must_use]
pub fn progressed(
    stage: Option<Timestamp>,
    started: Option<Timestamp>,
    mtime: Timestamp,
    now: Timestamp,
) -> Timestamp {
    let told = stage.filter(|at| *at <= now).unwrap_or(mtime);
    started.filter(|at| *at <= now).map_or(told, |started| started.max(told))
}

/// What the progress of a migration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Progress {
    /// It is not asked for: off, or no process that is known to live.
    Unasked,
    /// It counts as going on until it has stood still for so much longer.
    Moves {
        /// How long it stands still.
        still: Duration,
        /// How much longer it may.
        left: Duration,
    },
    /// It has stood still for too long.
    Stands {
        /// How long.
        still: Duration,
    },
}

impl Progress {
    pub(super) fn of(lock: &Lock, standing: &Standing, rules: &Rules, now: Timestamp) -> Self {
        let (Some(limit), Standing::Alive(Some(_))) = (rules.stall_after, standing) else {
            return Self::Unasked;
        };
        let still = now.since(progressed(lock.stage_updated, lock.started, lock.mtime, now));
        match limit.checked_sub(still) {
            Some(left) if !left.is_zero() => Self::Moves { still, left },
            _ => Self::Stands { still },
        }
    }

    /// How long it stands still, where that is asked.
    pub(super) const fn still(self) -> Option<Duration> {
        match self {
            Self::Unasked => None,
            Self::Moves { still, .. } | Self::Stands { still } => Some(still),
        }
    }

    pub(super) const fn stands(self) -> bool {
        matches!(self, Self::Stands { .. })
    }

    /// When it will have stood still for too long, if nothing moves.
    pub(super) fn stalls_at(self, now: Uptime) -> Option<Uptime> {
        match self {
            Self::Moves { left, .. } => Some(now.plus(left)),
            Self::Unasked | Self::Stands { .. } => None,
        }
    }
}
