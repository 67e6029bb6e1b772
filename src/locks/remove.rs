//! The verified removal of a lock: aside, compare, compare again, unlink; or back.
//!
//! A lock may be replaced or rewritten at any moment by a runner that knows nothing of us. The rename takes one file
//! out of its place atomically; only then is it certain which one it was.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::file::{Sight, mark, sight};
use super::{FoundLock, LockDir, ScanError, aside_prefix};
use crate::domain::migration::Mark;
use crate::failpoint;

/// How a removal ended.
#[derive(Debug)]
pub enum Removal {
    /// The file that was judged is gone.
    Removed,
    /// It was no longer what was judged; it stands in its place as if nothing had been tried.
    Changed,
    /// It was no longer what was judged, and another lock has taken its place: that one stands.
    NewerWins,
    /// It was gone already.
    Vanished,
    /// The directory may not be written; nothing changed.
    Denied(io::Error),
}

/// Why it cannot be said that a removal ended well.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The directory cannot be opened.
    #[error(transparent)]
    Directory(#[from] ScanError),
    /// Another directory stands under the path than the one that was judged; nothing was touched.
    #[error("the lock directory is another one than when {file} was judged")]
    OtherDirectory {
        /// The lock.
        file: String,
    },
    /// The file could not be taken out of its place, for another reason than permissions.
    #[error("cannot move {file} aside")]
    Aside {
        /// The lock.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file stands aside and could be neither removed nor put back; the next start tries again.
    #[error("{file} is left aside as {aside}")]
    Left {
        /// The lock.
        file: String,
        /// Where it is now.
        aside: String,
        /// What the system said.
        source: io::Error,
    },
}

/// How a file was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    /// It stands in its place.
    Restored,
    /// Another stands there; this one was dropped.
    NewerWins,
}

impl LockDir {
    /// Removes the lock that was judged, and no other. `run` is the run of its row; `instance` names whose aside it is.
    ///
    /// # Errors
    /// If the directory is another one or cannot be opened, or if the file can be moved neither on nor back.
    pub fn remove(
        &self,
        found: &FoundLock,
        run: i64,
        instance: &str,
    ) -> Result<Removal, RemoveError> {
        self.remove_passing(found, run, instance, failpoint::at)
    }

    /// The removal, telling each place that it passes.
    pub(super) fn remove_passing(
        &self,
        found: &FoundLock,
        run: i64,
        instance: &str,
        pass: impl Fn(&str),
    ) -> Result<Removal, RemoveError> {
        let (dir, mark) = self.open()?;
        let file = &*found.lock.file;
        if mark != found.dir {
            return Err(RemoveError::OtherDirectory { file: file.to_owned() });
        }
        match mark_of(&dir, file) {
            Ok(now) if now == found.lock.mark => {}
            Ok(_) => return Ok(Removal::Changed),
            Err(Errno::NOENT) => return Ok(Removal::Vanished),
            Err(errno) => return refused(errno, file),
        }
        pass("lock-before-rename");
        let aside = format!("{}{run}.{}", aside_prefix(instance), found.lock.mark.ino);
        match set_aside(&dir, file, &aside) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Removal::Vanished),
            Err(errno) => return refused(errno, file),
        }
        pass("lock-renamed");
        let first = is_judged(&dir, &aside, found);
        pass("lock-compared");
        if !(first && is_judged(&dir, &aside, found)) {
            return Ok(match restore(&dir, file, &aside)? {
                Back::Restored => Removal::Changed,
                Back::NewerWins => Removal::NewerWins,
            });
        }
        match unlinkat(&dir, &aside, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {
                pass("lock-unlinked");
                Ok(Removal::Removed)
            }
            Err(errno) => {
                restore(&dir, file, &aside)?;
                Ok(Removal::Denied(errno.into()))
            }
        }
    }
}

fn restore(dir: &OwnedFd, file: &str, aside: &str) -> Result<Back, RemoveError> {
    put_back(dir, aside, file).map_err(|errno| RemoveError::Left {
        file: file.to_owned(),
        aside: aside.to_owned(),
        source: errno.into(),
    })
}

fn refused(errno: Errno, file: &str) -> Result<Removal, RemoveError> {
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Ok(Removal::Denied(errno.into())),
        _ => Err(RemoveError::Aside { file: file.to_owned(), source: errno.into() }),
    }
}

fn mark_of(dir: &OwnedFd, name: &str) -> Result<Mark, Errno> {
    statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| mark(&stat))
}

/// Moves a file to a name of ours; never onto another file.
fn set_aside(dir: &OwnedFd, file: &str, aside: &str) -> Result<(), Errno> {
    match renameat_with(dir, file, dir, aside, RenameFlags::NOREPLACE) {
        Err(errno) if lacks_noreplace(errno) => {}
        other => return other,
    }
    // Nobody but this instance makes that name, so that it is free now is enough.
    match mark_of(dir, aside) {
        Err(Errno::NOENT) => renameat(dir, file, dir, aside),
        Ok(_) => Err(Errno::EXIST),
        Err(errno) => Err(errno),
    }
}

/// Moves a file from a name of ours to its own, unless something stands there: then it is dropped.
pub(super) fn put_back(dir: &OwnedFd, aside: &str, file: &str) -> Result<Back, Errno> {
    let moved = match renameat_with(dir, aside, dir, file, RenameFlags::NOREPLACE) {
        // A hard link does not replace anything either; it may be refused for a file that is another user's.
        Err(errno) if lacks_noreplace(errno) => linkat(dir, aside, dir, file, AtFlags::empty())
            .and_then(|()| unlinkat(dir, aside, AtFlags::empty())),
        other => other,
    };
    match moved {
        Ok(()) => Ok(Back::Restored),
        Err(Errno::EXIST) => {
            unlinkat(dir, aside, AtFlags::empty())?;
            Ok(Back::NewerWins)
        }
        Err(errno) => Err(errno),
    }
}

/// `renameat2(2)`: EINVAL where the file system, ENOSYS where the kernel does not know the flag.
const fn lacks_noreplace(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

fn is_judged(dir: &OwnedFd, aside: &str, found: &FoundLock) -> bool {
    match sight(dir, aside, |_| false) {
        Ok(Sight::File(file)) => {
            file.stamp.mark == found.lock.mark && file.content == found.content
        }
        Ok(Sight::NotAFile | Sight::Refused | Sight::Vanished) | Err(_) => false,
    }
}
