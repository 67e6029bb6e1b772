//! Whether another PID namespace may hold the process that a PID means.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;

use rustix::fs::Dir;
use rustix::io::Errno;

use super::Processes;
use super::look::STATUS_LIMIT;
use crate::domain::process::OtherNamespaces;

impl Processes {
    /// Which of these PIDs are the innermost PID of a process in a namespace below ours: one pass over all processes.
    ///
    /// A container's job writes the PID that it has inside; out here it has another, and its number here is free.
    /// Processes of namespaces beside or above ours cannot be seen at all (`pid_namespaces(7)`): that is what the
    /// scope `shared` is for. If any process is hidden from us, no PID can be called clear.
    #[must_use]
    pub fn other_namespaces(&self, pids: &HashSet<i32>) -> HashMap<i32, OtherNamespaces> {
        let found = self.namesakes(pids);
        pids.iter()
            .map(|pid| {
                let verdict = match &found {
                    Some(found) if found.contains(pid) => OtherNamespaces::Namesake,
                    Some(_) => OtherNamespaces::Clear,
                    None => OtherNamespaces::Hidden,
                };
                (*pid, verdict)
            })
            .collect()
    }

    /// `None` if not every process can be seen.
    fn namesakes(&self, pids: &HashSet<i32>) -> Option<HashSet<i32>> {
        // Under hidepid the others are not even listed; the first process always runs, mostly as another user.
        self.read_proc("1/status", STATUS_LIMIT).ok()?;
        let mounts = self.read_proc("self/mountinfo", MOUNTS_LIMIT).ok()?;
        if hides_processes(&mounts) && !sees_all(&self.read_proc("self/status", STATUS_LIMIT).ok()?)
        {
            return None;
        }
        let mut found = HashSet::new();
        for pid in self.pids()? {
            match self.read_proc(&format!("{pid}/status"), STATUS_LIMIT) {
                Ok(status) => {
                    if let [_, .., inner] = *own_numbers(&status)?
                        && pids.contains(&inner)
                    {
                        found.insert(inner);
                    }
                }
                // It ended between the listing and the reading.
                Err(Errno::NOENT | Errno::SRCH) => {}
                Err(_) => return None,
            }
        }
        Some(found)
    }

    /// Every PID listed under `/proc`; `None` if it cannot be listed.
    pub(super) fn pids(&self) -> Option<Vec<i32>> {
        let dir = Dir::read_from(self.inner.proc.as_ref()?.as_fd()).ok()?;
        let mut pids = Vec::new();
        for entry in dir {
            let entry = entry.ok()?;
            pids.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok()));
        }
        Some(pids)
    }
}

/// More than the mounts of any machine; a table cut here would only be missing a `/proc` mounted very late.
const MOUNTS_LIMIT: usize = 16 << 20;

/// `CAP_SYS_PTRACE` of `capabilities(7)`: with it nothing under `/proc` is hidden.
const CAP_SYS_PTRACE: u32 = 19;

/// Is the topmost mount on `/proc` one with `hidepid` (`proc(5)`, words since Linux 5.8)?
fn hides_processes(mountinfo: &[u8]) -> bool {
    String::from_utf8_lossy(mountinfo)
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some("/proc"))
        .and_then(|line| line.rsplit(' ').next())
        .and_then(|options| options.split(',').find_map(|option| option.strip_prefix("hidepid=")))
        .is_some_and(|mode| !matches!(mode, "0" | "off"))
}

/// Does our effective capability set reach past `hidepid`?
fn sees_all(status: &[u8]) -> bool {
    field(status, b"CapEff:")
        .and_then(|mask| u64::from_str_radix(mask, 16).ok())
        .is_some_and(|mask| mask & (1 << CAP_SYS_PTRACE) != 0)
}

/// The PIDs that a process has, from the namespace that `/proc` shows to its own; `None` if the file does not tell.
pub(super) fn own_numbers(status: &[u8]) -> Option<Vec<i32>> {
    field(status, b"NSpid:")?.split_ascii_whitespace().map(|number| number.parse().ok()).collect()
}

/// A line of a status file without its name.
pub(super) fn field<'a>(status: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    Some(std::str::from_utf8(line).ok()?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_process() {
        let nested = b"Name:\tsh\nTgid:\t9\nNSpid:\t9\t4\t1\nNSsid:\t9";
        assert_eq!(own_numbers(nested), Some(vec![9, 4, 1]));
        assert_eq!(own_numbers(b"Name:\tsh\nNSpid:\t9\n"), Some(vec![9]));
        assert_eq!(own_numbers(b"Name:\tNSpid:\n"), None);
        assert_eq!(own_numbers(b""), None);
    }

    #[test]
    fn hidepid_is_read_from_the_last_mount_on_proc() {
        let hidden = b"22 1 0:20 / /proc rw,nosuid - proc proc rw,hidepid=2\n";
        let shown = b"22 1 0:20 / /proc rw,nosuid - proc proc rw\n";
        let other = b"22 1 0:20 / /procs rw,nosuid - proc proc rw,hidepid=2\n";
        assert!(hides_processes(hidden));
        assert!(hides_processes(b"22 1 0:20 / /proc rw - proc proc rw,gid=5,hidepid=invisible"));
        assert!(!hides_processes(shown));
        assert!(!hides_processes(other));
        assert!(!hides_processes(&[&hidden[..], &shown[..]].concat()));
    }

    #[test]
    fn the_capability_that_sees_all() {
        assert!(sees_all(b"CapPrm:\t0\nCapEff:\t000001ffffffffff\n"));
        assert!(!sees_all(b"CapEff:\t00000000a80425fb\n"));
        assert!(!sees_all(b""));
    }
}
