//! What adoption found so far: told once, written when it changes, closed when it is seen no more.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use crate::domain::adopt::{Code, Difference};
use crate::domain::{Now, Timestamp, Uptime};
use crate::store::{Finding, Store, StoreError};

/// How long what is over stays in the report.
const KEPT: Duration = Duration::from_hours(24 * 30);

/// What the column of a subject holds, in characters.
const SUBJECT: usize = 255;

/// Nobody reads more.
const TEXT: usize = 1000;

/// The findings about one kind of subject.
#[derive(Debug)]
pub struct Book {
    instance: String,
    /// What the subjects of this book begin with: `migration:` or `node:`, and the table's own.
    about: [String; 2],
    /// A difference that passes sooner is none: each side looks at its own moments.
    patience: Duration,
    entries: BTreeMap<(String, Code), Entry>,
    changed: Vec<Finding>,
    /// Those that an earlier life of this program left open, until it is known whether they still are.
    left: Option<Vec<Finding>>,
}

#[derive(Debug)]
struct Entry {
    difference: Difference,
    since: Now,
    /// It is in the report.
    told: bool,
    seen: bool,
}

impl Book {
    /// An empty one.
    #[must_use]
    pub fn new(instance: String, kind: &str, table: &str, patience: Duration) -> Self {
        let about = [format!("{kind}:"), format!("table:{table}")];
        let entries = BTreeMap::new();
        Self { instance, about, patience, entries, changed: Vec::new(), left: None }
    }

    /// It is so of one of them, by its id or key.
    pub fn see(&mut self, id: impl Display, difference: Difference, now: Now) {
        let subject = format!("{}{id}", self.about[0]);
        self.see_subject(&subject, difference, now);
    }

    /// It is so of the table.
    pub fn see_table(&mut self, difference: Difference, now: Now) {
        self.see_subject(&self.about[1].clone(), difference, now);
    }

    fn see_subject(&mut self, subject: &str, difference: Difference, now: Now) {
        let subject = &cut(subject, SUBJECT);
        let key = (subject.clone(), difference.code);
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            difference: difference.clone(),
            since: now,
            told: false,
            seen: true,
        });
        entry.seen = true;
        let changed = entry.difference != difference;
        entry.difference = difference;
        let code = entry.difference.code;
        let due = code.is_fault() || now.up.since(entry.since.up) >= self.patience;
        if due && (!entry.told || changed) {
            if !entry.told {
                tell(subject, &entry.difference);
            }
            entry.told = true;
            self.changed.push(finding(&self.instance, subject, entry, None));
        }
    }

    /// It happened to one of them, and is over.
    pub fn happened(&mut self, id: impl Display, difference: Difference, now: Now) {
        let subject = format!("{}{id}", self.about[0]);
        tell(&subject, &difference);
        let entry = Entry { difference, since: now, told: true, seen: true };
        self.changed.push(finding(&self.instance, &subject, &entry, Some(now.wall.0)));
    }

    /// Everything was looked at: what was not seen since the last call is over. When the next of those that are seen is
    /// worth telling.
    pub fn end_look(&mut self, now: Now) -> Option<Uptime> {
        let (instance, changed) = (&self.instance, &mut self.changed);
        self.entries.retain(|(subject, _), entry| {
            let seen = std::mem::take(&mut entry.seen);
            if !seen && entry.told {
                changed.push(finding(instance, subject, entry, Some(now.wall.0)));
            }
            seen
        });
        let waiting = self.entries.values().filter(|entry| !entry.told);
        waiting.map(|entry| entry.since.up.plus(self.patience)).min()
    }

    /// Writes what changed.
    ///
    /// # Errors
    /// [`StoreError`]: it is written next time.
    pub async fn flush(&mut self, store: &Store, now: Now) -> Result<(), StoreError> {
        if self.left.is_none() {
            let mine = |it: &Finding| {
                it.until.is_none()
                    && it.instance == self.instance
                    && self.about.iter().any(|about| it.subject.starts_with(about))
            };
            self.left = Some(store.findings().await?.into_iter().filter(mine).collect());
        }
        self.close_left(now);
        if self.changed.is_empty() {
            return Ok(());
        }
        let keep = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        store.record_findings(&self.changed, now.wall.0.saturating_sub(keep)).await?;
        self.changed.clear();
        Ok(())
    }

    /// What an earlier life left open goes on, or is over.
    fn close_left(&mut self, now: Now) {
        for mut finding in self.left.replace(Vec::new()).into_iter().flatten() {
            let open = self.entries.iter_mut().find(|((known, code), _)| {
                *known == finding.subject && code.as_str() == finding.code
            });
            if let Some((_, entry)) = open {
                entry.since.wall = Timestamp(finding.since);
                entry.told = true;
                let same =
                    |it: &&mut Finding| it.subject == finding.subject && it.code == finding.code;
                self.changed.iter_mut().filter(same).for_each(|it| it.since = finding.since);
            } else {
                finding.until = Some(now.wall.0);
                self.changed.push(finding);
            }
        }
    }
}

fn finding(instance: &str, subject: &str, entry: &Entry, until: Option<i64>) -> Finding {
    let difference = &entry.difference;
    let is_fault = difference.code.is_fault();
    Finding {
        instance: instance.to_owned(),
        subject: cut(subject, SUBJECT),
        code: difference.code.as_str().to_owned(),
        kind: if is_fault { "fault" } else { "difference" }.to_owned(),
        theirs: cut(&difference.theirs, TEXT),
        ours: cut(&difference.ours, TEXT),
        rule: difference.rule.to_owned(),
        since: entry.since.wall.0,
        until,
    }
}

fn tell(subject: &str, difference: &Difference) {
    let (code, theirs, ours) = (difference.code.as_str(), &difference.theirs, &difference.ours);
    if difference.code.is_fault() {
        tracing::warn!(subject, code, theirs, ours, "{}", difference.rule);
    } else {
        tracing::info!(subject, code, theirs, ours, "{}", difference.rule);
    }
}

fn cut(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}
