//! What must hold after any history of two hosts over one database.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::fleet::Pair;
use super::world::{DIR, OTHER_DIR, World, says};
use crate::domain::migration::{LockPid, Migration, Source, Status};
use crate::domain::process::Unknowable;
use crate::domain::reconcile::{Decision, LockSight, Scope, Write};
use crate::domain::time::Timestamp;

const NAMES: [&str; 2] = ["a", "b"];

/// Something that happens, on the host of that number where it is one's.
#[derive(Debug, Clone)]
enum Event {
    Pass(i64),
    /// The instance reads the row: until then it goes by what it read before.
    Read(usize),
    Look(usize),
    Start(usize, i64),
    /// The job that the lock means ends.
    Die(usize),
    Stranger(usize, i64),
    Touch(usize),
    Unlock(usize),
    Directory(usize, u8),
    Unknown(usize, bool),
    Restart(usize),
    Reboot(usize),
    /// The other one takes it for lost, or sees it alive again.
    Lost(usize, bool),
    Report(usize, Status),
}

fn event() -> impl Strategy<Value = Event> {
    let host = 0..2_usize;
    let pid = 100..103_i64;
    prop_oneof![
        6 => prop_oneof![Just(1), Just(999), Just(5_000), Just(6_000), Just(700_000)]
            .prop_map(Event::Pass),
        4 => host.clone().prop_map(Event::Read),
        16 => host.clone().prop_map(Event::Look),
        3 => (host.clone(), pid.clone()).prop_map(|(host, pid)| Event::Start(host, pid)),
        2 => host.clone().prop_map(Event::Die),
        2 => (host.clone(), pid).prop_map(|(host, pid)| Event::Stranger(host, pid)),
        1 => host.clone().prop_map(Event::Touch),
        1 => host.clone().prop_map(Event::Unlock),
        1 => (host.clone(), 0..4_u8).prop_map(|(host, how)| Event::Directory(host, how)),
        1 => (host.clone(), any::<bool>()).prop_map(|(host, on)| Event::Unknown(host, on)),
        1 => host.clone().prop_map(Event::Restart),
        1 => host.clone().prop_map(Event::Reboot),
        1 => (host.clone(), any::<bool>()).prop_map(|(host, lost)| Event::Lost(host, lost)),
        1 => (host, prop_oneof![Just(Status::Success), Just(Status::Error)])
            .prop_map(|(host, status)| Event::Report(host, status)),
    ]
}

/// The two hosts with the truth beside them.
struct Truth {
    pair: Pair,
    shared: bool,
    /// What each instance read last.
    read: [Option<Migration>; 2],
    /// The lock of each directory, seen or not.
    locks: [LockSight; 2],
    /// Host and birth of the job of each attempt.
    jobs: BTreeMap<(i64, Timestamp), (usize, u64)>,
    /// The runs that have ended.
    ended: BTreeSet<i64>,
}

impl Truth {
    fn new(shared: bool) -> Self {
        Self {
            pair: if shared { Pair::new() } else { Pair::local() },
            shared,
            read: [None, None],
            locks: [LockSight::Absent, LockSight::Absent],
            jobs: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    fn world(&mut self, host: usize) -> &mut World {
        if host == 0 { &mut self.pair.a } else { &mut self.pair.b }
    }

    fn procs(&self, host: usize) -> &BTreeMap<i64, super::world::Proc> {
        if host == 0 { &self.pair.a.procs } else { &self.pair.b.procs }
    }

    fn job(&self, pid: Option<i64>, started: Option<Timestamp>) -> Option<(usize, u64)> {
        self.jobs.get(&(pid?, started?)).copied()
    }

    fn job_of(&self, lock: &LockSight) -> Option<(i64, usize, u64)> {
        let LockSight::Present(lock) = lock else { return None };
        let LockPid::Number(pid) = lock.pid else { return None };
        self.job(Some(pid), lock.started).map(|(host, birth)| (pid, host, birth))
    }

    fn lives(&self, host: usize, birth: u64) -> bool {
        self.procs(host).values().any(|proc| proc.birth == birth)
    }

    fn put_lock(&mut self, host: usize, lock: &LockSight) {
        for at in 0..2 {
            if at == host || self.shared {
                self.locks[at] = lock.clone();
                if let LockSight::Present(lock) = &mut self.locks[at] {
                    lock.mark.dev = u64::try_from(at).unwrap();
                }
                self.show(at);
            }
        }
    }

    /// What the directory lets an instance see.
    fn show(&mut self, host: usize) {
        let lock = self.locks[host].clone();
        let world = self.world(host);
        if world.dir == Some(DIR) && !matches!(world.lock, LockSight::Blocked) {
            world.lock = lock;
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Pass(ms) => (0..2).for_each(|host| self.world(host).pass_ms(ms)),
            Event::Read(host) => self.read[host].clone_from(&self.pair.row),
            Event::Look(host) => {
                self.look(host);
            }
            Event::Start(host, pid) => self.start(host, pid),
            Event::Die(host) => {
                if let Some((pid, host, birth)) = self.job_of(&self.locks[host].clone())
                    && self.lives(host, birth)
                {
                    self.world(host).kill(pid);
                }
            }
            Event::Stranger(host, pid) => {
                if !self.procs(host).contains_key(&pid) && !self.could_be_it(host, pid) {
                    self.world(host).spawn(pid);
                }
            }
            Event::Touch(host) => {
                self.world(host).lock = self.locks[host].clone();
                self.world(host).touch();
                let lock = self.world(host).lock.clone();
                self.world(host).dir = Some(DIR);
                self.put_lock(host, &lock);
            }
            Event::Unlock(host) => self.put_lock(host, &LockSight::Absent),
            Event::Directory(host, how) => {
                let lock = self.locks[host].clone();
                let world = self.world(host);
                (world.dir, world.lock) = match how {
                    0 => (Some(OTHER_DIR), LockSight::Absent),
                    1 => (None, LockSight::Blind),
                    2 => (Some(DIR), LockSight::Blocked),
                    _ => (Some(DIR), lock),
                };
            }
            Event::Unknown(host, on) => {
                self.world(host).unknown = on.then_some(Unknowable::Refused);
            }
            Event::Restart(host) => self.world(host).restart(),
            Event::Reboot(host) => {
                let up = self.world(host).now.up;
                self.world(host).reboot();
                self.world(host).now.up = up;
            }
            Event::Lost(host, lost) => {
                let live = &mut self.world(1 - host).rules.live;
                if lost {
                    live.remove(NAMES[host]);
                } else {
                    live.insert(NAMES[host].to_owned());
                }
            }
            Event::Report(host, status) => self.report(host, status),
        }
    }

    /// Would a process of that number here be taken for the job of the other host? One that is as old as the lock is,
    /// as long as nobody has recorded the job's own identity: there is nothing to tell them apart by.
    fn could_be_it(&self, host: usize, pid: i64) -> bool {
        let row = self.pair.row.as_ref();
        self.shared
            && self.job_of(&self.locks[host]).is_some_and(|(its, home, _)| {
                let known = row.is_some_and(|row| {
                    self.job(row.lock_pid, row.lock_started) == Some((home, self.jobs_birth(host)))
                        && row.identity.is_some()
                        && row.instance == NAMES[home]
                });
                its == pid
                    && home != host
                    && !(known && self.read.iter().all(|it| it.as_ref() == row))
            })
    }

    fn jobs_birth(&self, host: usize) -> u64 {
        self.job_of(&self.locks[host]).map_or(0, |(_, _, birth)| birth)
    }

    fn start(&mut self, host: usize, pid: i64) {
        let taken = |host| self.procs(host).contains_key(&pid);
        if taken(host) || (self.shared && taken(1 - host)) {
            return;
        }
        // No number comes back within the second that a lock tells.
        self.happen(&Event::Pass(1000));
        let world = self.world(host);
        let shown = world.lock.clone();
        world.spawn(pid);
        let birth = world.procs[&pid].birth;
        world.lock(pid, 0);
        let lock = std::mem::replace(&mut world.lock, shown);
        let LockSight::Present(written) = &lock else { unreachable!() };
        self.jobs.insert((pid, written.started.unwrap()), (host, birth));
        self.put_lock(host, &lock);
    }

    /// One look by what the instance read last; written by compare-and-set. True if something was.
    fn look(&mut self, host: usize) -> bool {
        let (basis, truth) = (self.read[host].clone(), self.pair.row.clone());
        let world = self.world(host);
        world.row = basis;
        let decision = world.decide();
        world.row.clone_from(&truth);
        let stands = world.store(&decision.write);
        let row = world.row.clone();
        let finished = decision.row.as_ref().is_some_and(|row| row.status.is_final());
        if stands || !finished {
            world.memory = decision.memory.clone();
        }
        if stands && decision.write != Write::None {
            self.check(host, truth.as_ref(), row.as_ref().unwrap());
        }
        self.pair.row = row;
        let quiet = decision.write == Write::None;
        if !quiet {
            self.read[host].clone_from(&self.pair.row);
        }
        if stands && decision.remove_lock {
            self.remove(host, &decision);
        }
        !quiet || decision.remove_lock
    }

    fn check(&mut self, host: usize, old: Option<&Migration>, new: &Migration) {
        if let Some((home, birth)) = self.job(new.lock_pid, new.lock_started)
            && new.status == Status::Error
            && old.is_none_or(|old| (old.run, old.status) != (new.run, new.status))
        {
            assert!(!self.lives(home, birth), "an error while the process lives: {old:?} {new:?}");
        }
        let Some(old) = old else { return };
        assert!(new.run == old.run || new.run == old.run + 1);
        if new.status.is_final() && !old.status.is_final() {
            assert_eq!(old.instance, NAMES[host], "ended by another: {old:?} {new:?}");
            assert!(self.ended.insert(new.run), "a run ended twice: {old:?} {new:?}");
        }
        if old.status.is_final() && new.run == old.run {
            assert_eq!(new.status, old.status, "an end was changed: {old:?} {new:?}");
        }
        if new.instance != old.instance {
            assert_eq!(new.instance, NAMES[host], "given away: {old:?} {new:?}");
        }
    }

    fn remove(&mut self, host: usize, decision: &Decision) {
        let lock = self.world(host).lock.clone();
        if let Some((_, home, birth)) = self.job_of(&lock) {
            assert!(!self.lives(home, birth), "a live lock removed: {decision:?}");
        }
        self.put_lock(host, &LockSight::Absent);
    }

    /// A runner reports to either instance, which reads the row before.
    fn report(&mut self, host: usize, status: Status) {
        let Some(old) = self.pair.row.clone() else { return };
        let world = self.world(host);
        world.row = Some(old.clone());
        let changed = world.patch(&says(status), false);
        let new = world.row.clone().unwrap();
        if changed == Ok(true) && old.status.is_final() && new.run == old.run {
            let guess = old.status_source.is_some_and(Source::is_guess)
                || old.reason.is_some_and(|reason| reason.as_str() == "lock_removed");
            assert!(guess, "a report changed a finished run: {old:?}");
        } else if new.status.is_final() && changed == Ok(true) {
            assert!(self.ended.insert(new.run), "a run ended twice: {old:?} {new:?}");
        }
        self.pair.row = Some(new.clone());
        self.read[host] = Some(new);
    }

    /// Everything can be seen and stands still: so do the two.
    fn come_to_rest(&mut self) {
        for host in 0..2 {
            self.happen(&Event::Lost(host, false));
            self.happen(&Event::Unknown(host, false));
            self.happen(&Event::Directory(host, 3));
        }
        let mut moved = true;
        for _ in 0..8 {
            moved = false;
            for host in 0..2 {
                self.happen(&Event::Read(host));
                moved |= self.look(host);
            }
        }
        assert!(!moved, "the row goes back and forth: {:?}", self.pair.row);
    }
}

fn play(shared: bool, history: &[Event]) {
    let mut truth = Truth::new(shared);
    let scope = if shared { Scope::Shared } else { Scope::Local };
    assert_eq!(truth.pair.a.rules.scope, scope);
    for event in history {
        truth.happen(event);
    }
    truth.come_to_rest();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn two_hosts_in_one_directory_judge_only_what_they_see(history in vec(event(), 0..80)) {
        play(true, &history);
    }

    #[test]
    fn two_hosts_with_a_lock_of_one_key_each_judge_only_what_they_see(history in vec(event(), 0..80)) {
        play(false, &history);
    }
}
