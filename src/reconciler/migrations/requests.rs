//! Requests of runners and operators, carried out between two ticks: this task stays the only writer.

use std::time::Duration;

use super::handle::{Request, RequestError, Taken, Target};
use super::observe::Seen;
use super::{Inspection, Reconciler};
use crate::causes::chain;
use crate::clock;
use crate::domain::migration::{Key, Migration};
use crate::domain::reconcile::{
    Basis, Decision, LockSight, Rules, Sight, Standing, Write, evaluate, standing,
};
use crate::domain::report::{Refusal, Report, may_take, report, take as taken};
use crate::locks::{LockDir, Removal};
use crate::snapshot::MigrationView;
use crate::store::{Applied, StoredMigration};

/// A look for one request takes no longer.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// A write that lost a race against another program is tried again this often.
const ATTEMPTS: u32 = 3;

impl Reconciler {
    pub(super) async fn serve(&mut self, request: Request) {
        // A caller that stopped waiting is no failure: what it asked for is done all the same.
        match request {
            Request::Wake => self.wake_in(Duration::ZERO),
            Request::Report(target, body, reply) => {
                let _ = reply.send(self.report(&target, &body).await);
            }
            Request::Take(target, force, reply) => {
                let _ = reply.send(self.take(&target, force).await);
            }
            Request::Inspect(target, reply) => {
                let _ = reply.send(self.inspect(&target).await.map(Box::new));
            }
        }
    }

    async fn report(
        &mut self,
        target: &Target,
        body: &Report,
    ) -> Result<MigrationView, RequestError> {
        for _ in 0..ATTEMPTS {
            self.require_rows().await?;
            let key = match self.find(target).await? {
                Some(key) => key,
                None => key_of(target).ok_or(RequestError::NotFound(target.id))?,
            };
            // A runner is believed even while the directory cannot be read; then only the row is known.
            let look = self.look_at(&key).await;
            let rules = look.as_ref().map_or_else(|_| self.scout.rules(true), |it| it.1.clone());
            let now = clock::now();
            let row = self.row(&key).map(|stored| &stored.row);
            let lock = match look.as_ref().map(|(seen, _)| &seen.sight) {
                Ok(sight @ Sight { lock: LockSight::Present(lock), .. }) => Some((lock, sight)),
                _ => None,
            };
            let may_insert = target.uuid.is_some();
            let (write, _) = report(&key, row, lock, body, may_insert, &rules, now)
                .map_err(|refusal| refused(target.id, refusal))?;
            if let Some(stored) = self.commit(&key, write, now.wall).await? {
                self.publish();
                self.wake_in(Duration::ZERO);
                return Ok(self.view(&stored));
            }
        }
        Err(RequestError::Store("the row changes faster than it can be written".to_owned()))
    }

    async fn take(&mut self, target: &Target, force: bool) -> Result<Taken, RequestError> {
        if self.parts.keeps_locks {
            return Err(RequestError::Shadow);
        }
        for _ in 0..ATTEMPTS {
            self.require_rows().await?;
            let key = self.find(target).await?.ok_or(RequestError::NotFound(target.id))?;
            let (seen, rules) = self.look_at(&key).await?;
            let now = clock::now();
            let row = self.row(&key).map(|stored| &stored.row);
            let (LockSight::Present(lock), Some(found)) = (&seen.sight.lock, &seen.found) else {
                return Err(RequestError::NoLock(target.id));
            };
            let standing = standing(row, &seen.sight, &rules, now.wall);
            if !force && !may_take(&standing) {
                return Err(RequestError::ProcessAlive(whose(row, &standing)));
            }
            let (write, next) = taken(&key, row, lock, &seen.sight, &rules, now);
            let Some(stored) = self.commit(&key, write, now.wall).await? else { continue };
            let (dir, instance) = (self.parts.dir.clone(), self.parts.lease.name.clone());
            let found = found.clone();
            let removal =
                blocking(&self.parts.dir, move || dir.remove(&found, next.run, &instance)).await?;
            let removal = match removal {
                Ok(removal @ Removal::Removed) => removal,
                Ok(other) => {
                    // A runner that removed it meanwhile has ended its run itself: the usual rules say how.
                    self.give_back(&stored, now.wall).await?;
                    if matches!(other, Removal::Vanished) {
                        self.lock_went(&key);
                        self.publish();
                        self.wake_in(Duration::ZERO);
                    }
                    return Ok(Taken { file: lock.file.to_string(), removal: other });
                }
                Err(error) => {
                    self.give_back(&stored, now.wall).await?;
                    return Err(RequestError::NotRemoved(chain(&error)));
                }
            };
            tracing::info!(migration = %key, lock = &*lock.file, force, "lock removed by an operator");
            self.lock_went(&key);
            self.publish();
            self.wake_in(Duration::ZERO);
            return Ok(Taken { file: lock.file.to_string(), removal });
        }
        Err(RequestError::Store("the row changes faster than it can be written".to_owned()))
    }

    /// The lock was not removed after all: the row goes on as before.
    async fn give_back(
        &mut self,
        stored: &StoredMigration,
        now: crate::domain::Timestamp,
    ) -> Result<(), RequestError> {
        if !stored.row.lock_taken {
            return Ok(());
        }
        let row = Migration { lock_taken: false, reason: None, ..stored.row.clone() };
        let write = Write::Update {
            basis: Basis::of(&stored.row),
            row: Box::new(Migration { updated_at: now, ..row.clone() }),
            flip: false,
        };
        self.commit(&row.key, write, now).await?;
        Ok(())
    }

    async fn inspect(&mut self, target: &Target) -> Result<Inspection, RequestError> {
        // What is looked at is the process; the rows as last read do for that.
        if self.rows.is_none() {
            self.require_rows().await?;
        }
        let key = match self.candidates(target).await?.as_slice() {
            [] => return Err(RequestError::NotFound(target.id)),
            [key] => key.clone(),
            several => self.newest(several),
        };
        let (seen, rules) = self.look_at(&key).await?;
        let row = self.row(&key).map(|stored| stored.row.clone());
        let memory = self.memory.get(&key).cloned().unwrap_or_default();
        let now = clock::now();
        let decision = if let Some(adoption) = &self.adoption {
            adoption.shown(&seen, row.as_ref(), &memory, &rules, now)
        } else {
            let it = evaluate(&key, row.as_ref(), &seen.sight, &memory, &rules, now);
            Decision { remove_lock: it.remove_lock && !self.parts.keeps_locks, ..it }
        };
        Ok(inspection(&self.parts.processes, row, seen, decision, &rules, |stored| {
            self.view(stored)
        }))
    }

    async fn require_rows(&mut self) -> Result<(), RequestError> {
        if self.load_rows().await {
            Ok(())
        } else {
            Err(RequestError::Store("it does not answer".to_owned()))
        }
    }

    /// Writes one row; `None` if the write lost a race.
    async fn commit(
        &mut self,
        key: &Key,
        write: Write,
        now: crate::domain::Timestamp,
    ) -> Result<Option<StoredMigration>, RequestError> {
        let id = self.row(key).map(|stored| stored.id);
        if matches!(write, Write::None) {
            return Ok(self.row(key).map(|stored| StoredMigration::clone(stored)));
        }
        let applied = self
            .apply(&[(id, write)], now)
            .await
            .ok_or_else(|| RequestError::Store("nothing was changed".to_owned()))?;
        if let Some(Applied::Done(stored)) = applied.into_iter().next() {
            let copy = StoredMigration::clone(&stored);
            self.adopt(Applied::Done(stored));
            Ok(Some(copy))
        } else {
            self.reread = true;
            Ok(None)
        }
    }

    /// Every key that the target may mean, in rows and locks.
    async fn candidates(&mut self, target: &Target) -> Result<Vec<Key>, RequestError> {
        if let Some(key) =
            key_of(target).filter(|key| self.row(key).is_some() || self.locks.contains_key(key))
        {
            return Ok(vec![key]);
        }
        let fits = |key: &&Key| {
            key.brz_project_id == target.id
                && target
                    .uuid
                    .as_ref()
                    .is_none_or(|uuid| uuid.eq_ignore_ascii_case(&key.mb_project_uuid))
        };
        let rows = self.rows.iter().flat_map(|rows| rows.keys());
        let mut keys: Vec<Key> = rows.chain(self.locks.keys()).filter(fits).cloned().collect();
        if keys.is_empty() || target.uuid.is_none() {
            // A lock that was written a moment ago: the first of this id, or one that makes the id ambiguous. A
            // directory that cannot be read has none to tell of.
            let dir = self.parts.dir.clone();
            let scan =
                blocking(&self.parts.dir, move || dir.scan()).await.ok().and_then(Result::ok);
            let locks = scan.map(|scan| scan.locks).unwrap_or_default();
            keys.extend(locks.iter().map(|found| found.key.clone()).filter(|key| fits(&key)));
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// The one key that a write may mean.
    async fn find(&mut self, target: &Target) -> Result<Option<Key>, RequestError> {
        let mut keys = self.candidates(target).await?;
        if keys.len() > 1 {
            let uuids = keys.into_iter().map(|key| key.mb_project_uuid).collect();
            return Err(RequestError::Ambiguous { id: target.id, uuids });
        }
        Ok(keys.pop())
    }

    fn newest(&self, keys: &[Key]) -> Key {
        let created = |key: &&Key| self.row(key).map(|stored| stored.row.created_at);
        keys.iter().max_by_key(created).cloned().unwrap_or_else(|| keys[0].clone())
    }

    /// A look of its own: the observer may be under way with another one.
    async fn look_at(&self, key: &Key) -> Result<(Seen, Rules), RequestError> {
        let (row, key) = (self.row(key).cloned(), key.clone());
        let mut scout = self.scout.clone();
        scout.live = self.parts.published.load().fleet.live();
        let look = blocking(&self.parts.dir, move || scout.look_at(&key, row.as_ref()));
        look.await?.map_err(RequestError::Locks)
    }
}

/// What one migration looks like and what follows, without writing anything.
pub(super) fn inspection(
    processes: &crate::process::Processes,
    row: Option<Migration>,
    seen: Seen,
    decision: Decision,
    rules: &Rules,
    view: impl FnOnce(&StoredMigration) -> MigrationView,
) -> Inspection {
    let now = clock::now();
    let standing = standing(row.as_ref(), &seen.sight, rules, now.wall);
    let process = match &standing {
        Standing::Alive(Some(alive)) => processes.details(alive.identity.pid),
        _ => None,
    };
    let row = row
        .or_else(|| decision.row.clone())
        .unwrap_or_else(|| crate::domain::reconcile::first_row(&seen.key, rules, now));
    let mut view = view(&StoredMigration { id: 0, row });
    view.lock_exists = seen.found.is_some();
    if seen.data.is_some() {
        view.lock.clone_from(&seen.data);
    }
    Inspection {
        view,
        lock: seen.found.map(|found| found.lock.clone()),
        data: seen.data,
        standing,
        decision,
        process,
    }
}

async fn blocking<T: Send + 'static>(
    dir: &LockDir,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RequestError> {
    let Some(entered) = dir.enter() else {
        return Err(RequestError::Locks("looks of before hang still".to_owned()));
    };
    let work = move || {
        let done = work();
        drop(entered);
        done
    };
    match tokio::time::timeout(LOOK_LIMIT, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(RequestError::Locks(error.to_string())),
        Err(_) => Err(RequestError::Locks(format!("no answer for {} s", LOOK_LIMIT.as_secs()))),
    }
}

fn key_of(target: &Target) -> Option<Key> {
    target.uuid.clone().map(|mb_project_uuid| Key { mb_project_uuid, brz_project_id: target.id })
}

fn refused(id: i64, refusal: Refusal) -> RequestError {
    match refusal {
        Refusal::NotFound => RequestError::NotFound(id),
        Refusal::AlreadyFinished(status) => RequestError::AlreadyFinished(status),
        Refusal::RunMismatch(run) => RequestError::RunMismatch(run),
    }
}

fn whose(row: Option<&Migration>, standing: &Standing) -> String {
    match standing {
        Standing::Alive(Some(alive)) => format!("process {} is alive", alive.identity.pid),
        Standing::Foreign => "the process may live on another host".to_owned(),
        _ => row.and_then(|row| row.lock_pid).map_or_else(
            || "the lock was written a moment ago".to_owned(),
            |pid| format!("whether process {pid} is alive cannot be told"),
        ),
    }
}
