//! Processes: the only place that asks the kernel about them.
//!
//! Everything here blocks for microseconds to milliseconds; asynchronous callers use `spawn_blocking`.

#[cfg(feature = "bench")]
pub mod bench;
mod descriptors;
mod details;
mod effort;
mod ends;
mod exit;
mod exits;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod look;
mod namespaces;
mod port_table;
mod program;
mod servers;
mod sockets;
mod stat;
mod usage;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock};

use rustix::fs::{CWD, Mode, OFlags, openat};

pub use descriptors::{ceiling, descriptor_limit, raise_descriptor_limit, reserve, why_not_held};
pub use details::ProcessDetails;
pub use effort::Effort;
pub use exits::Exits;
pub use look::{Handle, ended};
pub use program::Program;
pub use sockets::{ListenerSight, is_local};
pub use usage::Usage;

use crate::clock;
use crate::domain::Here;
use crate::domain::process::INITIAL_PID_NS;

/// Why the process table cannot be asked at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct ProcessError {
    path: &'static str,
    source: io::Error,
}

/// The process table as seen from here; cheap to clone.
#[derive(Debug, Clone)]
pub struct Processes {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    here: Here,
    /// `/proc`; `None` where it shows another PID namespace's processes, or nothing of ours.
    proc: Option<OwnedFd>,
    /// `/proc/sys/kernel/pid_max` at the start; read again before a number is called too large.
    pid_max: i64,
    /// Clock ticks in a second, the unit of start times.
    ticks: u64,
    /// The earliest moment of boot that the wall clock told; milliseconds.
    earliest_boot: AtomicI64,
    /// Whether a pidfd's inode identifies a process; learned from the first pidfd.
    pidfs: OnceLock<bool>,
    sockets: sockets::Cache,
    ends: ends::Ends,
}

impl Processes {
    /// Learns whose PID table this is.
    ///
    /// # Errors
    /// If `/proc` is not mounted or tells neither boot id nor PID namespace.
    pub fn new() -> Result<Self, ProcessError> {
        let read = |path| fs::read_to_string(path).map_err(|source| ProcessError { path, source });
        let boot_id = read("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let namespace = "/proc/self/ns/pid";
        let pid_ns = fs::metadata(namespace)
            .map_err(|source| ProcessError { path: namespace, source })?
            .ino();
        let inner = Inner {
            here: Here { host_id: host_id(), boot_id, pid_ns },
            proc: own_proc().map_err(|source| ProcessError { path: "/proc", source })?,
            pid_max: pid_max(),
            ticks: rustix::param::clock_ticks_per_second().max(1),
            pidfs: OnceLock::new(),
            earliest_boot: AtomicI64::new(boot_by_the_wall()),
            sockets: sockets::Cache::default(),
            ends: ends::Ends::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The PID table that this process lives in.
    #[must_use]
    pub fn here(&self) -> &Here {
        &self.inner.here
    }

    /// Are we in the machine's initial PID namespace, where every process can be seen?
    #[must_use]
    pub fn in_initial_namespace(&self) -> bool {
        self.inner.here.pid_ns == INITIAL_PID_NS
    }
}

/// When this machine was booted, by the wall clock as it is set now; milliseconds. The kernel's `btime` is the same
/// difference of the same clocks, cut to seconds, and costs reading all of `/proc/stat`.
fn boot_by_the_wall() -> i64 {
    let now = clock::now();
    now.wall.0.saturating_sub(now.up.0)
}

/// `/etc/machine-id`, or the host name where there is none (`machine-id(5)`: `uninitialized` is none).
fn host_id() -> String {
    fs::read_to_string("/etc/machine-id")
        .ok()
        .map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty() && id != "uninitialized")
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// `/proc`, if its numbers are those of our PID namespace.
///
/// After `unshare --pid` without a new mount, `/proc` still shows the outer namespace: what it says
/// about a number is about another process.
fn own_proc() -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = openat(CWD, "/proc", flags, Mode::empty())?;
    let ours = fs::read_link("/proc/self")
        .ok()
        .and_then(|link| link.to_str()?.parse::<u32>().ok())
        .is_some_and(|pid| pid == std::process::id());
    Ok(ours.then_some(proc))
}

/// `/proc/sys/kernel/pid_max`; where it is hidden, the largest that Linux allows (`PID_MAX_LIMIT`, 2^22).
fn pid_max() -> i64 {
    fs::read_to_string("/proc/sys/kernel/pid_max")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1 << 22)
}
