//! A look: the directory, every process that its locks and rows mean, and the other PID namespaces where asked.
//! Synchronous and blocking; it decides nothing and writes nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::watched::Watched;
use crate::causes::chain;
use crate::clock;
use crate::config::{Migrations, ScopeSetting};
use crate::domain::migration::{DirMark, Key, Migration};
use crate::domain::reconcile::{
    LockSight, Rules, Scope, Sight, is_ours, needs_namespace_scan, subject,
};
use crate::domain::{Exit, Now, Presence, Uptime};
use crate::locks::{FoundLock, KeySight, LockDir, Scan};
use crate::process::Processes;
use crate::snapshot::Unreadable;
use crate::store::StoredMigration;

/// The rows by key; shared with a look that is under way.
pub(super) type Rows = HashMap<Key, Arc<StoredMigration>>;

/// What a look is taken with; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Scout {
    pub(super) processes: Processes,
    pub(super) dir: LockDir,
    pub(super) settings: Migrations,
    pub(super) instance: String,
    /// No other instance shares the database.
    pub(super) sole: bool,
    /// See [`Rules::live`]; set before each look.
    pub(super) live: BTreeSet<String>,
    /// The processes that were seen alive.
    pub(super) watched: Arc<Watched>,
}

/// What was seen of one migration.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) key: Key,
    pub(super) sight: Sight,
    /// The lock as it was read, if there is one.
    pub(super) found: Option<Arc<FoundLock>>,
    /// Its content with secrets masked.
    pub(super) data: Option<Arc<Map<String, Value>>>,
    /// The row that the look was taken for: another one by now makes it worthless.
    pub(super) basis: Option<Arc<StoredMigration>>,
}

/// Everything that one look brought.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) rules: Rules,
    /// In the order of their keys: two instances that write the same rows in one order wait for each other; in two orders
    /// they block each other.
    pub(super) seen: Vec<Seen>,
    /// Of these nothing is left to look at.
    pub(super) gone: Vec<Key>,
    /// Of these it could not be told yet, and when it can.
    pub(super) later: Vec<Key>,
    pub(super) later_in: Duration,
    /// What only a look at the whole directory tells.
    pub(super) whole: Option<Whole>,
    /// When it began: what it shows is as old as that, however late it is judged.
    pub(super) at: Now,
    pub(super) began: Instant,
    pub(super) took: Duration,
}

/// What a look at the whole directory tells beside the locks.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) unreadable: Vec<Unreadable>,
    pub(super) foreign_files: u64,
    /// Which directory it was.
    pub(super) dir: Option<DirMark>,
    /// Why the directory could not be read.
    pub(super) trouble: Option<String>,
}

impl Scout {
    /// The rules that hold for a directory on a file system that is local or not.
    pub(super) fn rules(&self, local_fs: bool) -> Rules {
        let scope = match self.settings.scope {
            ScopeSetting::Local => Scope::Local,
            ScopeSetting::Auto if local_fs && self.processes.in_initial_namespace() => Scope::Local,
            ScopeSetting::Auto | ScopeSetting::Shared => Scope::Shared,
        };
        Rules {
            grace: self.settings.grace,
            settle: self.settings.settle,
            stall_after: Some(self.settings.stall_after).filter(|limit| !limit.is_zero()),
            scope,
            here: self.processes.here().clone(),
            instance: self.instance.clone(),
            sole: self.sole,
            live: self.live.clone(),
        }
    }

    /// Looks at one migration, for somebody who asks: nothing is held on to.
    pub(super) fn look_at(
        &self,
        key: &Key,
        row: Option<&Arc<StoredMigration>>,
    ) -> Result<(Seen, Rules), String> {
        let keys = BTreeSet::from([key.clone()]);
        let mut part = self.dir.look(&keys, &BTreeSet::new()).map_err(|error| chain(&error))?;
        let rules = self.rules(part.local_fs);
        let sight = part.keys.remove(key).unwrap_or(KeySight::Absent);
        let asked = |row: Option<&Migration>, lock: &LockSight| {
            (subject(row, lock, &rules).0.map(|pid| self.processes.look(pid)), None)
        };
        let mut seen = sighted(key, sight, row, Some(part.dir), asked);
        self.search_namespaces(std::slice::from_mut(&mut seen), &rules);
        Ok((seen, rules))
    }

    /// Looks at some migrations, and at those that the files of these names mean. `rows` has the rows of the keys.
    pub(super) fn look_at_some(
        &self,
        keys: &BTreeSet<Key>,
        names: &BTreeSet<String>,
        rows: &Rows,
    ) -> Result<Look, String> {
        let (at, began) = (clock::now(), Instant::now());
        let part = self.dir.look(keys, names).map_err(|error| chain(&error))?;
        let rules = self.rules(part.local_fs);
        let (mut seen, mut gone, mut later) = (Vec::new(), Vec::new(), Vec::new());
        for (key, sight) in part.keys {
            let row = rows.get(&key);
            if part.again.is_some() && sight == KeySight::Blocked {
                later.push(key);
            } else if matches!(sight, KeySight::Found(_))
                || row.is_some_and(|row| is_missed(row, &rules))
            {
                let asked = |row: Option<&Migration>, lock: &LockSight| {
                    self.process(&key, row, lock, &rules)
                };
                seen.push(sighted(&key, sight, row, Some(part.dir), asked));
            } else {
                gone.push(key);
            }
        }
        self.search_namespaces(&mut seen, &rules);
        seen.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let later_in = part.again.unwrap_or_default();
        let took = began.elapsed();
        Ok(Look { rules, seen, gone, later, later_in, whole: None, at, began, took })
    }

    /// Who stands under the PID that is meant, and how the process that was watched under it ended.
    fn process(
        &self,
        key: &Key,
        row: Option<&Migration>,
        lock: &LockSight,
        rules: &Rules,
    ) -> (Option<Presence>, Option<Exit>) {
        let (Some(pid), recorded) = subject(row, lock, rules) else { return (None, None) };
        match self.watched.of(key, pid, recorded) {
            // Of another attempt that has the same number by chance it says nothing.
            Some(held) if held.has_ended() && recorded.is_some() => {
                (Some(self.processes.look(pid)), held.exit())
            }
            Some(held) if !held.has_ended() => (Some(Presence::Alive(held.alive().clone())), None),
            _ => (Some(self.watched.look(key, pid, &self.processes)), None),
        }
    }

    /// Before a death is believed of a process that was never seen alive here: it may live in another namespace.
    fn search_namespaces(&self, seen: &mut [Seen], rules: &Rules) {
        let asked: Vec<(usize, i32)> = seen
            .iter()
            .enumerate()
            .filter(|(_, it)| needs_namespace_scan(it.row(), &it.sight, rules))
            .filter_map(|(at, it)| Some((at, pid_of(it.row(), &it.sight, rules)?)))
            .collect();
        if asked.is_empty() {
            return;
        }
        let pids: HashSet<i32> = asked.iter().map(|(_, pid)| *pid).collect();
        let found = self.processes.other_namespaces(&pids);
        for (at, pid) in asked {
            seen[at].sight.elsewhere = found.get(&pid).copied();
        }
    }
}

impl Seen {
    /// The row that the look was taken for.
    pub(super) fn row(&self) -> Option<&Migration> {
        self.basis.as_ref().map(|stored| &stored.row)
    }
}

/// Takes the looks at everything, and remembers what need not be judged again.
#[derive(Debug)]
pub(super) struct Observer {
    pub(super) scout: Scout,
    tracked: HashMap<Key, Tracked>,
    generation: u64,
    /// The rules by which what is calm was judged.
    rules: Option<Rules>,
}

/// A migration that the last look at everything was about.
#[derive(Debug)]
struct Tracked {
    generation: u64,
    /// Judged with these, its process alive, nothing followed; and nothing will as long as they are the same.
    calm: Option<Calm>,
}

/// What a calm migration was judged with.
#[derive(Debug)]
struct Calm {
    row: Arc<StoredMigration>,
    lock: Arc<FoundLock>,
    /// Of its process.
    token: u64,
    /// See [`Decision::stalls_at`](crate::domain::reconcile::Decision::stalls_at).
    stalls_at: Option<Uptime>,
}

impl Observer {
    pub(super) fn new(scout: Scout) -> Self {
        Self { scout, tracked: HashMap::new(), generation: 0, rules: None }
    }

    /// Looks at everything. What is as it was when it was judged last is left out.
    pub(super) fn look(&mut self, rows: &Rows) -> Look {
        let (at, began) = (clock::now(), Instant::now());
        let scan = self.scout.dir.scan();
        self.scout.watched.poll();
        let trouble = scan.as_ref().err().map(|error| chain(error));
        let scan = scan.ok();
        let rules = self.scout.rules(scan.as_ref().is_none_or(|scan| scan.local_fs));
        if self.rules.as_ref() != Some(&rules) {
            // Whose a row is may have changed with who is live.
            self.tracked.values_mut().for_each(|it| it.calm = None);
            self.rules = Some(rules.clone());
        }
        let whole = Whole {
            unreadable: scan.as_ref().map(|scan| scan.unreadable.clone()).unwrap_or_default(),
            foreign_files: scan.as_ref().map_or(0, |scan| scan.foreign),
            dir: scan.as_ref().map(|scan| scan.dir),
            trouble,
        };
        let blind = scan.is_none();
        self.generation += 1;
        // What stalls before the next look is judged, which says when; a hint for each of the calm ones would cost more.
        let soon = at.up.plus(self.scout.settings.interval);
        let mut seen = self.sights(rows, scan, &rules, soon);
        self.scout.search_namespaces(&mut seen, &rules);
        seen.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let gone = if blind { Vec::new() } else { self.forget() };
        let (later, later_in) = (Vec::new(), Duration::ZERO);
        let took = began.elapsed();
        Look { rules, seen, gone, later, later_in, whole: Some(whole), at, began, took }
    }

    /// Nothing follows for this migration as long as row, lock and process are the same, but that it stalls then.
    pub(super) fn calm(
        &mut self,
        key: &Key,
        row: &Arc<StoredMigration>,
        found: &Arc<FoundLock>,
        stalls_at: Option<Uptime>,
    ) {
        if let Some(tracked) = self.tracked.get_mut(key) {
            let living = self.scout.watched.living(key);
            tracked.calm = living.map(|token| Calm {
                row: Arc::clone(row),
                lock: Arc::clone(found),
                token,
                stalls_at,
            });
        }
    }

    fn sights(
        &mut self,
        rows: &Rows,
        scan: Option<Scan>,
        rules: &Rules,
        soon: Uptime,
    ) -> Vec<Seen> {
        let dir = scan.as_ref().map(|scan| scan.dir);
        let absent = if scan.is_none() { KeySight::Blocked } else { KeySight::Absent };
        let (locks, blocked): (Arc<[_]>, HashSet<_>) =
            scan.map_or_else(Default::default, |scan| (scan.locks, scan.blocked));
        let mut seen = Vec::new();
        for found in &*locks {
            let row = rows.get(&found.key);
            if self.track(&found.key, row, Some(found), soon) {
                continue;
            }
            let sight = KeySight::Found(Arc::clone(found));
            seen.push(self.sighted(&found.key, sight, row, dir, rules));
        }
        for (key, stored) in rows.iter().filter(|(_, stored)| is_missed(stored, rules)) {
            if self.tracked.get(key).is_some_and(|it| it.generation == self.generation) {
                continue;
            }
            self.track(key, Some(stored), None, soon);
            let sight = if blocked.contains(key) { KeySight::Blocked } else { absent.clone() };
            seen.push(self.sighted(key, sight, Some(stored), dir, rules));
        }
        seen
    }

    fn sighted(
        &self,
        key: &Key,
        sight: KeySight,
        row: Option<&Arc<StoredMigration>>,
        dir: Option<DirMark>,
        rules: &Rules,
    ) -> Seen {
        let asked =
            |row: Option<&Migration>, lock: &LockSight| self.scout.process(key, row, lock, rules);
        let mut seen = sighted(key, sight, row, dir, asked);
        if dir.is_none() {
            seen.sight.lock = LockSight::Blind;
        }
        seen
    }

    /// Notes that this look is about it; true if it is as it was when it was calm, and does not stall soon.
    fn track(
        &mut self,
        key: &Key,
        row: Option<&Arc<StoredMigration>>,
        found: Option<&Arc<FoundLock>>,
        soon: Uptime,
    ) -> bool {
        let generation = self.generation;
        let Some(tracked) = self.tracked.get_mut(key) else {
            self.tracked.insert(key.clone(), Tracked { generation, calm: None });
            return false;
        };
        tracked.generation = generation;
        let same = match (&tracked.calm, row, found) {
            (Some(calm), Some(row), Some(found)) => {
                Arc::ptr_eq(&calm.row, row)
                    && Arc::ptr_eq(&calm.lock, found)
                    && self.scout.watched.living(key) == Some(calm.token)
                    && calm.stalls_at.is_none_or(|at| at > soon)
            }
            _ => false,
        };
        if !same {
            tracked.calm = None;
        }
        same
    }

    /// What this look was not about any more.
    fn forget(&mut self) -> Vec<Key> {
        let generation = self.generation;
        self.tracked.extract_if(|_, it| it.generation != generation).map(|(key, _)| key).collect()
    }
}

/// A row that is to be looked at although no lock stands for it: without one there is nothing to learn of what is over,
/// another's, or not begun as far as we saw.
pub(super) fn is_missed(stored: &StoredMigration, rules: &Rules) -> bool {
    let row = &stored.row;
    !(row.status.is_final() || row.is_announced()) && is_ours(row, rules)
}

fn sighted(
    key: &Key,
    sight: KeySight,
    row: Option<&Arc<StoredMigration>>,
    dir: Option<DirMark>,
    process: impl FnOnce(Option<&Migration>, &LockSight) -> (Option<Presence>, Option<Exit>),
) -> Seen {
    let (lock, found) = match sight {
        KeySight::Found(found) => (LockSight::Present(found.lock.clone()), Some(found)),
        KeySight::Blocked => (LockSight::Blocked, None),
        KeySight::Absent => (LockSight::Absent, None),
    };
    let (process, exit) = process(row.map(|stored| &stored.row), &lock);
    let data = found.as_ref().and_then(|found| found.text());
    Seen {
        key: key.clone(),
        sight: Sight { lock, dir, process, exit, elsewhere: None, data },
        data: found.as_ref().and_then(|found| found.data()),
        found,
        basis: row.cloned(),
    }
}

fn pid_of(row: Option<&Migration>, sight: &Sight, rules: &Rules) -> Option<i32> {
    subject(row, &sight.lock, rules).0.and_then(|pid| i32::try_from(pid).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::migration::{Reason, Source, Status};
    use crate::domain::reconcile::{finish, first_row};

    fn scout(processes: Processes, dir: LockDir, sole: bool) -> Scout {
        Scout {
            processes,
            dir,
            settings: Migrations::default(),
            instance: "a".to_owned(),
            sole,
            live: BTreeSet::new(),
            watched: Arc::new(Watched::new(None, 100)),
        }
    }

    #[test]
    fn a_run_that_is_over_holds_no_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let key = Key {
            mb_project_uuid: "3c56530e-ca31-4a7c-964f-e69be01f382a".to_owned(),
            brz_project_id: 1,
        };
        let path = dir.path().join(format!("{key}.lock"));
        let (uuid, pid) = (&key.mb_project_uuid, std::process::id());
        let lock = format!(r#"{{"mb_project_uuid":"{uuid}","brz_project_id":1,"pid":{pid}}}"#);
        std::fs::write(&path, lock).unwrap();
        let processes = Processes::new().unwrap();
        let locks = LockDir::new(dir.path().to_owned());
        let mut observer = Observer::new(scout(processes, locks, true));
        let look = observer.look(&Rows::new());
        assert_eq!(observer.scout.watched.len(), 1);

        let now = clock::now();
        let mut row = first_row(&key, &look.rules, now);
        let rows = |row: &Migration| {
            Rows::from([(key.clone(), Arc::new(StoredMigration { id: 1, row: row.clone() }))])
        };
        std::fs::remove_file(&path).unwrap();
        observer.look(&rows(&row));
        assert_eq!(observer.scout.watched.len(), 1, "how it ends is still to be learned");
        finish(&mut row, Status::Completed, Reason::Reported, Source::Runner, now);
        let look = observer.look(&rows(&row));
        observer.scout.watched.release(&look.gone);
        assert_eq!(observer.scout.watched.len(), 0);
    }

    #[test]
    fn a_row_of_another_instance_is_looked_at_only_where_a_lock_of_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let locks = LockDir::new(dir.path().to_owned());
        let processes = Processes::new().unwrap();
        let mut observer = Observer::new(scout(processes, locks, false));
        observer.scout.live = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let row = |id: i64, instance: &str, rules: &Rules| {
            let uuid = "3c56530e-ca31-4a7c-964f-e69be01f382a".to_owned();
            let key = Key { mb_project_uuid: uuid, brz_project_id: id };
            let rules = Rules { instance: instance.to_owned(), ..rules.clone() };
            let row = first_row(&key, &rules, clock::now());
            (key, Arc::new(StoredMigration { id, row }))
        };
        let rules = observer.scout.rules(true);
        assert_eq!((rules.sole, &rules.live), (false, &observer.scout.live));
        let rows = Rows::from([row(1, "a", &rules), row(2, "b", &rules), row(3, "b", &rules)]);
        let name = "3c56530e-ca31-4a7c-964f-e69be01f382a-3.lock";
        std::fs::write(dir.path().join(name), "{}").unwrap();
        let look = observer.look(&rows);
        let mut seen: Vec<i64> = look.seen.iter().map(|it| it.key.brz_project_id).collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 3]);
        observer.scout.sole = true;
        assert_eq!(observer.look(&rows).seen.len(), 3);
    }
}
