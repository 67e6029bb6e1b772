//! The processes that are held on to: one handle for each, shared by all migrations that mean it.
//!
//! As long as the handle has not ended, the process behind it lives and is the same: nothing of it has to be read again.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::domain::migration::Key;
use crate::domain::process::Alive;
use crate::domain::{Exit, Identity, Presence};
use crate::events::Watch;
use crate::process::{Exits, Handle, Processes, ended, why_not_held};

/// How often and how soon it is asked how a process ended, the pauses doubling: 1.3 s in all. Parents reap at once, or
/// when they wait for all of theirs; after that the looks at everything ask.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// A process that was seen alive.
#[derive(Debug)]
pub(super) struct Held {
    handle: Handle,
    alive: Alive,
    token: u64,
    /// The set of all tells of its end.
    is_told: AtomicBool,
    ended: AtomicBool,
}

impl Held {
    /// As it was seen when it was taken hold of.
    pub(super) const fn alive(&self) -> &Alive {
        &self.alive
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || {
            let ended = self.handle.has_exited();
            self.ended.fetch_or(ended, Ordering::Relaxed);
            ended
        }
    }

    /// How it ended, once the kernel tells.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.handle.exit()
    }

    fn is(&self, pid: i64, recorded: Option<&Identity>) -> bool {
        let identity = self.handle.identity();
        i64::from(identity.pid) == pid
            && recorded.is_none_or(|recorded| !recorded.differs_from(identity))
    }
}

/// All of them; shared by the looks that are under way. No call waits for the kernel.
#[derive(Debug, Default)]
pub(super) struct Watched {
    held: Mutex<Book>,
    /// Where their ends are told; none where nobody asked, or where the kernel gave no set.
    exits: Option<Exits>,
    /// Descriptors from this number on are left to others.
    ceiling: RawFd,
}

#[derive(Debug, Default)]
struct Book {
    by_key: HashMap<Key, Arc<Held>>,
    by_pid: HashMap<i32, Weak<Held>>,
    keys: HashMap<u64, BTreeSet<Key>>,
    last_token: u64,
    /// How often it was asked how the process of a migration ended.
    asked: HashMap<Key, u32>,
    /// Living processes of which no handle could be had, and the migrations that mean them.
    refused: HashMap<Key, &'static str>,
}

impl Watched {
    pub(super) fn new(exits: Option<Exits>, ceiling: RawFd) -> Self {
        Self { held: Mutex::default(), exits, ceiling }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Every change of it is whole when the lock is given back.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where their ends are told.
    pub(super) const fn exits(&self) -> Option<&Exits> {
        self.exits.as_ref()
    }

    /// The process that this migration's handle is on, if it is the one that is meant.
    pub(super) fn of(&self, key: &Key, pid: i64, recorded: Option<&Identity>) -> Option<Arc<Held>> {
        self.book().by_key.get(key).filter(|held| held.is(pid, recorded)).cloned()
    }

    /// The handle on the process of this migration, while it lives.
    pub(super) fn living(&self, key: &Key) -> Option<u64> {
        let book = self.book();
        let held = book.by_key.get(key).filter(|held| !held.ended.load(Ordering::Relaxed));
        held.map(|held| held.token)
    }

    /// Who stands under this PID now, held on to for this migration if it lives and that can be.
    pub(super) fn look(&self, key: &Key, pid: i64, processes: &Processes) -> Presence {
        if let Some(held) = self.under(pid)
            && !held.has_ended()
        {
            let alive = held.alive.clone();
            self.book().hold(key, held);
            return Presence::Alive(alive);
        }
        let (presence, held) = processes.try_watch(pid);
        if let Presence::Alive(alive) = &presence {
            match held {
                Ok(Some(handle)) if handle.as_raw_fd() < self.ceiling => {
                    self.add(key, handle, alive.clone());
                }
                Ok(Some(_)) => self.without(key, "too many open files"),
                Ok(None) => {}
                Err(error) => self.without(key, why_not_held(&error)),
            }
        }
        presence
    }

    /// Its process lives and is not held; a handle on one of before says nothing about it.
    fn without(&self, key: &Key, why: &'static str) {
        self.book().release(key);
        self.refuse(key, why);
    }

    fn refuse(&self, key: &Key, why: &'static str) {
        self.book().refused.insert(key.clone(), why);
    }

    fn under(&self, pid: i64) -> Option<Arc<Held>> {
        let pid = i32::try_from(pid).ok()?;
        self.book().by_pid.get(&pid).and_then(Weak::upgrade)
    }

    fn add(&self, key: &Key, handle: Handle, alive: Alive) {
        let mut book = self.book();
        book.last_token += 1;
        let token = book.last_token;
        let held = Arc::new(Held {
            handle,
            alive,
            token,
            is_told: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        book.by_pid.insert(held.handle.identity().pid, Arc::downgrade(&held));
        book.hold(key, Arc::clone(&held));
        // In the book first: an end that is told at once finds whom it is about.
        drop(book);
        match self.exits.as_ref().map(|exits| exits.add(&held.handle, token)) {
            Some(Ok(())) => held.is_told.store(true, Ordering::Relaxed),
            Some(Err(error)) => self.refuse(key, why_not_held(&error)),
            None => {}
        }
    }

    /// The migrations of processes that the set told the end of. It tells each once, so that is noted at once: a look at
    /// everything that begins before these are looked at has to know as well.
    pub(super) fn keys_of(&self, tokens: &[u64]) -> BTreeSet<Key> {
        let book = self.book();
        let of_them: BTreeSet<Key> =
            tokens.iter().filter_map(|token| book.keys.get(token)).flatten().cloned().collect();
        for held in of_them.iter().filter_map(|key| book.by_key.get(key)) {
            held.ended.store(true, Ordering::Relaxed);
        }
        of_them
    }

    /// How it ended is told once its parent has reaped it: when to ask again; none if it is not for us to ask, or enough.
    pub(super) fn ask_again(&self, key: &Key) -> Option<Duration> {
        let mut book = self.book();
        if !book.by_key.get(key)?.ended.load(Ordering::Relaxed) {
            return None;
        }
        let asked = book.asked.entry(key.clone()).or_default();
        *asked += 1;
        (*asked <= TRIES).then(|| FIRST_PAUSE * 2_u32.pow(*asked - 1))
    }

    /// Notes which of them have ended since: one question for all that the set has, and one for the others.
    ///
    /// What the set tells here it does not tell those who wait: the caller looks at everything.
    pub(super) fn poll(&self) {
        let told = self.exits.as_ref().and_then(|exits| exits.ended().ok());
        // By the tokens: two looks at once may have taken hold of one process twice.
        let book = self.book();
        let of = |keys: &BTreeSet<Key>| book.by_key.get(keys.first()?);
        for held in told.iter().flatten().filter_map(|token| of(book.keys.get(token)?)) {
            held.ended.store(true, Ordering::Relaxed);
        }
        let is_asked = |held: &&Arc<Held>| {
            let is_told = told.is_some() && held.is_told.load(Ordering::Relaxed);
            !is_told && !held.ended.load(Ordering::Relaxed)
        };
        let held: Vec<Arc<Held>> =
            book.keys.values().filter_map(of).filter(is_asked).cloned().collect();
        drop(book);
        let handles: Vec<&Handle> = held.iter().map(|it| &it.handle).collect();
        for (it, ended) in held.iter().zip(ended(&handles)) {
            it.ended.fetch_or(ended, Ordering::Relaxed);
        }
    }

    /// Lets go of the processes of these migrations.
    pub(super) fn release<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        let mut book = self.book();
        for key in keys {
            book.refused.remove(key);
            book.release(key);
        }
    }

    /// Whether the kernel tells of all their ends.
    pub(super) fn state(&self) -> Watch {
        let book = self.book();
        let (refused, held) = (book.refused.len(), book.by_key.len());
        if self.exits.is_none() {
            return Watch::Off;
        }
        match book.refused.values().next() {
            None => Watch::On,
            Some(why) => Watch::Polling(format!(
                "the processes of {refused} of {} migrations are not watched: {why}",
                refused + held
            )),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.book().by_key.len()
    }
}

impl Book {
    fn hold(&mut self, key: &Key, held: Arc<Held>) {
        self.refused.remove(key);
        if self.by_key.get(key).is_some_and(|before| before.token == held.token) {
            return;
        }
        self.release(key);
        self.keys.entry(held.token).or_default().insert(key.clone());
        self.by_key.insert(key.clone(), held);
    }

    fn release(&mut self, key: &Key) {
        let Some(held) = self.by_key.remove(key) else { return };
        self.asked.remove(key);
        if let Some(keys) = self.keys.get_mut(&held.token) {
            keys.remove(key);
            if keys.is_empty() {
                self.keys.remove(&held.token);
                let pid = held.handle.identity().pid;
                // Another process may stand under the number by now.
                let same = |it: &Weak<Held>| std::ptr::eq(it.as_ptr(), Arc::as_ptr(&held));
                if self.by_pid.get(&pid).is_some_and(same) {
                    self.by_pid.remove(&pid);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn key(id: i64) -> Key {
        Key { mb_project_uuid: "u".to_owned(), brz_project_id: id }
    }

    #[test]
    fn one_process_of_several_migrations_is_held_once_until_the_last_of_them_goes() {
        let (watched, processes) = (Watched::new(None, 1000), Processes::new().unwrap());
        let child = sleeper();
        for id in 1..=2 {
            let presence = watched.look(&key(id), i64::from(child.id()), &processes);
            assert!(matches!(presence, Presence::Alive(_)), "{presence:?}");
        }
        assert_eq!(watched.living(&key(1)), watched.living(&key(2)));
        watched.release([&key(1)]);
        assert_eq!((watched.len(), watched.living(&key(1))), (1, None));
        assert!(watched.living(&key(2)).is_some());
        end(child);
        watched.poll();
        assert_eq!(watched.living(&key(2)), None);
        watched.release([&key(2)]);
        assert_eq!(watched.len(), 0);
    }

    #[test]
    fn a_handle_of_before_does_not_vouch_for_one_that_cannot_be_held() {
        let (mut watched, processes) = (Watched::new(None, 1000), Processes::new().unwrap());
        let (launcher, worker) = (sleeper(), sleeper());
        watched.look(&key(1), i64::from(launcher.id()), &processes);
        assert!(watched.living(&key(1)).is_some());
        // No descriptor is left.
        watched.ceiling = 0;
        let presence = watched.look(&key(1), i64::from(worker.id()), &processes);
        assert!(matches!(presence, Presence::Alive(_)), "{presence:?}");
        assert_eq!(watched.living(&key(1)), None);
        end(launcher);
        end(worker);
    }

    /// The set tells an end once; whoever was told of it may have had no time to look.
    #[tokio::test]
    async fn an_end_that_was_told_is_known_to_whoever_looks_next() {
        let exits = Exits::new().unwrap();
        let (watched, processes) = (Watched::new(Some(exits), 1000), Processes::new().unwrap());
        let child = sleeper();
        watched.look(&key(1), i64::from(child.id()), &processes);
        end(child);
        let tokens = watched.exits().unwrap().next().await.unwrap();
        assert_eq!(watched.keys_of(&tokens), BTreeSet::from([key(1)]));
        watched.poll();
        assert_eq!(watched.living(&key(1)), None);
    }

    #[test]
    fn a_process_that_two_looks_took_hold_of_at_once_has_ended_for_both() {
        let (watched, processes) = (Watched::new(None, 1000), Processes::new().unwrap());
        let child = sleeper();
        for id in 1..=2 {
            let (Presence::Alive(alive), Some(handle)) = processes.watch(i64::from(child.id()))
            else {
                panic!("it lives")
            };
            watched.add(&key(id), handle, alive);
        }
        assert_ne!(watched.living(&key(1)), watched.living(&key(2)));
        end(child);
        watched.poll();
        assert_eq!((watched.living(&key(1)), watched.living(&key(2))), (None, None));
    }
}
