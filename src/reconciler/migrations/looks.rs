//! When it is looked, and with what: at everything once an interval, at some when they are hinted at.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::follow::Cursors;
use super::observe::{Look, Observer, Rows};
use super::{LOOK_LIMIT, MIN_GAP, Reconciler};
use crate::causes::chain;
use crate::domain::migration::{DirMark, Key};
use crate::events::{Source, Watch};
use crate::gauges::Loop;
use crate::locks::{Change, DirWatch, WatchError, key_in_name};
use crate::store::{StoreError, StoredMigration};

/// Beside an adopted table each look reads all of it: what is told by the kernel waits so long for more.
const BESIDE_THEIRS: Duration = Duration::from_millis(250);

/// A look at everything that is under way.
pub(super) type LookAtAll = JoinHandle<LookedAtAll>;

/// With what it was taken, what it brought, and the watch that began before it where one was needed.
pub(super) type LookedAtAll = (Observer, Look, Option<Result<DirWatch, WatchError>>);

/// A look at some that is under way.
pub(super) type LookAtSome = JoinHandle<Result<Look, String>>;

impl Reconciler {
    /// Starts a look at everything on a blocking thread; `None` if there is nothing to look with yet.
    pub(super) async fn look_at_all(&mut self) -> Option<LookAtAll> {
        self.next = Instant::now() + self.parts.settings.interval;
        let fleet = Arc::clone(&self.parts.published.load().fleet);
        if fleet.here.is_empty() {
            // Nobody knows yet who there is, so whose a row is cannot be told.
            self.next = Instant::now() + MIN_GAP;
            return None;
        }
        // With the rows of before a look is worth taking: its writes are compared with what stands there.
        if !self.load_rows().await && self.rows.is_none() {
            self.next = Instant::now() + Duration::from_secs(1);
            return None;
        }
        if let Some(adoption) = &mut self.adoption
            && !self.parts.store_trouble.load(Ordering::Relaxed)
        {
            adoption.read(&self.parts.store).await;
        }
        // Before every look until the directory could be read once, and never for a request: a GET removes nothing.
        self.put_asides_back().await;
        let rows = Arc::clone(self.rows.as_ref()?);
        let mut observer = self.observer.take()?;
        self.scout.live = fleet.live();
        observer.scout.live.clone_from(&self.scout.live);
        self.hints.over();
        self.seen_since.clear();
        self.all_began = Some(std::time::Instant::now());
        let unwatched = self.parts.watches && self.changes.is_none();
        Some(tokio::task::spawn_blocking(move || {
            // Before the look: what changes after it is told.
            let watch = unwatched.then(|| observer.scout.dir.watch());
            let look = observer.look(&rows);
            crate::failpoint::at("migrations-looked");
            // Before the look is taken over: a map that is shared would be copied to be written.
            drop(rows);
            (observer, look, watch)
        }))
    }

    /// Starts a look at what was hinted at.
    pub(super) fn look_at_some(&mut self) -> Option<LookAtSome> {
        // Until the first look at everything nothing is known that a hint could be about: it waits.
        self.rules.as_ref()?;
        let (keys, names) = self.hints.take(Instant::now());
        self.look_at_these(keys, names)
    }

    /// Starts a look at these.
    pub(super) fn look_at_these(
        &self,
        keys: BTreeSet<Key>,
        names: BTreeSet<String>,
    ) -> Option<LookAtSome> {
        if keys.is_empty() && names.is_empty() {
            return None;
        }
        let all = self.rows.as_ref()?;
        let mut rows = Rows::with_capacity(keys.len() + names.len());
        // A name that does not tell its key may mean one whose row is not here: then it is looked at by its key next.
        for key in keys.iter().cloned().chain(names.iter().filter_map(|name| key_in_name(name))) {
            if let Some(row) = all.get(&key) {
                rows.insert(key, Arc::clone(row));
            }
        }
        let scout = self.scout.clone();
        Some(tokio::task::spawn_blocking(move || scout.look_at_some(&keys, &names, &rows)))
    }

    pub(super) async fn looked_at_all(&mut self, looked: Result<LookedAtAll, JoinError>) {
        self.said.hangs = false;
        match looked {
            Ok((observer, look, watch)) => {
                self.observer = Some(observer);
                self.take_watch(watch, look.whole.as_ref().and_then(|whole| whole.dir));
                self.tick(look).await;
                let took = self.all_began.map_or(Duration::ZERO, |began| began.elapsed());
                self.parts.gauges.tick(Loop::Migrations, took);
                self.parts.events.set_watch(Source::Processes, self.scout.watched.state());
            }
            Err(error) => {
                tracing::error!(%error, "a look at the lock directory failed inside");
                self.observer = Some(Observer::new(self.scout.clone()));
            }
        }
    }

    pub(super) async fn looked_at_some(&mut self, looked: Result<Result<Look, String>, JoinError>) {
        match looked {
            Ok(Ok(look)) => {
                self.hints.rest(look.took, Instant::now());
                self.tick(look).await;
            }
            Ok(Err(error)) => {
                tracing::debug!(error, "a look at some locks; all are looked at instead");
                self.wake_in(Duration::ZERO);
            }
            Err(error) => {
                tracing::error!(%error, "a look at some locks failed inside");
                self.wake_in(Duration::ZERO);
            }
        }
    }

    /// Processes have ended: the migrations that mean them are looked at now.
    pub(super) fn ended(&mut self, tokens: &[u64]) {
        let keys = self.scout.watched.keys_of(tokens);
        self.hint(keys);
    }

    /// Something happened in the directory.
    pub(super) fn changed(&mut self, change: Change) {
        match change {
            Change::Names(_) if self.adoption.is_some() => self.wake_in(BESIDE_THEIRS),
            Change::Names(names) => self.hints.names(names),
            Change::All(why) => {
                tracing::debug!(why, "all locks are looked at");
                self.changes = None;
                // More than the kernel keeps comes again and again: looks at all take their share of the time.
                self.wake_in((self.took * 3).min(Duration::from_secs(1)));
            }
        }
    }

    /// Takes over the watch that began with a look. A watch of another directory than the one that was looked at tells of
    /// nothing that matters.
    fn take_watch(&mut self, begun: Option<Result<DirWatch, WatchError>>, dir: Option<DirMark>) {
        let state = match begun {
            Some(Ok(watch)) => {
                self.changes = Some(watch);
                Some(Watch::On)
            }
            // Said where the directory is looked at.
            Some(Err(WatchError::Directory(_))) => Some(Watch::Off),
            Some(Err(error)) => Some(Watch::Polling(chain(&error))),
            None => None,
        };
        if let Some(state) = state {
            self.parts.events.set_watch(Source::Locks, state);
        }
        if dir.is_some() && self.changes.as_ref().is_some_and(|watch| Some(watch.dir()) != dir) {
            self.changes = None;
            self.wake_in(Duration::ZERO);
        }
    }

    /// Looks at these as soon as can be.
    fn hint(&mut self, keys: BTreeSet<Key>) {
        if self.adoption.is_some() && !keys.is_empty() {
            // Their table is read before everything is looked at, and their word counts.
            self.wake_in(BESIDE_THEIRS);
        } else {
            self.hints.keys(keys);
        }
    }

    /// Looks at this one again after a while.
    pub(super) fn look_again(&mut self, key: Key, after: Duration) {
        self.look_again_at(key, Instant::now() + after);
    }

    /// Looks at this one again then.
    pub(super) fn look_again_at(&mut self, key: Key, at: Instant) {
        if self.adoption.is_some() {
            self.wake_in(at.saturating_duration_since(Instant::now()));
        } else {
            self.hints.later(key, at);
        }
    }

    /// The rows, read once; what others write later is followed. False while the database fails.
    pub(super) async fn load_rows(&mut self) -> bool {
        if self.rows.is_some() && !self.reread {
            return true;
        }
        if self.database_fails() {
            return false;
        }
        let cursors = Cursors::at(&self.parts.published.load().fleet);
        match self.recorded().await {
            Ok(rows) => {
                self.cursors = cursors;
                let rows = rows.into_iter().map(|row| (row.row.key.clone(), Arc::new(row)));
                self.rows = Some(Arc::new(rows.collect()));
                self.views.all_turned();
                self.reread = false;
                true
            }
            Err(error) => {
                self.store_fails(&error);
                false
            }
        }
    }

    /// What stands in the database, after whatever we may have written last.
    async fn recorded(&self) -> Result<Vec<StoredMigration>, StoreError> {
        if self.reread {
            self.parts.store.settle(&self.parts.lease).await?;
        }
        self.parts.store.migrations().await
    }

    /// Takes over what other instances recorded, and who of them is still there.
    pub(super) async fn follow(&mut self) {
        if self.rows.is_none() {
            return;
        }
        let fleet = Arc::clone(&self.parts.published.load().fleet);
        let rows = match self.cursors.news(&self.parts.store, &fleet).await {
            Ok(Some(rows)) => rows,
            Ok(None) => {
                self.reread = true;
                return self.wake_in(Duration::ZERO);
            }
            Err(error) => return self.store_fails(&error),
        };
        let live = fleet.live();
        if rows.is_empty() && live == self.live {
            return;
        }
        if live != self.live {
            self.views.all_turned();
        }
        self.live = live;
        for row in rows {
            self.set_row(row);
        }
        self.publish();
    }

    /// The database was waited for in vain; readers are told that this loop turns all the same.
    pub(super) fn store_fails(&mut self, error: &StoreError) {
        super::super::trouble::fails(&self.parts.store_trouble, &self.parts.gauges, error);
        if self.rules.is_some() {
            self.publish();
        }
    }

    pub(super) fn say_it_hangs(&mut self) {
        self.said.hangs = true;
        let text = format!("no answer for {} s", LOOK_LIMIT.as_secs());
        tracing::warn!(path = %self.parts.dir.path().display(), "the lock directory gives {text}");
        self.trouble = Some(text);
        self.publish();
    }

    pub(super) fn wake_in(&mut self, after: Duration) {
        self.next = self.next.min(Instant::now() + after.max(MIN_GAP));
    }
}
