//! Their table of migrations beside ours: read before a look, taken over, told of our errors, compared.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::observe::{Rows, Seen};
use crate::adopt::Book;
use crate::domain::adopt::{Fault, Record, Said, first, settle, take_over};
use crate::domain::migration::{Key, MAX_PROJECT_ID, Migration, Source, Status};
use crate::domain::reconcile::{
    Decision, Memory, Outcome, Predicate, Rules, Write, evaluate, is_ours, write,
};
use crate::domain::{Now, Timestamp};
use crate::store::{Store, StoreError, TheirMigrations, TheirWrite};

/// After a read that took this share of the time the next one waits, whatever wakes a look. It is short all the same: what
/// was read must be younger than the time between the two looks that prove a death.
const READ_SHARE: u32 = 10;

/// After a refusal it is tried again, for somebody may have granted it.
const DENIED_FOR: Duration = Duration::from_secs(60);

/// Rows of theirs that are taken over at a look: the first look at an old table is not to hold up the judgement.
const TAKEN_AT_ONCE: usize = 1000;

/// Longest `mb_project_uuid` that our table takes.
const UUID_LIMIT: usize = 64;

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
    pub(super) records: HashMap<Key, Record>,
    /// Rows that are nobody's as far as we can tell, by what identifies them.
    pub(super) bad: Vec<(String, &'static str)>,
    pub(super) readable: bool,
    read_at: Option<Instant>,
    read_took: Duration,
    /// Until when it is not tried to write there, and why.
    denied: Option<(Instant, String)>,
    /// Errors of ours that were not told, and what stood there then: as long as it stands, it is still to be told.
    owed: HashMap<Key, String>,
    pub(super) book: Book,
    /// Why it cannot be read.
    pub(super) trouble: Option<String>,
}

impl Adoption {
    pub(super) fn new(adopted: Adopted, instance: String, interval: Duration) -> Self {
        let book = Book::new(instance, "migration", adopted.table.name(), interval * 2);
        Self {
            adopted,
            records: HashMap::new(),
            bad: Vec::new(),
            readable: false,
            read_at: None,
            read_took: Duration::ZERO,
            denied: None,
            owed: HashMap::new(),
            book,
            trouble: None,
        }
    }

    pub(super) fn table(&self) -> &TheirMigrations {
        &self.adopted.table
    }

    /// Is it certain that they have no row of it?
    pub(super) fn is_deleted(&self, key: &Key) -> bool {
        self.readable && !self.records.contains_key(key)
    }

    /// Is nothing of theirs to be touched?
    pub(super) const fn is_shadow(&self) -> bool {
        !self.adopted.writes
    }

    /// Reads their table, if it was not read just now.
    pub(super) async fn read(&mut self, store: &Store) {
        if self.read_at.is_some_and(|at| at.elapsed() < self.read_took * READ_SHARE) {
            return;
        }
        let began = Instant::now();
        match store.their_records(&self.adopted.table).await {
            Ok(rows) => {
                self.take(rows);
                if self.trouble.take().is_some() {
                    tracing::info!(
                        table = self.adopted.table.name(),
                        "their table can be read again"
                    );
                }
                self.readable = true;
            }
            Err(error) => {
                self.trouble = Some(error.chain());
                self.readable = false;
                self.records.clear();
            }
        }
        self.read_at = Some(Instant::now());
        self.read_took = began.elapsed();
    }

    fn take(&mut self, rows: Vec<Record>) {
        self.records.clear();
        self.bad.clear();
        for record in rows {
            match key_of(&record) {
                Ok(key) => {
                    self.records
                        .entry(key)
                        .and_modify(|it| it.said = Said::Fault(Fault::SeveralRows))
                        .or_insert(record);
                }
                Err(why) => {
                    self.bad.push((format!("{}-{}", record.uuid, record.project_id), why));
                }
            }
        }
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
        let mut decision = self.explain(seen, row, memory, rules, now);
        let removable = decision.remove_lock;
        let record = self.records.get(&seen.key).cloned();
        let (Some(next), Some(record)) = (&mut decision.row, record) else {
            // Without their row nothing says that anybody will know of it once the lock is gone.
            decision.remove_lock = false;
            return Judged { decision, tell: None, removable };
        };
        let ours = row.is_none_or(|row| next.instance != row.instance || is_ours(row, rules));
        let tell =
            if ours { self.tell(&seen.key, row, next, &record, removable, now.wall) } else { None };
        if tell.is_some() {
            next.their_status = Some(Status::Error.as_str().to_owned());
            decision.write = write(row, next, now);
        }
        let told = record.final_status().is_some() || tell.is_some();
        decision.remove_lock &= ours && told && self.adopted.writes;
        Judged { decision, tell, removable }
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
        let record = self.records.get(&seen.key);
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
        let next = settle(taken.as_ref(), next.clone(), record, now);
        if next.status_source == Some(Source::Adopted) {
            decision.outcome = Outcome::None;
        }
        decision.write = write(row, &next, now);
        decision.row = Some(next);
        decision
    }

    /// What is to be written there: our error, over nothing but `in_progress`, when it turns or is still owed.
    fn tell(
        &mut self,
        key: &Key,
        row: Option<&Migration>,
        next: &Migration,
        record: &Record,
        lock_is_its: bool,
        at: Timestamp,
    ) -> Option<TheirWrite> {
        let ours = matches!(next.status_source, Some(Source::Monitor | Source::Operator));
        if next.status != Status::Error || !ours || !record.is_in_progress() {
            self.owed.remove(key);
            return None;
        }
        let turns = row.is_none_or(|row| !row.status.is_final() || row.run != next.run);
        let stands = self.owed.get(key).is_some_and(|text| Some(text) == record.text.as_ref());
        if turns && let Some(text) = &record.text {
            self.owed.insert(key.clone(), text.clone());
        }
        let due = turns || stands || lock_is_its;
        if !due || !self.adopted.writes || self.is_denied() {
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
        self.owed.remove(key);
        self.records.insert(key.clone(), self.adopted.table.after(write));
        tracing::info!(migration = %key, table = self.adopted.table.name(), "their row says error now");
    }

    /// Somebody wrote it meanwhile: it is read again before the next look.
    pub(super) const fn moved(&mut self) {
        self.read_at = None;
    }

    /// It may not be written, or somebody else wrote ours meanwhile.
    pub(super) fn refused(&mut self, error: &StoreError) {
        self.read_at = None;
        if matches!(error, StoreError::TheirsDenied { .. }) {
            self.denied = Some((Instant::now() + DENIED_FOR, error.chain()));
        }
    }

    /// What is to be written of rows that were not looked at: new ones of theirs, and news of others; and what is still
    /// owed to theirs.
    pub(super) fn mirror(
        &mut self,
        rows: &Rows,
        seen: &HashSet<Key>,
        rules: &Rules,
        now: Now,
    ) -> Vec<Mirrored> {
        let mut list = Vec::new();
        for (key, record) in self.records.iter().filter(|(key, _)| !seen.contains(*key)) {
            if list.len() == TAKEN_AT_ONCE {
                break;
            }
            match rows.get(key) {
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
                    let next = take_over(&stored.row, record, now);
                    match write(Some(&stored.row), &next, now) {
                        Write::None => {}
                        write => {
                            let (key, id) = (key.clone(), Some(stored.id));
                            list.push(Mirrored { key, id, write, tell: None });
                        }
                    }
                }
                Some(_) => {}
            }
        }
        let owed: Vec<Key> = self.owed.keys().filter(|key| !seen.contains(*key)).cloned().collect();
        for key in owed {
            let (Some(stored), Some(record)) = (rows.get(&key), self.records.get(&key).cloned())
            else {
                self.owed.remove(&key);
                continue;
            };
            let row = &stored.row;
            if let Some(tell) = self.tell(&key, Some(row), row, &record, false, now.wall) {
                list.push(Mirrored {
                    key,
                    id: Some(stored.id),
                    write: Write::None,
                    tell: Some(tell),
                });
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

fn key_of(record: &Record) -> Result<Key, &'static str> {
    let id = record.project_id.trim().parse::<i64>().ok();
    let id = id.filter(|id| (1..=MAX_PROJECT_ID).contains(id)).ok_or("no project id")?;
    let uuid = record.uuid.as_str();
    if uuid.is_empty() || uuid.chars().count() > UUID_LIMIT {
        return Err("no uuid, or one that is too long");
    }
    Ok(Key { mb_project_uuid: uuid.to_owned(), brz_project_id: id })
}
