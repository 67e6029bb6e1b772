//! Who may do what and when, and what must hold wherever that leads.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use stateright::{Model, Property};

use super::monitor::Doing;
use super::settle::settles;
use super::world::{Stage, World};

/// How much happens at most.
#[expect(clippy::struct_excessive_bools, reason = "each says by itself what else may happen")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub monitors: usize,
    pub attempts: usize,
    /// The clock goes on so often.
    pub ticks: i64,
    /// So many times a monitor is killed.
    pub crashes: u8,
    /// So many times the database's answer to a write is lost, or the write with it.
    pub failures: u8,
    /// A monitor that stands still may be taken for lost by the others, and goes on then.
    pub standstill: bool,
    /// So many strangers get a number of the jobs.
    pub strangers: u8,
    /// So many times an operator asks for a lock to be removed.
    pub takes: u8,
    /// What a runner does is several steps: its process and its lock come one after the other, and go so; it shows progress.
    pub fine: bool,
    /// Runners report their end.
    pub reports: bool,
    /// The kernel tells how a process ended.
    pub exits: bool,
    /// Others write between the two system calls by which a removal checks a lock and takes it out of its place.
    pub open_window: bool,
    /// A runner may end while its lock stands aside, and so finds none to remove.
    pub ends_aside: bool,
    pub broken: Option<Broken>,
    /// What has happened already.
    pub before: &'static [Action],
}

/// What is left out, to see that it is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A write that asks for the status, not for the run nor for who wrote it last and when.
    CasOfStatusAlone,
    /// A lock is removed by its name.
    RemovalWithoutVerification,
    /// What is seen once is believed.
    OneLook,
    /// An operator whose removal came to nothing is still waited for.
    ClaimThatIsKept,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Tick,
    /// The job is started under this number; its lock is written later.
    Start(usize),
    /// It writes its lock, for the first time or to show progress.
    Write(usize),
    /// It reports to a monitor that it has completed.
    Report(usize, usize),
    /// It removes its lock.
    Release(usize),
    /// It ends well.
    Exit(usize),
    /// It is killed.
    Die(usize),
    /// Somebody else gets the number.
    Stranger(usize),
    /// A monitor looks at the directory; it takes those that are down for lost, or not yet.
    LookAtLock(usize, bool),
    LookAtProcess(usize),
    /// It judges and writes.
    Judge(usize),
    /// The same, but no answer comes; the write stands, or not.
    JudgeUnanswered(usize, bool),
    /// It goes on with what it is about: a report, a removal.
    Step(usize),
    /// It reads what others wrote.
    Follow(usize),
    Crash(usize),
    Restart(usize),
    /// An operator wants the lock removed, by force or not.
    Take(usize, bool),
}

/// The model.
pub struct Protocol {
    pub bounds: Bounds,
    /// What was shown on the way.
    pub seen: Arc<Mutex<BTreeSet<&'static str>>>,
    /// The hashes of worlds that are known to settle.
    pub settled: Mutex<HashSet<u64>>,
}

impl Protocol {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, seen: Arc::default(), settled: Mutex::default() }
    }

    fn runners(&self, world: &World, actions: &mut Vec<Action>) {
        // At first sight who gets the number within `REUSE_MARGIN` counts as the one that the lock means.
        let fresh =
            |pid: usize| world.attempts.iter().any(|it| it.pid == pid && it.wrote >= world.tick);
        let free = |pid: usize| world.pids[pid].is_none() && !fresh(pid);
        let idle = world.attempts.last().is_none_or(|it| !it.lives() && it.spawned < world.tick);
        if idle && world.attempts.len() < self.bounds.attempts {
            // The first one's number makes no difference.
            let pids = if world.attempts.is_empty() { 0..1 } else { 0..2 };
            actions.extend(pids.filter(|pid| free(*pid)).map(Action::Start));
        }
        for (of, attempt) in world.attempts.iter().enumerate() {
            match attempt.stage {
                Stage::Spawned => actions.extend([Action::Write(of), Action::Die(of)]),
                Stage::Working => {
                    actions.push(Action::Die(of));
                    let aside = world.monitors.iter().filter_map(|it| it.aside.as_ref());
                    if self.bounds.ends_aside || !aside.into_iter().any(|file| file.of == of) {
                        actions.push(Action::Release(of));
                    }
                    if self.bounds.fine && !attempt.touched {
                        actions.push(Action::Write(of));
                    }
                    if self.bounds.reports && !attempt.told {
                        let asked = world.monitors.iter().enumerate();
                        let asked = asked.filter(|(_, it)| !it.down && it.doing == Doing::Nothing);
                        actions.extend(asked.map(|(m, _)| Action::Report(of, m)));
                    }
                }
                Stage::Released => actions.push(Action::Exit(of)),
                Stage::Ended | Stage::Died => {}
            }
        }
        if world.strangers > 0 {
            let used = |pid: usize| world.attempts.iter().any(|it| it.pid == pid);
            actions.extend((0..2).filter(|pid| free(*pid) && used(*pid)).map(Action::Stranger));
        }
    }

    fn monitors(&self, world: &World, actions: &mut Vec<Action>) {
        for (m, monitor) in world.monitors.iter().enumerate() {
            if monitor.down {
                actions.push(Action::Restart(m));
                continue;
            }
            if world.crashes > 0 {
                actions.push(Action::Crash(m));
            }
            let idle = monitor.doing == Doing::Nothing;
            match &monitor.look {
                None if idle => {
                    actions.push(Action::LookAtLock(m, true));
                    let many = self.bounds.standstill && world.monitors.len() > 1;
                    if many || world.monitors.iter().any(|other| other.down) {
                        actions.push(Action::LookAtLock(m, false));
                    }
                }
                Some(look) if !look.is_whole() => actions.push(Action::LookAtProcess(m)),
                Some(_) if idle => {
                    actions.push(Action::Judge(m));
                    if world.failures > 0 {
                        let unanswered = [true, false].map(|it| Action::JudgeUnanswered(m, it));
                        actions.extend(unanswered);
                    }
                }
                _ => {}
            }
            if !idle {
                actions.push(Action::Step(m));
            }
            if monitor.row != world.database.row {
                actions.push(Action::Follow(m));
            }
            if idle && world.takes > 0 && world.lock.is_some() {
                actions.extend([true, false].map(|force| Action::Take(m, force)));
            }
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let begin = World::new(&self.bounds);
        let done = |world, action: &Action| self.next_state(&world, *action).unwrap_or(world);
        vec![self.bounds.before.iter().fold(begin, done)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.wrong.is_some() {
            return;
        }
        if world.tick < self.bounds.ticks {
            actions.push(Action::Tick);
        }
        self.runners(world, actions);
        self.monitors(world, actions);
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let (mut world, bounds) = (last.clone(), &self.bounds);
        match action {
            Action::Tick => world.tick += 1,
            Action::Start(pid) => {
                world.spawn(pid);
                if !bounds.fine {
                    world.write_lock(world.attempts.len() - 1);
                }
            }
            Action::Write(of) => world.write_lock(of),
            Action::Report(of, m) => world.report(m, of, bounds),
            Action::Release(of) => {
                world.lock = None;
                world.attempts[of].stage = Stage::Released;
                if !bounds.fine {
                    world.end(of, Stage::Ended);
                }
            }
            Action::Exit(of) => world.end(of, Stage::Ended),
            Action::Die(of) => world.end(of, Stage::Died),
            Action::Stranger(pid) => world.stranger(pid),
            Action::LookAtLock(m, lost) => world.look_at_lock(m, lost, bounds),
            Action::LookAtProcess(m) => world.look_at_process(m, bounds),
            Action::Judge(m) => world.judge(m, None, bounds),
            Action::JudgeUnanswered(m, stood) => {
                world.failures -= 1;
                world.judge(m, Some(stood), bounds);
            }
            Action::Step(m) => world.step(m, bounds),
            Action::Follow(m) => world.reread(m),
            Action::Crash(m) => {
                world.crashes -= 1;
                world.crash(m);
            }
            Action::Restart(m) => world.restart(m),
            Action::Take(m, force) => world.take(m, force, bounds),
        }
        let noted = std::mem::take(&mut world.noted);
        if !noted.is_empty() {
            self.seen.lock().unwrap().extend(noted);
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing happens that must never happen", |_, world: &World| {
                world.wrong.is_none()
            }),
            Property::always("every turn is told once", |_, world: &World| {
                world.database.events == world.database.turns
            }),
            Property::always(
                "what is left to do is done, and what is recorded is true",
                |model: &Self, world: &World| world.wrong.is_some() || settles(model, world),
            ),
        ]
    }
}

pub fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}
