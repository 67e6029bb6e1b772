//! How processes ended that were held on to: a later look finds nobody under the PID, and this still tells of the last.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::Processes;
use crate::domain::{Exit, Identity};

/// Ends that are kept, the latest: some 200 bytes each.
const KEPT: usize = 16_384;

/// The last known end under each PID.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_pid: HashMap<i32, (Identity, Exit)>,
    /// The PIDs in the order in which they came.
    order: VecDeque<i32>,
}

impl Processes {
    /// Keeps how a process ended.
    pub fn remember(&self, identity: &Identity, exit: Exit) {
        let mut kept = self.inner.ends.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_pid.insert(identity.pid, (identity.clone(), exit)).is_none() {
            kept.order.push_back(identity.pid);
        }
        if kept.order.len() > KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.by_pid.remove(&oldest);
        }
    }

    /// How the last process under this PID ended that was held on to; not told if `recorded` had the PID and was another.
    #[must_use]
    pub fn remembered(&self, pid: i64, recorded: Option<&Identity>) -> Option<Exit> {
        let kept = self.inner.ends.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (identity, exit) = kept.by_pid.get(&i32::try_from(pid).ok()?)?;
        let recorded = recorded.filter(|it| it.pid == identity.pid && it.is_of(self.here()));
        recorded.is_none_or(|it| !it.differs_from(identity)).then_some(*exit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(processes: &Processes, pid: i32, inode: u64) -> Identity {
        let here = processes.here();
        Identity {
            boot_id: here.boot_id.clone(),
            pid_ns: here.pid_ns,
            pid,
            start_ticks: Some(inode),
            inode: Some(inode),
        }
    }

    #[test]
    fn an_end_is_told_of_the_process_that_ended() {
        let processes = Processes::new().unwrap();
        let (first, second) = (identity(&processes, 7, 1), identity(&processes, 7, 2));
        assert_eq!(processes.remembered(7, None), None);
        processes.remember(&first, Exit::Signal(9));
        assert_eq!(processes.remembered(7, None), Some(Exit::Signal(9)));
        assert_eq!(processes.remembered(7, Some(&first)), Some(Exit::Signal(9)));
        assert_eq!(processes.remembered(7, Some(&second)), None, "it was another one");
        assert_eq!(processes.remembered(8, Some(&first)), None);
        processes.remember(&second, Exit::Code(7));
        assert_eq!(processes.remembered(7, Some(&first)), None);
        assert_eq!(processes.remembered(7, Some(&second)), Some(Exit::Code(7)));
    }

    #[test]
    fn the_oldest_end_makes_room() {
        let processes = Processes::new().unwrap();
        let more = i32::try_from(KEPT).unwrap() + 1;
        for pid in 1..=more {
            processes.remember(&identity(&processes, pid, 1), Exit::Code(0));
        }
        assert_eq!(processes.remembered(1, None), None);
        assert_eq!(processes.remembered(more.into(), None), Some(Exit::Code(0)));
        assert_eq!(processes.remembered(2, None), Some(Exit::Code(0)));
    }
}
