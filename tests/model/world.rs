//! What is outside the monitors: processes, the lock directory, the database, and the truth about all of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use procwarden::domain::Migration;
use procwarden::domain::migration::{DirMark, Key, Lock, LockPid, Mark, Source, Status};
use procwarden::domain::process::{
    Alive, DeathProof, Exit, Here, INITIAL_PID_NS, Identity, Presence,
};
use procwarden::domain::reconcile::{Basis, Rules, Scope, Write};
use procwarden::domain::time::{Now, Timestamp, Uptime};

use super::monitor::Monitor;
use super::protocol::{Bounds, Broken};

/// One tick in milliseconds: longer than `REUSE_MARGIN` (5 s), so that what starts in a later tick is later for certain.
const TICK: i64 = 6_000;

/// A look, and the one that confirms it, lie so many ticks apart.
const SETTLE: u32 = 1;

/// A lock is old when it is more ticks old than this.
const GRACE: u32 = 1;

/// How long the monitors are given to finish what is left to do: the grace, two looks, a removal that begins again.
pub const SETTLING: i64 = 7;

/// The birth of a process that is no job.
const STRANGER: u64 = 100;

pub const DIR: DirMark = DirMark { dev: 1, ino: 2 };

/// How far a runner has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Its process lives, its lock is not written yet.
    Spawned,
    /// Its lock is written.
    Working,
    /// It has removed its lock; its process still lives.
    Released,
    /// It has ended well.
    Ended,
    /// It was killed.
    Died,
}

/// One start of the job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attempt {
    pub pid: usize,
    pub spawned: i64,
    pub stage: Stage,
    /// `started_timestamp`, once its lock is written.
    pub started: Option<Timestamp>,
    /// The tick in which it wrote its lock last.
    pub wrote: i64,
    /// It has shown progress.
    pub touched: bool,
    /// Its report stands.
    pub told: bool,
    /// An operator took its lock while it lived.
    pub forced: bool,
}

impl Attempt {
    pub fn lives(&self) -> bool {
        matches!(self.stage, Stage::Spawned | Stage::Working | Stage::Released)
    }
}

/// A lock file. Every write makes another one, in the same inode: the worst that a file system may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockFile {
    pub of: usize,
    pub written: i64,
    pub touched: bool,
    started: Timestamp,
    pid: usize,
}

impl LockFile {
    /// As the scan reads it.
    pub fn read(&self) -> Lock {
        let mtime = moment(self.written, self.of);
        let writes = i64::try_from(self.of).unwrap() * 2 + i64::from(self.touched);
        let mtime_ns = mtime.0 * 1_000_000 + writes;
        Lock {
            file: "l".into(),
            pid: LockPid::Number(number(self.pid).into()),
            started: Some(self.started),
            stage_updated: None,
            mtime,
            mark: Mark { dev: 1, ino: 1, mtime_ns, size: 1 },
        }
    }
}

/// The row, and what was told about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Database {
    pub row: Option<Arc<Migration>>,
    /// Run and status of each event.
    pub events: Vec<(i64, Status)>,
    /// Run and status of each turn of the row, found by comparing the row before with the row after.
    pub turns: Vec<(i64, Status)>,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub tick: i64,
    /// The birth of the process that lives under each number, and when it began.
    pub pids: [Option<(u64, Timestamp)>; 2],
    pub attempts: Vec<Attempt>,
    pub lock: Option<LockFile>,
    pub database: Database,
    pub monitors: Vec<Monitor>,
    pub crashes: u8,
    pub failures: u8,
    pub strangers: u8,
    pub takes: u8,
    /// What happened that must never happen.
    pub wrong: Option<&'static str>,
    /// What the last step has shown; empty between two steps.
    pub noted: Vec<&'static str>,
}

pub fn key() -> Key {
    Key { mb_project_uuid: "u".to_owned(), brz_project_id: 1 }
}

pub fn number(pid: usize) -> i32 {
    100 + i32::try_from(pid).unwrap()
}

fn birth(attempt: usize) -> u64 {
    attempt as u64 + 1
}

/// Within one tick attempts begin one after another, and after all looks.
fn moment(tick: i64, attempt: usize) -> Timestamp {
    Timestamp(tick * TICK + 1_000 * (i64::try_from(attempt).unwrap() + 1))
}

pub fn now(tick: i64) -> Now {
    Now { wall: Timestamp(tick * TICK), up: Uptime(tick * TICK) }
}

fn here() -> Here {
    Here { host_id: "h".to_owned(), boot_id: "b".to_owned(), pid_ns: INITIAL_PID_NS }
}

fn ticks(count: u32) -> Duration {
    Duration::from_millis(u64::try_from(TICK).unwrap()) * count
}

pub fn rules(name: usize, live: BTreeSet<String>, bounds: &Bounds) -> Rules {
    Rules {
        grace: ticks(GRACE),
        settle: if bounds.broken == Some(Broken::OneLook) { Duration::ZERO } else { ticks(SETTLE) },
        stall_after: None,
        scope: Scope::Local,
        here: here(),
        instance: name.to_string(),
        sole: bounds.monitors == 1,
        live,
    }
}

impl World {
    pub fn new(bounds: &Bounds) -> Self {
        Self {
            tick: 1,
            pids: [None; 2],
            attempts: Vec::new(),
            lock: None,
            database: Database::default(),
            monitors: vec![Monitor::default(); bounds.monitors],
            crashes: bounds.crashes,
            failures: bounds.failures,
            strangers: bounds.strangers,
            takes: bounds.takes,
            wrong: None,
            noted: Vec::new(),
        }
    }

    pub fn spawn(&mut self, pid: usize) {
        self.attempts.push(Attempt {
            pid,
            spawned: self.tick,
            stage: Stage::Spawned,
            started: None,
            wrote: 0,
            touched: false,
            told: false,
            forced: false,
        });
        let of = self.attempts.len() - 1;
        self.pids[pid] = Some((birth(of), moment(self.tick, of)));
    }

    pub fn stranger(&mut self, pid: usize) {
        self.strangers -= 1;
        // Later than everything else of its tick.
        self.pids[pid] = Some((STRANGER, Timestamp(self.tick * TICK + 5_000)));
    }

    /// A write by path: into the file that stands there, or into a new one.
    pub fn write_lock(&mut self, of: usize) {
        let (tick, attempt) = (self.tick, &mut self.attempts[of]);
        attempt.touched = attempt.stage == Stage::Working;
        attempt.stage = Stage::Working;
        attempt.wrote = tick;
        let started = *attempt.started.get_or_insert_with(|| moment(tick, of));
        let (pid, touched) = (attempt.pid, attempt.touched);
        self.lock = Some(LockFile { of, written: tick, touched, started, pid });
    }

    pub fn end(&mut self, of: usize, stage: Stage) {
        self.attempts[of].stage = stage;
        self.pids[self.attempts[of].pid] = None;
    }

    pub fn presence(&self, pid: i64) -> Presence {
        let at = usize::try_from(pid - 100).unwrap();
        let Some((birth, started)) = self.pids[at] else {
            return Presence::Dead(DeathProof::NoSuchProcess);
        };
        let identity = Identity {
            boot_id: here().boot_id,
            pid_ns: INITIAL_PID_NS,
            pid: number(at),
            start_ticks: Some(birth),
            inode: Some(birth),
        };
        Presence::Alive(Alive { identity, started: Some(started), stopped: false })
    }

    /// How the process of this birth ended, as the kernel tells who held on to it.
    pub fn exit(&self, birth: u64) -> Option<Exit> {
        match self.attempts.get(usize::try_from(birth).ok()?.checked_sub(1)?)?.stage {
            Stage::Ended => Some(Exit::Code(0)),
            Stage::Died => Some(Exit::Signal(9)),
            Stage::Spawned | Stage::Working | Stage::Released => None,
        }
    }

    /// The attempt that a row tells of.
    fn attempt_of(&self, row: &Migration) -> Option<&Attempt> {
        self.attempts.iter().find(|it| row.lock_started.is_some() && it.started == row.lock_started)
    }

    /// A transaction: the compare-and-set and its event; true if it stands.
    pub fn commit(&mut self, write: &Write, broken: Option<Broken>) -> bool {
        let old = self.database.row.clone();
        let (next, tells) = match (write, old.as_deref()) {
            (Write::None, _) => return true,
            (Write::Insert(row), None) => (row, row.status.is_final()),
            (Write::Update { basis, row, flip }, Some(old)) if stands(basis, old, broken) => {
                (row, *flip)
            }
            _ => {
                self.noted.push("a write that lost its race");
                return false;
            }
        };
        if tells {
            self.database.events.push((next.run, next.status));
        }
        self.check(old.as_deref(), next);
        self.database.row = Some(Arc::new(next.as_ref().clone()));
        true
    }

    /// What may be written, by the truth.
    fn check(&mut self, old: Option<&Migration>, next: &Migration) {
        let turned = old.map_or(next.status.is_final(), |old| {
            old.status != next.status || (old.run != next.run && old.status.is_final())
        });
        if turned {
            self.database.turns.push((next.run, next.status));
        }
        let attempt = self.attempt_of(next);
        let source = next.status_source;
        let wrong = match (old, next.status) {
            (Some(old), _) if next.run < old.run => Some("a run goes back"),
            (Some(old), _) if old.status.is_final() && next.run == old.run => match next.status {
                status if status == old.status => None,
                Status::Error => Some("an error after the end of the same run"),
                Status::InProgress | Status::Pending => Some("a run that ended goes on"),
                // A report corrects what was concluded.
                Status::Success | Status::Completed => {
                    (source != Some(Source::Runner)).then_some("an end that was recorded turns")
                }
            },
            (_, Status::Error) if attempt.is_some_and(Attempt::lives) => {
                Some("an error while the process lives")
            }
            (_, Status::Error) if attempt.is_some_and(|it| it.told) => {
                Some("an error of a run that was reported as completed")
            }
            (_, Status::Error)
                if attempt.is_some_and(|it| it.stage == Stage::Ended && !it.forced) =>
            {
                Some("an error of a run that ended well")
            }
            (_, Status::Completed) if source != Some(Source::Runner) => attempt
                .filter(|it| it.stage == Stage::Working && self.lock.is_some() && !it.forced)
                .filter(|it| self.lock.as_ref().is_some_and(|lock| self.attempts[lock.of] == **it))
                .map(|_| "completed while its lock stands"),
            _ => None,
        };
        if turned {
            self.note(next);
        }
        self.wrong = self.wrong.or(wrong);
    }

    fn note(&mut self, next: &Migration) {
        self.noted.push(match (next.status, next.status_source, next.run) {
            (Status::Error, Some(Source::Operator), _) => "an error by an operator",
            (Status::Error, _, 1) => "an error of the first run",
            (Status::Error, ..) => "an error of a later run",
            (Status::InProgress, ..) => "a second run",
            (_, Some(Source::Runner), _) => "completed as reported",
            _ => "completed as concluded",
        });
    }

    /// A lock is gone for good.
    pub fn removed(&mut self, lock: &LockFile, by_force: bool) {
        if by_force {
            self.attempts[lock.of].forced = true;
            self.noted.push("a live lock taken by force");
        } else if self.attempts[lock.of].lives() {
            self.wrong = self.wrong.or(Some("a live lock removed"));
        } else {
            self.noted.push("a dead lock removed");
        }
    }
}

fn stands(basis: &Basis, old: &Migration, broken: Option<Broken>) -> bool {
    match broken {
        Some(Broken::CasOfStatusAlone) => basis.status == old.status,
        _ => *basis == Basis::of(old),
    }
}
