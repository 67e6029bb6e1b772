//! The end of a tick beside their table: what was written there, what is taken over of it, what is found.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Reconciler;
use super::compare::Sighting;
use crate::domain::Now;
use crate::domain::migration::Key;
use crate::domain::reconcile::Rules;
use crate::store::{Applied, TheirWrite};

/// Between two parts of a table that is taken over for the first time.
const MIRROR_PAUSE: Duration = Duration::from_millis(100);

impl Reconciler {
    /// Takes over what was written of ours, and what became of the write to theirs that went with it.
    pub(super) fn applied(
        &mut self,
        key: &Key,
        applied: Applied,
        tell: Option<&TheirWrite>,
    ) -> bool {
        if let (Some(adoption), Some(tell)) = (&mut self.adoption, tell) {
            match applied {
                Applied::Done(_) | Applied::Told => adoption.told(key, tell),
                Applied::TheirsMoved => adoption.moved(),
                Applied::Lost => {}
            }
        }
        self.adopt(applied)
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
        if !more.is_empty() {
            let (mut writes, mut tells, mut keys) = (Vec::new(), Vec::new(), Vec::new());
            for it in more {
                keys.push(it.key);
                writes.push((it.id, it.write));
                tells.push(it.tell);
            }
            // There may be more of them than were taken.
            self.wake_in(MIRROR_PAUSE);
            let applied = self.apply_unless_it_fails(&writes, &tells, now.wall).await;
            for ((key, applied), tell) in keys.iter().zip(applied.unwrap_or_default()).zip(&tells) {
                self.applied(key, applied, tell.as_ref());
            }
        }
        let (Some(adoption), Some(rows)) = (&mut self.adoption, &self.rows) else { return };
        adoption.compare(rows, sightings, now);
        let wake = adoption.book.end_look(now);
        if !self.parts.store_trouble.load(Ordering::Relaxed)
            && let Err(error) = adoption.book.flush(&self.parts.store, now).await
        {
            self.store_fails(&error);
        }
        if let Some(wake) = wake {
            self.wake_in(wake.since(now.up));
        }
    }
}
