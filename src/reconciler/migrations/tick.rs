//! The second half of a tick: judge what was seen, write it by compare-and-set, and remove what may go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::compare::Sighting;
use super::observe::{Look, Rows, Seen};
use super::{LOOK_LIMIT, Reconciler};
use crate::causes::chain;
use crate::clock;
use crate::domain::Presence;
use crate::domain::migration::{Key, Migration, Status};
use crate::domain::reconcile::{Decision, Memory, Write, evaluate};
use crate::locks::{FoundLock, Removal, RemoveError};
use crate::store::{Applied, StoreError, StoredMigration, TheirWrite};

/// What was seen of one migration and what follows.
#[derive(Debug)]
struct Verdict {
    seen: Seen,
    decision: Decision,
    tell: Option<TheirWrite>,
}

/// A lock that may go once the row stands.
#[derive(Debug)]
struct Removable {
    key: Key,
    found: Arc<FoundLock>,
    run: i64,
}

impl Reconciler {
    /// Judges one look. Nothing is removed without the database's word.
    pub(super) async fn tick(&mut self, mut look: Look) {
        self.took = look.took;
        self.report_trouble(&look);
        self.forget_gone(&look);
        self.rules = Some(look.rules.clone());
        // Two instances that write the same rows in one order wait for each other; in two orders they block each other.
        look.seen.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let now = clock::now();
        let mut judged: Vec<Verdict> = Vec::with_capacity(look.seen.len());
        let mut sightings = Vec::new();
        for seen in look.seen {
            let stored = self.row(&seen.key).cloned();
            let row = stored.as_ref().map(|stored| &stored.row);
            if row != seen.basis.as_ref() {
                // A report or an operator came in between: what was seen belongs to the row of before.
                self.wake_in(Duration::ZERO);
                continue;
            }
            let memory = self.memory.get(&seen.key).cloned().unwrap_or_default();
            let (decision, tell) = if let Some(adoption) = &mut self.adoption {
                let record = adoption.record(&seen.key).cloned();
                let judged = adoption.judge(&seen, row, &memory, &look.rules, now);
                let (removable, at) = (judged.removable, (&look.rules, now));
                let record = record.as_ref();
                sightings.push(Sighting::of(&seen, row, &memory, removable, record, at));
                (judged.decision, judged.tell)
            } else {
                (evaluate(&seen.key, row, &seen.sight, &memory, &look.rules, now), None)
            };
            match (seen.sight.exit, &seen.sight.process) {
                (Some(exit), _) => {
                    self.exits.insert(seen.key.clone(), exit);
                }
                (None, Some(Presence::Alive(_))) => {
                    self.exits.remove(&seen.key);
                }
                (None, _) => {}
            }
            if seen.found.is_some() {
                self.locks.insert(seen.key.clone(), seen.data.clone());
            }
            judged.push(Verdict { seen, decision, tell });
        }
        let removable = self.write(judged, now).await;
        self.remove(removable).await;
        if look.trouble.is_none() {
            self.reconcile_with_theirs(&sightings, &look.rules, now).await;
        }
        crate::failpoint::at("before-publish");
        self.publish();
    }

    /// Writes every decision and remembers; gives what may be removed now.
    async fn write(&mut self, mut judged: Vec<Verdict>, now: crate::domain::Now) -> Vec<Removable> {
        let mut outcome = vec![true; judged.len()];
        let due = |it: &Verdict| it.tell.is_none() && !matches!(it.decision.write, Write::None);
        let due: Vec<usize> = (0..judged.len()).filter(|at| due(&judged[*at])).collect();
        let writes: Vec<_> = due.iter().map(|at| self.take_write(&mut judged[*at])).collect();
        if !writes.is_empty() {
            match self.apply_unless_it_fails(&writes, now.wall).await {
                Some(applied) => {
                    for (at, applied) in due.iter().zip(applied) {
                        outcome[*at] = self.adopt(applied);
                    }
                }
                None => due.iter().for_each(|at| outcome[*at] = false),
            }
        }
        for at in 0..judged.len() {
            if let Some(tell) = judged[at].tell.take() {
                let write = self.take_write(&mut judged[at]);
                outcome[at] = self.apply_telling(&judged[at].seen.key, write, tell, now.wall).await;
            }
        }
        let mut removable = Vec::new();
        for (Verdict { seen, decision, .. }, stands) in judged.into_iter().zip(outcome) {
            if let Some(wake) = decision.wake {
                self.wake_in(wake.since(now.up));
            }
            let finished = decision.row.as_ref().is_some_and(|row| row.status.is_final());
            let run = decision.row.as_ref().map_or(1, |row| row.run);
            if stands || !finished {
                self.remember(&seen.key, decision.memory);
            }
            let goes = stands && decision.remove_lock && !self.parts.keeps_locks;
            if let (true, Some(found)) = (goes, seen.found) {
                removable.push(Removable { key: seen.key, found, run });
            }
        }
        removable
    }

    fn take_write(&self, it: &mut Verdict) -> (Option<i64>, Write) {
        let write = std::mem::replace(&mut it.decision.write, Write::None);
        (self.row(&it.seen.key).map(|stored| stored.id), write)
    }

    /// The same as [`Self::apply`], but a database that fails is not waited for again: the heartbeats try whether it is
    /// back.
    pub(super) async fn apply_unless_it_fails(
        &mut self,
        writes: &[(Option<i64>, Write)],
        now: crate::domain::Timestamp,
    ) -> Option<Vec<Applied>> {
        if self.database_fails() {
            self.wake_in(Duration::from_secs(1));
            return None;
        }
        self.apply(writes, now).await
    }

    pub(super) fn database_fails(&self) -> bool {
        self.parts.store_trouble.load(Ordering::Relaxed)
    }

    /// `None` if the database failed; then a part of it may stand. Fail points frame it.
    pub(super) async fn apply(
        &mut self,
        writes: &[(Option<i64>, Write)],
        now: crate::domain::Timestamp,
    ) -> Option<Vec<Applied>> {
        let flips =
            writes.iter().any(|(_, write)| matches!(write, Write::Update { flip: true, .. }));
        let inserts = writes.iter().any(|(_, write)| matches!(write, Write::Insert(_)));
        if flips {
            crate::failpoint::at("before-flip");
        }
        match self.parts.store.apply(&self.parts.lease, writes, now).await {
            Ok(applied) => {
                super::super::trouble::works(&self.parts.store_trouble);
                if inserts {
                    crate::failpoint::at("row-inserted");
                }
                if flips {
                    crate::failpoint::at("after-flip");
                }
                Some(applied)
            }
            Err(error) => {
                self.write_fails(&error);
                None
            }
        }
    }

    /// The database failed at a write, which may stand although the answer was lost.
    pub(super) fn write_fails(&mut self, error: &StoreError) {
        self.store_fails(error);
        self.reread = true;
        self.wake_in(Duration::from_secs(1));
    }

    /// Takes over a row that was written; false if the write lost its race, and then everything is read again.
    pub(super) fn adopt(&mut self, applied: Applied) -> bool {
        match applied {
            Applied::Done(stored) => {
                if let Some(before) = self.row(&stored.row.key) {
                    announce(&before.row, &stored.row);
                } else {
                    tracing::debug!(migration = %stored.row.key, "first sight");
                }
                self.set_row(*stored);
                true
            }
            Applied::Told => true,
            Applied::Lost | Applied::TheirsMoved => {
                self.reread = true;
                self.wake_in(Duration::ZERO);
                false
            }
        }
    }

    pub(super) fn row(&self, key: &Key) -> Option<&Arc<StoredMigration>> {
        self.rows.as_ref().and_then(|rows| rows.get(key))
    }

    pub(super) fn set_row(&mut self, stored: StoredMigration) {
        if let Some(rows) = &mut self.rows {
            Arc::make_mut(rows).insert(stored.row.key.clone(), Arc::new(stored));
        }
    }

    fn remember(&mut self, key: &Key, memory: Memory) {
        if memory == Memory::default() {
            self.memory.remove(key);
        } else {
            self.memory.insert(key.clone(), memory);
        }
    }

    /// Removes locks whose rows are final, verified each.
    async fn remove(&mut self, removable: Vec<Removable>) {
        for it in removable {
            let (dir, instance) = (self.parts.dir.clone(), self.parts.lease.name.clone());
            let removal = tokio::task::spawn_blocking(move || {
                let result = dir.remove(&it.found, it.run, &instance);
                (it.key, it.found.lock.file.clone(), result)
            });
            match tokio::time::timeout(LOOK_LIMIT, removal).await {
                Ok(Ok((key, file, result))) => self.removed(key, &file, result),
                Ok(Err(error)) => tracing::error!(%error, "the removal of a lock failed inside"),
                // It goes on where it hangs; a later look shows what became of it and of the others.
                Err(_) => return tracing::warn!("the removal of a lock hangs"),
            }
        }
    }

    fn removed(&mut self, key: Key, file: &str, result: Result<Removal, RemoveError>) {
        let denied = self.said.denied.contains(&key);
        match result {
            Ok(Removal::Removed) => {
                self.said.denied.remove(&key);
                self.locks.remove(&key);
                tracing::info!(migration = %key, lock = file, "lock removed");
            }
            Ok(Removal::Vanished | Removal::Changed | Removal::NewerWins) => {
                self.wake_in(self.parts.settings.settle);
            }
            Ok(Removal::Denied(error)) if !denied => {
                tracing::warn!(
                    migration = %key, lock = file, %error, lock_removal = "denied",
                    "the status is set, the lock cannot be removed"
                );
                self.said.denied.insert(key);
            }
            Err(error) if !denied => {
                let error = chain(&error);
                tracing::warn!(migration = %key, lock = file, error, "the lock was not removed");
                self.said.denied.insert(key);
            }
            Ok(Removal::Denied(_)) | Err(_) => {}
        }
    }

    /// Our own aside files of an earlier life go back to their names, unless something newer stands there.
    pub(super) async fn put_asides_back(&mut self) {
        if std::mem::replace(&mut self.put_back, true) {
            return;
        }
        let (dir, instance) = (self.parts.dir.clone(), self.parts.lease.name.clone());
        let rows = self.rows.clone().unwrap_or_default();
        let put = tokio::task::spawn_blocking(move || {
            dir.put_back(&instance, |run, inode, key| name_of(&rows, run, inode, key))
        });
        match tokio::time::timeout(LOOK_LIMIT, put).await {
            Ok(Ok(Ok(list))) => {
                for put in list {
                    tracing::info!(?put, "a lock left aside by an interrupted removal");
                }
            }
            // A directory that cannot be read is reported by the scan that follows; then they are looked for again.
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => self.put_back = false,
        }
    }

    fn forget_gone(&mut self, look: &Look) {
        if look.trouble.is_some() {
            return;
        }
        let standing: std::collections::HashSet<&Key> =
            look.seen.iter().filter(|it| it.found.is_some()).map(|it| &it.key).collect();
        self.locks.retain(|key, _| standing.contains(key));
        let seen: std::collections::HashSet<&Key> = look.seen.iter().map(|it| &it.key).collect();
        self.memory.retain(|key, _| seen.contains(key));
        self.said.denied.retain(|key| standing.contains(key));
    }

    /// Says once what cannot be read.
    fn report_trouble(&mut self, look: &Look) {
        self.unreadable.clone_from(&look.unreadable);
        self.foreign_files = look.foreign_files;
        self.trouble.clone_from(&look.trouble);
        if look.trouble != self.said.trouble {
            let path = self.parts.dir.path().display();
            let from = &self.parts.settings.lock_dir_source;
            if let Some(error) = &look.trouble {
                tracing::warn!(%path, from, error, "the lock directory cannot be read");
            } else {
                tracing::info!(%path, "the lock directory can be read");
            }
            self.said.trouble.clone_from(&look.trouble);
        }
        for it in &look.unreadable {
            if self.said.unreadable.insert(it.clone()) {
                tracing::warn!(file = it.file, reason = it.reason, "a lock cannot be judged");
            }
        }
        self.said.unreadable.retain(|it| look.unreadable.contains(it));
    }
}

/// The name of a lock that was left aside. File systems give an inode again as soon as it is free, and most runs are
/// the first: a lock that says whose it is is only that key's, any other the one's that was written last.
fn name_of(rows: &Rows, run: i64, inode: u64, key: Option<&Key>) -> Option<String> {
    let its = rows.values().map(|it| &it.row).filter(|row| {
        row.run == run
            && row.lock_mark.is_some_and(|mark| mark.ino == inode)
            && key.is_none_or(|key| *key == row.key)
    });
    its.max_by_key(|row| row.updated_at).and_then(|row| row.lock_file.clone())
}

/// One line for a flip.
fn announce(before: &Migration, after: &Migration) {
    let reason = after.reason.map_or("-", crate::domain::migration::Reason::as_str);
    if before.status != after.status || before.run != after.run {
        let (key, run, from, to) = (&after.key, after.run, before.status, after.status);
        let text = after.error.as_deref().unwrap_or("status changed");
        if to == Status::Error {
            tracing::warn!(migration = %key, run, %from, %to, reason, "{text}");
        } else {
            tracing::info!(migration = %key, run, %from, %to, reason, "{text}");
        }
    } else if before.state != after.state {
        tracing::debug!(migration = %after.key, from = %before.state, to = %after.state, reason, "state changed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::migration::Mark;
    use crate::domain::reconcile::{Rules, Scope, first_row};
    use crate::domain::{Here, Now, Timestamp};

    fn key(id: i64) -> Key {
        Key { mb_project_uuid: "u".to_owned(), brz_project_id: id }
    }

    fn rows(ids: std::ops::RangeInclusive<i64>) -> Rows {
        let rules = Rules {
            grace: Duration::ZERO,
            settle: Duration::ZERO,
            scope: Scope::Local,
            here: Here::default(),
            instance: "a".to_owned(),
            sole: true,
            live: std::collections::BTreeSet::new(),
        };
        let row = |id: i64| {
            let mut row = first_row(&key(id), &rules, Now::default());
            row.updated_at = Timestamp(id);
            row.lock_file = Some(format!("{id}.lock"));
            row.lock_mark = Some(Mark { dev: 1, ino: 99, mtime_ns: 0, size: 0 });
            (key(id), Arc::new(StoredMigration { id, row }))
        };
        ids.map(row).collect()
    }

    #[test]
    fn an_inode_that_many_locks_have_had_names_the_right_one() {
        let rows = rows(1..=50);
        for id in 1..=50 {
            let name = name_of(&rows, 1, 99, Some(&key(id)));
            assert_eq!(name, Some(format!("{id}.lock")));
        }
        assert_eq!(name_of(&rows, 1, 99, None).as_deref(), Some("50.lock"), "the last written");
        assert_eq!(name_of(&rows, 1, 99, Some(&key(51))), None);
        assert_eq!(name_of(&rows, 2, 99, None), None);
        assert_eq!(name_of(&rows, 1, 98, None), None);
    }
}
