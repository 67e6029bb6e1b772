//! What the store is asked for, and when: what others wrote once a second, what turned at once, what changed once a
//! second, the rest by the heartbeat.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;

use super::io::{Done, Job, Outcome};
use super::{FLIP_SHARE, LAST_WORDS, PUBLISH_EVERY, ROWS_AT_ONCE, Reconciler, SYNC_EVERY};
use crate::clock;
use crate::store::{Beat, Fleet, StoreError, VerdictWrite};

/// How often it is looked for what is to be told and was not, because nothing was written about it.
const TELL_EVERY: Duration = Duration::from_secs(5);

impl Reconciler {
    /// Starts the next job, if one is due and none is under way.
    pub(super) fn start_job(&mut self) {
        let now = Instant::now();
        if self.job_due().is_none_or(|due| due > now) {
            return;
        }
        if let Some(job) = self.next_job(now) {
            self.io.start(&self.parts.store, &self.parts.lease, job);
        }
    }

    /// When the next job is due; none while one is under way, or while what it brought is taken over.
    pub(super) fn job_due(&self) -> Option<Instant> {
        if self.io.is_busy() || self.taking.is_some() {
            return None;
        }
        if let Some(rests_until) = self.database_rests_until() {
            return Some(rests_until);
        }
        let Some(synced_at) = self.pace.synced_at else { return Some(self.pace.started) };
        if self.pace.reload || self.plan || !self.known.stale.is_empty() {
            return Some(synced_at);
        }
        let due = [Some(synced_at + self.sync_every()), self.record_due(), self.tell_due()];
        due.into_iter().flatten().min()
    }

    /// A heartbeat goes with it, so a shorter one quickens it: its lease would end in between.
    fn sync_every(&self) -> Duration {
        SYNC_EVERY.min(self.parts.settings.instance.heartbeat)
    }

    /// What turned is recorded as soon as the last record is paid for, else once a second.
    fn record_due(&self) -> Option<Instant> {
        let pause = if self.pace.flipped {
            (self.pace.record_cost * FLIP_SHARE).min(PUBLISH_EVERY)
        } else {
            PUBLISH_EVERY
        };
        (!self.dirty.is_empty()).then(|| self.pace.recorded_at + pause)
    }

    /// What is to be told and was not, because nothing was written about it, is looked for by one of us.
    fn tell_due(&self) -> Option<Instant> {
        // Before the first pass the record may be of long ago.
        let passed = self.passes.swept.is_some();
        let tells = passed && self.parts.store.makes_alerts() && self.fleet.speaks();
        tells.then(|| self.pace.told_at.map_or(self.pace.started, |at| at + TELL_EVERY))
    }

    /// Two reads in a row only if there is nothing to write: a slow database would be read for ever.
    fn next_job(&mut self, now: Instant) -> Option<Job> {
        let pace = &self.pace;
        let sync = pace.synced_at.is_none_or(|at| at + self.sync_every() <= now)
            || pace.reload
            || !self.known.stale.is_empty();
        if sync && !pace.synced_last {
            return Some(self.sync(now));
        }
        self.pace.synced_last = false;
        self.write_job(now).or_else(|| sync.then(|| self.sync(now)))
    }

    fn write_job(&mut self, now: Instant) -> Option<Job> {
        if std::mem::take(&mut self.plan) {
            let mut claims = self.fleet.claims(&self.entries);
            if !claims.is_empty() {
                claims.truncate(ROWS_AT_ONCE);
                return Some(Job::Claim(claims));
            }
            let writes = self.obituaries();
            if !writes.is_empty() {
                // There may be more.
                self.plan = true;
                self.pace.recorded_at = now;
                return Some(Job::Record(writes));
            }
        }
        if std::mem::take(&mut self.pace.beaten) {
            let after = self.parts.settings.instances.forget_after;
            if let Some(name) = self.fleet.forgettable(after) {
                tracing::info!(instance = name, "lost for long, forgotten");
                return Some(Job::Forget(name.to_owned(), after));
            }
        }
        if self.tell_due().is_some_and(|due| due <= now) {
            self.pace.told_at = Some(now);
            return Some(Job::Tell(self.fleet.news()));
        }
        if self.record_due().is_none_or(|due| due > now) {
            return None;
        }
        let here = &self.parts.here;
        let dirty = self.dirty.iter().filter_map(|id| self.entries.get(id)).take(ROWS_AT_ONCE);
        let writes: Vec<_> = dirty.map(|entry| entry.write(here)).collect();
        self.pace.recorded_at = now;
        self.pace.vouching = self.passes.swept.filter(|_| writes.len() == self.dirty.len());
        Some(Job::Record(writes))
    }

    fn sync(&mut self, now: Instant) -> Job {
        self.pace.synced_at = Some(now);
        self.pace.synced_last = true;
        self.pace.reload = false;
        self.waiting.reading.append(&mut self.waiting.read);
        // A heartbeat is a write, so it is what tells that the database is back.
        let beat_every = self.parts.settings.instance.heartbeat;
        let due = self.pace.beat_at.is_none_or(|at| at + beat_every <= now)
            || self.pace.passed
            || self.pace.failed_at.is_some()
            || self.database_fails();
        let beat = due.then(|| {
            self.pace.beat_at = Some(now);
            self.pace.passed = false;
            self.heartbeat()
        });
        self.pace.beaten |= beat.is_some();
        Job::Sync { beat, known: self.known.clone() }
    }

    /// Nodes of the lost whose rows still say what was true once.
    fn obituaries(&self) -> Vec<VerdictWrite> {
        if !self.fleet.speaks_for_the_lost() {
            return Vec::new();
        }
        let (here, now) = (&self.parts.here, clock::now().wall);
        let lost = self.entries.values().filter_map(|entry| entry.obituary(here, now));
        lost.take(ROWS_AT_ONCE).collect()
    }

    /// It vouches for every verdict that did not change, so for no pass of which something is still to be recorded.
    fn heartbeat(&mut self) -> Beat {
        if self.dirty.is_empty() {
            self.pace.vouched = self.passes.swept;
        }
        let swept = self.pace.vouched;
        Beat {
            swept: swept.map(|now| (now.wall, now.up)),
            swept_ago: swept.map(|now| clock::now().up.since(now.up)),
            tick_ms: i64::try_from(self.passes.last.as_millis()).unwrap_or(i64::MAX),
            window: self.window(),
            nodes: i64::try_from(self.available).unwrap_or(i64::MAX),
            locks: i64::try_from(self.parts.published.load().migrations.locks()).unwrap_or(0),
        }
    }

    /// What came of a job.
    pub(super) fn finish_job(
        &mut self,
        done: Result<Outcome, JoinError>,
    ) -> Result<(), StoreError> {
        match done {
            Ok(Err(error @ StoreError::LostName(_))) => return Err(error),
            Ok(Err(error)) => self.store_fails(&error),
            Ok(Ok(done)) => self.succeed(done),
            Err(error) => {
                tracing::error!(%error, "the work with the database failed inside");
                self.start_over();
            }
        }
        Ok(())
    }

    fn succeed(&mut self, done: Done) {
        match done {
            Done::Synced(synced) => {
                // From its end: one that takes longer than the pause leaves room for others.
                self.pace.synced_at = Some(Instant::now());
                if synced.beaten {
                    self.store_works();
                }
                if self.others_wrote(&synced.fleet) {
                    self.parts.events.commit();
                }
                self.take_over(*synced);
            }
            Done::Recorded { sent, left } => {
                self.store_works();
                self.pace.record_cost = self.pace.recorded_at.elapsed();
                self.recorded(sent, &left);
                let vouching = self.pace.vouching.take().filter(|_| left.is_empty());
                self.pace.vouched = vouching.or(self.pace.vouched);
                self.known.stale.extend(left);
            }
            Done::Claimed { asked, taken } => {
                self.store_works();
                self.taken(&asked, &taken);
                self.plan = true;
            }
            Done::Told => self.store_works(),
            Done::Forgotten => {
                self.store_works();
                self.pace.reload = true;
            }
        }
    }

    /// Did another instance commit something since the last look?
    fn others_wrote(&self, fleet: &Fleet) -> bool {
        let seen = |name: &str| self.known.cursors.get(name).copied().unwrap_or(0);
        let others = fleet.instances.iter().filter(|row| row.name != self.parts.lease.name);
        let mut moved = others.filter(|row| row.seq != seen(&row.name));
        moved.next().is_some()
    }

    /// The database has these now.
    fn recorded(&mut self, sent: Vec<VerdictWrite>, left: &std::collections::BTreeSet<i64>) {
        if sent.iter().any(|write| write.flip) {
            self.parts.events.commit();
        }
        for write in sent.into_iter().filter(|write| !left.contains(&write.id)) {
            let Some(entry) = self.entries.get_mut(&write.id) else { continue };
            if entry.version != write.version || entry.owner_epoch != write.owner_epoch {
                continue;
            }
            if !entry.view.is_mine() {
                // What was recorded of a lost one's node is what the others show of it.
                entry.judge(write.verdict.clone());
            }
            entry.record(write.verdict);
            if !entry.is_dirty() {
                self.dirty.remove(&write.id);
            }
        }
        self.pace.change();
        self.pace.recorded = true;
    }

    /// The last job is waited for, what is known is recorded, and the heartbeat tells of the last pass.
    pub(super) async fn last_words(mut self) -> Result<(), StoreError> {
        if self.io.is_busy() {
            match tokio::time::timeout(LAST_WORDS, self.io.join()).await {
                Ok(done) => self.finish_job(done)?,
                Err(_) => return Ok(()),
            }
        }
        let here = &self.parts.here;
        let dirty = self.dirty.iter().filter_map(|id| self.entries.get(id));
        let writes: Vec<_> = dirty.map(|entry| entry.write(here)).collect();
        let (store, lease) = (self.parts.store.clone(), self.parts.lease.clone());
        self.dirty.clear();
        let beat = self.heartbeat();
        let words = async {
            // The heartbeat vouches for what the record before it says, and is not sent without it.
            store.record_verdicts(&lease, &writes, clock::now().wall).await?;
            store.beat(&lease, &beat).await
        };
        if let Ok(Err(error)) = tokio::time::timeout(LAST_WORDS, words).await {
            self.store_fails(&error);
        }
        Ok(())
    }

    pub(super) fn database_fails(&self) -> bool {
        self.parts.store_trouble.load(Ordering::Relaxed)
    }

    /// Until when it is too early to try a database again that failed.
    fn database_rests_until(&self) -> Option<Instant> {
        let rest: Duration = self.parts.settings.database.retry_after;
        self.pace.failed_at.map(|at| at + rest).filter(|until| *until > Instant::now())
    }

    fn store_works(&mut self) {
        self.pace.failed_at = None;
        super::super::trouble::works(&self.parts.store_trouble);
    }

    fn store_fails(&mut self, error: &StoreError) {
        self.start_over();
        self.fleet.trouble();
        self.pace.change();
        super::super::trouble::fails(&self.parts.store_trouble, &self.parts.gauges, error);
    }

    /// The job that was under way did not come to its end.
    fn start_over(&mut self) {
        self.pace.failed_at = Some(Instant::now());
        self.pace.vouching = None;
        // A write may stand although its answer was lost, and the server that comes back may be one that lacks the last.
        // Read once a heartbeat got through, which waits for the row that a commit under way holds.
        self.known.reload = true;
        // What was asked for is asked for again, as a whole.
        self.pace.synced_at = None;
        self.plan = true;
    }
}
