//! A look at some keys only, in about a millisecond however large the directory is.
//!
//! It reads the files with the keys' own names, those that stood for the keys, and those that it is told of. That is
//! enough where one of them stands for the key. That a key has none at all is said only by a pass over the whole
//! directory: a file with any name may hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::classify::{Whose, sort_out};
use super::model::Looker;
use super::parse::canonical_name;
use super::put_back::is_lock_name;
use super::read::{Named, Names};
use super::{KeySight, LockDir, PartScan, Scan, ScanError};
use crate::domain::Key;

/// Up to this many files a pass over the directory costs a few milliseconds, whenever it is asked for.
const FEW: usize = 1000;

/// Beyond that, passes for partial looks take at most one part in so many of the time.
const SHARE: u32 = 10;

/// A pass that a partial look needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    ended: Instant,
    took: Duration,
}

impl Spent {
    /// How long it is too soon for another.
    fn rest(self, now: Instant) -> Option<Duration> {
        let rest = self.took.saturating_mul(SHARE).checked_sub(now.duration_since(self.ended));
        rest.filter(|rest| !rest.is_zero())
    }
}

impl LockDir {
    /// What stands in the directory now for these keys, and for those that the files of these names stand or stood for.
    ///
    /// Never [`KeySight::Absent`] where [`Self::scan`] would find something.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub fn look(
        &self,
        keys: &BTreeSet<Key>,
        names: &BTreeSet<String>,
    ) -> Result<PartScan, ScanError> {
        let place = self.place()?;
        let mut wanted = keys.clone();
        let mut next: BTreeSet<String> =
            names.iter().filter(|name| is_lock_name(name)).cloned().collect();
        let mut files: BTreeMap<String, Option<Whose>> = BTreeMap::new();
        loop {
            self.files_of(&mut wanted, &mut next);
            next.retain(|name| !files.contains_key(name));
            if next.is_empty() {
                break;
            }
            let names = Names::of(next.iter().map(String::as_str));
            self.read(&place, &names, Looker::Part, &|| (), |named| {
                if let Named::Text(name, whose) = named {
                    wanted.extend(whose.iter().flat_map(Whose::keys).cloned());
                    files.insert(name.to_owned(), whose);
                }
            })?;
            next.clear();
        }
        let (mut keys, open) = judge(wanted, files);
        let (mut dir, mut local_fs, mut again) = (place.mark, place.local_fs, None);
        if !open.is_empty() {
            match self.pass() {
                Err(rest) => {
                    again = Some(rest);
                    keys.extend(open.into_iter().map(|key| (key, KeySight::Blocked)));
                }
                Ok(scan) => {
                    let scan = scan?;
                    let mut asked = open;
                    if scan.dir != place.mark {
                        asked.extend(keys.keys().cloned());
                    }
                    (dir, local_fs) = (scan.dir, scan.local_fs);
                    keys.extend(in_scan(&scan, asked));
                }
            }
        }
        Ok(PartScan { dir, local_fs, keys, again })
    }

    /// Adds the keys that the names stood for, and the names that may stand for the keys.
    fn files_of(&self, wanted: &mut BTreeSet<Key>, next: &mut BTreeSet<String>) {
        let model = self.model();
        wanted.extend(next.iter().flat_map(|name| model.keys_of(name)).cloned());
        for key in &*wanted {
            next.extend(Some(canonical_name(key)).filter(|name| is_lock_name(name)));
            next.extend(model.strays_of(key).map(str::to_owned));
        }
    }

    /// A pass over the whole directory, or how long it is too soon for one.
    fn pass(&self) -> Result<Result<Scan, ScanError>, Duration> {
        let now = Instant::now();
        let is_large = self.model().len() > FEW;
        let spent = *self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rest) = spent.filter(|_| is_large).and_then(|spent| spent.rest(now)) {
            return Err(rest);
        }
        let scan = self.scan();
        let ended = Instant::now();
        let spent = Spent { ended, took: ended.duration_since(now) };
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) = Some(spent);
        Ok(scan)
    }
}

/// What the files say of the keys; and the keys for which none of them stands.
fn judge(
    wanted: BTreeSet<Key>,
    files: BTreeMap<String, Option<Whose>>,
) -> (BTreeMap<Key, KeySight>, BTreeSet<Key>) {
    let files = files.into_iter().filter_map(|(name, whose)| Some((name, whose?)));
    let sorted = sort_out(files.collect());
    let found: BTreeMap<&Key, _> = sorted.locks.iter().map(|found| (&found.key, found)).collect();
    let mut keys = BTreeMap::new();
    let mut open = BTreeSet::new();
    for key in wanted {
        match found.get(&key) {
            Some(found) => {
                keys.insert(key, KeySight::Found(Arc::clone(found)));
            }
            None if sorted.blocked.contains(&key) => {
                keys.insert(key, KeySight::Blocked);
            }
            None => {
                open.insert(key);
            }
        }
    }
    (keys, open)
}

/// What a scan showed for these keys.
fn in_scan(scan: &Scan, keys: BTreeSet<Key>) -> BTreeMap<Key, KeySight> {
    let mut seen: BTreeMap<Key, KeySight> = keys
        .into_iter()
        .map(|key| {
            let is_blocked = scan.blocked.contains(&key);
            (key, if is_blocked { KeySight::Blocked } else { KeySight::Absent })
        })
        .collect();
    for found in &*scan.locks {
        if let Some(sight) = seen.get_mut(&found.key) {
            *sight = KeySight::Found(Arc::clone(found));
        }
    }
    seen
}
