//! One look at the whole directory.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, PoisonError};

use rustix::fs::{FileType, RawDir, fstatfs};
use rustix::io::Errno;

use super::classify::{Sorted, Trouble, Whose, sort_out};
use super::found::FoundLock;
use super::model::Looker;
use super::read::{Named, Names, Place};
use super::{ASIDE, LockDir, Scan, ScanError, parse};
use crate::clock;

/// What one call lists: some 400 names, whose files are looked at before the next call, so that what the listing says of
/// a name is milliseconds old when the name is opened.
const LISTED: usize = 32 * 1024;

/// Names that are asked for by name at once: as many as a call lists.
const AT_ONCE: usize = 400;

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
        self.scan_passing(&|| ())
    }

    /// The scan, telling each time that it has asked and not kept yet.
    pub(super) fn scan_passing(&self, pass: &impl Fn()) -> Result<Scan, ScanError> {
        let mut last = self.scanning.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.place()?;
        let looker = self.model().begin_scan();
        let mut unnamed = Vec::new();
        let done = self.ask_all(&place, looker, pass, &mut unnamed);
        let found = {
            let mut model = self.model();
            model.end_scan(done.is_ok());
            done?;
            if !model.is_of(place.mark) {
                return Err(self.unreadable(Errno::STALE));
            }
            let version = model.version();
            if let Some(last) = &*last
                && last.version == version
                && last.unnamed == unnamed
            {
                return Ok(Scan { local_fs: place.local_fs, ..last.scan.clone() });
            }
            (version, Taken::of(model.all()))
        };
        let (version, taken) = found;
        let (locks, sorted) = taken.sort_out(&unnamed);
        let scan = Scan {
            dir: place.mark,
            local_fs: place.local_fs,
            locks: locks.into(),
            blocked: sorted.blocked,
            unreadable: sorted.unreadable,
            foreign: sorted.foreign,
        };
        *last = Some(Last { version, unnamed, scan: scan.clone() });
        Ok(scan)
    }

    /// Opens the directory; a look at it begins.
    pub(super) fn place(&self) -> Result<Place, ScanError> {
        let (dir, mark) = self.open()?;
        let local_fs = is_local(&dir);
        self.model().begin(mark, clock::now());
        Ok(Place { dir, mark, local_fs })
    }

    fn ask_all(
        &self,
        place: &Place,
        looker: Looker,
        pass: &impl Fn(),
        unnamed: &mut Vec<String>,
    ) -> Result<(), ScanError> {
        let mut note = |named: Named<'_>| {
            if let Named::Bytes(name) = named {
                unnamed.push(name.to_string_lossy().into_owned());
            }
        };
        let mut buffer = vec![MaybeUninit::uninit(); LISTED];
        let mut listing = RawDir::new(place.dir.as_fd(), &mut buffer);
        let mut names = Names::default();
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(|errno| self.unreadable(errno))?;
            if is_lock(entry.file_name()) {
                names.push(entry.file_name(), entry.file_type() == FileType::RegularFile);
            }
            if listing.is_buffer_empty() {
                self.read(place, &names, looker, pass, &mut note)?;
                names.clear();
            }
        }
        // A listing may miss a file that is replaced meanwhile.
        let unlisted = self.model().unlisted(looker);
        for some in unlisted.chunks(AT_ONCE) {
            let names = Names::of(some.iter().map(|name| &**name));
            self.read(place, &names, looker, pass, &mut note)?;
        }
        Ok(())
    }
}

/// What a scan found: the next one has the same to tell if nothing moved since.
#[derive(Debug)]
pub(super) struct Last {
    version: u64,
    unnamed: Vec<String>,
    scan: Scan,
}

/// All that was seen.
#[derive(Debug, Default)]
struct Taken {
    /// Locks that bear their own name and with which nothing is wrong, by the first bytes of their names: to sort them
    /// without going to each name.
    plain: Vec<(u128, Arc<FoundLock>)>,
    odd: Vec<(String, Whose)>,
}

impl Taken {
    fn of<'a>(files: impl Iterator<Item = (&'a str, &'a Whose)>) -> Self {
        let mut taken = Self::default();
        for (name, whose) in files {
            match whose {
                Whose::Lock(found, None) if found.own_name => {
                    taken.plain.push((first_bytes(name), Arc::clone(found)));
                }
                whose => taken.odd.push((name.to_owned(), whose.clone())),
            }
        }
        taken
    }

    /// Which lock is judged for each key, ordered by name, and what else there is.
    fn sort_out(mut self, unnamed: &[String]) -> (Vec<Arc<FoundLock>>, Sorted) {
        self.plain.sort_unstable_by(|(a, one), (b, other)| {
            a.cmp(b).then_with(|| one.lock.file.cmp(&other.lock.file))
        });
        let mut files = std::mem::take(&mut self.odd);
        // What is plain stays so unless another file claims its key.
        let mut claimed: Vec<usize> = files
            .iter()
            .flat_map(|(_, whose)| whose.keys())
            .filter_map(|key| self.position(&parse::canonical_name(key)))
            .collect();
        claimed.sort_unstable();
        claimed.dedup();
        for at in claimed.into_iter().rev() {
            let (_, found) = self.plain.remove(at);
            files.push((found.lock.file.to_string(), Whose::Lock(found, None)));
        }
        files.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut sorted = sort_out(files);
        for name in unnamed {
            sorted.tell(name, Trouble::NotUtf8);
        }
        let mut sorted = sorted.told();
        let mut locks: Vec<_> = self.plain.into_iter().map(|(_, found)| found).collect();
        if !sorted.locks.is_empty() {
            locks.append(&mut sorted.locks);
            locks.sort_by(|a, b| a.lock.file.cmp(&b.lock.file));
        }
        (locks, sorted)
    }

    fn position(&self, name: &str) -> Option<usize> {
        let first = first_bytes(name);
        let order = |(bytes, found): &(u128, Arc<FoundLock>)| {
            bytes.cmp(&first).then_with(|| (*found.lock.file).cmp(name))
        };
        self.plain.binary_search_by(order).ok()
    }
}

/// The first 16 bytes of a name, in the order of names: a shorter one comes first.
fn first_bytes(name: &str) -> u128 {
    let mut first = [0; 16];
    first.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    u128::from_be_bytes(first)
}

/// Is it the name of a lock, and none of ours?
fn is_lock(name: &CStr) -> bool {
    let bytes = name.to_bytes();
    bytes.ends_with(b".lock") && !bytes.starts_with(ASIDE.as_bytes())
}

/// Does only this machine write here? A file system that does not tell its kind is not called local.
pub(super) fn is_local(dir: &OwnedFd) -> bool {
    fstatfs(dir).is_ok_and(|fs| {
        // Where the field is a signed word, the large magic numbers come as negative ones.
        u32::try_from(fs.f_type & 0xFFFF_FFFF).is_ok_and(|kind| !SHARED_FS.contains(&kind))
    })
}
