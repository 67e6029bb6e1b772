//! What people want to know of one process; slower than a look, so it is asked for one process at a time.

use serde::Serialize;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind, Users};

use super::Processes;
use crate::domain::Timestamp;

/// A process as an operator sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessDetails {
    /// Its PID.
    pub pid: i32,
    /// The name of its user, or the number where there is no name.
    pub user: Option<String>,
    /// Its mean share of one CPU since it started, in percent, as `ps` shows it.
    pub cpu_percent: f32,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// When it started.
    pub started_at: Timestamp,
    /// In one word: `Sleeping`, `Runnable`, `Stopped`, `Zombie`, ...
    pub state: String,
    /// Its command line, secrets masked.
    pub command: Option<String>,
}

impl Processes {
    /// CPU, memory, user and command line of one process; `None` if it cannot be read.
    #[must_use]
    pub fn details(&self, pid: i32) -> Option<ProcessDetails> {
        // Where /proc is another namespace's, it describes somebody else under this number.
        self.inner.proc.as_ref()?;
        let id = Pid::from_u32(u32::try_from(pid).ok()?);
        let mut system = System::new().ok()?;
        let what = ProcessRefreshKind::nothing()
            .without_tasks()
            .with_cpu()
            .with_memory()
            .with_user(UpdateKind::Always);
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), true, what);
        let process = system.process(id)?;
        Some(ProcessDetails {
            pid,
            user: process.effective_user_id().map(|user| {
                let users = Users::new_with_refreshed_list();
                let name = users.as_ref().ok().and_then(|it| it.get_user_by_id(user));
                name.map_or_else(|| user.to_string(), |it| it.name().to_owned())
            }),
            cpu_percent: percent(process.accumulated_cpu_time(), process.run_time()),
            memory_bytes: process.memory(),
            started_at: Timestamp::from_secs(i64::try_from(process.start_time()).ok()?),
            state: process.status().to_string(),
            command: self.program(pid).cmdline,
        })
    }
}

/// One figure after the decimal point.
#[allow(clippy::cast_precision_loss)] // A figure for people: f32 is exact up to 16,777,216 tenths of a percent.
fn percent(cpu_millis: u64, run_secs: u64) -> f32 {
    (cpu_millis / run_secs.max(1)) as f32 / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_a_cpu() {
        assert!((percent(1500, 3) - 50.0).abs() < f32::EPSILON);
        assert!((percent(0, 0) - 0.0).abs() < f32::EPSILON);
    }

    #[test]
    fn ourselves() {
        let processes = Processes::new().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let details = processes.details(pid).unwrap();
        assert!(details.memory_bytes > 1_000_000, "{details:?}");
        assert!(details.user.is_some() && details.command.is_some());
        assert!(details.started_at.0 > 1_577_836_800_000);
        assert_eq!(processes.details(-1), None);
    }
}
