//! The heart: what a migration is, given its row, its lock and its process. Pure; see JUDGEMENT in `ARCHITECTURE.md`.

use std::time::Duration;

use super::migration::{DirMark, Key, Lock, LockPid, Migration, Reason, Source, State, Status};
use super::process::{
    Alive, DeathProof, Exit, Here, Identity, OtherNamespaces, Presence, Unknowable,
};
use super::time::{Now, Timestamp, Uptime};

/// How much later than its lock a process must have started to count as a stranger at first sight.
/// The launcher writes the lock before or just after the start; 5 s covers a slow start and a coarse clock.
pub const REUSE_MARGIN: Duration = Duration::from_secs(5);

/// How long a lock without a PID counts as alive after its last write: a launcher between two writes.
pub const PIDLESS_ALIVE: Duration = Duration::from_secs(300);

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
    /// Whose PID table.
    pub scope: Scope,
    /// This PID table.
    pub here: Here,
    /// Our name.
    pub instance: String,
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
    pub data: Option<String>,
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

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Write {
    /// Nothing.
    None,
    /// The first row of this key.
    Insert(Box<Migration>),
    /// This row instead of the one that has `run` and `status` now.
    Update {
        /// The run that must stand there.
        run: i64,
        /// The status that must stand there.
        status: Status,
        /// What shall stand there.
        row: Box<Migration>,
        /// A status turned or another run began: an event in the same transaction.
        flip: bool,
    },
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
    /// In one word.
    pub outcome: Outcome,
    /// Predicate by predicate.
    pub explain: Vec<Predicate>,
}

/// The PID whose process has to be looked at, and the identity recorded for it, if it is this attempt's.
#[must_use]
pub fn subject<'a>(
    row: Option<&'a Migration>,
    lock: &LockSight,
    here: &Here,
) -> (Option<i64>, Option<&'a Identity>) {
    // Another boot of this host proves death in every PID namespace; otherwise the number must mean the same.
    let recorded = row.and_then(|row| {
        row.identity.as_ref().filter(|id| {
            row.host_id == here.host_id && (id.pid_ns == here.pid_ns || id.boot_id != here.boot_id)
        })
    });
    match lock {
        LockSight::Present(lock) => match lock.pid {
            LockPid::Number(pid) => {
                let same = row.is_some_and(|row| row.is_attempt_of(lock));
                (Some(pid), recorded.filter(|id| same && i64::from(id.pid) == pid))
            }
            LockPid::Missing => (recorded.map(|id| i64::from(id.pid)), recorded),
        },
        _ => (recorded.map(|id| i64::from(id.pid)), recorded),
    }
}

/// Must the other PID namespaces be searched before this death may be believed?
///
/// Only a process that was never seen alive here can live elsewhere under the same number.
#[must_use]
pub fn needs_namespace_scan(row: Option<&Migration>, sight: &Sight, rules: &Rules) -> bool {
    let (pid, recorded) = subject(row, &sight.lock, &rules.here);
    pid.is_some()
        && recorded.is_none()
        && rules.scope == Scope::Local
        && matches!(standing(row, sight, rules, Timestamp(0)), Standing::Dead(_))
}

/// What the process is, with the recorded identity, the scope and the other namespaces considered.
#[must_use]
pub fn standing(row: Option<&Migration>, sight: &Sight, rules: &Rules, now: Timestamp) -> Standing {
    let (pid, recorded) = subject(row, &sight.lock, &rules.here);
    let Some(presence) = sight.process.as_ref().filter(|_| pid.is_some()) else {
        return standing_without_pid(&sight.lock, now);
    };
    if let Some(recorded) = recorded {
        return match presence {
            // The PID came back and the lock was written again: its writer may be the one who lives.
            Presence::Alive(alive)
                if rewritten(row, &sight.lock) && !is_stranger(row, &sight.lock, alive) =>
            {
                Standing::Alive(Some(alive.clone()))
            }
            Presence::Unknown(why) if rewritten(row, &sight.lock) => {
                Standing::Unknown(unknown_reason(*why))
            }
            _ => standing_recorded(recorded, presence, &rules.here),
        };
    }
    let dead = match presence {
        Presence::Alive(alive) => {
            if !is_stranger(row, &sight.lock, alive) {
                return Standing::Alive(Some(alive.clone()));
            }
            DeathProof::Reused
        }
        Presence::Dead(proof) => *proof,
        Presence::Unknown(why) => return Standing::Unknown(unknown_reason(*why)),
    };
    if rules.scope == Scope::Shared {
        return Standing::Foreign;
    }
    match sight.elsewhere {
        None | Some(OtherNamespaces::Clear) => Standing::Dead(dead),
        Some(OtherNamespaces::Namesake | OtherNamespaces::Hidden) => {
            Standing::Unknown(Reason::PidNamespace)
        }
    }
}

fn standing_without_pid(lock: &LockSight, now: Timestamp) -> Standing {
    match lock {
        LockSight::Present(lock) if now.since(lock.mtime) < PIDLESS_ALIVE => Standing::Alive(None),
        _ => Standing::Unknown(Reason::NoPid),
    }
}

fn standing_recorded(recorded: &Identity, presence: &Presence, here: &Here) -> Standing {
    if recorded.boot_id != here.boot_id {
        return Standing::Dead(DeathProof::Rebooted);
    }
    match presence {
        Presence::Alive(alive) if recorded.differs_from(&alive.identity) => {
            Standing::Dead(DeathProof::Reused)
        }
        Presence::Alive(alive) => Standing::Alive(Some(alive.clone())),
        Presence::Dead(proof) => Standing::Dead(*proof),
        Presence::Unknown(why @ (Unknowable::BadPid | Unknowable::Refused)) => {
            Standing::Unknown(unknown_reason(*why))
        }
        // The number came back as a thread or a kernel thread: no process of that identity is left.
        Presence::Unknown(_) => Standing::Dead(DeathProof::Reused),
    }
}

const fn unknown_reason(why: Unknowable) -> Reason {
    match why {
        Unknowable::Refused => Reason::PidNamespace,
        Unknowable::BadPid | Unknowable::KernelThread | Unknowable::ThreadId => Reason::NoPid,
    }
}

/// At first sight of an attempt: is this live process certainly not the one that the lock means?
fn is_stranger(row: Option<&Migration>, lock: &LockSight, alive: &Alive) -> bool {
    let again = rewritten(row, lock);
    let LockSight::Present(lock) = lock else { return false };
    // Its death was proven already: whoever stands under the number now is somebody else.
    if row.is_some_and(|row| {
        row.is_attempt_of(lock)
            && !again
            && row.death_recorded()
            && (!row.status.is_final() || row.reason.is_some_and(Reason::is_death))
    }) {
        return true;
    }
    let latest = lock.started.map_or(lock.mtime, |started| started.max(lock.mtime));
    alive.started.is_some_and(|started| started.since(latest) > REUSE_MARGIN)
}

/// Was a lock that names a PID but no time of start written since the row was?
///
/// Then the same PID does not make it the recorded process's: PIDs come back, at some places with every boot.
fn rewritten(row: Option<&Migration>, lock: &LockSight) -> bool {
    let (Some(row), LockSight::Present(lock)) = (row, lock) else { return false };
    matches!(lock.pid, LockPid::Number(_))
        && lock.started.is_none()
        && row.lock_mark != Some(lock.mark)
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
    match &sight.lock {
        LockSight::Present(lock) => present(key, row, lock, sight, memory, rules, now),
        LockSight::Absent => absent(row, sight, memory, rules, now),
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
        outcome: Outcome::None,
        explain,
    }
}

/// The row as the lock at hand would have it, before its process is judged: a new one, the next run, or the same.
#[must_use]
pub fn row_for(
    key: &Key,
    row: Option<&Migration>,
    lock: &Lock,
    standing: &Standing,
    sight: &Sight,
    rules: &Rules,
    now: Now,
) -> Migration {
    let mut next = match row {
        None => first_row(key, rules, now),
        Some(row) if is_another_attempt(row, lock, standing) => {
            Migration { run: row.run + 1, created_at: row.created_at, ..first_row(key, rules, now) }
        }
        Some(row) => row.clone(),
    };
    if !next.is_attempt_of(lock) {
        if next.status.is_final() {
            // An older attempt's lock under a finished row: it changes nothing that is recorded.
            return next;
        }
        next.identity = None;
        next.lock_taken = false;
        next.ended_at = None;
    }
    if matches!(standing, Standing::Unknown(_)) && rewritten(row, &sight.lock) {
        // Whoever wrote it cannot be seen now; the identity of before need not be its.
        next.identity = None;
    }
    next.lock_file = Some(lock.file.clone());
    if let LockPid::Number(pid) = lock.pid {
        // It stands again, or was never removed: the usual rules apply to it.
        next.lock_taken = false;
        next.lock_pid = Some(pid);
        next.lock_started = lock.started;
    }
    next.lock_mark = Some(lock.mark);
    next.dir = sight.dir.or(next.dir);
    if let Standing::Alive(Some(alive)) = standing {
        // A later look that /proc hides must not wipe out what the first one knew.
        let known = next.identity.take().filter(|known| {
            (known.start_ticks, known.inode) != (None, None)
                && known.is_of(&rules.here)
                && !known.differs_from(&alive.identity)
        });
        next.identity = known.or_else(|| Some(alive.identity.clone()));
        next.host_id.clone_from(&rules.here.host_id);
    }
    if sight.data.is_some() {
        next.lock_data.clone_from(&sight.data);
    }
    next
}

/// A row at its first sight, before anything is known of its lock and process.
#[must_use]
pub fn first_row(key: &Key, rules: &Rules, now: Now) -> Migration {
    Migration {
        key: key.clone(),
        instance: rules.instance.clone(),
        host_id: rules.here.host_id.clone(),
        status: Status::InProgress,
        state: State::Alive,
        reason: None,
        status_source: None,
        error: None,
        run: 1,
        since: now.wall,
        created_at: now.wall,
        updated_at: now.wall,
        status_updated_at: None,
        ended_at: None,
        lock_file: None,
        lock_pid: None,
        lock_started: None,
        lock_mark: None,
        dir: None,
        identity: None,
        lock_taken: false,
        lock_data: None,
    }
}

/// A row whose run is over, or dead for certain, and a lock that shows a process or a start after that.
fn is_another_attempt(row: &Migration, lock: &Lock, standing: &Standing) -> bool {
    if !(row.status.is_final() || row.death_recorded()) {
        return false;
    }
    let same = row.is_attempt_of(lock);
    match standing {
        _ if same && lock.started.is_some() => false,
        Standing::Alive(Some(alive)) => row.identity.as_ref().map_or(!same, |recorded| {
            recorded.boot_id != alive.identity.boot_id || recorded.differs_from(&alive.identity)
        }),
        _ => !same && row.ended_at.is_some_and(|ended| lock.began() > ended),
    }
}

fn present(
    key: &Key,
    row: Option<&Migration>,
    lock: &Lock,
    sight: &Sight,
    memory: &Memory,
    rules: &Rules,
    now: Now,
) -> Decision {
    let standing = standing(row, sight, rules, now.wall);
    let mut next = row_for(key, row, lock, &standing, sight, rules, now);
    let unfinished = !next.status.is_final();
    let age = lock.age(now.wall);
    let whose = match lock.pid {
        LockPid::Number(pid) => (Some(pid), lock.started),
        LockPid::Missing => (next.lock_pid, next.lock_started),
    };
    let mut memory = Memory { dead: memory.dead, absent: None, watched: true };
    let mut held = Look { settled: false, old: age > rules.grace, wake: None };
    if let Standing::Dead(_) = standing {
        let earlier = memory.dead.filter(|dead| dead.whose == whose);
        let dead = earlier.unwrap_or(Dead { whose, up: now.up, wall: now.wall });
        memory.dead = Some(dead);
        // A row that is not there yet is inserted unfinished, or its error would be no flip and have no event.
        held.settled = row.is_some() && earlier.is_some() && now.up.since(dead.up) >= rules.settle;
        held.wake = held.next(dead.up, age, rules, now.up);
        if held.settled && next.ended_at.is_none() {
            next.ended_at = Some(dead.wall);
        }
    } else {
        memory.dead = None;
        if unfinished && matches!(standing, Standing::Alive(_)) {
            next.ended_at = None;
        }
    }
    let explain = explain(&standing, &memory, age, row.or(Some(&next)), sight.exit, rules, now);
    if unfinished {
        judge(&mut next, &standing, held, sight.exit, rules, now);
    }
    let dead = matches!(standing, Standing::Dead(_));
    let remove_lock = dead && held.settled && held.old && next.status.is_final();
    let outcome = match (unfinished, dead) {
        (true, true) if next.status == Status::Error => Outcome::Error,
        (_, true) if !remove_lock => Outcome::Wait,
        _ => Outcome::None,
    };
    Decision {
        write: write(row, &next, now),
        memory,
        row: Some(next),
        remove_lock,
        wake: held.wake,
        outcome,
        explain,
    }
}

/// What of a dead process's conditions holds at this look.
#[derive(Clone, Copy)]
struct Look {
    settled: bool,
    old: bool,
    wake: Option<Uptime>,
}

impl Look {
    /// When the next condition will hold: the second look, then the end of the grace.
    fn next(self, dead: Uptime, age: Duration, rules: &Rules, now: Uptime) -> Option<Uptime> {
        if !self.settled {
            Some(dead.plus(rules.settle))
        } else if !self.old {
            // The age must be over the grace, not equal to it.
            Some(now.plus(rules.grace.saturating_sub(age) + Duration::from_millis(1)))
        } else {
            None
        }
    }
}

/// Sets state, reason and, when every condition holds, the error on a row that is not final.
fn judge(
    next: &mut Migration,
    standing: &Standing,
    look: Look,
    exit: Option<Exit>,
    rules: &Rules,
    now: Now,
) {
    let (state, reason) = match standing {
        Standing::Alive(_) => (State::Alive, None),
        Standing::Foreign => (State::Foreign, None),
        Standing::Unknown(reason) => (State::Unknown, Some(*reason)),
        Standing::Dead(proof) => {
            let reason = Some(Reason::of_death(*proof, exit));
            (if look.old { State::Gone } else { State::Waiting }, reason)
        }
    };
    set_state(next, state, reason, now);
    if let (Standing::Dead(proof), true, true) = (standing, look.settled, look.old) {
        let error = death_text(next.lock_pid, *proof, exit, rules);
        finish(next, Status::Error, reason.unwrap_or(Reason::ProcessGone), Source::Monitor, now);
        next.error = Some(error);
    }
}

fn death_text(pid: Option<i64>, proof: DeathProof, exit: Option<Exit>, rules: &Rules) -> String {
    let who = pid.map_or_else(|| "The process".to_owned(), |pid| format!("Process {pid}"));
    let grace = rules.grace.as_secs();
    match (exit, proof) {
        (Some(exit), _) => format!("{who} {exit} and left its lock for over {grace} s"),
        (None, DeathProof::Reused) => {
            format!("{who} is another process now; its lock is older than {grace} s")
        }
        (None, DeathProof::Rebooted) => {
            format!("{who} ended with the machine's restart; its lock is older than {grace} s")
        }
        (None, _) => format!("{who} is gone and left its lock for over {grace} s"),
    }
}

fn set_state(row: &mut Migration, state: State, reason: Option<Reason>, now: Now) {
    if row.state != state {
        row.since = now.wall;
    }
    row.state = state;
    row.reason = reason;
}

/// Ends the run of a row.
pub fn finish(row: &mut Migration, status: Status, reason: Reason, source: Source, now: Now) {
    set_state(row, State::Finished, Some(reason), now);
    row.status = status;
    row.status_source = Some(source);
    row.status_updated_at = Some(now.wall);
    row.ended_at = row.ended_at.or(Some(now.wall));
    row.lock_taken = false;
    row.error = None;
}

fn absent(
    row: Option<&Migration>,
    sight: &Sight,
    memory: &Memory,
    rules: &Rules,
    now: Now,
) -> Decision {
    let Some(row) = row.filter(|row| !row.status.is_final()) else {
        return unchanged(row, Memory::default(), Vec::new());
    };
    if row.dir.is_some() && row.dir != sight.dir {
        // Another directory stands at the path: it says nothing about this one's locks.
        return unchanged(Some(row), Memory { absent: None, ..memory.clone() }, Vec::new());
    }
    let since = memory.absent.unwrap_or(now.up);
    let gone_for = now.up.since(since);
    let settled = memory.absent.is_some() && gone_for >= rules.settle;
    let mut memory = Memory { absent: Some(since), ..memory.clone() };
    let mut explain = vec![Predicate {
        name: "lock_missing_for",
        value: secs(gone_for),
        threshold: Some(secs(rules.settle)),
        holds: settled,
    }];
    let mut next = row.clone();
    let mut wake = Some(since.plus(rules.settle));
    if row.lock_taken {
        wake = taken(&mut next, sight, &mut memory, rules, now, wake);
    } else if settled {
        released(&mut next, sight.exit, memory.watched, now);
        wake = None;
    }
    let outcome = match next.status {
        Status::Error => Outcome::Error,
        Status::Completed => Outcome::Completed,
        _ => Outcome::Wait,
    };
    explain.push(row_predicate(row));
    if next.status.is_final() {
        memory = Memory::default();
    }
    Decision {
        write: write(Some(row), &next, now),
        memory,
        row: Some(next),
        remove_lock: false,
        wake,
        outcome,
        explain,
    }
}

/// The lock went by itself: the first rule that applies ends the run (the runner's report has ended it already).
fn released(next: &mut Migration, exit: Option<Exit>, watched: bool, now: Now) {
    match exit {
        Some(Exit::Code(0)) => {
            finish(next, Status::Completed, Reason::Exited, Source::Monitor, now);
        }
        Some(exit) => {
            let reason =
                if matches!(exit, Exit::Signal(_)) { Reason::Killed } else { Reason::Exited };
            finish(next, Status::Error, reason, Source::Monitor, now);
            next.error = Some(format!("{} {exit}", whom(next)));
        }
        None if next.death_recorded() => {
            finish(next, Status::Error, Reason::LockRemoved, Source::Monitor, now);
            next.error = Some(format!("{} was gone before its lock was removed", whom(next)));
        }
        None => {
            let source = if watched { Source::LockReleased } else { Source::LockReleasedUnwatched };
            finish(next, Status::Completed, Reason::LockRemoved, source, now);
            next.reason = None;
        }
    }
}

fn whom(row: &Migration) -> String {
    row.lock_pid.map_or_else(|| "The process".to_owned(), |pid| format!("Process {pid}"))
}

/// The lock was removed through our API: the run goes on until its process has ended.
fn taken(
    next: &mut Migration,
    sight: &Sight,
    memory: &mut Memory,
    rules: &Rules,
    now: Now,
    wake: Option<Uptime>,
) -> Option<Uptime> {
    let whose = (next.lock_pid, next.lock_started);
    let mut second = wake.is_some_and(|wake| wake <= now.up);
    let ended = match standing(Some(next), sight, rules, now.wall) {
        Standing::Alive(_) => {
            memory.dead = None;
            set_state(next, State::Alive, Some(Reason::LockRemoved), now);
            return None;
        }
        // That identity may live on where it cannot be seen now; only its end ends the run.
        Standing::Unknown(_) | Standing::Foreign if next.identity.is_some() => {
            memory.dead = None;
            set_state(next, State::Unknown, Some(Reason::LockRemoved), now);
            return None;
        }
        // Without an identity nobody can be waited for; the absence itself is proven twice.
        Standing::Unknown(_) | Standing::Foreign => memory.absent.map_or(now.up, |since| since),
        Standing::Dead(_) => {
            let earlier = memory.dead.filter(|dead| dead.whose == whose);
            let dead = earlier.unwrap_or(Dead { whose, up: now.up, wall: now.wall });
            memory.dead = Some(dead);
            second = earlier.is_some();
            dead.up
        }
    };
    if !second || now.up.since(ended) < rules.settle {
        return wake.max(Some(ended.plus(rules.settle)));
    }
    finish(next, Status::Error, Reason::LockRemoved, Source::Operator, now);
    next.error = Some(format!("{} ended after its lock was removed by an operator", whom(next)));
    None
}

/// The write that turns `row` into `next`: none if nothing that is recorded differs.
#[must_use]
pub fn write(row: Option<&Migration>, next: &Migration, now: Now) -> Write {
    let Some(row) = row else {
        return Write::Insert(Box::new(next.clone()));
    };
    // The file's own mark and content move with every progress write; alone they are not worth a row.
    let quiet = Migration {
        lock_mark: row.lock_mark,
        lock_data: row.lock_data.clone(),
        updated_at: row.updated_at,
        ..next.clone()
    };
    if quiet == *row {
        return Write::None;
    }
    let flip = next.status != row.status || (next.run != row.run && row.status.is_final());
    let mut next = next.clone();
    next.updated_at = now.wall;
    Write::Update { run: row.run, status: row.status, row: Box::new(next), flip }
}

fn explain(
    standing: &Standing,
    memory: &Memory,
    age: Duration,
    row: Option<&Migration>,
    exit: Option<Exit>,
    rules: &Rules,
    now: Now,
) -> Vec<Predicate> {
    let value = match standing {
        Standing::Alive(Some(alive)) if alive.stopped => "stopped".to_owned(),
        Standing::Alive(_) => "alive".to_owned(),
        Standing::Dead(proof) => exit.map_or_else(|| proof.as_str().to_owned(), |e| e.to_string()),
        Standing::Unknown(reason) => format!("unknown: {reason}"),
        Standing::Foreign => "foreign".to_owned(),
    };
    let dead_for = memory.dead.map_or(Duration::ZERO, |dead| now.up.since(dead.up));
    let mut list = vec![
        Predicate {
            name: "process_dead",
            value,
            threshold: None,
            holds: matches!(standing, Standing::Dead(_)),
        },
        Predicate {
            name: "seen_dead_for",
            value: secs(dead_for),
            threshold: Some(secs(rules.settle)),
            holds: memory.dead.is_some() && dead_for >= rules.settle,
        },
        Predicate {
            name: "lock_age",
            value: secs(age),
            threshold: Some(secs(rules.grace)),
            holds: age > rules.grace,
        },
    ];
    list.extend(row.map(row_predicate));
    list
}

fn row_predicate(row: &Migration) -> Predicate {
    Predicate {
        name: "row_unfinished",
        value: row.status.to_string(),
        threshold: None,
        holds: !row.status.is_final(),
    }
}

fn secs(duration: Duration) -> String {
    if duration.as_secs() == 0 && !duration.is_zero() {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{}s", duration.as_secs())
    }
}
