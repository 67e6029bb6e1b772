//! A world in a box: two clocks, a process table, one lock, one row, and looks at them as the reconciler takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::domain::migration::{DirMark, Key, Lock, LockPid, Mark, Migration, Status};
use crate::domain::process::{
    Alive, DeathProof, Exit, Here, INITIAL_PID_NS, Identity, OtherNamespaces, Presence, Unknowable,
};
use crate::domain::reconcile::{
    Basis, Decision, LockSight, Memory, Rules, Scope, Sight, Write, evaluate, needs_namespace_scan,
    subject,
};
use crate::domain::report::{Refusal, Report, report, take};
use crate::domain::time::{Now, Timestamp, Uptime};

/// A process of the world, living or not yet reaped.
#[derive(Debug, Clone)]
pub struct Proc {
    /// Unique, whatever the number.
    pub birth: u64,
    /// When it started.
    pub up: Uptime,
    /// Ended and not reaped.
    pub zombie: bool,
    /// Stopped by a signal.
    pub stopped: bool,
    /// `/proc` hides its start.
    pub hidden: bool,
}

/// What is done to a world.
pub type Deed = fn(&mut World);

/// Name, what is done before the look, and the line expected of it.
pub type Case = (&'static str, Deed, &'static str);

/// Everything that a look depends on.
#[derive(Debug, Clone)]
pub struct World {
    pub now: Now,
    pub rules: Rules,
    pub row: Option<Migration>,
    pub memory: Memory,
    /// `run:status` of each flip that the store took.
    pub events: Vec<String>,
    pub procs: BTreeMap<i64, Proc>,
    pub unknown: Option<Unknowable>,
    pub exit: Option<Exit>,
    pub lock: LockSight,
    pub dir: Option<DirMark>,
    pub elsewhere: OtherNamespaces,
    births: u64,
}

pub fn key() -> Key {
    Key {
        mb_project_uuid: "3c56530e-ca31-4a7c-964f-e69be01f382a".into(),
        brz_project_id: 23_131_991,
    }
}

/// The directory that the locks are in unless a case says otherwise.
pub const DIR: DirMark = DirMark { dev: 1, ino: 2 };

/// Another directory at the same path.
pub const OTHER_DIR: DirMark = DirMark { dev: 1, ino: 3 };

impl World {
    /// Local scope, a grace of 600 s, two looks 5 s apart, nothing there yet.
    pub fn new() -> Self {
        Self {
            now: Now { wall: Timestamp::from_secs(1_800_000_000), up: Uptime(100_000_000) },
            rules: Rules {
                grace: Duration::from_secs(600),
                settle: Duration::from_secs(5),
                stall_after: None,
                scope: Scope::Local,
                here: Here {
                    host_id: "host".into(),
                    boot_id: "boot".into(),
                    pid_ns: INITIAL_PID_NS,
                },
                instance: "here".into(),
                sole: true,
                live: BTreeSet::new(),
            },
            row: None,
            memory: Memory::default(),
            events: Vec::new(),
            procs: BTreeMap::new(),
            unknown: None,
            exit: None,
            lock: LockSight::Absent,
            dir: Some(DIR),
            elsewhere: OtherNamespaces::Clear,
            births: 0,
        }
    }

    pub fn pass_ms(&mut self, ms: i64) {
        self.now.wall.0 += ms;
        self.now.up.0 += ms;
    }

    pub fn pass(&mut self, secs: i64) {
        self.pass_ms(secs * 1000);
    }

    /// Somebody sets the clock.
    pub fn step_wall(&mut self, secs: i64) {
        self.now.wall.0 += secs * 1000;
    }

    /// A process that started `ago` seconds ago.
    pub fn spawn_ago(&mut self, pid: i64, ago: i64) {
        self.births += 1;
        let up = Uptime(self.now.up.0 - ago * 1000);
        let proc = Proc { birth: self.births, up, zombie: false, stopped: false, hidden: false };
        self.procs.insert(pid, proc);
    }

    pub fn spawn(&mut self, pid: i64) {
        self.spawn_ago(pid, 0);
    }

    pub fn kill(&mut self, pid: i64) {
        self.procs.remove(&pid);
    }

    pub fn proc(&mut self, pid: i64) -> &mut Proc {
        self.procs.get_mut(&pid).unwrap()
    }

    /// A lock written whole `ago` seconds ago, by a job that started then.
    pub fn lock(&mut self, pid: i64, ago: i64) {
        self.lock_of(LockPid::Number(pid), Some(ago), ago);
    }

    pub fn lock_of(&mut self, pid: LockPid, started_ago: Option<i64>, mtime_ago: i64) {
        self.births += 1;
        let started = started_ago.map(|ago| Timestamp::from_secs(self.now.wall.secs() - ago));
        let mtime = Timestamp(self.now.wall.0 - mtime_ago * 1000);
        let mark = Mark { dev: 1, ino: self.births, mtime_ns: mtime.0 * 1_000_000, size: 200 };
        let file = format!("{}.lock", key()).into();
        self.lock =
            LockSight::Present(Lock { file, pid, started, stage_updated: None, mtime, mark });
    }

    /// Writes into the lock that stands, as progress writes do: only its time and size move.
    pub fn touch(&mut self) {
        let wall = self.now.wall;
        if let LockSight::Present(lock) = &mut self.lock {
            lock.mtime = wall;
            lock.mark.mtime_ns = wall.0 * 1_000_000;
            lock.mark.size += 1;
        }
    }

    pub fn unlock(&mut self) {
        self.lock = LockSight::Absent;
    }

    /// procwarden ends and starts again: what it only remembered is lost.
    pub fn restart(&mut self) {
        self.memory = Memory::default();
        self.exit = None;
    }

    /// The machine starts anew: no process is left, the row is.
    pub fn reboot(&mut self) {
        self.restart();
        self.procs.clear();
        self.rules.here.boot_id.push('\'');
        self.now.up = Uptime(30_000);
    }

    fn presence(&self, pid: i64) -> Presence {
        if let Some(why) = self.unknown {
            return Presence::Unknown(why);
        }
        let Ok(number) = i32::try_from(pid) else { return Presence::Unknown(Unknowable::BadPid) };
        if number <= 0 {
            return Presence::Unknown(Unknowable::BadPid);
        }
        match self.procs.get(&pid) {
            None => Presence::Dead(DeathProof::NoSuchProcess),
            Some(proc) if proc.zombie => Presence::Dead(DeathProof::Zombie),
            Some(proc) => {
                let age = self.now.up.since(proc.up);
                let started = Timestamp(self.now.wall.0 - i64::try_from(age.as_millis()).unwrap());
                Presence::Alive(Alive {
                    identity: Identity {
                        boot_id: self.rules.here.boot_id.clone(),
                        pid_ns: self.rules.here.pid_ns,
                        pid: number,
                        start_ticks: (!proc.hidden).then_some(proc.birth),
                        inode: (!proc.hidden).then_some(proc.birth),
                    },
                    started: (!proc.hidden).then_some(started),
                    stopped: proc.stopped,
                })
            }
        }
    }

    /// What the reconciler would see now.
    pub fn sight(&self) -> Sight {
        let (pid, _) = subject(self.row.as_ref(), &self.lock, &self.rules);
        let mut sight = Sight {
            lock: self.lock.clone(),
            dir: self.dir,
            process: pid.map(|pid| self.presence(pid)),
            exit: self.exit,
            elsewhere: None,
            data: None,
        };
        if needs_namespace_scan(self.row.as_ref(), &sight, &self.rules) {
            sight.elsewhere = Some(self.elsewhere);
        }
        sight
    }

    /// One look, not yet written.
    pub fn decide(&self) -> Decision {
        evaluate(&key(), self.row.as_ref(), &self.sight(), &self.memory, &self.rules, self.now)
    }

    /// Compare-and-set, as the store does it; false if another writer was faster.
    pub fn store(&mut self, write: &Write) -> bool {
        match (write, &self.row) {
            (Write::None, _) => true,
            (Write::Insert(row), None) => {
                self.row = Some(row.as_ref().clone());
                true
            }
            (Write::Update { basis, row, flip }, Some(old)) if Basis::of(old) == *basis => {
                if *flip {
                    self.events.push(format!("{}:{}", row.run, row.status));
                }
                self.row = Some(row.as_ref().clone());
                true
            }
            _ => false,
        }
    }

    /// One look, written, as one line: `status state reason source run lock wake write`.
    pub fn look(&mut self) -> String {
        let decision = self.decide();
        assert!(self.store(&decision.write), "nobody else writes in these cases");
        self.memory = decision.memory.clone();
        if decision.remove_lock {
            // Also a removal is one step of the world; the row must stand by itself afterwards.
            self.lock = LockSight::Absent;
        }
        self.line(&decision)
    }

    fn line(&self, decision: &Decision) -> String {
        let mut line = self.row_line();
        line.push_str(if decision.remove_lock { " remove" } else { " keep" });
        match decision.wake {
            None => line.push_str(" -"),
            Some(wake) => {
                let ms = wake.0 - self.now.up.0;
                if ms % 1000 == 0 {
                    write!(line, " +{}s", ms / 1000).unwrap();
                } else {
                    write!(line, " +{ms}ms").unwrap();
                }
            }
        }
        line.push_str(match decision.write {
            Write::None => " quiet",
            Write::Insert(_) => " insert",
            Write::Update { flip: false, .. } => " write",
            Write::Update { flip: true, .. } => " flip",
        });
        line
    }

    /// `status state reason source run`, a `-` for what is not there.
    pub fn row_line(&self) -> String {
        let Some(row) = &self.row else { return "no row".into() };
        let reason = row.reason.map_or("-", |reason| reason.as_str());
        let source = row.status_source.map_or("-", |source| source.as_str());
        format!("{} {} {reason} {source} run{}", row.status, row.state, row.run)
    }

    /// The runner's report, written.
    pub fn patch(&mut self, body: &Report, may_insert: bool) -> Result<bool, Refusal> {
        let sight = self.sight();
        let lock = match &sight.lock {
            LockSight::Present(lock) => Some((lock, &sight)),
            _ => None,
        };
        let (write, _) =
            report(&key(), self.row.as_ref(), lock, body, may_insert, &self.rules, self.now)?;
        assert!(self.store(&write), "nobody else writes in these cases");
        Ok(write != Write::None)
    }

    /// An operator removes the lock through the API.
    pub fn take(&mut self) {
        let sight = self.sight();
        let LockSight::Present(lock) = &sight.lock else { panic!("no lock to take") };
        let (write, _) = take(&key(), self.row.as_ref(), lock, &sight, &self.rules, self.now);
        assert!(self.store(&write), "nobody else writes in these cases");
        self.unlock();
    }
}

/// A body of `PATCH`.
pub fn says(status: Status) -> Report {
    Report { status, error: None, run: None }
}

/// Plays a case from an empty world and compares its last line; the name says which sentence it is.
pub fn case(name: &str, play: impl Fn(&mut World) -> String, expected: &str) {
    let mut world = World::new();
    assert_eq!(play(&mut world), expected, "{name}");
}
