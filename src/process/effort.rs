//! What a process has used of the CPU, for telling a long call from a hang.

use std::time::Duration;

use rustix::process::Pid;

use super::Processes;
use super::stat::Stat;
use crate::domain::Identity;

/// A process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// CPU time of all its threads since it started, to a hundredth of a second.
    pub cpu: Duration,
    /// It is stopped by a signal or a tracer.
    pub stopped: bool,
    /// One of its threads runs, or would if there were a processor for it.
    pub runnable: bool,
}

impl Processes {
    /// How much this process has computed so far; `None` where `/proc` hides it, or another has its PID by now.
    #[must_use]
    pub fn effort(&self, identity: &Identity) -> Option<Effort> {
        let stat = self.stat(Pid::from_raw(identity.pid)?)?;
        if identity.start_ticks != Some(stat.start_ticks) || stat.is_zombie() {
            return None;
        }
        let cpu = Duration::from_millis(stat.cpu_ticks.saturating_mul(1000) / self.inner.ticks);
        let runnable = self.runs(identity.pid);
        Some(Effort { cpu, stopped: stat.is_stopped(), runnable })
    }

    /// The state of a process is its first thread's; it may be another one that computes.
    fn runs(&self, pid: i32) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
        let mut names = threads.flatten().filter_map(|it| it.file_name().into_string().ok());
        names.any(|thread| {
            let stat = self.read_proc(&format!("{pid}/task/{thread}/stat"), 512).ok();
            stat.and_then(|stat| Stat::parse(&stat)).is_some_and(|stat| stat.is_runnable())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Presence;

    #[test]
    fn our_own_effort_grows_and_another_identity_has_none() {
        let processes = Processes::new().unwrap();
        let Presence::Alive(alive) = processes.look(i64::from(std::process::id())) else {
            panic!("we live")
        };
        let before = processes.effort(&alive.identity).unwrap();
        assert!(!before.stopped);
        assert!(before.runnable, "this thread runs");
        while processes.effort(&alive.identity).unwrap().cpu == before.cpu {
            std::hint::black_box(vec![0_u8; 4096]);
        }
        let other = Identity { start_ticks: Some(1), ..alive.identity };
        assert_eq!(processes.effort(&other), None);
    }
}
