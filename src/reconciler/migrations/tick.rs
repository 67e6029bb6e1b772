//! The second half of a tick: judge what was seen, write it by compare-and-set, and remove what may go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Reconciler;
use super::compare::Sighting;
use super::meanwhile::Aside;
use super::observe::{Look, Seen, Whole, is_missed};
use super::removal::Removable;
use super::said::announce;
use crate::domain::migration::Key;
use crate::domain::reconcile::{Decision, LockSight, Memory, Rules, Write, evaluate};
use crate::domain::{Now, Presence, Uptime};
use crate::store::{Applied, StoreError, StoredMigration, TheirWrite};

/// Judgements between two turns of others on this thread, half a millisecond.
const AT_ONCE: usize = 64;

/// What was seen of one migration and what follows.
#[derive(Debug)]
struct Verdict {
    seen: Seen,
    decision: Decision,
    tell: Option<TheirWrite>,
}

impl Verdict {
    /// Nothing follows but its first row, and nothing will while row, lock and process are what they are, but that it may
    /// stall.
    fn is_calm(&self) -> bool {
        let (decision, memory) = (&self.decision, &self.decision.memory);
        matches!(decision.write, Write::None | Write::Insert(_))
            && self.tell.is_none()
            && decision.wake.is_none()
            && !decision.remove_lock
            && memory.dead.is_none()
            && memory.absent.is_none()
            && matches!(self.seen.sight.process, Some(Presence::Alive(_)))
    }
}

impl Reconciler {
    /// Judges one look. Nothing is removed without the database's word.
    pub(super) async fn tick(&mut self, look: Look) {
        if let Some(whole) = &look.whole {
            self.took = look.took;
            self.say(whole);
        }
        // What a later look at some has shown is not overruled by one at everything that began before it.
        let is_newer = self.all_began.is_none_or(|began| look.began >= began);
        if look.whole.is_none() && is_newer {
            self.seen_since.extend(look.gone.iter().cloned());
        }
        self.forget(&look);
        for key in look.later {
            self.look_again(key, look.later_in);
        }
        let now = look.at;
        let mut judged: Vec<Verdict> = Vec::with_capacity(look.seen.len());
        let mut sightings = Vec::new();
        let mut aside = Aside::default();
        for (at, seen) in look.seen.into_iter().enumerate() {
            if at % AT_ONCE == AT_ONCE - 1 {
                self.breathe(&mut aside).await;
            }
            if look.whole.is_none() {
                if is_newer {
                    self.seen_since.insert(seen.key.clone());
                }
            } else if self.seen_since.contains(&seen.key) {
                // A look at some, later than this one, has told already.
                continue;
            }
            if aside.has(&seen.key) {
                // It has ended since: what was seen before must not be told after that.
                self.look_again(seen.key, Duration::ZERO);
                continue;
            }
            if !self.is_basis(&seen) {
                // A report or an operator came in between: what was seen belongs to the row of before.
                self.look_again(seen.key, Duration::ZERO);
                continue;
            }
            let verdict = self.judge(seen, &look.rules, now, &mut sightings);
            crate::failpoint::at("migration-judged");
            self.tell_observed(&verdict.seen, &verdict.decision, now);
            judged.push(verdict);
        }
        if self.rules.as_ref() != Some(&look.rules) {
            // Whose rows they are is shown with each.
            self.views.all_turned();
        }
        self.rules = Some(look.rules);
        crate::failpoint::at("migrations-judged");
        let removable = self.write(judged, now, look.began.into()).await;
        if !removable.is_empty() {
            crate::failpoint::at("before-removal");
        }
        self.remove(removable).await;
        if let (Some(Whole { trouble: None, .. }), Some(rules)) = (&look.whole, self.rules.clone())
        {
            self.reconcile_with_theirs(&sightings, &rules, now).await;
        }
        crate::failpoint::at("before-publish");
        if look.whole.is_some() {
            self.publish();
        }
    }

    /// Does the row stand that the look was taken for?
    pub(super) fn is_basis(&self, seen: &Seen) -> bool {
        match (self.row(&seen.key), &seen.basis) {
            (Some(row), Some(basis)) => Arc::ptr_eq(row, basis) || row == basis,
            (None, None) => true,
            _ => false,
        }
    }

    fn judge(
        &mut self,
        seen: Seen,
        rules: &Rules,
        now: Now,
        sightings: &mut Vec<Sighting>,
    ) -> Verdict {
        let key = &seen.key;
        let memory = self.memory.get(key).cloned().unwrap_or_default();
        let stored = self.row(key).cloned();
        let row = stored.as_ref().map(|stored| &stored.row);
        let (decision, tell) = if let Some(adoption) = &mut self.adoption {
            let record = adoption.record(key).cloned();
            let judged = adoption.judge(&seen, row, &memory, rules, now);
            let (removable, at) = (judged.removable, (rules, now));
            let record = record.as_ref();
            sightings.push(Sighting::of(&seen, row, &memory, removable, record, at));
            (judged.decision, judged.tell)
        } else {
            (evaluate(key, row, &seen.sight, &memory, rules, now), None)
        };
        self.take_over_sight(&seen, &decision);
        Verdict { seen, decision, tell }
    }

    /// What readers see of it beside the row.
    fn take_over_sight(&mut self, seen: &Seen, decision: &Decision) {
        let key = &seen.key;
        if matches!(seen.sight.process, Some(Presence::Dead(_)))
            && seen.sight.exit.is_none()
            && let Some(after) = self.scout.watched.ask_again(key)
        {
            self.look_again(key.clone(), after);
        }
        let before = match decision.turns_at {
            Some(at) => self.turns_at.insert(key.clone(), at),
            None => self.turns_at.remove(key),
        };
        if before != decision.turns_at {
            self.views.turned(key);
        }
        match (&seen.found, &seen.sight.lock) {
            (Some(_), _) => match self.locks.insert(key.clone(), seen.data.clone()) {
                Some(before) if is_same(before.as_ref(), seen.data.as_ref()) => {}
                Some(_) => self.views.moved(key),
                None => self.views.turned(key),
            },
            (None, LockSight::Blind) => {}
            (None, _) => self.lock_went(key),
        }
    }

    /// Writes every decision and remembers; gives what may be removed now.
    async fn write(
        &mut self,
        mut judged: Vec<Verdict>,
        now: Now,
        began: Instant,
    ) -> Vec<Removable> {
        let mut outcome = vec![true; judged.len()];
        let calm: Vec<bool> = judged.iter().map(Verdict::is_calm).collect();
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
        let mut aside = Aside::default();
        let soon = now.up.plus(self.parts.settings.interval * 2);
        for (at, Verdict { seen, decision, .. }) in judged.into_iter().enumerate() {
            if at % AT_ONCE == AT_ONCE - 1 {
                self.breathe(&mut aside).await;
            }
            let stands = outcome[at];
            if calm[at] && stands {
                self.calm(&seen, decision.stalls_at);
            }
            if let Some(stalls) = decision.stalls_at.filter(|at| *at <= soon) {
                self.look_again_at(seen.key.clone(), began + stalls.since(now.up));
            }
            if let Some(wake) = decision.wake {
                // From one moment for all, so that they are looked at together.
                self.look_again_at(seen.key.clone(), began + wake.since(now.up));
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

    /// Where their table is adopted every look compares all; there is no calm.
    fn calm(&mut self, seen: &Seen, stalls_at: Option<Uptime>) {
        let row = self.rows.as_ref().and_then(|rows| rows.get(&seen.key));
        if let (None, Some(observer), Some(row), Some(found)) =
            (&self.adoption, &mut self.observer, row, &seen.found)
        {
            observer.calm(&seen.key, row, found, stalls_at);
        }
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
        let (store, lease) = (self.parts.store.clone(), self.parts.lease.clone());
        match self.meanwhile(store.apply(&lease, writes, now)).await {
            Ok(applied) => {
                super::super::trouble::works(&self.parts.store_trouble);
                if inserts {
                    crate::failpoint::at("row-inserted");
                }
                if flips {
                    crate::failpoint::at("after-flip");
                    self.parts.events.commit();
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
                let key = stored.row.key.clone();
                self.set_row(*stored);
                self.let_go(&key);
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
            self.views.turned(&stored.row.key);
            self.told.remove(&stored.row.key);
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

    /// No lock stands for it any more.
    pub(super) fn lock_went(&mut self, key: &Key) {
        if self.locks.remove(key).is_some() {
            self.views.turned(key);
        }
        self.said.denied.remove(key);
        self.let_go(key);
    }

    /// Lets go of the process of a run that is over and has no lock: it is not looked at again.
    fn let_go(&mut self, key: &Key) {
        let is_over = self.row(key).is_none_or(|stored| stored.row.status.is_final());
        if is_over && !self.locks.contains_key(key) {
            self.scout.watched.release([key]);
            self.hints.forget(key);
        }
    }

    /// Forgets what nothing is left of. A run that is over and has no lock is not looked at again: its handle would be held
    /// for ever.
    fn forget(&mut self, look: &Look) {
        for key in &look.gone {
            let again = if look.whole.is_some() {
                // A look at some that began later has told something of it.
                self.seen_since.contains(key)
            } else {
                // Its row was not known to the look: it is looked at with it.
                self.row(key).is_some_and(|stored| is_missed(stored, &look.rules))
            };
            if again {
                self.look_again(key.clone(), Duration::ZERO);
                continue;
            }
            self.scout.watched.release([key]);
            self.hints.forget(key);
            self.lock_went(key);
            self.memory.remove(key);
            if self.turns_at.remove(key).is_some() {
                self.views.turned(key);
            }
        }
    }
}

fn is_same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}
