//! What was read of the directory so far: a file that did not change is not read again.
//!
//! **What is trusted.** A file is taken for unchanged if its device, inode, size, mtime and ctime in nanoseconds are those
//! that it had before it was read, it stood still while it was read, and both times were then more than [`RACY`] past:
//! a write after that moment would have got other times (git calls the opposite "racily clean"). A clock that stands
//! still never lets a file grow old, and after one that was set back nothing is trusted that was read before. On a file
//! system that other machines write to nothing is: its times are another clock's, and only an open asks its server.
//!
//! **Who may look at once.** One whole scan and any number of partial looks. None holds the lock while it asks the kernel;
//! each takes a ticket before it looks at some names, and what it read is kept only if nothing with a later ticket is
//! held for that name. So what a later look read is never overwritten by one that began before it. A later ticket does
//! not prove a later `stat`; if the earlier one was in truth the newer, what is held differs from the file, and the next
//! look reads it again. What a partial look read while a scan is under way, names that are gone as well, stands
//! until that scan is over: its result is what is held then.
//!
//! **Shaped by speed.** The files are held in the order in which the first listing named them, and a listing names them in
//! the same order again: the next one is mostly the one after the last, and found without its hash.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use indexmap::IndexMap;
use indexmap::map::Entry;

use super::classify::Whose;
use super::file::Stamp;
use super::parse;
use crate::domain::migration::DirMark;
use crate::domain::{Key, Now};

/// How long past a file's times must be when it is read, in nanoseconds: FAT counts in steps of two seconds, and the
/// clock that stamps files is a tick of at most 10 ms behind the one that is read.
const RACY: i64 = 2_500_000_000;

/// How far the wall clock may fall behind the boot clock until it counts as set back, in milliseconds: less than
/// [`RACY`], more than what steering it gently takes in a day.
const SET_BACK: i64 = 1000;

/// Bytes of contents from which on only those of the size of real locks are held: somebody could write a hundred thousand
/// locks of 64 KiB.
const BUDGET: usize = 256 << 20;

/// The model of one directory.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Model {
    dir: Option<DirMark>,
    files: IndexMap<Arc<str>, Held>,
    /// Bytes of the contents that are held.
    bytes: usize,
    /// Where the next name of the scan is likely to be held.
    next: usize,
    /// Moves whenever what a name stands for does.
    version: u64,
    /// The files whose names are not the ones that the keys which they stand for have.
    strays: HashMap<Key, BTreeSet<Box<str>>>,
    tickets: u64,
    /// The scan that is under way; they are numbered.
    scan: Option<u64>,
    scans: u64,
    /// Files that the scan under way has dealt with.
    dealt: usize,
    /// The names that partial looks have found gone since it began.
    gone: BTreeSet<Box<str>>,
    /// Grows whenever nothing of before is trusted any more.
    era: u32,
    /// The most that the wall clock was ahead of the boot clock in this era, in milliseconds.
    ahead: Option<i64>,
    /// Tests pretend that as many nanoseconds have passed since a file was written.
    #[cfg(test)]
    pub(super) pretended: i64,
}

/// What is held of a name.
#[derive(Debug, Clone)]
struct Held {
    /// How the file was when it was read, if that can be trusted.
    stamp: Option<Stamp>,
    era: u32,
    ticket: u64,
    scan: u64,
    /// None: it was gone.
    whose: Option<Whose>,
}

/// What is known of a name before it is looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// As it is held since now, to be shared with what is made of the file.
    pub(super) name: Option<Arc<str>>,
    /// If the file is still this one, it is still what it was.
    pub(super) stamp: Option<Stamp>,
    /// The scan under way has dealt with it: a listing may name a file twice.
    pub(super) is_dealt: bool,
    /// Something stood there before.
    pub(super) stood: bool,
    /// Where it is held, most likely.
    pub(super) at: usize,
}

/// What a look brought of one name.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) stamp: Option<Stamp>,
    pub(super) whose: Option<Whose>,
    /// Where the name is held, most likely.
    pub(super) at: usize,
}

/// Whose look it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looker {
    /// The scan of this number.
    Scan(u64),
    /// A partial look.
    Part,
}

impl Model {
    /// A look at this directory begins. Another directory than before is begun anew.
    pub(super) fn begin(&mut self, dir: DirMark, now: Now) {
        if self.dir != Some(dir) {
            self.dir = Some(dir);
            self.files.clear();
            self.bytes = 0;
            self.strays.clear();
            self.version += 1;
        }
        let ahead = now.wall.0.saturating_sub(now.up.0);
        let most = self.ahead.map_or(ahead, |most| most.max(ahead));
        if ahead < most.saturating_sub(SET_BACK) {
            self.era = self.era.wrapping_add(1);
            self.ahead = Some(ahead);
        } else {
            self.ahead = Some(most);
        }
    }

    /// A whole scan begins; there is only one at a time.
    pub(super) fn begin_scan(&mut self) -> Looker {
        self.scans += 1;
        self.scan = Some(self.scans);
        self.dealt = 0;
        self.next = 0;
        self.gone.clear();
        Looker::Scan(self.scans)
    }

    /// It is over: places that were taken and not filled are given back.
    pub(super) fn end_scan(&mut self, succeeded: bool) {
        self.scan = None;
        if succeeded {
            for name in std::mem::take(&mut self.gone) {
                if self.files.get(&*name).is_some_and(|held| held.whose.is_none()) {
                    self.files.swap_remove(&*name);
                }
            }
        } else {
            self.files.retain(|_, held| held.whose.is_some());
        }
    }

    /// Is it this directory that is held?
    pub(super) fn is_of(&self, dir: DirMark) -> bool {
        self.dir == Some(dir)
    }

    /// Moves whenever what a name stands for does.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// All names and what they stand for.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Whose)> {
        self.files.iter().filter_map(|(name, held)| Some((&**name, held.whose.as_ref()?)))
    }

    /// The names that the scan has not dealt with: no listing named them.
    pub(super) fn unlisted(&self, looker: Looker) -> Vec<Arc<str>> {
        let Looker::Scan(scan) = looker else { return Vec::new() };
        if self.dealt == self.files.len() {
            return Vec::new();
        }
        let missed =
            self.files.iter().filter(|(_, held)| held.whose.is_some() && held.scan != scan);
        missed.map(|(name, _)| name.clone()).collect()
    }

    /// A ticket for a look at some names that is about to begin.
    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// What is known of a name; for a scan it is dealt with from now on.
    pub(super) fn known(&mut self, dir: DirMark, name: &str, ticket: u64, looker: Looker) -> Known {
        if self.dir != Some(dir) {
            return Known::default();
        }
        let at = match looker {
            Looker::Scan(scan) => {
                let held = Held { stamp: None, era: self.era, ticket, scan, whose: None };
                match self.place(name, held) {
                    Ok(at) => at,
                    // It takes its place, so that the same name is known if the listing brings it twice.
                    Err((at, name)) => {
                        self.dealt += 1;
                        self.next = at + 1;
                        return Known { name: Some(name), at, ..Known::default() };
                    }
                }
            }
            Looker::Part => match self.position(name, self.next) {
                Some(at) => at,
                None => return Known { at: self.files.len(), ..Known::default() },
            },
        };
        if matches!(looker, Looker::Scan(_)) {
            self.next = at + 1;
        }
        let era = self.era;
        let Some((_, held)) = self.files.get_index_mut(at) else { return Known::default() };
        let is_dealt = deal(held, looker, &mut self.dealt);
        let stamp = held.stamp.filter(|_| held.era == era);
        Known { name: None, stamp, is_dealt, stood: held.whose.is_some(), at }
    }

    /// Where a name is held, or where and as what it is from now on; hashed once, and not at all in the likely place.
    fn place(&mut self, name: &str, fresh: Held) -> Result<usize, (usize, Arc<str>)> {
        if self.files.get_index(self.next).is_some_and(|(held, _)| **held == *name) {
            return Ok(self.next);
        }
        match self.files.entry(name.into()) {
            Entry::Occupied(place) => Ok(place.index()),
            Entry::Vacant(place) => {
                let new = (place.index(), Arc::clone(place.key()));
                place.insert(fresh);
                Err(new)
            }
        }
    }

    /// Where a name is held; it is looked for at the likely place first.
    fn position(&self, name: &str, likely: usize) -> Option<usize> {
        match self.files.get_index(likely) {
            Some((held, _)) if **held == *name => Some(likely),
            _ => self.files.get_index_of(name),
        }
    }

    /// What a name stood for.
    pub(super) fn whose(&self, dir: DirMark, name: &str, at: usize) -> Option<Whose> {
        if self.dir != Some(dir) {
            return None;
        }
        self.files.get_index(self.position(name, at)?)?.1.whose.clone()
    }

    /// Keeps what a look brought, unless a later one has brought something else. What the name stands for now.
    pub(super) fn keep(
        &mut self,
        dir: DirMark,
        name: &str,
        fresh: Fresh,
        ticket: u64,
        looker: Looker,
    ) -> Option<Whose> {
        if self.dir != Some(dir) {
            return fresh.whose;
        }
        let Fresh { stamp, whose, at } = fresh;
        let before = self.position(name, at).and_then(|at| self.files.get_index_mut(at));
        if let Some((_, held)) = &before
            && held.ticket > ticket
        {
            return held.whose.clone();
        }
        let (era, scan) = (self.era, before.as_ref().map_or(0, |(_, held)| held.scan));
        let held = Held { stamp, era, ticket, scan, whose: whose.clone() };
        let old = if let Some((_, before)) = before {
            std::mem::replace(before, held).whose
        } else {
            let name = match &whose {
                Some(Whose::Lock(found, _)) => Arc::clone(&found.lock.file),
                _ => name.into(),
            };
            self.files.insert(name, held).and_then(|held| held.whose)
        };
        self.bytes = self.bytes.saturating_sub(weight(old.as_ref())) + weight(whose.as_ref());
        if !is_same(old.as_ref(), whose.as_ref()) {
            self.version += 1;
            self.note_strays(name, old.as_ref(), whose.as_ref());
        }
        if whose.is_none() {
            if looker == Looker::Part && self.scan.is_some() {
                self.gone.insert(name.into());
            } else {
                self.files.swap_remove(name);
                if self.scan == Some(scan) {
                    self.dealt -= 1;
                }
            }
        }
        whose
    }

    fn note_strays(&mut self, name: &str, old: Option<&Whose>, new: Option<&Whose>) {
        // Nearly all: new, and under its own name.
        if let (None, Some(Whose::Lock(found, _))) = (old, new)
            && found.own_name
        {
            return;
        }
        let (old, new) = (old.map_or(&[][..], Whose::keys), new.map_or(&[][..], Whose::keys));
        for key in old.iter().filter(|key| !new.contains(key)) {
            self.forget_stray(name, key);
        }
        for key in new.iter().filter(|key| !old.contains(key)) {
            if !parse::is_canonical(name, key) {
                self.strays.entry(key.clone()).or_default().insert(name.into());
            }
        }
    }

    fn forget_stray(&mut self, name: &str, key: &Key) {
        if let Some(names) = self.strays.get_mut(key) {
            names.remove(name);
            if names.is_empty() {
                self.strays.remove(key);
            }
        }
    }

    /// The keys that a name stood for.
    pub(super) fn keys_of(&self, name: &str) -> &[Key] {
        self.files.get(name).and_then(|held| held.whose.as_ref()).map_or(&[], Whose::keys)
    }

    /// The names other than its own that stood for a key.
    pub(super) fn strays_of(&self, key: &Key) -> impl Iterator<Item = &str> {
        self.strays.get(key).into_iter().flatten().map(|name| &**name)
    }

    #[cfg(test)]
    pub(super) fn pretend_to_hold_all(&mut self) {
        self.bytes = BUDGET + 1;
    }

    #[cfg(test)]
    pub(super) fn pretend_to_hold_nothing(&mut self) {
        self.bytes = 0;
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing that was read before is trusted.
    #[cfg(test)]
    pub(super) fn distrust(&mut self) {
        self.era = self.era.wrapping_add(1);
    }

    /// Is so much held that a file which is larger than locks are is not?
    pub(super) const fn is_full(&self) -> bool {
        self.bytes > BUDGET
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }
}

/// The bytes that are held of a file.
fn weight(whose: Option<&Whose>) -> usize {
    match whose {
        Some(Whose::Lock(found, _)) => found.content.len(),
        _ => 0,
    }
}

/// Is it the same that was made of a file before? Of what is wrong with one, nobody asks.
fn is_same(old: Option<&Whose>, new: Option<&Whose>) -> bool {
    match (old, new) {
        (None, None) | (Some(Whose::Foreign), Some(Whose::Foreign)) => true,
        (Some(Whose::Lock(old, before)), Some(Whose::Lock(new, now))) => {
            Arc::ptr_eq(old, new) && before == now
        }
        _ => false,
    }
}

/// Was the file dealt with? For a scan it is from now on.
fn deal(held: &mut Held, looker: Looker, dealt: &mut usize) -> bool {
    let Looker::Scan(scan) = looker else { return false };
    if held.scan == scan {
        return true;
    }
    held.scan = scan;
    *dealt += 1;
    false
}

/// Can a file that was read at this moment, nanoseconds since the Unix epoch, be trusted to be the same as long as its
/// stamp is?
pub(super) fn is_settled(stamp: &Stamp, moment_ns: i64) -> bool {
    moment_ns.saturating_sub(stamp.touched_ns()) > RACY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::migration::Mark;
    use crate::domain::time::Uptime;

    const DIR: DirMark = DirMark { dev: 1, ino: 2 };

    fn stamp(seconds: i64) -> Stamp {
        let ns = seconds * 1_000_000_000;
        Stamp { mark: Mark { dev: 1, ino: 3, mtime_ns: ns, size: 4 }, ctime_ns: ns }
    }

    fn blocked(id: i64) -> Whose {
        let key = Key { mb_project_uuid: "u".to_owned(), brz_project_id: id };
        Whose::Blocked(vec![key], crate::locks::Trouble::Permission)
    }

    fn fresh(id: i64) -> Fresh {
        Fresh { stamp: Some(stamp(1)), whose: Some(blocked(id)), at: 0 }
    }

    fn at(wall: i64, up: i64) -> Now {
        Now { wall: Timestamp(wall), up: Uptime(up) }
    }

    #[test]
    fn times_that_are_too_young_or_to_come_settle_nothing() {
        let read = |seconds: i64| is_settled(&stamp(100), seconds * 1_000_000_000);
        assert_eq!([99, 100, 102, 103].map(read), [false, false, false, true]);
        let touched_later = Stamp { ctime_ns: 200_000_000_000, ..stamp(100) };
        assert!(!is_settled(&touched_later, 201_000_000_000));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_all_before_it_doubtful() {
        let mut model = Model::default();
        let trusted = |model: &mut Model| model.known(DIR, "a", 9, Looker::Part).stamp.is_some();
        model.begin(DIR, at(1_000_000, 500));
        model.keep(DIR, "a", fresh(1), 1, Looker::Part);
        // On it goes, gently steered; then an hour ahead.
        for now in [at(1_009_500, 10_500), at(4_620_000, 20_500)] {
            model.begin(DIR, now);
            assert!(trusted(&mut model), "{now:?}");
        }
        // Back to where it was: further than a second behind the most.
        model.begin(DIR, at(1_029_500, 30_500));
        assert!(!trusted(&mut model));
        model.keep(DIR, "a", fresh(1), 2, Looker::Part);
        model.begin(DIR, at(1_039_500, 40_500));
        assert!(trusted(&mut model), "what was read since counts");
    }

    #[test]
    fn what_a_later_look_read_is_not_overwritten() {
        let mut model = Model::default();
        model.begin(DIR, at(0, 0));
        let scan = model.begin_scan();
        let (earlier, later) = (model.ticket(), model.ticket());
        model.known(DIR, "a", earlier, scan);
        assert_eq!(model.keep(DIR, "a", fresh(2), later, Looker::Part), Some(blocked(2)));
        assert_eq!(model.keep(DIR, "a", fresh(1), earlier, scan), Some(blocked(2)));
        let gone = Fresh { stamp: None, whose: None, at: 0 };
        model.known(DIR, "b", earlier, scan);
        assert_eq!(model.keep(DIR, "b", gone, later, Looker::Part), None);
        assert_eq!(model.keep(DIR, "b", fresh(1), earlier, scan), None, "it is gone since");
        assert_eq!(model.unlisted(scan), Vec::<Arc<str>>::new());
        assert_eq!(model.all().collect::<Vec<_>>(), [("a", &blocked(2))]);
        assert_eq!(model.len(), 2, "what is gone is remembered until the scan is over");
        model.end_scan(true);
        assert_eq!((model.len(), model.keys_of("b")), (1, &[][..]));
    }

    #[test]
    fn what_was_read_in_a_directory_that_was_replaced_is_not_kept() {
        let mut model = Model::default();
        model.begin(DIR, at(0, 0));
        let ticket = model.ticket();
        model.begin(DirMark { dev: 1, ino: 9 }, at(0, 0));
        assert_eq!(model.keep(DIR, "a", fresh(1), ticket, Looker::Part), Some(blocked(1)));
        assert_eq!(model.len(), 0);
    }
}
