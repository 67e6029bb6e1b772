//! After a look: what of theirs and ours does not say the same.

use std::collections::HashMap;

use super::adoption::Adoption;
use super::observe::{Rows, Seen};
use crate::domain::Now;
use crate::domain::adopt::{
    Code, Difference, Record, Situation, called_dead, differences, lock_gone,
};
use crate::domain::migration::{Key, Migration};
use crate::domain::reconcile::{LockSight, Memory, Rules, Standing, standing};

/// What a look showed of a migration, for the comparison.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) key: Key,
    lock_exists: bool,
    alive: bool,
    removable: bool,
    /// What was done to it since the last look.
    happened: Vec<Difference>,
}

impl Sighting {
    /// `removable`: the lock would go by our rules, whatever theirs says.
    pub(super) fn of(
        seen: &Seen,
        row: Option<&Migration>,
        memory: &Memory,
        removable: bool,
        record: Option<&Record>,
        (rules, now): (&Rules, Now),
    ) -> Self {
        let alive = matches!(standing(row, &seen.sight, rules, now.wall), Standing::Alive(Some(_)));
        let just_gone =
            seen.sight.lock == LockSight::Absent && memory.watched && memory.absent.is_none();
        // Another directory says nothing about the locks of the one before.
        let same = |row: &&Migration| row.dir.is_none() || row.dir == seen.sight.dir;
        let gone = row.filter(|_| just_gone).filter(same).and_then(lock_gone);
        let called = row.zip(record).filter(|_| alive).and_then(|(row, it)| called_dead(row, it));
        let happened = gone.into_iter().chain(called).collect();
        Self {
            key: seen.key.clone(),
            lock_exists: seen.found.is_some(),
            alive,
            removable,
            happened,
        }
    }
}

impl Adoption {
    /// Compares after a look: what of theirs and ours does not say the same.
    pub(super) fn compare(&mut self, rows: &Rows, sights: &[Sighting], now: Now) {
        let by_key: HashMap<&Key, &Sighting> = sights.iter().map(|it| (&it.key, it)).collect();
        self.forget_old(|key| by_key.contains_key(key));
        for (key, stored) in rows.iter().filter(|(_, stored)| !stored.row.is_announced()) {
            let sighting = by_key.get(key);
            let situation = Situation {
                row: &stored.row,
                record: self.record(key),
                lock_exists: sighting.is_some_and(|it| it.lock_exists),
                alive: sighting.is_some_and(|it| it.alive),
                removable: sighting.is_some_and(|it| it.removable),
                shadow: self.is_shadow(),
            };
            if self.theirs.readable {
                for difference in differences(&situation) {
                    self.book.see(key, difference, now);
                }
            }
        }
        for it in sights {
            for happened in &it.happened {
                self.book.happened(&it.key, happened.clone(), now);
            }
        }
        for (key, why) in self.failures() {
            self.book.see(key, write_failed(&why), now);
        }
        self.compare_table(now);
    }

    fn compare_table(&mut self, now: Now) {
        if let Some(trouble) = &self.theirs.trouble {
            let unreadable = Difference::unreadable(trouble.clone(), "not compared");
            self.book.see_table(unreadable, now);
        }
        if let Some(why) = self.denied() {
            let denied = Difference::denied(why, "errors are recorded here alone, locks are left");
            self.book.see_table(denied, now);
        }
        if let Some(difference) = bad_rows(&self.theirs.bad) {
            self.book.see_table(difference, now);
        }
    }
}

/// Rows that are nobody's: their number and the first of them.
fn bad_rows(bad: &[(String, &'static str)]) -> Option<Difference> {
    let first: Vec<String> =
        bad.iter().take(3).map(|(which, why)| format!("'{which}': {why}")).collect();
    (!bad.is_empty()).then(|| Difference {
        code: Code::BadRow,
        theirs: format!("{} rows, such as {}", bad.len(), first.join("; ")),
        ours: "left out".to_owned(),
        rule: "a row needs a uuid of 1 to 64 characters and a project id of 1 to 2^53-1",
    })
}

fn write_failed(why: &str) -> Difference {
    Difference {
        code: Code::WriteFailed,
        theirs: why.to_owned(),
        ours: "the error is recorded here alone, the lock is left".to_owned(),
        rule: "what the database says stands beside it; tried again each minute",
    }
}
