//! Locks go, once their rows are final; and those that an earlier life left aside come back.

use std::sync::Arc;

use super::observe::Rows;
use super::{LOOK_LIMIT, Reconciler};
use crate::causes::chain;
use crate::domain::migration::Key;
use crate::locks::{FoundLock, Removal, RemoveError};

/// A lock that may go once the row stands.
#[derive(Debug)]
pub(super) struct Removable {
    pub(super) key: Key,
    pub(super) found: Arc<FoundLock>,
    pub(super) run: i64,
}

impl Reconciler {
    /// Removes locks whose rows are final, verified each.
    pub(super) async fn remove(&mut self, removable: Vec<Removable>) {
        for it in removable {
            let (dir, instance) = (self.parts.dir.clone(), self.parts.lease.name.clone());
            // Those that hang are not joined by more of them.
            let Some(entered) = dir.enter() else { return };
            let removal = tokio::task::spawn_blocking(move || {
                let result = dir.remove(&it.found, it.run, &instance);
                drop(entered);
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
                tracing::info!(migration = %key, lock = file, "lock removed");
                self.lock_went(&key);
            }
            Ok(Removal::Vanished | Removal::Changed | Removal::NewerWins) => {
                self.look_again(key, self.parts.settings.settle);
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
        let Some(entered) = dir.enter() else {
            self.put_back = false;
            return;
        };
        let put = tokio::task::spawn_blocking(move || {
            let put = dir.put_back(&instance, |run, inode, key| name_of(&rows, run, inode, key));
            drop(entered);
            put
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::migration::Mark;
    use crate::domain::reconcile::{Rules, Scope, first_row};
    use crate::domain::{Here, Now, Timestamp};
    use crate::store::StoredMigration;

    fn key(id: i64) -> Key {
        Key { mb_project_uuid: "u".to_owned(), brz_project_id: id }
    }

    fn rows(ids: std::ops::RangeInclusive<i64>) -> Rows {
        let rules = Rules {
            grace: Duration::ZERO,
            settle: Duration::ZERO,
            stall_after: None,
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
