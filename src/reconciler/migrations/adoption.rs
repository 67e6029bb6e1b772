//! Their table of migrations beside ours: read before a look, taken over, told of our errors, compared.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::observe::{Rows, Seen};
use super::theirs::Records;
use crate::adopt::Book;
use crate::domain::adopt::{Record, first, is_known, is_of_another, settle, take_over};
use crate::domain::migration::{Key, Migration, Source, Status};
use crate::domain::reconcile::{
    Decision, Memory, Outcome, Predicate, Rules, Write, evaluate, is_ours, write,
};
use crate::domain::{Now, Timestamp, Uptime};
use crate::store::{Store, StoreError, TheirMigrations, TheirWrite};

/// After a refusal or a failure it is tried again, for somebody may have mended it.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// Rows of theirs that are taken over at a look: the first look at an old table is not to hold up the judgement.
const TAKEN_AT_ONCE: usize = 1000;

/// What the reconciler is given.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// Their table.
    pub table: Arc<TheirMigrations>,
    /// May it be written, and locks removed?
    pub writes: bool,
}

/// Their table as it was read last, and what was found.
#[derive(Debug)]
pub(super) struct Adoption {
    adopted: Adopted,
    /// What stands there.
    pub(super) theirs: Records,
    /// Until when it is not tried to write there, and why.
    denied: Option<(Instant, String)>,
    /// What stood there when a process was first seen dead, and since when something else does.
    deaths: HashMap<Key, (String, Option<Uptime>)>,
    /// Rows that could not be written, until when they are left alone, and why.
    failed: HashMap<Key, (Instant, String)>,
    /// How often a row was not found as it had been read, one time after another.
    moves: HashMap<Key, u32>,
    pub(super) book: Book,
}

impl Adoption {
    pub(super) fn new(adopted: Adopted, instance: String, interval: Duration) -> Self {
        let book = Book::new(instance, "migration", adopted.table.name(), interval * 2);
        Self {
            adopted,
            theirs: Records::new(interval),
            denied: None,
            deaths: HashMap::new(),
            failed: HashMap::new(),
            moves: HashMap::new(),
            book,
        }
    }

    pub(super) fn table(&self) -> &TheirMigrations {
        &self.adopted.table
    }

    /// Reads their table, if it was not read just now.
    pub(super) async fn read(&mut self, store: &Store) {
        self.theirs.read(store, &self.adopted.table).await;
    }

    /// Their row.
    pub(super) fn record(&self, key: &Key) -> Option<&Record> {
        self.theirs.get(key)
    }

    /// Is nothing of theirs to be touched?
    pub(super) const fn is_shadow(&self) -> bool {
        !self.adopted.writes
    }

    /// The judgement with what their row says, and what is to be written there.
    pub(super) fn judge(
        &mut self,
        seen: &Seen,
        row: Option<&Migration>,
        memory: &Memory,
        rules: &Rules,
        now: Now,
    ) -> Judged {
        self.follow_death(&seen.key, memory, now);
        let mut decision = self.explain(seen, row, memory, rules, now);
        let removable = decision.remove_lock;
        let Some(record) = self.record(&seen.key).cloned() else {
            // Without their row nothing says that anybody will know of it once the lock is gone.
            decision.remove_lock = false;
            return Judged { decision, tell: None, removable };
        };
        if memory.dead.is_none() && decision.memory.dead.is_some() && record.is_in_progress() {
            self.deaths.insert(seen.key.clone(), (record.mark(), None));
        }
        let Some(next) = &mut decision.row else {
            return Judged { decision, tell: None, removable };
        };
        let ours = row.is_none_or(|row| next.instance != row.instance || is_ours(row, rules));
        let anew = removable && self.stood_for_a_grace(&seen.key, &record, rules, now);
        let tell =
            if ours { self.tell(&seen.key, row, next, &record, anew, now.wall) } else { None };
        if tell.is_some() {
            next.their_status = Some(Status::Error.as_str().to_owned());
            decision.write = write(row, next, now);
        }
        let told = record.final_status().is_some() || tell.is_some();
        decision.remove_lock &= ours && told && self.adopted.writes;
        Judged { decision, tell, removable }
    }

    /// Somebody who sets a row to `in_progress` anew, its process long dead, is about to start another one.
    fn follow_death(&mut self, key: &Key, memory: &Memory, now: Now) {
        if memory.dead.is_none() {
            self.deaths.remove(key);
            return;
        }
        let Some(record) = self.record(key).filter(|record| record.is_in_progress()) else {
            return;
        };
        let mark = record.mark();
        if self.deaths.get(key).is_none_or(|(known, _)| *known != mark) {
            self.deaths.insert(key.clone(), (mark, Some(now.up)));
        }
    }

    /// The judgement with what their row says; `remove_lock` by our rules alone.
    pub(super) fn explain(
        &self,
        seen: &Seen,
        row: Option<&Migration>,
        memory: &Memory,
        rules: &Rules,
        now: Now,
    ) -> Decision {
        let record = self.record(&seen.key);
        let taken = match (row, record) {
            (Some(row), Some(record)) if is_ours(row, rules) => Some(take_over(row, record, now)),
            _ => row.cloned(),
        };
        let mut decision = evaluate(&seen.key, taken.as_ref(), &seen.sight, memory, rules, now);
        if decision.remove_lock {
            decision.explain.push(Predicate {
                name: "their_row_final",
                value: record.map_or("no row", Record::word).to_owned(),
                threshold: None,
                holds: record.and_then(Record::final_status).is_some(),
            });
        }
        let (Some(next), Some(record)) = (&decision.row, record) else { return decision };
        if row.is_some_and(|row| next.instance == row.instance && !is_ours(row, rules)) {
            return decision;
        }
        let mut next = settle(taken.as_ref(), next.clone(), record, now);
        if next.status_source == Some(Source::Adopted) {
            decision.outcome = Outcome::None;
        }
        if let (Outcome::Error, Some(taken), Some(until)) =
            (decision.outcome, &taken, self.postponed(&seen.key, rules, now))
        {
            next = Migration { their_status: next.their_status, ..taken.clone() };
            decision.outcome = Outcome::Wait;
            decision.remove_lock = false;
            decision.wake = Some(until);
            decision.turns_at = Some(now.wall.plus(until.since(now.up)));
        }
        if is_owed(&next)
            && record.is_in_progress()
            && row.is_none_or(|row| row.status != next.status)
        {
            // The same word in another text is another run's.
            next.their_status = Some(record.mark());
        }
        decision.turns_at = decision.turns_at.filter(|_| !next.status.is_final());
        decision.write = write(row, &next, now);
        decision.row = Some(next);
        decision
    }

    /// The same as it is shown: a lock that is left until their row is final is not one that would go.
    pub(super) fn shown(
        &self,
        seen: &Seen,
        row: Option<&Migration>,
        memory: &Memory,
        rules: &Rules,
        now: Now,
    ) -> Decision {
        let mut decision = self.explain(seen, row, memory, rules, now);
        let record = self.record(&seen.key);
        let goes = record.is_some_and(|it| it.is_in_progress() || it.final_status().is_some());
        decision.remove_lock &= goes;
        decision
    }

    /// Until when an error waits, since they set their row anew after the death: one grace.
    fn postponed(&self, key: &Key, rules: &Rules, now: Now) -> Option<Uptime> {
        let (_, since) = self.deaths.get(key)?;
        let until = (*since)?.plus(rules.grace);
        (until > now.up).then_some(until)
    }

    /// Did what was set anew stand for a whole grace, and nothing has begun?
    fn stood_for_a_grace(&self, key: &Key, record: &Record, rules: &Rules, now: Now) -> bool {
        self.deaths.get(key).is_some_and(|(mark, since)| {
            let long = since.is_some_and(|since| now.up.since(since) >= rules.grace);
            long && *mark == record.mark()
        })
    }

    /// What is to be written there: our error, over nothing but the `in_progress` that it is about.
    fn tell(
        &self,
        key: &Key,
        row: Option<&Migration>,
        next: &Migration,
        record: &Record,
        anew: bool,
        at: Timestamp,
    ) -> Option<TheirWrite> {
        let turns = row.is_none_or(|row| !row.status.is_final() || row.run != next.run);
        let its = turns || anew || (is_known(next, record) && !is_of_another(next));
        let due = is_owed(next) && record.is_in_progress() && its;
        if !due || !self.adopted.writes || self.is_denied() || self.failure(key).is_some() {
            return None;
        }
        let text = next.error.as_deref().unwrap_or("error");
        // `error` is shorter than `in_progress`: where that stood there is room for this.
        self.adopted.table.error(record, text, at).ok()
    }

    fn is_denied(&self) -> bool {
        self.denied().is_some()
    }

    /// Why it may not be written, as the database told it a short while ago.
    pub(super) fn denied(&self) -> Option<&str> {
        let (until, why) = self.denied.as_ref()?;
        (*until > Instant::now()).then_some(why.as_str())
    }

    /// It was written.
    pub(super) fn told(&mut self, key: &Key, write: &TheirWrite) {
        self.moves.remove(key);
        let theirs = self.adopted.table.after(write);
        self.theirs.replace(key, theirs);
        tracing::info!(migration = %key, table = self.adopted.table.name(), "their row says error now");
    }

    /// Somebody wrote it meanwhile: it is read again before the next look. What is never found as it reads is left alone.
    pub(super) fn moved(&mut self, key: &Key) {
        self.theirs.forget_when();
        let moves = self.moves.entry(key.clone()).or_default();
        *moves += 1;
        if *moves > 2 {
            self.moves.remove(key);
            self.failed(key, "no UPDATE finds the row as it was read".to_owned());
        }
    }

    /// This row could not be written; the others are none the worse for it.
    pub(super) fn failed(&mut self, key: &Key, why: String) {
        self.failed.insert(key.clone(), (Instant::now() + LEFT_ALONE, why));
    }

    /// Forgets what is over: rows that may be tried again, and those whose locks are gone.
    pub(super) fn forget_old(&mut self, is_seen: impl Fn(&Key) -> bool) {
        let now = Instant::now();
        self.failed.retain(|_, (until, _)| *until > now);
        self.deaths.retain(|key, _| is_seen(key));
    }

    /// The rows that could not be written a short while ago, and why.
    pub(super) fn failures(&self) -> Vec<(Key, String)> {
        self.failed.iter().map(|(key, (_, why))| (key.clone(), why.clone())).collect()
    }

    /// Why this row could not be written a short while ago.
    fn failure(&self, key: &Key) -> Option<&str> {
        let (until, why) = self.failed.get(key)?;
        (*until > Instant::now()).then_some(why.as_str())
    }

    /// It may not be written, or somebody else wrote ours meanwhile.
    pub(super) fn refused(&mut self, error: &StoreError) {
        self.theirs.forget_when();
        if matches!(error, StoreError::TheirsDenied { .. }) {
            self.denied = Some((Instant::now() + LEFT_ALONE, error.chain()));
        }
    }

    /// What is to be written of rows that were not looked at: new ones of theirs, and news of others; and what is still
    /// owed to theirs.
    pub(super) fn mirror(
        &self,
        rows: &Rows,
        seen: &HashSet<Key>,
        rules: &Rules,
        now: Now,
    ) -> Vec<Mirrored> {
        let (mut list, capitals) = (Vec::new(), capitals(rows));
        for (key, record) in self.theirs.iter().filter(|(key, _)| !seen.contains(*key)) {
            if list.len() == TAKEN_AT_ONCE {
                break;
            }
            match rows.get(key) {
                None if capitals.contains(key) => {}
                None => {
                    let row = Box::new(first(key, record, rules, now));
                    list.push(Mirrored {
                        key: key.clone(),
                        id: None,
                        write: Write::Insert(row),
                        tell: None,
                    });
                }
                Some(stored) if is_ours(&stored.row, rules) => {
                    let mut next = take_over(&stored.row, record, now);
                    let tell = self.tell(key, Some(&stored.row), &next, record, false, now.wall);
                    if tell.is_some() {
                        next.their_status = Some(Status::Error.as_str().to_owned());
                    }
                    let write = write(Some(&stored.row), &next, now);
                    if tell.is_some() || !matches!(write, Write::None) {
                        list.push(Mirrored { key: key.clone(), id: Some(stored.id), write, tell });
                    }
                }
                Some(_) => {}
            }
        }
        list
    }
}

/// What is to be written of a migration that was not looked at.
#[derive(Debug)]
pub(super) struct Mirrored {
    pub(super) key: Key,
    /// Our row, if there is one.
    pub(super) id: Option<i64>,
    pub(super) write: Write,
    pub(super) tell: Option<TheirWrite>,
}

/// A judgement with what follows for their row.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) decision: Decision,
    /// To be written there, in the same transaction.
    pub(super) tell: Option<TheirWrite>,
    /// The lock would go by our rules, whatever theirs says.
    pub(super) removable: bool,
}

/// Our error, which they are to be told of as long as their row goes on.
fn is_owed(row: &Migration) -> bool {
    let ours = matches!(row.status_source, Some(Source::Monitor | Source::Operator));
    row.status == Status::Error && ours
}

/// The keys of our rows that have capitals, in small letters: their rows are kept in those.
fn capitals(rows: &Rows) -> HashSet<Key> {
    let has_capitals = |key: &&Key| key.mb_project_uuid.bytes().any(|it| it.is_ascii_uppercase());
    let small =
        |key: &Key| Key { mb_project_uuid: key.mb_project_uuid.to_lowercase(), ..key.clone() };
    rows.keys().filter(has_capitals).map(small).collect()
}
