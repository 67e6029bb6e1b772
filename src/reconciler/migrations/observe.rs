//! One look: the directory, every process that its locks and rows mean, and the other PID namespaces where asked.
//! Synchronous and blocking; it decides nothing and writes nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::causes::chain;
use crate::config::{Migrations, ScopeSetting};
use crate::domain::migration::{DirMark, Key, Migration};
use crate::domain::reconcile::{
    LockSight, Rules, Scope, Sight, is_ours, needs_namespace_scan, subject,
};
use crate::domain::{Exit, Presence};
use crate::locks::{FoundLock, LockDir, Scan};
use crate::process::{Handle, Processes};
use crate::snapshot::Unreadable;
use crate::store::StoredMigration;

/// The rows by key; shared with a look that is under way.
pub(super) type Rows = HashMap<Key, Arc<StoredMigration>>;

/// Most handles on processes that are kept: each is a descriptor, and others need some too.
const MAX_HANDLES: usize = 100_000;

/// What a look is taken with. It owns the handles on the processes that it has seen alive.
#[derive(Debug)]
pub(super) struct Observer {
    pub(super) processes: Processes,
    pub(super) dir: LockDir,
    pub(super) settings: Migrations,
    pub(super) instance: String,
    /// No other instance shares the database.
    pub(super) sole: bool,
    /// See [`Rules::live`]; set before each look.
    pub(super) live: BTreeSet<String>,
    watched: HashMap<Key, Handle>,
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
    pub(super) basis: Option<Migration>,
}

/// Everything that one look brought.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) rules: Rules,
    pub(super) seen: Vec<Seen>,
    pub(super) unreadable: Vec<Unreadable>,
    pub(super) foreign_files: u64,
    /// Why the directory could not be read.
    pub(super) trouble: Option<String>,
    pub(super) took: Duration,
}

impl Observer {
    pub(super) fn new(
        processes: Processes,
        dir: LockDir,
        settings: Migrations,
        instance: String,
        sole: bool,
    ) -> Self {
        let live = BTreeSet::new();
        Self { processes, dir, settings, instance, sole, live, watched: HashMap::new() }
    }

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
            scope,
            here: self.processes.here().clone(),
            instance: self.instance.clone(),
            sole: self.sole,
            live: self.live.clone(),
        }
    }

    /// Looks at everything.
    pub(super) fn look(&mut self, rows: &Rows) -> Look {
        let began = Instant::now();
        let scan = self.dir.scan();
        let trouble = scan.as_ref().err().map(|error| chain(error));
        let scan = scan.ok();
        let rules = self.rules(scan.as_ref().is_none_or(|scan| scan.local_fs));
        let (unreadable, foreign_files) =
            scan.as_ref().map_or((Vec::new(), 0), |scan| (scan.unreadable.clone(), scan.foreign));
        let mut seen = self.sights(rows, scan, &rules);
        self.search_namespaces(&mut seen, rows, &rules);
        // A run that is over and has no lock is not looked at again: its handle would be held for ever.
        let keys: HashSet<&Key> = seen.iter().map(|it| &it.key).collect();
        self.watched.retain(|key, _| keys.contains(key));
        Look { rules, seen, unreadable, foreign_files, trouble, took: began.elapsed() }
    }

    /// Looks at one migration.
    pub(super) fn look_at(
        &mut self,
        key: &Key,
        row: Option<&Migration>,
    ) -> Result<(Seen, Rules), String> {
        let scan = self.dir.scan().map_err(|error| chain(&error))?;
        let rules = self.rules(scan.local_fs);
        let dir = Some(scan.dir);
        let blocked = scan.blocked.contains(key);
        let found = scan.locks.into_iter().find(|found| found.key == *key);
        let mut seen = match found {
            Some(found) => self.present(found, row, dir, &rules),
            None => self.missing(
                key,
                row,
                dir,
                if blocked { LockSight::Blocked } else { LockSight::Absent },
                &rules,
            ),
        };
        if needs_namespace_scan(row, &seen.sight, &rules)
            && let Some(pid) = pid_of(row, &seen.sight, &rules)
        {
            let found = self.processes.other_namespaces(&HashSet::from([pid]));
            seen.sight.elsewhere = found.get(&pid).copied();
        }
        Ok((seen, rules))
    }

    fn sights(&mut self, rows: &Rows, scan: Option<Scan>, rules: &Rules) -> Vec<Seen> {
        let dir = scan.as_ref().map(|scan| scan.dir);
        let blind = scan.is_none();
        let (locks, blocked) =
            scan.map_or((Vec::new(), HashSet::new()), |scan| (scan.locks, scan.blocked));
        let standing: HashSet<Key> = locks.iter().map(|found| found.key.clone()).collect();
        let row = |key: &Key| rows.get(key).map(|stored| &stored.row);
        let mut seen: Vec<Seen> = locks
            .into_iter()
            .map(|found| {
                let row = row(&found.key);
                self.present(found, row, dir, rules)
            })
            .collect();
        for (key, stored) in rows.iter().filter(|(key, _)| !standing.contains(*key)) {
            // Without a lock there is nothing to learn of what is over, another's, or not begun as far as we saw.
            let row = &stored.row;
            if row.status.is_final() || row.is_announced() || !is_ours(row, rules) {
                continue;
            }
            let lock = if blind {
                LockSight::Blind
            } else if blocked.contains(key) {
                LockSight::Blocked
            } else {
                LockSight::Absent
            };
            seen.push(self.missing(key, Some(&stored.row), dir, lock, rules));
        }
        seen
    }

    fn present(
        &mut self,
        found: Arc<FoundLock>,
        row: Option<&Migration>,
        dir: Option<DirMark>,
        rules: &Rules,
    ) -> Seen {
        let lock = LockSight::Present(found.lock.clone());
        let (process, exit) = self.process(&found.key, row, &lock, rules);
        let (data, text) = (found.data(), found.text());
        Seen {
            key: found.key.clone(),
            sight: Sight { lock, dir, process, exit, elsewhere: None, data: text },
            found: Some(found),
            data,
            basis: row.cloned(),
        }
    }

    fn missing(
        &mut self,
        key: &Key,
        row: Option<&Migration>,
        dir: Option<DirMark>,
        lock: LockSight,
        rules: &Rules,
    ) -> Seen {
        let (process, exit) = self.process(key, row, &lock, rules);
        Seen {
            key: key.clone(),
            sight: Sight { lock, dir, process, exit, elsewhere: None, data: None },
            found: None,
            data: None,
            basis: row.cloned(),
        }
    }

    /// Who stands under the PID that is meant, and how the process that was watched under it ended.
    fn process(
        &mut self,
        key: &Key,
        row: Option<&Migration>,
        lock: &LockSight,
        rules: &Rules,
    ) -> (Option<Presence>, Option<Exit>) {
        let (Some(pid), recorded) = subject(row, lock, rules) else { return (None, None) };
        let held = self.watched.get(key).filter(|handle| {
            i64::from(handle.identity().pid) == pid
                && recorded.is_none_or(|recorded| !recorded.differs_from(handle.identity()))
        });
        if let Some(handle) = held {
            let exit = if handle.has_exited() { handle.exit() } else { None };
            return (Some(self.processes.look(pid)), exit);
        }
        if self.watched.len() >= MAX_HANDLES {
            return (Some(self.processes.look(pid)), None);
        }
        let (presence, handle) = self.processes.watch(pid);
        if let (Presence::Alive(_), Some(handle)) = (&presence, handle) {
            self.watched.insert(key.clone(), handle);
        }
        (Some(presence), None)
    }

    /// Before a death is believed of a process that was never seen alive here: it may live in another namespace.
    fn search_namespaces(&self, seen: &mut [Seen], rows: &Rows, rules: &Rules) {
        let row = |key: &Key| rows.get(key).map(|stored| &stored.row);
        let asked: Vec<(usize, i32)> = seen
            .iter()
            .enumerate()
            .filter(|(_, it)| needs_namespace_scan(row(&it.key), &it.sight, rules))
            .filter_map(|(at, it)| Some((at, pid_of(row(&it.key), &it.sight, rules)?)))
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

fn pid_of(row: Option<&Migration>, sight: &Sight, rules: &Rules) -> Option<i32> {
    subject(row, &sight.lock, rules).0.and_then(|pid| i32::try_from(pid).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::domain::migration::{Reason, Source, Status};
    use crate::domain::reconcile::{finish, first_row};

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
        let mut observer =
            Observer::new(processes, locks, Migrations::default(), "a".to_owned(), true);
        let look = observer.look(&Rows::new());
        assert_eq!(observer.watched.len(), 1);

        let now = clock::now();
        let mut row = first_row(&key, &look.rules, now);
        let rows = |row: &Migration| {
            Rows::from([(key.clone(), Arc::new(StoredMigration { id: 1, row: row.clone() }))])
        };
        std::fs::remove_file(&path).unwrap();
        observer.look(&rows(&row));
        assert_eq!(observer.watched.len(), 1, "how it ends is still to be learned");
        finish(&mut row, Status::Completed, Reason::Reported, Source::Runner, now);
        observer.look(&rows(&row));
        assert_eq!(observer.watched.len(), 0);
    }

    #[test]
    fn a_row_of_another_instance_is_looked_at_only_where_a_lock_of_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let locks = LockDir::new(dir.path().to_owned());
        let processes = Processes::new().unwrap();
        let mut observer =
            Observer::new(processes, locks, Migrations::default(), "a".to_owned(), false);
        observer.live = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let row = |id: i64, instance: &str, rules: &Rules| {
            let uuid = "3c56530e-ca31-4a7c-964f-e69be01f382a".to_owned();
            let key = Key { mb_project_uuid: uuid, brz_project_id: id };
            let rules = Rules { instance: instance.to_owned(), ..rules.clone() };
            let row = first_row(&key, &rules, clock::now());
            (key, Arc::new(StoredMigration { id, row }))
        };
        let rules = observer.rules(true);
        assert_eq!((rules.sole, &rules.live), (false, &observer.live));
        let rows = Rows::from([row(1, "a", &rules), row(2, "b", &rules), row(3, "b", &rules)]);
        let name = "3c56530e-ca31-4a7c-964f-e69be01f382a-3.lock";
        std::fs::write(dir.path().join(name), "{}").unwrap();
        let look = observer.look(&rows);
        let mut seen: Vec<i64> = look.seen.iter().map(|it| it.key.brz_project_id).collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 3]);
        observer.sole = true;
        assert_eq!(observer.look(&rows).seen.len(), 3);
    }
}
