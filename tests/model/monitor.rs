//! A monitor, step by step as `reconciler::migrations` takes them; between any two of them it may be stopped or killed.

use std::collections::BTreeSet;
use std::sync::Arc;

use procwarden::domain::Migration;
use procwarden::domain::migration::Status;
use procwarden::domain::process::{OtherNamespaces, Presence};
use procwarden::domain::reconcile::{
    Basis, Decision, LockSight, Memory, Rules, Sight, Write, evaluate, needs_namespace_scan,
    standing, subject,
};
use procwarden::domain::report::{Report, may_take, report, take};

use super::protocol::{Bounds, Broken};
use super::world::{DIR, LockFile, World, key, now, rules};

/// What one program holds in memory, and the file that it may have left aside.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Monitor {
    pub down: bool,
    /// The row as it was read last.
    pub row: Option<Arc<Migration>>,
    pub memory: Memory,
    /// The birth of the process that was seen alive last: of this one the kernel tells the end.
    pub held: Option<u64>,
    pub look: Option<Look>,
    pub doing: Doing,
    pub aside: Option<LockFile>,
}

/// A look under way: the directory first, then the process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Look {
    at: i64,
    basis: Option<Arc<Migration>>,
    file: Option<LockFile>,
    rules: Rules,
    sight: Option<Sight>,
}

impl Look {
    pub fn is_whole(&self) -> bool {
        self.sight.is_some()
    }
}

/// What the one task that writes and removes is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Doing {
    #[default]
    Nothing,
    /// A runner's report is to be written.
    Report { of: usize, write: Write },
    /// An operator takes a lock: the row first.
    Take { write: Write, file: LockFile, by_force: bool },
    /// A removal: the file is still the one that was judged?
    Check(Removal),
    /// It was, a moment ago.
    Rename(Removal),
    /// It stands aside.
    Compare(Removal),
    /// It was not removed: an operator's claim is taken back.
    GiveBack(usize),
}

/// The removal of a lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Removal {
    file: LockFile,
    /// An operator's, and its process lived.
    by_force: bool,
    by_operator: bool,
}

impl World {
    /// The first half of a look. `lost` says whether others are taken for lost: those that are down, or any.
    pub fn look_at_lock(&mut self, m: usize, lost: bool, bounds: &Bounds) {
        let live = (0..self.monitors.len())
            .filter(|other| {
                let silent = bounds.standstill || self.monitors[*other].down;
                *other == m || !(lost && silent)
            })
            .map(|other| other.to_string())
            .collect::<BTreeSet<_>>();
        let (at, basis, file) = (self.tick, self.monitors[m].row.clone(), self.lock.clone());
        let rules = rules(m, live, bounds);
        self.monitors[m].look = Some(Look { at, basis, file, rules, sight: None });
    }

    /// The second half.
    pub fn look_at_process(&mut self, m: usize, bounds: &Bounds) {
        let look = self.monitors[m].look.take().unwrap();
        let lock = look.file.as_ref().map(LockFile::read);
        let lock = lock.map_or(LockSight::Absent, LockSight::Present);
        let sight = self.sight(m, look.basis.as_deref(), lock, &look.rules, bounds);
        if let Some(Presence::Alive(alive)) = &sight.process {
            self.monitors[m].held = alive.identity.inode.filter(|_| bounds.exits);
        }
        self.monitors[m].look = Some(Look { sight: Some(sight), ..look });
    }

    fn sight(
        &self,
        m: usize,
        row: Option<&Migration>,
        lock: LockSight,
        rules: &Rules,
        bounds: &Bounds,
    ) -> Sight {
        let (pid, recorded) = subject(row, &lock, rules);
        let process = pid.map(|pid| self.presence(pid));
        let held = self.monitors[m].held.filter(|_| bounds.exits);
        let told = held.filter(|held| recorded.is_some_and(|it| it.inode == Some(*held)));
        let exit = told.and_then(|birth| self.exit(birth));
        let mut sight = Sight { lock, dir: Some(DIR), process, exit, elsewhere: None, data: None };
        if needs_namespace_scan(row, &sight, rules) {
            sight.elsewhere = Some(OtherNamespaces::Clear);
        }
        sight
    }

    /// Judges what was seen and writes what follows. `stood` is none where the database answers, else whether the write
    /// stands of which the answer was lost.
    pub fn judge(&mut self, m: usize, failed: Option<bool>, bounds: &Bounds) {
        let look = self.monitors[m].look.take().unwrap();
        let (sight, row) = (look.sight.unwrap(), self.monitors[m].row.clone());
        if row != look.basis {
            self.noted.push("a look at a row that is no more");
            return;
        }
        let at = now(look.at);
        let mut memory = self.monitors[m].memory.clone();
        if bounds.broken == Some(Broken::OneLook) {
            memory = evaluate(&key(), row.as_deref(), &sight, &memory, &look.rules, at).memory;
        }
        let decision = evaluate(&key(), row.as_deref(), &sight, &memory, &look.rules, at);
        let stood = match failed {
            None => self.commit(&decision.write, bounds.broken),
            Some(stood) => {
                if stood {
                    self.commit(&decision.write, bounds.broken);
                }
                false
            }
        };
        self.reread(m);
        self.follow_up(m, decision, stood, look.file);
    }

    fn follow_up(&mut self, m: usize, decision: Decision, stood: bool, file: Option<LockFile>) {
        let monitor = &mut self.monitors[m];
        let finished = decision.row.as_ref().is_some_and(|row| row.status.is_final());
        if stood || !finished {
            monitor.memory = decision.memory;
        }
        if let (true, true, Some(file)) = (stood, decision.remove_lock, file) {
            monitor.doing = Doing::Check(Removal { file, by_force: false, by_operator: false });
        }
    }

    pub fn reread(&mut self, m: usize) {
        self.monitors[m].row.clone_from(&self.database.row);
    }

    /// A runner reports its end to this monitor; what is seen for it is seen at once.
    pub fn report(&mut self, m: usize, of: usize, bounds: &Bounds) {
        let row = self.monitors[m].row.clone();
        let rules = self.all_live(m, bounds);
        let sight = self.sight_now(m, row.as_deref(), &rules, bounds);
        let lock = match &sight.lock {
            LockSight::Present(lock) => Some((lock, &sight)),
            _ => None,
        };
        let body = Report { status: Status::Completed, error: None, run: None };
        let at = now(self.tick);
        let reported = report(&key(), row.as_deref(), lock, &body, true, &rules, at);
        match reported {
            Ok((Write::None, _)) => self.attempts[of].told = true,
            Ok((write, _)) => self.monitors[m].doing = Doing::Report { of, write },
            Err(_) => self.noted.push("a report that is refused"),
        }
    }

    /// An operator asks this monitor to remove the lock.
    pub fn take(&mut self, m: usize, force: bool, bounds: &Bounds) {
        self.takes -= 1;
        let row = self.monitors[m].row.clone();
        let rules = self.all_live(m, bounds);
        let sight = self.sight_now(m, row.as_deref(), &rules, bounds);
        let (LockSight::Present(lock), Some(file)) = (&sight.lock, self.lock.clone()) else {
            return;
        };
        let at = now(self.tick);
        if !force && !may_take(&standing(row.as_deref(), &sight, &rules, at.wall)) {
            self.noted.push("an operator is told that the process lives");
            return;
        }
        let (write, _) = take(&key(), row.as_deref(), lock, &sight, &rules, at);
        self.monitors[m].doing = Doing::Take { write, file, by_force: force };
    }

    fn all_live(&self, m: usize, bounds: &Bounds) -> Rules {
        rules(m, (0..self.monitors.len()).map(|other| other.to_string()).collect(), bounds)
    }

    fn sight_now(
        &self,
        m: usize,
        row: Option<&Migration>,
        rules: &Rules,
        bounds: &Bounds,
    ) -> Sight {
        let lock = self.lock.as_ref().map(LockFile::read);
        let lock = lock.map_or(LockSight::Absent, LockSight::Present);
        self.sight(m, row, lock, rules, bounds)
    }

    /// The next step of what it is about.
    pub fn step(&mut self, m: usize, bounds: &Bounds) {
        let doing = std::mem::take(&mut self.monitors[m].doing);
        self.monitors[m].doing = match doing {
            Doing::Nothing => Doing::Nothing,
            Doing::Report { of, write } => {
                self.attempts[of].told |= self.commit(&write, bounds.broken);
                self.reread(m);
                Doing::Nothing
            }
            Doing::Take { write, file, by_force } => {
                let stands = self.commit(&write, bounds.broken);
                self.reread(m);
                // From here on it may be waited for, whatever becomes of this monitor.
                self.attempts[file.of].forced |= stands && by_force;
                let removal = Removal { file, by_force, by_operator: true };
                if stands { Doing::Check(removal) } else { Doing::Nothing }
            }
            Doing::Check(removal) => self.check_removal(removal, bounds),
            Doing::Rename(removal) => self.set_aside(m, removal, bounds),
            Doing::Compare(removal) => self.compare(m, &removal, bounds),
            Doing::GiveBack(of) => {
                self.give_back(m, bounds);
                self.attempts[of].forced = false;
                Doing::Nothing
            }
        };
        if !bounds.open_window && matches!(self.monitors[m].doing, Doing::Rename(_)) {
            self.step(m, bounds);
        }
    }

    fn check_removal(&mut self, removal: Removal, bounds: &Bounds) -> Doing {
        if bounds.broken == Some(Broken::RemovalWithoutVerification) {
            if let Some(file) = self.lock.take() {
                self.removed(&file, removal.by_force);
            }
            return Doing::Nothing;
        }
        match &self.lock {
            None => self.not_removed(&removal, bounds),
            Some(file) if *file == removal.file => Doing::Rename(removal),
            Some(_) => {
                self.noted.push("a lock that changed before its removal");
                self.not_removed(&removal, bounds)
            }
        }
    }

    fn set_aside(&mut self, m: usize, removal: Removal, bounds: &Bounds) -> Doing {
        match self.lock.take() {
            None => self.not_removed(&removal, bounds),
            Some(file) => {
                self.monitors[m].aside = Some(file);
                Doing::Compare(removal)
            }
        }
    }

    fn compare(&mut self, m: usize, removal: &Removal, bounds: &Bounds) -> Doing {
        if self.monitors[m].aside.as_ref() == Some(&removal.file) {
            let file = self.monitors[m].aside.take().unwrap();
            self.removed(&file, removal.by_force);
            return Doing::Nothing;
        }
        self.noted.push("a lock that changed during its removal");
        self.put_back(m);
        self.not_removed(removal, bounds)
    }

    fn not_removed(&mut self, removal: &Removal, bounds: &Bounds) -> Doing {
        if !removal.by_operator {
            return Doing::Nothing;
        }
        if bounds.broken == Some(Broken::ClaimThatIsKept) {
            self.attempts[removal.file.of].forced = false;
            return Doing::Nothing;
        }
        Doing::GiveBack(removal.file.of)
    }

    /// To its name, unless something newer stands there.
    fn put_back(&mut self, m: usize) {
        if let Some(file) = self.monitors[m].aside.take() {
            if self.lock.is_none() {
                self.lock = Some(file);
            } else {
                self.noted.push("a newer lock wins");
            }
        }
    }

    fn give_back(&mut self, m: usize, bounds: &Bounds) {
        let Some(row) = self.monitors[m].row.clone().filter(|row| row.lock_taken) else { return };
        let updated_at = now(self.tick).wall;
        let next =
            Migration { lock_taken: false, reason: None, updated_at, ..row.as_ref().clone() };
        let basis = Basis::of(&row);
        self.commit(&Write::Update { basis, row: Box::new(next), flip: false }, bounds.broken);
        self.reread(m);
    }

    pub fn crash(&mut self, m: usize) {
        let aside = self.monitors[m].aside.take();
        self.monitors[m] = Monitor { down: true, aside, ..Monitor::default() };
    }

    /// What an earlier life left aside goes back before anything is looked at.
    pub fn restart(&mut self, m: usize) {
        self.monitors[m].down = false;
        self.reread(m);
        self.put_back(m);
    }
}
