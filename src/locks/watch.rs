//! The kernel tells which names in the lock directory changed (`inotify(7)`).
//!
//! It is a hint to look, and not always given: the queue overflows, a file system that other machines write to tells
//! nothing of them, and a directory that another takes the place of is watched on under its new name. So a whole scan is
//! taken at each interval in any case, and shows by its mark whether this is still the directory that is watched.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::put_back::is_lock_name;
use super::read::Place;
use super::{LockDir, ScanError};
use crate::domain::migration::DirMark;
use crate::reactor::readable;

/// Room for what is read in one call, in bytes: an event is 16 and its name, at most 272 in all.
const ROOM: usize = 16 * 1024;

/// Names that one change gathers: beyond that a scan of everything costs less than a look at each.
const GATHERED: usize = 16_384;

/// Why the kernel does not tell of changes.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The directory cannot be opened.
    #[error(transparent)]
    Directory(#[from] ScanError),
    /// What other machines do there is told to none of them.
    #[error("the file system of the lock directory is shared with other machines")]
    Shared,
    /// The kernel has no inotify, or a filter forbids it.
    #[error("no inotify: {0}")]
    Unsupported(#[source] io::Error),
    /// Too many for this user, or too many files open.
    #[error("out of inotify instances (fs.inotify.max_user_instances) or of descriptors: {0}")]
    Instances(#[source] io::Error),
    /// Too many for this user.
    #[error("out of inotify watches (fs.inotify.max_user_watches): {0}")]
    Watches(#[source] io::Error),
    /// Another directory took its place at this moment; the next try may succeed.
    #[error("the lock directory was replaced while its watch began")]
    Replaced,
    /// Another refusal, of memory for example.
    #[error("cannot watch the lock directory: {0}")]
    Other(#[source] io::Error),
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The files of these names, all of them such as a lock may have.
    Names(BTreeSet<String>),
    /// Anything may have, for this reason: everything is to be looked at. The watch may have ended, and then nothing more
    /// comes of it: a new one is needed after each.
    All(&'static str),
}

/// A directory that is watched.
#[derive(Debug)]
pub struct DirWatch {
    inotify: AsyncFd<OwnedFd>,
    dir: DirMark,
}

impl LockDir {
    /// Watches the directory that stands at the path now. It blocks while the file system does, and needs a runtime:
    /// `spawn_blocking` gives both.
    ///
    /// # Errors
    /// Where the kernel does not tell of changes, and if the directory cannot be opened.
    pub fn watch(&self) -> Result<DirWatch, WatchError> {
        let place = self.place()?;
        if !place.local_fs {
            return Err(WatchError::Shared);
        }
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(
            |errno| match errno {
                Errno::MFILE | Errno::NFILE => WatchError::Instances(errno.into()),
                Errno::NOSYS | Errno::PERM | Errno::ACCESS => WatchError::Unsupported(errno.into()),
                _ => WatchError::Other(errno.into()),
            },
        )?;
        self.add(&inotify, &place)?;
        let inotify = readable(inotify).map_err(WatchError::Other)?;
        Ok(DirWatch { inotify, dir: place.mark })
    }

    /// By the descriptor, so that the directory that is watched is the one that was opened; where `/proc` is hidden by
    /// the path, and then it is seen whether that still leads there.
    fn add(&self, inotify: &OwnedFd, place: &Place) -> Result<(), WatchError> {
        let opened = format!("/proc/self/fd/{}", place.dir.as_raw_fd());
        match inotify::add_watch(inotify, opened, flags()) {
            Ok(_) => return Ok(()),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
            Err(errno) => return Err(refused(errno)),
        }
        inotify::add_watch(inotify, &self.path, flags()).map_err(refused)?;
        let (_, mark) = self.open()?;
        if mark == place.mark { Ok(()) } else { Err(WatchError::Replaced) }
    }
}

/// A file that is being written is told of when its writer closes it. ATTRIB: it may be read from now on, or its time
/// was set.
fn flags() -> WatchFlags {
    WatchFlags::CREATE
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::DELETE
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR
        | WatchFlags::EXCL_UNLINK
}

fn refused(errno: Errno) -> WatchError {
    match errno {
        Errno::NOSPC => WatchError::Watches(errno.into()),
        Errno::NOSYS | Errno::PERM => WatchError::Unsupported(errno.into()),
        _ => WatchError::Other(errno.into()),
    }
}

impl DirWatch {
    /// Which directory is watched.
    #[must_use]
    pub fn dir(&self) -> DirMark {
        self.dir
    }

    /// Waits for a change. Everything that is known by then is one change. It may be given up and asked again.
    pub async fn next(&mut self) -> Change {
        loop {
            let Ok(mut ready) = self.inotify.readable().await else {
                return Change::All("the reactor is gone");
            };
            let Ok(gathered) = gather(ready.get_inner()) else {
                return Change::All("the events cannot be read");
            };
            if gathered.is_drained {
                ready.clear_ready();
            }
            if let Some(why) = gathered.all {
                return Change::All(why);
            }
            if !gathered.names.is_empty() {
                return Change::Names(gathered.names);
            }
        }
    }
}

/// What was read at once.
#[derive(Debug, Default)]
struct Gathered {
    names: BTreeSet<String>,
    /// Why everything is to be looked at.
    all: Option<&'static str>,
    /// There was nothing more.
    is_drained: bool,
}

fn gather(inotify: &OwnedFd) -> Result<Gathered, Errno> {
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut reader = Reader::new(inotify, &mut room);
    let mut gathered = Gathered::default();
    // What was read is taken to its end: it comes once.
    while gathered.names.len() < GATHERED || !reader.is_buffer_empty() {
        let event = match reader.next() {
            Ok(event) => event,
            Err(Errno::WOULDBLOCK) => {
                gathered.is_drained = true;
                break;
            }
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        gathered.all = gathered.all.or_else(|| whole(event.events()));
        let name = event.file_name().and_then(|name| name.to_str().ok());
        if let Some(name) = name.filter(|name| is_lock_name(name)) {
            gathered.names.insert(name.to_owned());
        }
    }
    Ok(gathered)
}

/// Why everything is to be looked at, if it is.
fn whole(events: ReadFlags) -> Option<&'static str> {
    let reasons = [
        (ReadFlags::QUEUE_OVERFLOW, "more changed than the kernel keeps"),
        (ReadFlags::UNMOUNT, "the file system of the lock directory was unmounted"),
        (ReadFlags::DELETE_SELF, "the lock directory was removed"),
        (ReadFlags::MOVE_SELF, "the lock directory was moved"),
        (ReadFlags::IGNORED, "the lock directory is watched no more"),
    ];
    reasons.into_iter().find(|(flag, _)| events.contains(*flag)).map(|(_, why)| why)
}

#[cfg(test)]
mod tests;
