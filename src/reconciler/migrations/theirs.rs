//! Their table as it was read last.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::adopt::{Fault, Record, Said};
use crate::domain::migration::{Key, MAX_PROJECT_ID};
use crate::store::{Store, TheirMigrations};

/// A read takes this share of the time at most, whatever wakes a look, as long as it is not older than an interval.
const READ_SHARE: u32 = 10;

/// Longest `mb_project_uuid` that our table takes.
const UUID_LIMIT: usize = 64;

/// Their rows by key.
#[derive(Debug)]
pub(super) struct Records {
    rows: HashMap<Key, Record>,
    /// Rows that are nobody's as far as we can tell, by what identifies them.
    pub(super) bad: Vec<(String, &'static str)>,
    pub(super) readable: bool,
    read_at: Option<Instant>,
    read_took: Duration,
    interval: Duration,
    /// Why it cannot be read.
    pub(super) trouble: Option<String>,
}

impl Records {
    /// None yet. They are read at least once an interval.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            rows: HashMap::new(),
            bad: Vec::new(),
            readable: false,
            read_at: None,
            read_took: Duration::ZERO,
            interval,
            trouble: None,
        }
    }

    /// Their row, whatever the case of the letters in its uuid: databases and runners spell it differently.
    pub(super) fn get(&self, key: &Key) -> Option<&Record> {
        self.rows.get(key).or_else(|| {
            let lower = Key { mb_project_uuid: key.mb_project_uuid.to_lowercase(), ..key.clone() };
            self.rows.get(&lower)
        })
    }

    /// Is it certain that they have no row of it?
    pub(super) fn is_deleted(&self, key: &Key) -> bool {
        self.readable && self.get(key).is_none()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Record)> {
        self.rows.iter()
    }

    /// It was written: until it is read again this stands there.
    pub(super) fn replace(&mut self, key: &Key, theirs: Record) {
        if let Some(record) = self.rows.get_mut(key) {
            *record = Record { updated_at: record.updated_at, ..theirs };
        }
    }

    /// The next look reads again, however short a time ago it was read.
    pub(super) const fn forget_when(&mut self) {
        self.read_at = None;
    }

    /// Reads their table, if it was not read just now.
    pub(super) async fn read(&mut self, store: &Store, table: &TheirMigrations) {
        let gap = (self.read_took * READ_SHARE).min(self.interval);
        if self.read_at.is_some_and(|at| at.elapsed() < gap) {
            return;
        }
        let began = Instant::now();
        match store.their_records(table).await {
            Ok(rows) => {
                self.take(rows);
                if self.trouble.take().is_some() {
                    tracing::info!(table = table.name(), "their table can be read again");
                }
                self.readable = true;
            }
            Err(error) => {
                self.trouble = Some(error.chain());
                self.readable = false;
                self.rows.clear();
            }
        }
        self.read_at = Some(Instant::now());
        self.read_took = began.elapsed();
    }

    fn take(&mut self, rows: Vec<Record>) {
        self.rows.clear();
        self.bad.clear();
        for record in rows {
            match key_of(&record) {
                Ok(key) => {
                    self.rows
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
}

fn key_of(record: &Record) -> Result<Key, &'static str> {
    let id = record.project_id.trim().parse::<i64>().ok();
    let id = id.filter(|id| (1..=MAX_PROJECT_ID).contains(id)).ok_or("no project id")?;
    let uuid = record.uuid.as_str();
    if uuid.is_empty() || uuid.chars().count() > UUID_LIMIT {
        return Err("no uuid, or one that is too long");
    }
    // As locks spell it; what stands there is kept for the UPDATE.
    let is_uuid = uuid.len() == 36 && uuid.bytes().all(|it| it.is_ascii_hexdigit() || it == b'-');
    let uuid = if is_uuid { uuid.to_lowercase() } else { uuid.to_owned() };
    Ok(Key { mb_project_uuid: uuid, brz_project_id: id })
}
