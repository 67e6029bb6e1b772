//! What a stop in the middle of a removal left aside is put back at the next start, and judged again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::Dir;

use super::file::{Sight, sight};
use super::remove::{self, Back};
use super::{ASIDE, LockDir, ScanError, aside_prefix, parse};
use crate::domain::Key;

/// The longest file name, in bytes (`NAME_MAX` of Linux).
const NAME_MAX: usize = 255;

/// One file that was found aside.
#[derive(Debug)]
pub struct PutBack {
    /// Its name aside.
    pub aside: String,
    /// Its own name, if that is known.
    pub file: Option<String>,
    /// What became of it.
    pub outcome: PutBackOutcome,
}

/// What became of a file that was found aside.
#[derive(Debug)]
pub enum PutBackOutcome {
    /// It stands in its place again.
    Restored,
    /// Another lock stands there; this one was dropped.
    NewerWins,
    /// Nobody knows its name, or it is no file; it is left where it is.
    Nameless,
    /// The directory may not be written; it is left where it is.
    Denied(io::Error),
}

impl LockDir {
    /// Puts back this instance's files that a removal left aside. `name_of` knows a file's name by the run and the
    /// inode in its aside name, and by the key that it says it is of; where it does not, that key makes the name.
    ///
    /// # Errors
    /// If the directory cannot be opened or listed.
    pub fn put_back(
        &self,
        instance: &str,
        name_of: impl Fn(i64, u64, Option<&Key>) -> Option<String>,
    ) -> Result<Vec<PutBack>, ScanError> {
        let (dir, _) = self.open()?;
        let prefix = aside_prefix(instance);
        let fail = |errno: rustix::io::Errno| ScanError::Read {
            path: self.path.clone(),
            source: errno.into(),
        };
        let mut asides = Vec::new();
        for entry in Dir::read_from(dir.as_fd()).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_str().ok();
            asides.extend(name.filter(|name| name.starts_with(&prefix)).map(str::to_owned));
        }
        asides.sort_unstable();
        Ok(asides.into_iter().map(|aside| put_one_back(&dir, &prefix, aside, &name_of)).collect())
    }
}

fn put_one_back(
    dir: &OwnedFd,
    prefix: &str,
    aside: String,
    name_of: &impl Fn(i64, u64, Option<&Key>) -> Option<String>,
) -> PutBack {
    let content = match sight(dir, aside.as_str(), |_| false) {
        Ok(Sight::File(file)) => Some(file.content),
        // A file that may not be read may still be renamed.
        Ok(Sight::Refused) => None,
        Ok(Sight::NotAFile | Sight::Vanished) | Err(_) => {
            return PutBack { aside, file: None, outcome: PutBackOutcome::Nameless };
        }
    };
    let key = content.and_then(|content| parse::content(&content).ok()?.key());
    let file = run_and_inode(&aside, prefix)
        .and_then(|(run, inode)| name_of(run, inode, key.as_ref()))
        .or_else(|| key.as_ref().map(parse::canonical_name))
        .filter(|name| is_lock_name(name));
    let outcome = match file.as_deref().map(|file| remove::put_back(dir, &aside, file)) {
        None => PutBackOutcome::Nameless,
        Some(Ok(Back::Restored)) => PutBackOutcome::Restored,
        Some(Ok(Back::NewerWins)) => PutBackOutcome::NewerWins,
        Some(Err(errno)) => PutBackOutcome::Denied(errno.into()),
    };
    PutBack { aside, file, outcome }
}

/// `.procwarden.<hash>.<run>.<inode>`
fn run_and_inode(aside: &str, prefix: &str) -> Option<(i64, u64)> {
    let (run, inode) = aside.strip_prefix(prefix)?.split_once('.')?;
    Some((run.parse().ok()?, inode.parse().ok()?))
}

/// A name inside the directory that a lock may have: an id from a file must not lead out of it.
pub(super) fn is_lock_name(name: &str) -> bool {
    name.strip_suffix(".lock").is_some()
        && name.len() <= NAME_MAX
        && !name.contains(['/', '\0'])
        && !name.starts_with(ASIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aside_name() {
        let prefix = aside_prefix("host");
        assert_eq!(prefix.len(), ".procwarden.01234567.".len());
        assert_ne!(prefix, aside_prefix("other"));
        assert_eq!(run_and_inode(&format!("{prefix}3.99"), &prefix), Some((3, 99)));
        for other in ["3", "x.9", "3.", "3.9.1"] {
            assert_eq!(run_and_inode(&format!("{prefix}{other}"), &prefix), None, "{other}");
        }
    }

    #[test]
    fn names_that_lead_out() {
        assert!(is_lock_name("a-1.lock"));
        for name in ["../a-1.lock", "a/b.lock", "/a.lock", "a", ".procwarden.x.lock", "a\0.lock"] {
            assert!(!is_lock_name(name), "{name:?}");
        }
        assert!(!is_lock_name(&format!("{}.lock", "a".repeat(251))));
    }
}
