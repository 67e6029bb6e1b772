//! A migration: a batch job that announces itself with a lock file, and the row kept about it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::process::{DeathProof, Exit, Identity};
use super::time::Timestamp;

/// Largest `brz_project_id`: 2^53 - 1, the largest integer that every JSON reader keeps exact (RFC 8259, section 6).
pub const MAX_PROJECT_ID: i64 = (1 << 53) - 1;

/// What makes a migration this one: at most one row each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// As the runner writes it.
    pub mb_project_uuid: String,
    /// 1 to [`MAX_PROJECT_ID`].
    pub brz_project_id: i64,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.mb_project_uuid, self.brz_project_id)
    }
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every word of this closed list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it everywhere.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What a stored or given word stands for.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// The status that the migration dashboard shows; anything else it shows as pending.
    Status {
        /// Not started.
        Pending = "pending",
        /// Started and not known to have ended.
        InProgress = "in_progress",
        /// Ended well, in the runner's word.
        Success = "success",
        /// Ended well.
        Completed = "completed",
        /// Ended badly.
        Error = "error",
    }
}

impl Status {
    /// Nothing follows in this run.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Completed | Self::Error)
    }
}

words! {
    /// What is seen of a migration now.
    State {
        /// Its process lives.
        Alive = "alive",
        /// Its process is dead and the lock is within the grace.
        Waiting = "waiting",
        /// Its process is dead, the grace is over, the second look or the write is outstanding.
        Gone = "gone",
        /// Its process lives and makes no progress.
        Stalled = "stalled",
        /// Its process is another host's, as far as can be told.
        Foreign = "foreign",
        /// It cannot be told.
        Unknown = "unknown",
        /// The run has ended.
        Finished = "finished",
    }
}

words! {
    /// Why.
    Reason {
        /// Proven dead.
        ProcessGone = "process_gone",
        /// Dead and not yet reaped.
        ProcessZombie = "process_zombie",
        /// Another process stands under its PID.
        PidReused = "pid_reused",
        /// The machine started anew.
        Rebooted = "rebooted",
        /// The kernel told the signal that ended it.
        Killed = "killed",
        /// The kernel told its exit code.
        Exited = "exited",
        /// The lock was removed while the run was not over.
        LockRemoved = "lock_removed",
        /// The lock names no process.
        NoPid = "no_pid",
        /// The process may live in another PID namespace.
        PidNamespace = "pid_namespace",
        /// Only a lost instance could tell.
        InstanceLost = "instance_lost",
        /// The runner said so.
        Reported = "reported",
    }
}

words! {
    /// Who said the status.
    Source {
        /// procwarden judged it.
        Monitor = "monitor",
        /// The runner reported it.
        Runner = "runner",
        /// An operator removed the lock.
        Operator = "operator",
        /// The lock went while we watched.
        LockReleased = "lock_released",
        /// The lock went while nobody watched.
        LockReleasedUnwatched = "lock_released_unwatched",
        /// Taken from the adopted table.
        Adopted = "adopted",
    }
}

impl Source {
    /// Concluded from the absence of a lock, so that a report may still correct it.
    #[must_use]
    pub const fn is_guess(self) -> bool {
        matches!(self, Self::LockReleased | Self::LockReleasedUnwatched)
    }
}

impl Reason {
    /// The reason of a death: how the kernel says it ended, else what proves it.
    #[must_use]
    pub const fn of_death(proof: DeathProof, exit: Option<Exit>) -> Self {
        match (exit, proof) {
            (Some(Exit::Signal(_)), _) => Self::Killed,
            (Some(Exit::Code(_)), _) => Self::Exited,
            (None, DeathProof::NoSuchProcess | DeathProof::Exited) => Self::ProcessGone,
            (None, DeathProof::Zombie) => Self::ProcessZombie,
            (None, DeathProof::Rebooted) => Self::Rebooted,
            (None, DeathProof::Reused) => Self::PidReused,
        }
    }

    /// Does it say that the process was proven dead?
    #[must_use]
    pub const fn is_death(self) -> bool {
        matches!(
            self,
            Self::ProcessGone
                | Self::ProcessZombie
                | Self::PidReused
                | Self::Rebooted
                | Self::Killed
                | Self::Exited
        )
    }
}

/// Which file a lock is and how it was written last: two looks at the same file give the same mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Modification time, nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
    /// Bytes.
    pub size: u64,
}

/// Which directory the locks were seen in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DirMark {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
}

/// The `pid` field of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockPid {
    /// A number that a PID could be, or could not: the process table decides.
    Number(i64),
    /// None, or a lock that cannot be read.
    Missing,
}

/// A lock of ours that is judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lock {
    /// Its name inside the lock directory.
    pub file: Arc<str>,
    /// Whose process it names.
    pub pid: LockPid,
    /// `started_timestamp`.
    pub started: Option<Timestamp>,
    /// `stage_updated_at`.
    pub stage_updated: Option<Timestamp>,
    /// Modification time.
    pub mtime: Timestamp,
    /// Which file it is.
    pub mark: Mark,
}

impl Lock {
    /// Its age: since `started_timestamp`, or since its mtime where that is missing or lies in the future.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.counted_from(now))
    }

    /// The moment from which its age counts.
    #[must_use]
    pub fn counted_from(&self, now: Timestamp) -> Timestamp {
        self.started.filter(|started| *started <= now).unwrap_or(self.mtime)
    }

    /// When this attempt began, as far as the lock tells.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.started.unwrap_or(self.mtime)
    }
}

/// The row of a migration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Migration {
    /// Whose row.
    pub key: Key,
    /// The instance that answers for it.
    pub instance: String,
    /// The host on which `identity` was seen.
    pub host_id: String,
    /// What the dashboard shows.
    pub status: Status,
    /// What is seen.
    pub state: State,
    /// Why.
    pub reason: Option<Reason>,
    /// Who said the status; `None` while nobody had to.
    pub status_source: Option<Source>,
    /// For people, when the status is `error`.
    pub error: Option<String>,
    /// Counts the attempts, from 1.
    pub run: i64,
    /// The last change of `state`.
    pub since: Timestamp,
    /// First sight.
    pub created_at: Timestamp,
    /// Last write.
    pub updated_at: Timestamp,
    /// The last change of `status`.
    pub status_updated_at: Option<Timestamp>,
    /// When the run ended, or when its death was first seen once that was confirmed.
    pub ended_at: Option<Timestamp>,
    /// Name of the lock.
    pub lock_file: Option<String>,
    /// The PID in the lock.
    pub lock_pid: Option<i64>,
    /// `started_timestamp` of the lock.
    pub lock_started: Option<Timestamp>,
    /// Which file it was at the last write of the row.
    pub lock_mark: Option<Mark>,
    /// Which directory it was in.
    pub dir: Option<DirMark>,
    /// The process seen alive for this attempt.
    pub identity: Option<Identity>,
    /// The lock was removed through our API before the run was over.
    pub lock_taken: bool,
    /// What the lock said at the last write of the row: masked JSON.
    pub lock_data: Option<Arc<str>>,
    /// What the adopted table's row said when it was taken over last; see `domain::adopt`.
    pub their_status: Option<String>,
    /// How the process of this attempt ended, where the kernel told.
    pub exit: Option<Exit>,
}

impl Migration {
    /// Does the lock show the attempt that this row is about?
    ///
    /// A lock without a PID shows no attempt of its own, so it is this one's.
    #[must_use]
    pub fn is_attempt_of(&self, lock: &Lock) -> bool {
        match lock.pid {
            LockPid::Missing => true,
            LockPid::Number(pid) => self.lock_pid == Some(pid) && self.lock_started == lock.started,
        }
    }

    /// Was no lock of this run seen yet? The row was made, or set back, by what an adopted table says.
    #[must_use]
    pub const fn is_announced(&self) -> bool {
        self.lock_file.is_none() && self.their_status.is_some()
    }

    /// Death was proven at two looks, or the run is over.
    #[must_use]
    pub const fn death_recorded(&self) -> bool {
        self.ended_at.is_some()
    }
}
