//! The lock directory: what locks stand in it, whose they are, and their verified removal.
//!
//! Every file is opened relative to the directory's descriptor and never through a symlink, so nothing outside it
//! is read, renamed or removed, whatever is put into it. procwarden never writes into a lock. Everything here
//! blocks; asynchronous callers use `spawn_blocking`.

#[cfg(feature = "bench")]
pub mod bench;
mod classify;
mod fields;
mod file;
mod found;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod gate;
mod look;
mod missing;
mod model;
mod parse;
mod put_back;
mod read;
mod remove;
mod scan;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use md5::{Digest, Md5};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;

pub use classify::Trouble;
pub use found::FoundLock;
pub use gate::Entered;
pub use put_back::{PutBack, PutBackOutcome};
pub use remove::{Removal, RemoveError};
pub use watch::{Change, DirWatch, WatchError};

use model::Model;

use crate::domain::Key;
use crate::domain::migration::DirMark;
use crate::domain::reconcile::LockSight;
use crate::snapshot::Unreadable;

/// The key that a lock's name tells, if it does.
#[must_use]
pub fn key_in_name(name: &str) -> Option<Key> {
    parse::name(name)
}

/// What every name of ours in the directory starts with; none of them ends in `.lock`.
const ASIDE: &str = ".procwarden.";

/// Why the directory could not be read. Nothing follows from it for any lock.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// There is none.
    #[error("the lock directory {} does not exist{}", path.display(), Missing::told(cause.as_deref()))]
    Missing {
        /// As it was given.
        path: PathBuf,
        /// The likely cause, where one is known.
        cause: Option<String>,
    },
    /// It is no directory, or not ours to open.
    #[error("cannot open the lock directory {}", path.display())]
    Open {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its listing failed, or this process or machine is out of descriptors or memory.
    #[error("cannot read the lock directory {}", path.display())]
    Read {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ScanError {
    /// Is there no such directory?
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

/// What stands in the directory.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Which directory it was.
    pub dir: DirMark,
    /// Whether only this machine writes to its file system (not NFS, CIFS, FUSE, 9p and the like).
    pub local_fs: bool,
    /// The locks to judge, one for each key, ordered by file name.
    pub locks: Arc<[Arc<FoundLock>]>,
    /// Keys that something stands for which cannot be judged; none of them is in `locks`.
    pub blocked: HashSet<Key>,
    /// What is wrong with which file, ordered by name; the first 1000.
    pub unreadable: Vec<Unreadable>,
    /// Other `*.lock` files: counted, never touched.
    pub foreign: u64,
}

impl Scan {
    /// What this scan showed for one key.
    #[must_use]
    pub fn sight(&self, key: &Key) -> LockSight {
        match self.locks.iter().find(|found| found.key == *key) {
            Some(found) => LockSight::Present(found.lock.clone()),
            None if self.blocked.contains(key) => LockSight::Blocked,
            None => LockSight::Absent,
        }
    }
}

/// What stands in the directory for some keys.
#[derive(Debug, Clone)]
pub struct PartScan {
    /// Which directory it was.
    pub dir: DirMark,
    /// Whether only this machine writes to its file system.
    pub local_fs: bool,
    /// Each key that was asked for, or that one of the files stands or stood for.
    pub keys: BTreeMap<Key, KeySight>,
    /// That something is gone takes a pass over the whole directory, and those are rationed: some of these keys are only
    /// blocked because it is too soon for one. It is not after this time.
    pub again: Option<Duration>,
}

/// What stands there for one key.
#[derive(Debug, Clone, PartialEq)]
pub enum KeySight {
    /// The lock.
    Found(Arc<FoundLock>),
    /// Something that cannot be judged.
    Blocked,
    /// Nothing.
    Absent,
}

/// A lock directory; cheap to clone.
#[derive(Debug, Clone)]
pub struct LockDir {
    path: PathBuf,
    /// What shows that this is a container.
    container: Option<Arc<str>>,
    model: Arc<Mutex<Model>>,
    /// Held by the one whole scan that is under way; what the last one found.
    scanning: Arc<Mutex<Option<scan::Last>>>,
    /// The last whole scan that a partial look needed.
    spent: Arc<Mutex<Option<look::Spent>>>,
    missing: Arc<Mutex<Missing>>,
    /// Calls under way that may hang.
    entered: Arc<AtomicUsize>,
}

/// What was found out when the directory was missed first; forgotten when it appears.
#[derive(Debug, Default)]
struct Missing {
    looked: bool,
    cause: Option<String>,
}

impl Missing {
    /// As the end of a sentence.
    fn told(cause: Option<&str>) -> String {
        cause.map(|cause| format!("; {cause}")).unwrap_or_default()
    }
}

impl LockDir {
    /// The directory at `path`; it need not exist yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            container: None,
            model: Arc::default(),
            scanning: Arc::default(),
            spent: Arc::default(),
            missing: Arc::default(),
            entered: Arc::default(),
        }
    }

    /// The same for a process of which this shows that it runs in a container; for what is said where it is missing.
    #[must_use]
    pub fn within(mut self, container: Option<&str>) -> Self {
        self.container = container.map(Arc::from);
        self
    }

    /// Says why there is no such directory; `None` where there is one, or something else in its place.
    #[must_use]
    pub fn missing(&self) -> Option<ScanError> {
        self.open().err().filter(ScanError::is_missing)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Result<(OwnedFd, DirMark), ScanError> {
        let fail = |source: Errno| match source {
            Errno::NOENT => self.not_there(),
            source => ScanError::Open { path: self.path.clone(), source: source.into() },
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let dir = openat(CWD, &self.path, flags, Mode::empty()).map_err(fail)?;
        let stat = fstat(&dir).map_err(fail)?;
        self.check_way(&stat).map_err(fail)?;
        *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = Missing::default();
        Ok((dir, DirMark { dev: stat.st_dev, ino: stat.st_ino }))
    }

    /// Did nobody lead us there who may not? The last name of the path may be a symlink, as a release has it, of root's, of
    /// our own user's or of whose the directory is: the rule of `fs.protected_symlinks`, which the kernel keeps only in
    /// directories like `/tmp`. One of somebody else could lead removals to where that one may not write.
    fn check_way(&self, opened: &Stat) -> Result<(), Errno> {
        // Without a slash at its end, behind which a symlink could not be told from what it leads to.
        let path: PathBuf = self.path.components().collect();
        let way = statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_theirs = || [0, geteuid().as_raw(), opened.st_uid].contains(&way.st_uid);
        match FileType::from_raw_mode(way.st_mode) {
            FileType::Symlink if is_theirs() => Ok(()),
            FileType::Symlink => Err(Errno::LOOP),
            // Replaced between the two calls: the next look sees one of them.
            _ if (way.st_dev, way.st_ino) != (opened.st_dev, opened.st_ino) => Err(Errno::STALE),
            _ => Ok(()),
        }
    }

    /// The cause is looked for once, when the directory is missed first: others' file systems are slow to ask.
    fn not_there(&self) -> ScanError {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if !missing.looked {
            let cause = missing::likely_cause(&self.path, self.container.as_deref());
            *missing = Missing { looked: true, cause };
        }
        ScanError::Missing { path: self.path.clone(), cause: missing.cause.clone() }
    }
}

/// What the aside names of one instance start with: eight hexadecimal digits of the MD5 of its name, so that any
/// name of an instance makes a file name, and another instance's asides are left alone.
fn aside_prefix(instance: &str) -> String {
    let hash = Md5::digest(instance.as_bytes());
    let first = hash.iter().take(4).fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    format!("{ASIDE}{first:08x}.")
}
