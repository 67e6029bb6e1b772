//! Where their row, their locks and our judgement do not say the same, and by which rule of ours.

use super::record::{Fault, Record, Said};
use super::settle::{is_known, is_of_another};
use crate::domain::migration::{Migration, Reason, Source, State, Status};

/// What is known of one migration after a look.
#[derive(Debug, Clone, Copy)]
// Each is one thing that was seen.
#[allow(clippy::struct_excessive_bools)]
pub struct Situation<'a> {
    /// Our row.
    pub row: &'a Migration,
    /// Their row; none: there is none.
    pub record: Option<&'a Record>,
    /// Its lock stands.
    pub lock_exists: bool,
    /// The process that the lock names lives, by its identity.
    pub alive: bool,
    /// The lock would go by our rules.
    pub removable: bool,
    /// Only looked at: nothing of theirs is written.
    pub shadow: bool,
}

/// What kind of difference or fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// We say `error`, their row goes on.
    ErrorHereOnly,
    /// Their row says `error`, and the process lives.
    ErrorThereOnly,
    /// We say it is over without an error, their row goes on.
    CompletedHereOnly,
    /// We would have removed the lock, it stands.
    LockThereOnly,
    /// The lock was removed, and we would have left it.
    LockHereOnly,
    /// A node works for them and not for us, or the reverse.
    NodeState,
    /// There is no row to write to.
    NoRow,
    /// Their row cannot be understood, so it is not written.
    RowUnreadable,
    /// Their row is not `in_progress`, so our error is not written.
    NotInProgress,
    /// We may read and not write.
    Denied,
    /// Our error could not be written into this row.
    WriteFailed,
    /// The table or a column cannot be read.
    Table,
    /// A row of theirs cannot be taken over.
    BadRow,
}

impl Code {
    /// Every one.
    pub const ALL: [Self; 13] = [
        Self::ErrorHereOnly,
        Self::ErrorThereOnly,
        Self::CompletedHereOnly,
        Self::LockThereOnly,
        Self::LockHereOnly,
        Self::NodeState,
        Self::NoRow,
        Self::RowUnreadable,
        Self::NotInProgress,
        Self::Denied,
        Self::WriteFailed,
        Self::Table,
        Self::BadRow,
    ];

    /// The word for it everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ErrorHereOnly => "error_here_only",
            Self::ErrorThereOnly => "error_there_only",
            Self::CompletedHereOnly => "completed_here_only",
            Self::LockThereOnly => "lock_there_only",
            Self::LockHereOnly => "lock_here_only",
            Self::NodeState => "node_state",
            Self::NoRow => "no_row",
            Self::RowUnreadable => "row_unreadable",
            Self::NotInProgress => "not_in_progress",
            Self::Denied => "denied",
            Self::WriteFailed => "write_failed",
            Self::Table => "table",
            Self::BadRow => "bad_row",
        }
    }

    /// Is it something to be mended, rather than another judgement?
    #[must_use]
    pub const fn is_fault(self) -> bool {
        matches!(
            self,
            Self::NoRow
                | Self::RowUnreadable
                | Self::NotInProgress
                | Self::Denied
                | Self::WriteFailed
                | Self::Table
                | Self::BadRow
        )
    }
}

const ONLY_PROOF: &str = "only proof of death is death: that a signal may not be sent (EPERM), or that a lock is old, proves \
                          nothing";

/// One difference or fault.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Difference {
    /// What kind.
    pub code: Code,
    /// What is seen of theirs.
    pub theirs: String,
    /// What is so by our rules.
    pub ours: String,
    /// The rule, or what to do.
    pub rule: &'static str,
}

impl Difference {
    /// Their table cannot be read; `ours` is what follows.
    #[must_use]
    pub fn unreadable(why: String, ours: &str) -> Self {
        Self {
            code: Code::Table,
            theirs: why,
            ours: ours.to_owned(),
            rule: "the table cannot be read: check that it is there, its columns, and GRANT SELECT",
        }
    }

    /// Their table may not be written; `ours` is what follows.
    #[must_use]
    pub fn denied(why: &str, ours: &str) -> Self {
        Self {
            code: Code::Denied,
            theirs: why.to_owned(),
            ours: ours.to_owned(),
            rule: "`procwarden check-config` prints the GRANTs that adopt.mode = \"write\" needs",
        }
    }
}

/// What differs now. Most of it passes by itself: each side looks at its own moments.
#[must_use]
pub fn differences(it: &Situation<'_>) -> Vec<Difference> {
    let mut list = Vec::new();
    list.extend(status_difference(it));
    // Their word ended this run, and its process goes on. A word of the run before ends none.
    let by_theirs = it.row.status == Status::Error && it.row.status_source == Some(Source::Adopted);
    if it.alive && by_theirs {
        list.push(Difference {
            code: Code::ErrorThereOnly,
            theirs: theirs(it),
            ours: "alive".to_owned(),
            rule: ONLY_PROOF,
        });
    }
    let would_go = it.record.is_some_and(|it| it.is_in_progress() || it.final_status().is_some());
    if it.shadow && it.removable && it.lock_exists && would_go {
        list.push(Difference {
            code: Code::LockThereOnly,
            theirs: "lock stands".to_owned(),
            ours: "lock removed".to_owned(),
            rule: "the lock of a final row goes once its process is proven dead at two looks and the grace is over",
        });
    }
    list
}

/// What a monitor of theirs did to a run whose process lives: seen at the look that finds it.
#[must_use]
pub fn called_dead(before: &Migration, record: &Record) -> Option<Difference> {
    let now_error = record.final_status() == Some(Status::Error) && record.by_monitor;
    (now_error && !before.status.is_final() && !is_known(before, record)).then(|| Difference {
        code: Code::ErrorThereOnly,
        theirs: record.word().to_owned(),
        ours: "alive".to_owned(),
        rule: ONLY_PROOF,
    })
}

/// A lock that went although we would have left it; `before` is our row as it was while the lock stood.
#[must_use]
pub fn lock_gone(before: &Migration) -> Option<Difference> {
    let rule = match (before.state, before.reason) {
        (State::Unknown, Some(Reason::NoPid)) => {
            "a lock without a PID is reported, never removed by age alone; an operator removes it"
        }
        (State::Unknown, Some(reason)) if reason.is_death() => return None,
        (State::Unknown, _) => "what cannot be told apart from alive is not removed",
        (State::Foreign, _) => "a PID of another host or container is not judged here",
        _ => return None,
    };
    Some(Difference {
        code: Code::LockHereOnly,
        theirs: "lock removed".to_owned(),
        ours: format!("lock left, {}", before.state),
        rule,
    })
}

fn status_difference(it: &Situation<'_>) -> Option<Difference> {
    let row = it.row;
    let ours = matches!(row.status_source, Some(source) if source != Source::Adopted);
    if !row.status.is_final() || !ours {
        return None;
    }
    if let Some(theirs) = it.record.and_then(Record::final_status) {
        let differs = is_of_another(row) && theirs != row.status;
        return differs.then(|| Difference {
            code: if row.status == Status::Error {
                Code::ErrorHereOnly
            } else {
                Code::CompletedHereOnly
            },
            theirs: format!("{theirs}, of the run before"),
            ours: said_of(row),
            rule: "what stood in their row before this run began says nothing of it",
        });
    }
    let difference =
        |code, rule| Some(Difference { code, theirs: theirs(it), ours: said_of(row), rule });
    if row.status != Status::Error {
        return it
            .record
            .filter(|it| it.is_in_progress())
            .and_then(|_| difference(Code::CompletedHereOnly, completed_rule(row)));
    }
    match it.record.map(|it| it.said) {
        // Without a lock there is nothing that waits for a row.
        None if !it.lock_exists => None,
        None => difference(
            Code::NoRow,
            "there is no row to write to; the lock is left: let the launcher make the row, or remove the lock",
        ),
        Some(Said::Fault(fault)) => difference(Code::RowUnreadable, fault_rule(fault)),
        Some(Said::Status(Status::InProgress)) => {
            difference(Code::ErrorHereOnly, error_rule(row.reason))
        }
        Some(Said::Status(_)) => difference(
            Code::NotInProgress,
            "our error is written over in_progress alone; the lock is left until their row is final",
        ),
    }
}

fn theirs(it: &Situation<'_>) -> String {
    it.record.map_or_else(|| "no row".to_owned(), |it| it.word().to_owned())
}

fn said_of(row: &Migration) -> String {
    match row.reason {
        Some(reason) => format!("{} ({reason})", row.status),
        None => row.status.to_string(),
    }
}

const fn completed_rule(row: &Migration) -> &'static str {
    match row.status_source {
        Some(Source::Runner) => "the runner reported it here",
        _ => "a lock that disappears ends its run: nothing proved a death, so without an error",
    }
}

const fn error_rule(reason: Option<Reason>) -> &'static str {
    match reason {
        Some(Reason::PidReused) => {
            "another identity stands under the PID: kill(pid, 0) finds somebody alive, but not this job"
        }
        Some(Reason::ProcessZombie) => "a zombie has ended: kill(pid, 0) still finds it",
        Some(Reason::Rebooted) => {
            "the machine started anew, so what stands under the PID is another process"
        }
        Some(Reason::LockRemoved) => "death was proven at two looks before the lock went",
        Some(Reason::Killed | Reason::Exited) => {
            "the kernel told how it ended; the age counts from started_timestamp, not from the last write of the lock"
        }
        _ => {
            "dead at two looks, and the age counts from started_timestamp, not from the last write of the lock"
        }
    }
}

const fn fault_rule(fault: Fault) -> &'static str {
    match fault {
        Fault::Empty => {
            "their column is NULL or empty: nothing says in_progress, so nothing is written"
        }
        Fault::NotJson => {
            "their JSON was cut off, by the width of the column as a rule: widen it, and mend or reset the row"
        }
        Fault::NotAnObject => "their JSON is not an object: mend or reset the row",
        Fault::NoStatus => "their JSON has no status: mend or reset the row",
        Fault::UnknownStatus => {
            "their status is none of pending, in_progress, success, completed, error: mend or reset the row"
        }
        Fault::SeveralRows => "several of their rows have this key: remove all but one",
    }
}
