//! One look at one PID: alive, proven dead, or not to be told.
//!
//! The order proves the identity: open the pidfd, read `/proc/PID/stat`, poll the pidfd. If it is not
//! readable after the reading, the process behind it was there all the time, so what was read is its own.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fstat, fstatfs, openat};
use rustix::io::{Errno, read, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, test_kill_process};

use super::stat::Stat;
use super::{Processes, boot_by_the_wall, exit, pid_max};
use crate::domain::process::{Alive, DeathProof, Unknowable};
use crate::domain::{Exit, Identity, Presence, Timestamp};

/// `f_type` of pidfs (`PIDFS_MAGIC` of the kernel's `include/uapi/linux/magic.h`), Linux 6.9 and later.
/// Before it, all pidfds of a machine share one anonymous inode.
const PIDFS_MAGIC: u64 = 0x5049_4446;

/// As much of a status file as is read. The line `Groups` may hold 65,536 numbers (`NGROUPS_MAX`) before `NSpid`.
pub(super) const STATUS_LIMIT: usize = 1 << 20;

/// A process that is held on to: its end cannot be mistaken for another's, whatever becomes of its PID.
///
/// The descriptor becomes readable when the process has ended, for `epoll`.
#[derive(Debug)]
pub struct Handle {
    identity: Identity,
    pidfd: OwnedFd,
}

impl Handle {
    /// Who it is, as it was when the handle was made.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether it has ended, reaped or not.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        is_readable(&self.pidfd) == Ok(true)
    }

    /// Sends it a signal; it reaches nobody else, whoever has its PID by now.
    ///
    /// # Errors
    /// If it has ended, or may not be signalled.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// How it ended; `None` while it lives, until its parent has reaped it, and on kernels before 6.15.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        exit::exit(self.pidfd.as_fd())
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

impl Processes {
    /// Who stands under this PID now.
    #[must_use]
    pub fn look(&self, pid: i64) -> Presence {
        self.watch(pid).0
    }

    /// Who stands under this PID now, and a hold on it if it lives or is an unreaped zombie.
    ///
    /// There is no handle without pidfds (kernels before 5.3, a seccomp filter, too many open files).
    #[must_use]
    pub fn watch(&self, pid: i64) -> (Presence, Option<Handle>) {
        let (presence, held) = self.try_watch(pid);
        (presence, held.ok().flatten())
    }

    /// The same, telling why there is no handle: `Ok(None)` if there is nobody to hold, an error if the kernel or its
    /// permissions refuse pidfds, or there are too many open files. The presence was found without one then.
    pub fn try_watch(&self, pid: i64) -> (Presence, io::Result<Option<Handle>>) {
        let Some(pid) = self.possible(pid) else {
            return (Presence::Unknown(Unknowable::BadPid), Ok(None));
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => {
                let (presence, handle) = self.through(pid, pidfd);
                (presence, Ok(handle))
            }
            Err(Errno::SRCH) => (Presence::Dead(DeathProof::NoSuchProcess), Ok(None)),
            Err(Errno::NOENT | Errno::INVAL) => (without_leader(pid), Ok(None)),
            // ENOSYS, a filter's EPERM, EMFILE, ENFILE, ENOMEM: they say something about us, not about it.
            Err(refused) => (self.by_number(pid), Err(refused.into())),
        }
    }

    /// The process that is held, now: the same as a look at its PID, for less, and about nobody else.
    ///
    /// Dead as soon as it has ended, reaped or not; what its parent left of it is told apart as [`DeathProof::Zombie`].
    #[must_use]
    pub fn look_again(&self, handle: &Handle) -> Presence {
        let pid = Pid::from_raw(handle.identity.pid);
        let stat = pid.and_then(|pid| self.stat(pid));
        self.of_held(handle, stat, handle.has_exited())
    }

    /// The same for many, with one question to the kernel for the ends of all.
    #[must_use]
    pub fn look_at_all(&self, handles: &[&Handle]) -> Vec<Presence> {
        let stat = |handle: &&Handle| self.stat(Pid::from_raw(handle.identity.pid)?);
        // All of them before the ends: what was read is of a process that was there still.
        let stats: Vec<Option<Stat>> = handles.iter().map(stat).collect();
        let seen = handles.iter().zip(stats).zip(ended(handles));
        seen.map(|((handle, stat), ended)| self.of_held(handle, stat, ended)).collect()
    }

    /// Who is held and has not ended is who was read, since the number was its own all the time.
    fn of_held(&self, handle: &Handle, stat: Option<Stat>, ended: bool) -> Presence {
        if !ended {
            return self.living(handle.identity.clone(), stat);
        }
        let zombie = stat.is_some_and(|it| {
            it.is_zombie() && handle.identity.start_ticks.is_none_or(|was| was == it.start_ticks)
        });
        Presence::Dead(if zombie { DeathProof::Zombie } else { DeathProof::Exited })
    }

    /// The number, if a process could have it. Zero and below never reach `kill`, where they mean groups.
    fn possible(&self, pid: i64) -> Option<Pid> {
        let raw = i32::try_from(pid).ok().filter(|raw| *raw > 0)?;
        // It may have been raised since the start.
        let known = pid <= self.inner.pid_max || pid <= pid_max();
        if known { Pid::from_raw(raw) } else { None }
    }

    fn through(&self, pid: Pid, pidfd: OwnedFd) -> (Presence, Option<Handle>) {
        let stat = self.stat(pid);
        let Ok(exited) = is_readable(&pidfd) else {
            return (Presence::Unknown(Unknowable::Refused), None);
        };
        let identity = self.identity(pid, stat, Some(&pidfd));
        if exited {
            return if stat.is_some_and(|stat| stat.is_zombie()) {
                (Presence::Dead(DeathProof::Zombie), Some(Handle { identity, pidfd }))
            } else {
                (Presence::Dead(DeathProof::Exited), None)
            };
        }
        match self.living(identity, stat) {
            Presence::Alive(alive) => {
                let identity = alive.identity.clone();
                (Presence::Alive(alive), Some(Handle { identity, pidfd }))
            }
            other => (other, None),
        }
    }

    /// The look without a pidfd: `kill` last, so that what was read first is of a process that was there.
    pub(super) fn by_number(&self, pid: Pid) -> Presence {
        let stat = self.stat(pid);
        let leader = self.status(pid).as_deref().and_then(thread_group);
        match test_kill_process(pid) {
            Err(Errno::SRCH) => return Presence::Dead(DeathProof::NoSuchProcess),
            Ok(()) | Err(Errno::PERM) => {}
            Err(_) => return Presence::Unknown(Unknowable::Refused),
        }
        if leader.is_some_and(|leader| leader != pid.as_raw_nonzero().get()) {
            return Presence::Unknown(Unknowable::ThreadId);
        }
        // A main thread that has called pthread_exit is a zombie with others beside it.
        if stat.is_some_and(|stat| stat.is_zombie() && stat.threads == 1) {
            return Presence::Dead(DeathProof::Zombie);
        }
        self.living(self.identity(pid, stat, None), stat)
    }

    fn living(&self, identity: Identity, stat: Option<Stat>) -> Presence {
        if stat.is_some_and(|stat| stat.is_kernel_thread()) {
            return Presence::Unknown(Unknowable::KernelThread);
        }
        Presence::Alive(Alive {
            started: identity.start_ticks.map(|ticks| self.earliest_start(ticks)),
            stopped: stat.is_some_and(|stat| stat.is_stopped()),
            identity,
        })
    }

    fn identity(&self, pid: Pid, stat: Option<Stat>, pidfd: Option<&OwnedFd>) -> Identity {
        Identity {
            boot_id: self.inner.here.boot_id.clone(),
            pid_ns: self.inner.here.pid_ns,
            pid: pid.as_raw_nonzero().get(),
            start_ticks: stat.map(|stat| stat.start_ticks),
            inode: pidfd.and_then(|pidfd| self.inode(pidfd)),
        }
    }

    fn inode(&self, pidfd: &OwnedFd) -> Option<u64> {
        let identifies = *self.inner.pidfs.get_or_init(|| {
            fstatfs(pidfd).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(PIDFS_MAGIC))
        });
        if identifies { fstat(pidfd).ok().map(|stat| stat.st_ino) } else { None }
    }

    /// By the earliest moment of boot that the wall clock has told since we run: a clock that was set forward after a lock
    /// was written must not make its job look younger than the lock.
    fn earliest_start(&self, ticks: u64) -> Timestamp {
        let now = boot_by_the_wall();
        let boot = self.inner.earliest_boot.fetch_min(now, Ordering::Relaxed).min(now);
        let after_boot = u128::from(ticks) * 1000 / u128::from(self.inner.ticks);
        Timestamp(boot.saturating_add(i64::try_from(after_boot).unwrap_or(i64::MAX)))
    }

    /// `/proc/PID/stat`; `None` proves nothing.
    pub(super) fn stat(&self, pid: Pid) -> Option<Stat> {
        // The fields that are needed end before byte 512, whatever the name is (at most 64 bytes).
        let mut buffer = [0_u8; 512];
        let mut path = [0; StatPath::ROOM];
        let path = StatPath::write(pid, &mut path)?;
        let proc = self.inner.proc.as_ref()?;
        let file = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let count = retry_on_intr(|| read(&file, &mut buffer)).ok()?;
        Stat::parse(buffer.get(..count)?)
    }

    /// `/proc/PID/status`; `None` proves nothing.
    fn status(&self, pid: Pid) -> Option<Vec<u8>> {
        self.read_proc(&format!("{}/status", pid.as_raw_nonzero()), STATUS_LIMIT).ok()
    }

    /// At most the first `limit` bytes of a file under `/proc`.
    pub(super) fn read_proc(&self, path: &str, limit: usize) -> Result<Vec<u8>, Errno> {
        let proc = self.inner.proc.as_ref().ok_or(Errno::ACCESS)?;
        let file = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut bytes = Vec::new();
        let mut chunk = [0_u8; 4096];
        while bytes.len() < limit {
            let count = retry_on_intr(|| read(&file, &mut chunk))?;
            match chunk.get(..count) {
                None | Some([]) => break,
                Some(read) => bytes.extend_from_slice(read),
            }
        }
        bytes.truncate(limit);
        Ok(bytes)
    }
}

/// `4711/stat` without an allocation: a pass asks for ten thousand.
struct StatPath;

impl StatPath {
    const NAME: &[u8] = b"/stat\0";
    /// The digits of the largest PID, and the rest.
    const ROOM: usize = 10 + Self::NAME.len();

    fn write(pid: Pid, room: &mut [u8; Self::ROOM]) -> Option<&CStr> {
        let mut number = pid.as_raw_nonzero().get().unsigned_abs();
        let mut start = Self::ROOM - Self::NAME.len();
        room[start..].copy_from_slice(Self::NAME);
        while number > 0 {
            start -= 1;
            room[start] = b'0' + u8::try_from(number % 10).ok()?;
            number /= 10;
        }
        CStr::from_bytes_with_nul(&room[start..]).ok()
    }
}

/// Pidfds of one `poll`; the kernel refuses more than `RLIMIT_NOFILE`, and an array of these stays in the cache.
const POLLED_AT_ONCE: usize = 512;

/// Which of these processes have ended, reaped or not: one question to the kernel for hundreds.
#[must_use]
pub fn ended(handles: &[&Handle]) -> Vec<bool> {
    let mut all = Vec::with_capacity(handles.len());
    let mut polled = Vec::with_capacity(handles.len().min(POLLED_AT_ONCE));
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    for some in handles.chunks(POLLED_AT_ONCE) {
        polled.clear();
        polled.extend(some.iter().map(|handle| PollFd::new(&handle.pidfd, PollFlags::IN)));
        if retry_on_intr(|| poll(&mut polled, Some(&at_once))).is_ok() {
            all.extend(polled.iter().map(|fd| fd.revents().contains(PollFlags::IN)));
        } else {
            // A limit on open files that was lowered below ours.
            all.extend(some.iter().map(|handle| handle.has_exited()));
        }
    }
    all
}

/// A number that leads no thread group: a thread, or a dead process whose number still names a process group or a
/// session. For those `pidfd_open` says ENOENT or, before 6.16, EINVAL; only `kill` tells them apart.
fn without_leader(pid: Pid) -> Presence {
    match test_kill_process(pid) {
        Err(Errno::SRCH) => Presence::Dead(DeathProof::NoSuchProcess),
        _ => Presence::Unknown(Unknowable::ThreadId),
    }
}

/// A pidfd is readable once every thread of the process has ended (`pidfd_open(2)`).
fn is_readable(pidfd: &OwnedFd) -> Result<bool, Errno> {
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(retry_on_intr(|| poll(&mut polled, Some(&at_once)))? > 0)
}

/// `Tgid` of a status file.
fn thread_group(status: &[u8]) -> Option<i32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Tgid:"))?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
