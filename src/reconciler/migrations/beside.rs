//! Beside their table: our error written there with ours, what is taken over at the end of a tick, what is found.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Reconciler;
use super::adoption::Mirrored;
use super::compare::Sighting;
use crate::domain::migration::Key;
use crate::domain::reconcile::{Rules, Write};
use crate::domain::{Now, Timestamp};
use crate::store::{Applied, StoreError, Tells, TheirWrite};

/// Between two parts of a table that is taken over for the first time.
const MIRROR_PAUSE: Duration = Duration::from_millis(100);

/// How long a part may take: locks are judged and requests answered in between.
const MIRROR_TIME: Duration = Duration::from_millis(250);

/// Rows of one part's transaction.
const MIRROR_ROWS: usize = 25;

impl Reconciler {
    /// Writes one row of theirs and ours in one transaction; false if not. What is wrong with one row is not wrong with
    /// the others, nor with the database.
    pub(super) async fn apply_telling(
        &mut self,
        key: &Key,
        write: (Option<i64>, Write),
        tell: TheirWrite,
        now: Timestamp,
    ) -> bool {
        if self.database_fails() {
            self.wake_in(Duration::from_secs(1));
            return false;
        }
        let Some(adoption) = &mut self.adoption else { return false };
        let flips = matches!(write.1, Write::Update { flip: true, .. });
        if flips {
            crate::failpoint::at("before-flip");
        }
        let rows = [Some(tell)];
        let tells = Tells { table: adoption.table(), rows: &rows };
        let (store, lease) = (&self.parts.store, &self.parts.lease);
        let result = store.apply_and_tell(lease, &[write], Some(tells), now).await;
        match result.map(|applied| applied.into_iter().next()) {
            Ok(Some(applied)) => {
                if flips {
                    crate::failpoint::at("after-flip");
                    self.parts.events.commit();
                }
                match (&applied, &rows) {
                    (Applied::Done(_) | Applied::Told, [Some(tell)]) => adoption.told(key, tell),
                    (Applied::TheirsMoved, _) => adoption.moved(key),
                    _ => {}
                }
                self.adopt(applied)
            }
            Ok(None) => false,
            Err(error) => {
                self.not_told(key, &error);
                false
            }
        }
    }

    fn not_told(&mut self, key: &Key, error: &StoreError) {
        let Some(adoption) = &mut self.adoption else { return };
        match error {
            StoreError::TheirsDenied { .. } | StoreError::Undone => adoption.refused(error),
            StoreError::Database(source) if !error.is_absence() => {
                adoption.failed(key, crate::causes::chain(source));
            }
            _ => return self.write_fails(error),
        }
        // Judged again, without what was refused.
        self.reread = true;
        self.wake_in(Duration::ZERO);
    }

    /// What their table says of migrations that were not looked at, what is still to be said there, and what differs.
    pub(super) async fn reconcile_with_theirs(
        &mut self,
        sightings: &[Sighting],
        rules: &Rules,
        now: Now,
    ) {
        let (Some(adoption), Some(rows)) = (&mut self.adoption, self.rows.clone()) else { return };
        let seen = sightings.iter().map(|it| it.key.clone()).collect();
        let more = adoption.mirror(&rows, &seen, rules, now);
        // The map is written while it is taken over.
        drop(rows);
        self.take_over(more, now.wall).await;
        let (Some(adoption), Some(rows)) = (&mut self.adoption, &self.rows) else { return };
        adoption.compare(rows, sightings, now);
        let wake = adoption.book.end_look(now);
        if !self.parts.store_trouble.load(Ordering::Relaxed)
            && let Err(error) = adoption.book.flush(&self.parts.store, now).await
        {
            // It is written next time; whether the database works is for others to say.
            tracing::debug!(error = error.chain(), "what adoption found is not written yet");
        }
        if let Some(wake) = wake {
            self.wake_in(wake.since(now.up));
        }
    }

    async fn take_over(&mut self, mut more: Vec<Mirrored>, now: Timestamp) {
        let until = Instant::now() + MIRROR_TIME;
        if !more.is_empty() {
            // There may be more of them than were taken.
            self.wake_in(MIRROR_PAUSE);
        }
        while !more.is_empty() && Instant::now() < until {
            let part = more.split_off(more.len().saturating_sub(MIRROR_ROWS));
            let (telling, plain): (Vec<_>, Vec<_>) =
                part.into_iter().partition(|it| it.tell.is_some());
            let writes: Vec<_> = plain.into_iter().map(|it| (it.id, it.write)).collect();
            if !writes.is_empty() {
                let Some(applied) = self.apply_unless_it_fails(&writes, now).await else { return };
                for applied in applied {
                    self.adopt(applied);
                }
            }
            for it in telling {
                if let Some(tell) = it.tell {
                    self.apply_telling(&it.key, (it.id, it.write), tell, now).await;
                }
            }
        }
    }
}
