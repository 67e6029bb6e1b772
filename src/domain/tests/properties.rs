//! What must hold after any history whatever.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{DIR, OTHER_DIR, World, says};
use crate::domain::migration::{LockPid, Source, Status};
use crate::domain::process::{OtherNamespaces, Unknowable};
use crate::domain::reconcile::{Decision, LockSight, Scope, Write};

/// Something that happens in the world.
#[derive(Debug, Clone)]
enum Event {
    Pass(i64),
    StepBack(i64),
    Look,
    /// A look whose write the database refused.
    LookWithoutDatabase,
    /// The job ends.
    Die,
    /// The job ends and is not reaped.
    Zombie,
    /// A stranger gets a free number.
    Stranger(i64),
    /// A job starts and writes its lock, told or not when it started.
    Start(i64, bool),
    /// The runner starts and rewrites its launcher's lock.
    Takeover(i64),
    HalfWrite,
    Touch,
    Unlock,
    Directory(u8),
    Elsewhere(OtherNamespaces),
    Unknown(bool),
    Restart,
    Reboot,
    Report(Status),
    Take,
}

fn event() -> impl Strategy<Value = Event> {
    let pid = 100..103_i64;
    prop_oneof![
        6 => prop_oneof![Just(1), Just(999), Just(4_000), Just(5_000), Just(6_000), Just(700_000)]
            .prop_map(Event::Pass),
        1 => (1..10_000_i64).prop_map(Event::StepBack),
        10 => Just(Event::Look),
        1 => Just(Event::LookWithoutDatabase),
        2 => Just(Event::Die),
        1 => Just(Event::Zombie),
        1 => pid.clone().prop_map(Event::Stranger),
        3 => (pid.clone(), any::<bool>()).prop_map(|(pid, told)| Event::Start(pid, told)),
        2 => pid.prop_map(Event::Takeover),
        1 => Just(Event::HalfWrite),
        1 => Just(Event::Touch),
        1 => Just(Event::Unlock),
        2 => (0..4_u8).prop_map(Event::Directory),
        1 => prop_oneof![
            Just(OtherNamespaces::Clear),
            Just(OtherNamespaces::Hidden),
            Just(OtherNamespaces::Namesake),
        ]
        .prop_map(Event::Elsewhere),
        1 => any::<bool>().prop_map(Event::Unknown),
        1 => Just(Event::Restart),
        1 => Just(Event::Reboot),
        1 => prop_oneof![Just(Status::Success), Just(Status::Completed), Just(Status::Error)]
            .prop_map(Event::Report),
        1 => Just(Event::Take),
    ]
}

/// The world with the truth beside it: which process the lock means.
struct Truth {
    w: World,
    /// Number and birth of the job that wrote the lock last.
    job: Option<(i64, u64)>,
    /// The one that wrote the lock that the row was last written from.
    seen: Option<(i64, u64)>,
    /// The clock was set back, or a job did not tell its start: both together make attempts indistinguishable.
    stepped: bool,
    untold: bool,
    lock: LockSight,
}

impl Truth {
    fn new(scope: Scope) -> Self {
        let mut w = World::new();
        w.rules.scope = scope;
        Self { w, job: None, seen: None, stepped: false, untold: false, lock: LockSight::Absent }
    }

    fn job_lives(&self) -> bool {
        self.lives(self.job)
    }

    /// The one that the judgement at hand is about: the lock's, or without it the row's.
    fn judged_lives(&self) -> bool {
        let present = matches!(self.w.lock, LockSight::Present(_));
        self.lives(if present { self.job } else { self.seen })
    }

    fn note(&mut self) {
        if matches!(self.w.lock, LockSight::Present(_)) {
            self.seen = self.job;
        }
    }

    fn lives(&self, job: Option<(i64, u64)>) -> bool {
        job.is_some_and(|(pid, birth)| {
            self.w.procs.get(&pid).is_some_and(|proc| proc.birth == birth && !proc.zombie)
        })
    }

    fn start(&mut self, pid: i64, told: bool) {
        if self.w.procs.contains_key(&pid) {
            return;
        }
        // No number comes back within the second that a lock tells.
        self.w.pass(1);
        self.w.spawn(pid);
        self.job = Some((pid, self.w.procs[&pid].birth));
        self.untold |= !(told || self.stepped);
        self.write_lock(LockPid::Number(pid), told || self.stepped);
    }

    fn write_lock(&mut self, pid: LockPid, told: bool) {
        let shown = self.w.lock.clone();
        self.w.lock_of(pid, told.then_some(0), 0);
        self.lock = std::mem::replace(&mut self.w.lock, shown);
        self.show();
    }

    /// What the directory lets us see of the lock.
    fn show(&mut self) {
        if self.w.dir == Some(DIR) && !matches!(self.w.lock, LockSight::Blind) {
            self.w.lock = self.lock.clone();
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Pass(ms) => self.w.pass_ms(*ms),
            Event::StepBack(secs) if !self.untold => {
                self.stepped = true;
                self.w.step_wall(-secs);
            }
            Event::StepBack(_) => {}
            Event::Look => self.look(true),
            Event::LookWithoutDatabase => self.look(false),
            Event::Die => {
                if let Some((pid, _)) = self.job.filter(|_| self.job_lives()) {
                    self.w.kill(pid);
                }
            }
            Event::Zombie => {
                if let Some((pid, _)) = self.job.filter(|_| self.job_lives()) {
                    self.w.proc(pid).zombie = true;
                }
            }
            Event::Stranger(pid) => {
                if !self.w.procs.contains_key(pid) {
                    self.w.spawn(*pid);
                }
            }
            Event::Start(pid, told) => self.start(*pid, *told),
            Event::Takeover(pid) => {
                if self.job_lives() && matches!(self.lock, LockSight::Present(_)) {
                    self.start(*pid, true);
                }
            }
            Event::HalfWrite => {
                // Under a lock without a PID the recorded identity speaks, so it must be this one's.
                if self.job_lives() && self.seen == self.job {
                    self.write_lock(LockPid::Missing, false);
                }
            }
            Event::Touch => {
                if matches!(self.w.lock, LockSight::Present(_)) {
                    self.w.touch();
                    self.lock = self.w.lock.clone();
                }
            }
            Event::Unlock => {
                self.lock = LockSight::Absent;
                self.show();
            }
            Event::Directory(how) => self.directory(*how),
            Event::Elsewhere(seen) => self.w.elsewhere = *seen,
            Event::Unknown(unknown) => {
                self.w.unknown = unknown.then_some(Unknowable::Refused);
            }
            Event::Restart => self.w.restart(),
            Event::Reboot => self.w.reboot(),
            Event::Report(status) => self.report(*status),
            Event::Take => {
                if self.w.row.is_some() && matches!(self.w.lock, LockSight::Present(_)) {
                    self.note();
                    self.w.take();
                    self.lock = LockSight::Absent;
                }
            }
        }
    }

    fn directory(&mut self, how: u8) {
        (self.w.dir, self.w.lock) = match how {
            0 => (Some(OTHER_DIR), LockSight::Absent),
            1 => (None, LockSight::Blind),
            2 => (Some(DIR), LockSight::Blocked),
            _ => (Some(DIR), self.lock.clone()),
        };
    }

    fn report(&mut self, status: Status) {
        let before = self.w.row.clone();
        self.note();
        let changed = self.w.patch(&says(status), false);
        if let (Ok(true), Some(old)) = (changed, before.filter(|row| row.status.is_final())) {
            let row = self.w.row.as_ref().unwrap();
            let concluded = old.status_source.is_some_and(Source::is_guess)
                || old.reason.is_some_and(|reason| reason.as_str() == "lock_removed");
            assert!(concluded || row.run > old.run, "a report changed a finished run: {old:?}");
        }
    }

    fn look(&mut self, database: bool) {
        let (decision, begins) = self.decided();
        if !database {
            return;
        }
        assert!(self.w.store(&decision.write));
        self.note();
        // A run is recorded unfinished first; where earlier looks could not write, its judgement follows at once.
        let decision = if begins && decision.wake.is_some_and(|wake| wake <= self.w.now.up) {
            let (judged, begins_again) = self.decided();
            assert!(!begins_again, "a run begins twice: {judged:?}");
            assert!(self.w.store(&judged.write));
            judged
        } else {
            decision
        };
        let again = self.w.decide();
        assert_eq!(again.write, Write::None, "the same sight a second time writes nothing");
        assert_eq!(again.remove_lock, decision.remove_lock);
        assert_eq!(again.memory, decision.memory);
        if decision.remove_lock {
            self.lock = LockSight::Absent;
            self.show();
        }
    }

    /// A look at the world, checked and remembered, and whether its write begins a run.
    fn decided(&mut self) -> (Decision, bool) {
        let decision = self.w.decide();
        self.check(&decision);
        self.w.memory = decision.memory.clone();
        let begins = match &decision.write {
            Write::None => false,
            Write::Insert(_) => true,
            Write::Update { basis, row, .. } => row.run != basis.run,
        };
        (decision, begins)
    }

    fn check(&self, decision: &Decision) {
        let old = self.w.row.as_ref();
        if let Write::Update { basis, row, .. } = &decision.write {
            let old = old.unwrap();
            assert_eq!((basis.run, basis.status), (old.run, old.status));
            assert!(row.run == old.run || row.run == old.run + 1);
            if old.status.is_final() && row.status != old.status {
                assert_eq!((row.run, row.status), (old.run + 1, Status::InProgress));
            }
            if row.status == Status::Error && old.status != Status::Error {
                // An operator who takes the lock of a process that nobody can see has nobody to wait for.
                let unseen = row.status_source == Some(Source::Operator) && old.identity.is_none();
                assert!(
                    unseen || !self.judged_lives(),
                    "an error while the process lives: {old:?} {decision:?}"
                );
            }
        }
        if let Write::Insert(row) = &decision.write {
            assert_eq!((row.run, row.status), (1, Status::InProgress));
        }
        if decision.remove_lock {
            assert!(!self.judged_lives(), "a live lock removed: {old:?} {decision:?}");
            let LockSight::Present(lock) = &self.w.lock else { panic!("no lock to remove") };
            assert!(lock.age(self.w.now.wall) > self.w.rules.grace);
            let dead = self.w.memory.dead.expect("an earlier look saw it dead");
            assert!(self.w.now.up.since(dead.up) >= self.w.rules.settle);
            assert!(decision.row.as_ref().unwrap().status.is_final());
        }
    }

    /// Everything that can end has ended and can be seen: the looks that were asked for must finish the work.
    fn conclude(&mut self) {
        self.w.procs.clear();
        self.w.unknown = None;
        self.w.elsewhere = OtherNamespaces::Clear;
        self.w.rules.scope = Scope::Local;
        (self.w.dir, self.w.lock) = (Some(DIR), self.lock.clone());
        let pidless = match &self.lock {
            LockSight::Present(lock) => lock.pid == LockPid::Missing,
            _ => false,
        };
        for _ in 0..400 {
            let decision = self.w.decide();
            self.look(true);
            if let Some(wake) = decision.wake {
                let ms = (wake.0 - self.w.now.up.0).max(0);
                self.w.pass_ms(ms);
            } else if !decision.remove_lock {
                break;
            }
        }
        if !pidless {
            assert!(
                !matches!(self.lock, LockSight::Present(_)),
                "a stale lock stays: {:?}",
                self.w.row
            );
            if let Some(row) = &self.w.row {
                assert!(row.status.is_final(), "an ended run stays open: {row:?}");
            }
        }
        let errors: Vec<_> = self.w.events.iter().filter(|e| e.ends_with(":error")).collect();
        let runs: BTreeSet<_> = errors.iter().collect();
        assert_eq!(errors.len(), runs.len(), "two errors of one run: {errors:?}");
    }
}

fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_living_are_never_judged_and_the_dead_always_are(history in vec(event(), 0..60)) {
        let mut truth = Truth::new(Scope::Local);
        for event in &history {
            truth.happen(event);
        }
        truth.conclude();
    }

    #[test]
    fn the_same_holds_in_a_shared_directory(history in vec(event(), 0..60)) {
        let mut truth = Truth::new(Scope::Shared);
        for event in &history {
            truth.happen(event);
        }
        truth.conclude();
    }
}
