//! One look at the whole directory.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, PoisonError};

use rustix::fs::{Dir, fstatfs};
use rustix::io::Errno;

use super::classify::{Trouble, sort_out, whose};
use super::file::{Sight, sight};
use super::{ASIDE, KeySight, LockDir, PartScan, Scan, ScanError, Seen};
use crate::domain::Key;
use crate::domain::migration::DirMark;

/// `f_type` of file systems that other machines, or other worlds on this one, write to as well
/// (the kernel's `include/uapi/linux/magic.h` and the file systems' own sources).
const SHARED_FS: [u32; 18] = [
    0x0000_6969, // NFS
    0x0000_517B, // SMB
    0xFF53_4D42, // CIFS
    0xFE53_4D42, // SMB2
    0x6573_5546, // FUSE, virtiofs
    0x0102_1997, // 9p
    0x00C3_6400, // Ceph
    0x5346_414F, // OpenAFS
    0x6B41_4653, // AFS of the kernel
    0x7375_7245, // Coda
    0x0000_564C, // NCP
    0x0BD0_0BD0, // Lustre
    0x4750_4653, // GPFS
    0x7461_636F, // OCFS2
    0x0116_1970, // GFS2
    0x786F_4256, // VirtualBox shared folders
    0xBACB_ACBC, // VMware shared folders
    0x2003_0528, // OrangeFS
];

impl LockDir {
    /// What stands in the directory now.
    ///
    /// # Errors
    /// If the directory cannot be opened or listed. A file that is wrong in any way is never an error.
    pub fn scan(&self) -> Result<Scan, ScanError> {
        let (dir, mark) = self.open()?;
        let fail =
            |source: Errno| ScanError::Read { path: self.path.clone(), source: source.into() };
        let known = self.known(mark);
        let mut names = list(&dir).map_err(fail)?;
        names.extend(known.keys().filter_map(|name| CString::new(name.as_str()).ok()));
        let mut files = Vec::with_capacity(names.len());
        let mut unnamed = Vec::new();
        for name in names {
            let seen = sight(&dir, name.as_c_str()).map_err(fail)?;
            match name.to_str() {
                Ok(name) => {
                    let whose = whose(name, seen, known.get(name), mark);
                    files.extend(whose.map(|whose| (name.to_owned(), whose)));
                }
                Err(_) if matches!(seen, Sight::Vanished) => {}
                Err(_) => unnamed.push(name),
            }
        }
        let mut sorted = sort_out(files);
        for name in unnamed {
            sorted.tell(&name.to_string_lossy(), Trouble::NotUtf8);
        }
        let sorted = sorted.told();
        self.remember(mark, sorted.keys);
        Ok(Scan {
            dir: mark,
            local_fs: is_local(&dir),
            locks: sorted.locks,
            blocked: sorted.blocked,
            unreadable: sorted.unreadable,
            foreign: sorted.foreign,
        })
    }

    /// What stands in the directory now for these keys, and for those that the files of these names stand or stood for.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub fn look(
        &self,
        keys: &BTreeSet<Key>,
        _names: &BTreeSet<String>,
    ) -> Result<PartScan, ScanError> {
        let scan = self.scan()?;
        let sight = |key: &Key| match scan.locks.iter().find(|found| found.key == *key) {
            Some(found) => KeySight::Found(Arc::clone(found)),
            None if scan.blocked.contains(key) => KeySight::Blocked,
            None => KeySight::Absent,
        };
        let keys = keys.iter().map(|key| (key.clone(), sight(key))).collect();
        Ok(PartScan { dir: scan.dir, local_fs: scan.local_fs, keys })
    }

    /// Which files stood for which keys at the last scan of this directory.
    fn known(&self, dir: DirMark) -> HashMap<String, Key> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.dir == Some(dir) { seen.keys.clone() } else { HashMap::new() }
    }

    fn remember(&self, dir: DirMark, keys: HashMap<String, Key>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { dir: Some(dir), keys };
    }
}

/// The names of all locks, in the order of their bytes.
fn list(dir: &OwnedFd) -> Result<BTreeSet<CString>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(dir.as_fd())? {
        let name = entry?.file_name().to_owned();
        let bytes = name.to_bytes();
        if bytes.ends_with(b".lock") && !bytes.starts_with(ASIDE.as_bytes()) {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Does only this machine write here? A file system that does not tell its kind is not called local.
fn is_local(dir: &OwnedFd) -> bool {
    fstatfs(dir).is_ok_and(|fs| {
        // Where the field is a signed word, the large magic numbers come as negative ones.
        u32::try_from(fs.f_type & 0xFFFF_FFFF).is_ok_and(|kind| !SHARED_FS.contains(&kind))
    })
}
