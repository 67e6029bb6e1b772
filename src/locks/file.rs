//! One file of the directory, read with bounds and without following anything.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::{Errno, read, retry_on_intr};
use rustix::path::Arg;

use crate::domain::migration::Mark;

/// The largest lock that is read; real ones are under 1 KiB.
pub(super) const LIMIT: usize = 64 * 1024;

/// How often a file is read again that changes while it is read.
const TRIES: usize = 3;

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Sight {
    /// A regular file.
    File(File),
    /// A symlink, FIFO, directory, socket or device.
    NotAFile,
    /// A file that cannot be read.
    Refused,
    /// Nothing, by now.
    Vanished,
}

/// A regular file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Which file it was before the reading.
    pub(super) mark: Mark,
    /// The first [`LIMIT`] bytes.
    pub(super) content: Arc<[u8]>,
    /// There are more.
    pub(super) is_cut: bool,
}

/// Reads what `name` stands for in `dir`.
///
/// An error says something about this process or machine (descriptors, memory), not about the file.
pub(super) fn sight<P: Arg + Copy>(dir: &OwnedFd, name: P) -> Result<Sight, Errno> {
    // Opening a device or a FIFO can have effects, so its kind is asked first.
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if is_file(&stat) => {}
        Ok(_) => return Ok(Sight::NotAFile),
        Err(errno) => return refused(errno),
    }
    let flags =
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(dir, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(errno) => return refused(errno),
    };
    let mut last = None;
    for _ in 0..TRIES {
        let stat = match fstat(&file) {
            Ok(stat) if is_file(&stat) => stat,
            Ok(_) => return Ok(Sight::NotAFile),
            Err(errno) => return refused(errno),
        };
        let before = mark(&stat);
        match content(&file) {
            Ok((content, is_cut)) => last = Some(File { mark: before, content, is_cut }),
            Err(errno) => return refused(errno),
        }
        if fstat(&file).is_ok_and(|after| mark(&after) == before) {
            break;
        }
    }
    // Where it never stood still, the mark is older than the content, and no comparison will find them again.
    Ok(last.map_or(Sight::Refused, Sight::File))
}

/// Which file this is and how it was written last.
pub(super) fn mark(stat: &Stat) -> Mark {
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Mark {
        dev: stat.st_dev,
        ino: stat.st_ino,
        mtime_ns: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanos),
        size: u64::try_from(stat.st_size).unwrap_or(0),
    }
}

pub(super) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn content(file: &OwnedFd) -> Result<(Arc<[u8]>, bool), Errno> {
    rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0))?;
    let mut content = Vec::new();
    let mut chunk = [0_u8; 4096];
    while content.len() <= LIMIT {
        let count = retry_on_intr(|| read(file, &mut chunk))?;
        match chunk.get(..count) {
            None | Some([]) => break,
            Some(read) => content.extend_from_slice(read),
        }
    }
    let is_cut = content.len() > LIMIT;
    content.truncate(LIMIT);
    Ok((content.into(), is_cut))
}

fn refused(errno: Errno) -> Result<Sight, Errno> {
    match errno {
        Errno::NOENT | Errno::STALE => Ok(Sight::Vanished),
        // It became a symlink, a FIFO without a writer, a socket or a device after the first look.
        Errno::LOOP | Errno::NXIO | Errno::NODEV | Errno::ISDIR => Ok(Sight::NotAFile),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOTDIR => Err(errno),
        _ => Ok(Sight::Refused),
    }
}
