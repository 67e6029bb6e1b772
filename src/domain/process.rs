//! Processes as facts: who one is, whether it lives, and what proves that it does not.

use std::borrow::Cow;

use super::time::Timestamp;

/// The PID table that this process lives in; PIDs mean something only inside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Here {
    /// `/etc/machine-id`, or the host name where there is none.
    pub host_id: String,
    /// `/proc/sys/kernel/random/boot_id`: another one means that every process of before is dead.
    pub boot_id: String,
    /// Inode of `/proc/self/ns/pid`.
    pub pid_ns: u64,
}

/// Inode of the initial PID namespace (`PROC_PID_INIT_INO` of Linux, measured on 6.18).
pub const INITIAL_PID_NS: u64 = 4_026_531_836;

/// Which process a PID meant when it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The boot during which it was seen.
    pub boot_id: String,
    /// The PID namespace in which it was seen.
    pub pid_ns: u64,
    /// Its PID there.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`, in clock ticks since boot; `None` where `/proc` hides it.
    pub start_ticks: Option<u64>,
    /// Inode of its pidfd: unique within a boot on kernels with pidfs (6.9 and later), else `None`.
    pub inode: Option<u64>,
}

impl Identity {
    /// Was this recorded in the PID table `here`, in this boot?
    #[must_use]
    pub fn is_of(&self, here: &Here) -> bool {
        self.boot_id == here.boot_id && self.pid_ns == here.pid_ns
    }

    /// Is `other`, seen in the same boot and namespace, another process than this one?
    ///
    /// False when nothing comparable is known of both: only a proven difference is one.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> bool {
        if self.pid != other.pid {
            return true;
        }
        // The inode is the sharper of the two: a number may be used again within one tick.
        if let (Some(a), Some(b)) = (self.inode, other.inode) {
            return a != b;
        }
        matches!((self.start_ticks, other.start_ticks), (Some(a), Some(b)) if a != b)
    }
}

/// What a look at one PID showed, before anything recorded is compared with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Somebody lives under this PID.
    Alive(Alive),
    /// Nobody does, and this is the proof.
    Dead(DeathProof),
    /// It cannot be told.
    Unknown(Unknowable),
}

/// A living process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Alive {
    /// Who it is.
    pub identity: Identity,
    /// When it started, by the wall clock as it is set now; for inferring reuse at first sight only.
    pub started: Option<Timestamp>,
    /// Stopped by a signal or a tracer (state `T` or `t`).
    pub stopped: bool,
}

/// Why a process is certainly dead. `ENOENT` under `/proc` is not among these: it proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeathProof {
    /// `pidfd_open` or `kill(pid, 0)` said `ESRCH`.
    NoSuchProcess,
    /// Its pidfd is readable and it is no longer listed.
    Exited,
    /// A zombie whose pidfd is readable (or, without pidfd, with one thread left).
    Zombie,
    /// It was recorded in another boot of this host.
    Rebooted,
    /// Another identity stands under its PID.
    Reused,
}

impl DeathProof {
    /// A short technical word for operators.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchProcess => "ESRCH",
            Self::Exited => "pidfd readable",
            Self::Zombie => "zombie",
            Self::Rebooted => "other boot",
            Self::Reused => "PID reused",
        }
    }
}

/// Why nothing can be said about a PID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unknowable {
    /// Zero, negative, or over the kernel's `pid_max`.
    BadPid,
    /// A thread of the kernel, never a job.
    KernelThread,
    /// The id of a thread that is not its process's main thread.
    ThreadId,
    /// The kernel or its permissions refused every way of asking.
    Refused,
}

impl Unknowable {
    /// A short technical word for operators.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadPid => "no PID that this machine can have",
            Self::KernelThread => "kernel thread",
            Self::ThreadId => "thread id",
            Self::Refused => "refused",
        }
    }
}

/// How a watched process ended, where the kernel tells (Linux 6.15 and later).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// `exit(code)`.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl Exit {
    /// From a wait status (`wait(2)`): the signal in the low seven bits, the exit code in the second byte.
    #[must_use]
    pub fn of_wait_status(status: i64) -> Option<Self> {
        let status = i32::from(u16::try_from(status).ok()?);
        Some(match status & 0x7f {
            0 => Self::Code(status >> 8),
            signal => Self::Signal(signal),
        })
    }

    /// As a wait status, without the bit that tells of a core file.
    #[must_use]
    pub const fn wait_status(self) -> i64 {
        match self {
            Self::Code(code) => (code as i64 & 0xff) << 8,
            Self::Signal(signal) => signal as i64 & 0x7f,
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "killed by {name}"),
                None => write!(f, "killed by signal {signal}"),
            },
        }
    }
}

/// A signal as one word: its name, else its number.
#[must_use]
pub fn signal_word(signal: i32) -> Cow<'static, str> {
    signal_name(signal).map_or_else(|| Cow::Owned(signal.to_string()), Cow::Borrowed)
}

/// The name of a standard signal, by the numbers of x86 and ARM (`signal(7)`).
#[must_use]
pub fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    let place = usize::try_from(signal).ok()?.checked_sub(1)?;
    NAMES.get(place).copied()
}

/// Whether another PID namespace may hold the process that a PID means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OtherNamespaces {
    /// Every process was seen, none elsewhere has this PID.
    Clear,
    /// A process in another namespace has this PID as its innermost.
    Namesake,
    /// Not every process could be seen (hidepid).
    Hidden,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_there_and_back() {
        for (status, exit) in [(1792, Exit::Code(7)), (0, Exit::Code(0)), (9, Exit::Signal(9))] {
            assert_eq!(Exit::of_wait_status(status), Some(exit));
            assert_eq!(exit.wait_status(), status);
        }
        assert_eq!(Exit::of_wait_status(0x80 + 11), Some(Exit::Signal(11)), "with a core file");
        assert_eq!([-1, 0x10000].map(Exit::of_wait_status), [None, None]);
    }

    #[test]
    fn an_end_in_words() {
        let told = |exit: Exit| exit.to_string();
        assert_eq!(told(Exit::Code(7)), "exited with code 7");
        let names =
            [(1, "SIGHUP"), (6, "SIGABRT"), (9, "SIGKILL"), (11, "SIGSEGV"), (15, "SIGTERM")];
        for (number, name) in names.into_iter().chain([(24, "SIGXCPU"), (31, "SIGSYS")]) {
            assert_eq!(told(Exit::Signal(number)), format!("killed by {name}"));
        }
        assert_eq!(told(Exit::Signal(34)), "killed by signal 34");
        assert_eq!((signal_name(0), signal_name(-1), signal_name(32)), (None, None, None));
    }
}
