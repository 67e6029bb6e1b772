//! One file of the directory, read with bounds and without following anything.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::{Errno, pread, retry_on_intr};
use rustix::path::Arg;

use crate::domain::migration::Mark;

/// The largest lock that is read; real ones are under 1 KiB.
pub(super) const LIMIT: usize = 64 * 1024;

/// What is read at first: more than real ones have.
pub(super) const SMALL: usize = 1024;

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

/// Which file it is and when it was touched last: the kernel moves one of these with every write, and `ctime` with every
/// rename and change of its rights as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) mark: Mark,
    /// Nanoseconds since the Unix epoch; no program sets it.
    pub(super) ctime_ns: i64,
}

impl Stamp {
    /// The later of its times, nanoseconds since the Unix epoch.
    pub(super) fn touched_ns(&self) -> i64 {
        self.ctime_ns.max(self.mark.mtime_ns)
    }
}

/// A regular file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Which file it was before the reading.
    pub(super) stamp: Stamp,
    /// The first [`LIMIT`] bytes.
    pub(super) content: Arc<[u8]>,
    /// There are more.
    pub(super) is_cut: bool,
    /// It was the same after the reading.
    pub(super) stood_still: bool,
}

/// Reads what `name` stands for in `dir`.
///
/// An error says something about this process or machine (descriptors, memory), not about the file.
pub(super) fn sight<P: Arg + Copy>(
    dir: &OwnedFd,
    name: P,
    settled: impl Fn(&Stamp) -> bool,
) -> Result<Sight, Errno> {
    match stamp_of(dir, name)? {
        Ok(_) => read_file(dir, name, settled),
        Err(other) => Ok(other),
    }
}

/// Which file `name` stands for in `dir`, without opening it; else what it is instead. An error as for [`sight`].
pub(super) fn stamp_of<P: Arg>(dir: &OwnedFd, name: P) -> Result<Result<Stamp, Sight>, Errno> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if is_file(&stat) => Ok(Ok(stamp(&stat))),
        Ok(_) => Ok(Err(Sight::NotAFile)),
        Err(errno) => refused(errno).map(Err),
    }
}

/// Reads a file of which it is known that it is one: opening a device or a FIFO can have effects, so its kind is asked
/// first, here or by the listing. An error as for [`sight`].
///
/// Where its times were `settled` before it was read, a write meanwhile gives it others, which the next look sees: it
/// counts as standing still if it gave as many bytes as it has, and is not asked again.
pub(super) fn read_file<P: Arg>(
    dir: &OwnedFd,
    name: P,
    settled: impl Fn(&Stamp) -> bool,
) -> Result<Sight, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(dir, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(errno) => return refused(errno),
    };
    let mut last = None;
    for _ in 0..TRIES {
        let before = match fstat(&file) {
            Ok(stat) if is_file(&stat) => stamp(&stat),
            Ok(_) => return Ok(Sight::NotAFile),
            Err(errno) => return refused(errno),
        };
        let (content, is_cut) = match content(&file, before.mark.size) {
            Ok(read) => read,
            Err(errno) => return refused(errno),
        };
        let is_whole = u64::try_from(content.len()) == Ok(before.mark.size);
        let stood_still = (is_whole && settled(&before))
            || fstat(&file).is_ok_and(|after| stamp(&after) == before);
        last = Some(File { stamp: before, content, is_cut, stood_still });
        if stood_still {
            break;
        }
    }
    // Where it never stood still, the mark is older than the content, and no comparison will find them again.
    Ok(last.map_or(Sight::Refused, Sight::File))
}

fn stamp(stat: &Stat) -> Stamp {
    Stamp { mark: mark(stat), ctime_ns: nanos(stat.st_ctime, stat.st_ctime_nsec) }
}

/// Which file this is and how it was written last.
pub(super) fn mark(stat: &Stat) -> Mark {
    Mark {
        dev: stat.st_dev,
        ino: stat.st_ino,
        mtime_ns: nanos(stat.st_mtime, stat.st_mtime_nsec),
        size: u64::try_from(stat.st_size).unwrap_or(0),
    }
}

fn nanos(secs: i64, nanos: impl TryInto<i64>) -> i64 {
    secs.saturating_mul(1_000_000_000).saturating_add(nanos.try_into().unwrap_or(0))
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// The content, and whether there is more of it. A file of `size` bytes that gave as many has ended, as long as it stood
/// still; that saves a call for each.
fn content(file: &OwnedFd, size: u64) -> Result<(Arc<[u8]>, bool), Errno> {
    let mut small = [0_u8; SMALL];
    let first = retry_on_intr(|| pread(file, &mut small, 0))?;
    let read = small.get(..first).unwrap_or_default();
    if first < SMALL && u64::try_from(first) == Ok(size) {
        return Ok((read.into(), false));
    }
    let mut content = read.to_vec();
    let mut chunk = [0_u8; 4096];
    while content.len() <= LIMIT {
        let count = retry_on_intr(|| pread(file, &mut chunk, content.len() as u64))?;
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
