//! The heart: what a migration is, given its row, its lock and its process. Pure.
//!
//! [`standing`] says what the process is, [`row_for`] which run the lock belongs to, [`is_ours`] whether that is for us to
//! judge, [`evaluate`] what follows.

mod absent;
mod explain;
mod present;
mod row;
mod stall;
mod standing;
mod whose;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::migration::{DirMark, Key, Lock, Migration, Reason, State, Status};
use super::process::{Alive, DeathProof, Exit, Here, OtherNamespaces, Presence};
use super::time::{Now, Timestamp, Uptime};

pub use row::{finish, first_row, row_for, write};
pub use stall::progressed;
pub use standing::{PIDLESS_ALIVE, REUSE_MARGIN, needs_namespace_scan, standing, subject};
pub use whose::{is_ours, may_act, shown};

/// Whose processes the PIDs in the lock directory mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This PID table is the jobs'.
    Local,
    /// Other hosts or containers write locks here too.
    Shared,
}

/// The settings of the judgement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rules {
    /// How old a lock must be before its dead process is an error.
    pub grace: Duration,
    /// How far apart two looks must be that prove something.
    pub settle: Duration,
    /// How long the progress of a live process may stand still until it is stalled; none: as long as it likes.
    pub stall_after: Option<Duration>,
    /// Whose PID table.
    pub scope: Scope,
    /// This PID table.
    pub here: Here,
    /// Our name.
    pub instance: String,
    /// No other instance shares the database: every row is ours.
    pub sole: bool,
    /// The names of all instances that may be alive: everybody's, as long as no loss can be told.
    pub live: BTreeSet<String>,
}

/// What a scan showed for one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LockSight {
    /// The lock.
    Present(Lock),
    /// Something under its name that cannot be judged; nothing follows.
    Blocked,
    /// The directory was read and there is none.
    Absent,
    /// The directory could not be read; nothing follows.
    Blind,
}

/// Everything that one look brought.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sight {
    /// The lock.
    pub lock: LockSight,
    /// The directory.
    pub dir: Option<DirMark>,
    /// Who stands under the PID of [`subject`]; `None` if there is none.
    pub process: Option<Presence>,
    /// How the watched process ended, where the kernel told.
    pub exit: Option<Exit>,
    /// Whether another namespace may hold the process; asked only when [`needs_namespace_scan`].
    pub elsewhere: Option<OtherNamespaces>,
    /// The lock's content, masked, to be kept with the row.
    pub data: Option<Arc<str>>,
}

/// What must be remembered between two looks of one run of the program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Memory {
    /// Since when, and as which PID, the process has been seen dead.
    pub dead: Option<Dead>,
    /// Since when the lock has been seen missing.
    pub absent: Option<Uptime>,
    /// The lock was seen since the program started.
    pub watched: bool,
}

/// A death seen for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dead {
    /// Whose: the lock's PID and its time of start.
    pub whose: (Option<i64>, Option<Timestamp>),
    /// When, for measuring.
    pub up: Uptime,
    /// When, for telling.
    pub wall: Timestamp,
}

/// What the process of a migration is, with everything recorded taken into account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It lives; the identity is known unless a fresh lock without a PID vouches for it.
    Alive(Option<Alive>),
    /// Proven dead.
    Dead(DeathProof),
    /// It cannot be told.
    Unknown(Reason),
    /// Another host's.
    Foreign,
}

/// What must stand in a row that is written: that it was written since by anybody makes what was judged worthless.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Basis {
    /// The run.
    pub run: i64,
    /// The status.
    pub status: Status,
    /// What was seen; implied by the last write, for whoever tells what turned.
    pub state: State,
    /// The instance: what was seen of another one's process says nothing about its row.
    pub instance: String,
    /// The last write.
    pub updated_at: Timestamp,
}

impl Basis {
    /// The row as it was judged.
    #[must_use]
    pub fn of(row: &Migration) -> Self {
        Self {
            run: row.run,
            status: row.status,
            state: row.state,
            instance: row.instance.clone(),
            updated_at: row.updated_at,
        }
    }
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Write {
    /// Nothing.
    None,
    /// The first row of this key.
    Insert(Box<Migration>),
    /// This row instead of the one that has `run`, `status` and `instance` now.
    Update {
        /// What must stand there.
        basis: Basis,
        /// What shall stand there.
        row: Box<Migration>,
        /// A status turned, another run began, or it stalled or goes on: an event in the same transaction.
        flip: bool,
    },
}

impl Write {
    /// What must stand in the row; none if there is none yet.
    #[must_use]
    pub const fn basis(&self) -> Option<&Basis> {
        match self {
            Self::Update { basis, .. } => Some(basis),
            Self::None | Self::Insert(_) => None,
        }
    }
}

/// What would happen to a migration, in the contract's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing is wrong, or nothing can be said.
    None,
    /// Something is, but not all conditions hold yet.
    Wait,
    /// It becomes `error`.
    Error,
    /// It becomes `completed`.
    Completed,
}

impl Outcome {
    /// The word for it everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Wait => "wait",
            Self::Error => "error",
            Self::Completed => "completed",
        }
    }
}

/// One condition of the judgement, with what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Predicate {
    /// Its name.
    pub name: &'static str,
    /// What was seen.
    pub value: String,
    /// What it is held against.
    pub threshold: Option<String>,
    /// Whether it holds.
    pub holds: bool,
}

/// The judgement over one migration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decision {
    /// What is to be written, by compare-and-set.
    pub write: Write,
    /// What is to be remembered.
    pub memory: Memory,
    /// The row as it will be, if the write succeeds.
    pub row: Option<Migration>,
    /// The lock may go once the row stands.
    pub remove_lock: bool,
    /// Look again then.
    pub wake: Option<Uptime>,
    /// Its process is gone, and the status turns to `error` then if nothing else happens.
    pub turns_at: Option<Timestamp>,
    /// It will be stalled then, if its lock shows no progress until then.
    pub stalls_at: Option<Uptime>,
    /// In one word.
    pub outcome: Outcome,
    /// Predicate by predicate.
    pub explain: Vec<Predicate>,
}

impl Decision {
    /// What is done about it at this look, in the contract's words.
    #[must_use]
    pub fn would(&self) -> Vec<&'static str> {
        let status = match self.outcome {
            Outcome::Error => Some("set_error"),
            Outcome::Completed => Some("set_completed"),
            Outcome::None | Outcome::Wait => None,
        };
        status.into_iter().chain(self.remove_lock.then_some("remove_lock")).collect()
    }
}

/// What a migration is now, and what follows.
#[must_use]
pub fn evaluate(
    key: &Key,
    row: Option<&Migration>,
    sight: &Sight,
    memory: &Memory,
    rules: &Rules,
    now: Now,
) -> Decision {
    if let Some(decision) = whose::hands_off(row, sight, rules, now.wall) {
        return decision;
    }
    match &sight.lock {
        LockSight::Present(lock) => present::present(key, row, lock, sight, memory, rules, now),
        LockSight::Absent => absent::absent(row, sight, memory, rules, now),
        LockSight::Blocked | LockSight::Blind => {
            let memory = Memory { absent: None, ..memory.clone() };
            unchanged(row, memory, Vec::new())
        }
    }
}

fn unchanged(row: Option<&Migration>, memory: Memory, explain: Vec<Predicate>) -> Decision {
    Decision {
        write: Write::None,
        memory,
        row: row.cloned(),
        remove_lock: false,
        wake: None,
        turns_at: None,
        stalls_at: None,
        outcome: Outcome::None,
        explain,
    }
}
