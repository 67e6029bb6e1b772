//! Whose lock a file is, and which of several files for one key is judged: pure.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::file::{File, Sight};
use super::found::{FoundLock, Shown};
use super::parse::{self, Parsed, PidField, Unparsable};
use crate::domain::Key;
use crate::domain::migration::{DirMark, Lock, LockPid};
use crate::domain::time::Timestamp;
use crate::mask::printable;
use crate::snapshot::Unreadable;

/// How many unreadable files are told of: the first by name.
const TOLD: usize = 1000;

/// What is wrong with a file; the closed list of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    /// Not a JSON object: half-written, or the old format.
    NotJson,
    /// Nothing in it yet.
    Empty,
    /// Over 64 KiB.
    TooLarge,
    /// A symlink, FIFO, directory, socket or device.
    NotAFile,
    /// It may not be read.
    Permission,
    /// Its content or its name is not UTF-8.
    NotUtf8,
    /// Its name says one key, its content another.
    IdMismatch,
    /// Another file is judged for its key.
    Duplicate,
    /// Its `pid` is none.
    BadPid,
}

impl Trouble {
    /// The word for it everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::NotAFile => "not_a_file",
            Self::Permission => "permission",
            Self::NotUtf8 => "not_utf8",
            Self::IdMismatch => "id_mismatch",
            Self::Duplicate => "duplicate",
            Self::BadPid => "bad_pid",
        }
    }
}

/// What one file is to us.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Whose {
    /// None of ours.
    Foreign,
    /// A lock, with what is wrong with it.
    Lock(Arc<FoundLock>, Option<Trouble>),
    /// Ours, and it cannot be judged: nothing follows for these keys.
    Blocked(Vec<Key>, Trouble),
}

impl Whose {
    /// The keys that it stands for.
    pub(super) fn keys(&self) -> &[Key] {
        match self {
            Self::Foreign => &[],
            Self::Lock(found, _) => std::slice::from_ref(&found.key),
            Self::Blocked(keys, _) => keys,
        }
    }
}

/// A file for a key, with what is wrong with it.
type Candidate = (Arc<FoundLock>, Option<Trouble>);

/// What all files together are.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) locks: Vec<Arc<FoundLock>>,
    pub(super) blocked: HashSet<Key>,
    pub(super) unreadable: Vec<Unreadable>,
    pub(super) foreign: u64,
}

/// Says whose a file is. `known` is the key that it stood for at the last scan.
pub(super) fn whose(
    name: Arc<str>,
    sight: Sight,
    known: Option<&Key>,
    dir: DirMark,
) -> Option<Whose> {
    let named = parse::name(&name);
    let blocked = |trouble| match named.as_ref().or(known) {
        Some(key) => Whose::Blocked(vec![key.clone()], trouble),
        None => Whose::Foreign,
    };
    match sight {
        Sight::Vanished => None,
        Sight::NotAFile => Some(blocked(Trouble::NotAFile)),
        Sight::Refused => Some(blocked(Trouble::Permission)),
        Sight::File(file) => Some(file_of(name, named, known, &file, dir)),
    }
}

fn file_of(
    name: Arc<str>,
    named: Option<Key>,
    known: Option<&Key>,
    file: &File,
    dir: DirMark,
) -> Whose {
    let parsed = match read(file) {
        Ok(parsed) => parsed,
        Err(trouble) => {
            // Ours by its name, or known to be ours before it was rewritten: a lock without a PID.
            return match named.or_else(|| known.cloned()) {
                Some(key) => lock(key, name, None, file, dir, Some(trouble)),
                None => Whose::Foreign,
            };
        }
    };
    if let Some(named) = &named
        && disagrees(named, &parsed)
    {
        let keys = std::iter::once(named.clone()).chain(parsed.key()).collect();
        return Whose::Blocked(keys, Trouble::IdMismatch);
    }
    // Mostly both tell the same key, and there is one of them already.
    let key = match named {
        Some(named) if parsed.is_of(&named) => Some(named),
        named => parsed.key().or(named),
    };
    match key {
        Some(key) => {
            let trouble = (parsed.pid == PidField::Bad).then_some(Trouble::BadPid);
            lock(key, name, Some(parsed), file, dir, trouble)
        }
        None => Whose::Foreign,
    }
}

fn read(file: &File) -> Result<Parsed<'_>, Trouble> {
    if file.is_cut {
        return Err(Trouble::TooLarge);
    }
    parse::content(&file.content).map_err(|why| match why {
        Unparsable::Empty => Trouble::Empty,
        Unparsable::NotUtf8 => Trouble::NotUtf8,
        Unparsable::NotJson => Trouble::NotJson,
    })
}

/// UUIDs are the same in upper and lower case (RFC 9562, section 4).
fn disagrees(named: &Key, parsed: &Parsed<'_>) -> bool {
    parsed.uuid.as_ref().is_some_and(|uuid| !uuid.eq_ignore_ascii_case(&named.mb_project_uuid))
        || parsed.id.is_some_and(|id| id != named.brz_project_id)
}

fn lock(
    key: Key,
    name: Arc<str>,
    parsed: Option<Parsed<'_>>,
    file: &File,
    dir: DirMark,
    trouble: Option<Trouble>,
) -> Whose {
    let pid = match parsed.as_ref().map(|parsed| parsed.pid) {
        Some(PidField::Number(pid)) => LockPid::Number(pid),
        Some(PidField::Missing | PidField::Bad) | None => LockPid::Missing,
    };
    let started = parsed.as_ref().and_then(|parsed| parsed.started);
    let stage_updated = parsed.as_ref().and_then(|parsed| parsed.stage_updated);
    let found = FoundLock {
        own_name: parse::is_canonical(&name, &key),
        key,
        lock: Lock {
            file: name,
            pid,
            started,
            stage_updated,
            mtime: Timestamp(file.stamp.mark.mtime_ns.div_euclid(1_000_000)),
            mark: file.stamp.mark,
        },
        content: Arc::clone(&file.content),
        dir,
        shown: Shown::of(parsed.is_some_and(|parsed| parsed.has_fields)),
    };
    Whose::Lock(Arc::new(found), trouble)
}

/// Sorts all files, given in the order of their names.
pub(super) fn sort_out(files: Vec<(String, Whose)>) -> Sorted {
    let mut sorted = Sorted::default();
    let mut by_key: BTreeMap<Key, Vec<Candidate>> = BTreeMap::new();
    for (name, whose) in files {
        match whose {
            Whose::Foreign => sorted.foreign += 1,
            Whose::Blocked(keys, trouble) => {
                sorted.tell(&name, trouble);
                sorted.blocked.extend(keys);
            }
            Whose::Lock(found, trouble) => {
                by_key.entry(found.key.clone()).or_default().push((found, trouble));
            }
        }
    }
    for (key, candidates) in by_key {
        sorted.choose(&key, candidates);
    }
    sorted.locks.sort_by(|a, b| a.lock.file.cmp(&b.lock.file));
    sorted
}

impl Sorted {
    /// Notes what is wrong with a file.
    pub(super) fn tell(&mut self, name: &str, trouble: Trouble) {
        self.unreadable.push(Unreadable { file: printable(name), reason: trouble.as_str() });
    }

    /// What is wrong, in the order of the names, as much as is told.
    pub(super) fn told(mut self) -> Self {
        self.unreadable.sort_by(|a, b| (&a.file, a.reason).cmp(&(&b.file, b.reason)));
        self.unreadable.truncate(TOLD);
        self
    }

    /// Of the files for one key, the one with its name is judged, whatever the others say. Without one, nothing is
    /// where a file that cannot be judged claims the key, else the first.
    fn choose(&mut self, key: &Key, candidates: Vec<Candidate>) {
        let canonical = parse::canonical_name(key);
        let rank = |name: &str| match name {
            name if name == canonical => 0,
            name if parse::name(name).is_some() => 1,
            _ => 2,
        };
        let best = (0..candidates.len())
            .min_by_key(|nth| candidates.get(*nth).map(|(found, _)| rank(&found.lock.file)));
        let by_name = candidates.iter().any(|(found, _)| *found.lock.file == *canonical);
        if by_name {
            self.blocked.remove(key);
        }
        let is_blocked = self.blocked.contains(key);
        for (nth, (found, trouble)) in candidates.into_iter().enumerate() {
            if is_blocked || Some(nth) != best {
                self.tell(&found.lock.file, Trouble::Duplicate);
                continue;
            }
            if let Some(trouble) = trouble {
                self.tell(&found.lock.file, trouble);
            }
            self.locks.push(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::migration::Mark;
    use crate::locks::file::Stamp;

    const UUID: &str = "3c56530e-ca31-4a7c-964f-e69be01f382a";
    const DIR: DirMark = DirMark { dev: 1, ino: 2 };

    fn file(content: &str) -> Sight {
        Sight::File(File {
            stamp: Stamp {
                mark: Mark { dev: 1, ino: 3, mtime_ns: 5_000_000, size: content.len() as u64 },
                ctime_ns: 5_000_000,
            },
            content: content.as_bytes().into(),
            is_cut: false,
            stood_still: true,
        })
    }

    fn json(uuid: &str, id: i64) -> String {
        format!("{{\"mb_project_uuid\":\"{uuid}\",\"brz_project_id\":{id},\"pid\":9}}")
    }

    fn key(id: i64) -> Key {
        Key { mb_project_uuid: UUID.to_owned(), brz_project_id: id }
    }

    fn sorted(files: &[(&str, Sight)]) -> Sorted {
        let whose = |(name, sight): &(&str, Sight)| {
            Some(((*name).to_owned(), whose((*name).into(), sight.clone(), None, DIR)?))
        };
        sort_out(files.iter().filter_map(whose).collect()).told()
    }

    fn told(sorted: &Sorted) -> Vec<(&str, &str)> {
        sorted.unreadable.iter().map(|it| (it.file.as_str(), it.reason)).collect()
    }

    #[test]
    fn the_ids_inside_make_any_name_ours() {
        let all = sorted(&[("job.lock", file(&json("p-1", 7))), ("composer.lock", file("{}"))]);
        assert_eq!(all.locks[0].key.to_string(), "p-1-7");
        assert_eq!((all.locks.len(), all.foreign), (1, 1));
        assert_eq!(told(&all), []);
    }

    #[test]
    fn a_name_that_disagrees_blocks_both() {
        let name = format!("{UUID}-1.lock");
        let all = sorted(&[(name.as_str(), file(&json(UUID, 2)))]);
        assert_eq!(all.locks, []);
        assert_eq!(all.blocked, HashSet::from([key(1), key(2)]));
        assert_eq!(told(&all), [(name.as_str(), "id_mismatch")]);
        let partial = format!("{{\"mb_project_uuid\":\"{UUID}\",\"brz_project_id\":2}}");
        let all = sorted(&[(name.as_str(), file(&partial.replace(UUID, "")))]);
        assert_eq!(all.blocked, HashSet::from([key(1)]));
    }

    #[test]
    fn a_stray_copy_does_not_block_the_named_file() {
        let (stray, named) = (format!("{UUID}-1.lock"), format!("{UUID}-2.lock"));
        let all = sorted(&[
            (stray.as_str(), file(&json(UUID, 2))),
            (named.as_str(), file(&json(UUID, 2))),
        ]);
        assert_eq!(*all.locks[0].lock.file, *named);
        assert_eq!(all.blocked, HashSet::from([key(1)]));
    }

    #[test]
    fn the_named_file_is_judged_and_the_others_are_duplicates() {
        let named = format!("{UUID}-1.lock");
        let files = [
            ("a.lock", file(&json(UUID, 1))),
            (named.as_str(), file("")),
            ("z.lock", file(&json(UUID, 1))),
        ];
        let all = sorted(&files);
        assert_eq!(all.locks.len(), 1);
        assert_eq!(*all.locks[0].lock.file, *named);
        assert_eq!(
            told(&all),
            [(named.as_str(), "empty"), ("a.lock", "duplicate"), ("z.lock", "duplicate")]
        );
        let all = sorted(&[files[2].clone(), files[0].clone()]);
        assert_eq!(&*all.locks[0].lock.file, "z.lock", "the first in the order given");
    }

    #[test]
    fn what_stands_in_the_named_files_place_blocks_the_key() {
        let named = format!("{UUID}-1.lock");
        for (sight, reason) in [(Sight::NotAFile, "not_a_file"), (Sight::Refused, "permission")] {
            let all = sorted(&[("a.lock", file(&json(UUID, 1))), (named.as_str(), sight)]);
            assert_eq!(all.locks, []);
            assert_eq!(all.blocked, HashSet::from([key(1)]));
            assert_eq!(told(&all), [(named.as_str(), reason), ("a.lock", "duplicate")]);
        }
        let all = sorted(&[
            ("a.lock", Sight::NotAFile),
            ("b.lock", Sight::Refused),
            ("c.lock", Sight::Vanished),
        ]);
        assert_eq!((all.foreign, told(&all)), (2, vec![]));
    }

    #[test]
    fn half_written_files_are_locks_without_a_pid() {
        let name = format!("{UUID}-1.lock");
        for (content, reason) in [("", "empty"), ("{\"mb_pro", "not_json"), ("plain", "not_json")] {
            let all = sorted(&[(name.as_str(), file(content))]);
            assert_eq!(all.locks[0].lock.pid, LockPid::Missing);
            assert_eq!(all.locks[0].lock.mtime, Timestamp(5));
            assert_eq!(told(&all), [(name.as_str(), reason)]);
        }
        let all = sorted(&[(name.as_str(), file("{\"current_stage\":\"x\"}"))]);
        assert_eq!((all.locks[0].lock.pid, told(&all)), (LockPid::Missing, vec![]));
        let all = sorted(&[(name.as_str(), file("{\"pid\":-5}"))]);
        assert_eq!(
            (all.locks[0].lock.pid, told(&all)),
            (LockPid::Missing, vec![(name.as_str(), "bad_pid")])
        );
    }

    #[test]
    fn a_file_that_was_ours_stays_ours_while_it_is_rewritten() {
        let known = key(4);
        let Some(Whose::Lock(found, Some(Trouble::Empty))) =
            whose("job.lock".into(), file(""), Some(&known), DIR)
        else {
            panic!("a lock");
        };
        assert_eq!(found.key, known);
        let blocked = whose("job.lock".into(), Sight::Refused, Some(&known), DIR);
        assert_eq!(blocked, Some(Whose::Blocked(vec![known.clone()], Trouble::Permission)));
        // A whole object without ids is somebody else's by now.
        assert_eq!(whose("job.lock".into(), file("{}"), Some(&known), DIR), Some(Whose::Foreign));
    }

    #[test]
    fn the_case_of_a_uuid_does_not_matter() {
        let upper = UUID.to_uppercase();
        let all = sorted(&[(format!("{upper}-1.lock").as_str(), file(&json(UUID, 1)))]);
        assert_eq!(all.locks[0].key, key(1));
    }

    #[test]
    fn a_flood_is_told_in_part() {
        let name = |id: i64| format!("{UUID}-{id}.lock");
        let files =
            (1..=1200).map(|id| (name(id), Whose::Blocked(vec![key(id)], Trouble::NotAFile)));
        let all = sort_out(files.collect()).told();
        assert_eq!((all.unreadable.len(), all.blocked.len()), (1000, 1200));
    }
}
