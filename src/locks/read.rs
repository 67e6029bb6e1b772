//! Some names are looked at: what did not change is taken from the model, what did is read.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::sync::{Arc, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::classify::{Whose, whose};
use super::file::{File, SMALL, Sight, Stamp, read_file, sight, stamp_of};
use super::model::{Fresh, Known, Looker, Model, is_settled};
use super::{LockDir, ScanError};
use crate::clock;
use crate::domain::migration::DirMark;

/// The directory that is looked at.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: OwnedFd,
    pub(super) mark: DirMark,
    pub(super) local_fs: bool,
}

/// Some names, one after the other in one buffer, and which of them the listing says to be files.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    ends: Vec<(usize, bool)>,
}

impl Names {
    pub(super) fn push(&mut self, name: &CStr, is_file: bool) {
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        self.ends.push((self.bytes.len(), is_file));
    }

    /// Names of which nothing is known; one with a zero byte is none.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut all = Self::default();
        for name in names.filter_map(|name| CString::new(name).ok()) {
            all.push(&name, false);
        }
        all
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn iter(&self) -> impl Iterator<Item = (&CStr, bool)> {
        let mut begin = 0;
        self.ends.iter().filter_map(move |(end, is_file)| {
            let bytes = self.bytes.get(begin..*end)?;
            begin = *end;
            Some((CStr::from_bytes_with_nul(bytes).ok()?, *is_file))
        })
    }
}

/// One name on its way from what was known of it to what it is.
struct Under<'a> {
    name: &'a CStr,
    text: Option<&'a str>,
    is_file: bool,
    known: Known,
    /// None: it is what it was.
    fresh: Option<Fresh>,
}

impl LockDir {
    /// Looks at these names and keeps what each stands for: nothing where it is gone. A partial look is told of all of them,
    /// a scan of those that are no UTF-8 and stand there. `pass` is told when everything was asked and nothing kept yet.
    pub(super) fn read(
        &self,
        place: &Place,
        names: &Names,
        looker: Looker,
        pass: &impl Fn(),
        mut is: impl FnMut(Named<'_>),
    ) -> Result<(), ScanError> {
        let moment = clock::now().wall.0.saturating_mul(1_000_000);
        #[cfg(test)]
        let moment = moment + self.model().pretended;
        let (ticket, mut under) = self.ask_model(place, names, looker);
        for one in &mut under {
            one.fresh = self.look_at(place, one, moment).map_err(|errno| self.unreadable(errno))?;
        }
        pass();
        let mut model = self.model();
        for one in under {
            match (one.text, one.fresh) {
                (Some(name), Some(fresh)) => {
                    let whose = model.keep(place.mark, name, fresh, ticket, looker);
                    is(Named::Text(name, whose));
                }
                (Some(name), None) if looker == Looker::Part => {
                    is(Named::Text(name, model.whose(place.mark, name, one.known.at)));
                }
                (None, Some(Fresh { whose: Some(_), .. })) => is(Named::Bytes(one.name)),
                (Some(_) | None, None) | (None, Some(_)) => {}
            }
        }
        Ok(())
    }

    fn ask_model<'a>(
        &self,
        place: &Place,
        names: &'a Names,
        looker: Looker,
    ) -> (u64, Vec<Under<'a>>) {
        let mut under = Vec::with_capacity(names.len());
        let mut model = self.model();
        let ticket = model.ticket();
        for (name, is_file) in names.iter() {
            let text = name.to_str().ok();
            let known =
                text.map(|text| model.known(place.mark, text, ticket, looker)).unwrap_or_default();
            if !known.is_dealt {
                under.push(Under { name, text, is_file, known, fresh: None });
            }
        }
        (ticket, under)
    }

    fn look_at(
        &self,
        place: &Place,
        one: &Under<'_>,
        moment_ns: i64,
    ) -> Result<Option<Fresh>, Errno> {
        let at = one.known.at;
        let Some(name) = one.text else {
            let whose = match stamp_of(&place.dir, one.name)? {
                Err(Sight::Vanished) => None,
                Ok(_) | Err(_) => Some(Whose::Foreign),
            };
            return Ok(Some(Fresh { stamp: None, whose, at }));
        };
        let settled = |stamp: &Stamp| place.local_fs && is_settled(stamp, moment_ns);
        let seen = match one.known.stamp {
            Some(stamp) => match stamp_of(&place.dir, one.name)? {
                Ok(now) if now == stamp => return Ok(None),
                Ok(_) => read_file(&place.dir, one.name, settled)?,
                Err(other) => other,
            },
            None if one.is_file => read_file(&place.dir, one.name, settled)?,
            None => sight(&place.dir, one.name, settled)?,
        };
        let (seen, is_refused) = self.within_budget(seen);
        let stamp = match &seen {
            // It is looked at again each time, since there may be room by then.
            Sight::File(_) if is_refused => None,
            Sight::File(file) => Some(file.stamp).filter(|it| file.stood_still && settled(it)),
            Sight::NotAFile | Sight::Refused | Sight::Vanished => None,
        };
        let before = if one.known.stood { self.model().whose(place.mark, name, at) } else { None };
        if let (Sight::File(file), Some(before)) = (&seen, &before)
            && is_the_same(file, before)
        {
            return Ok(Some(Fresh { stamp, whose: Some(before.clone()), at }));
        }
        let known = before.as_ref().and_then(|whose| whose.keys().first());
        let held = match &before {
            Some(Whose::Lock(found, _)) => Some(&found.lock.file),
            _ => one.known.name.as_ref(),
        };
        let name = held.map_or_else(|| name.into(), Arc::clone);
        Ok(Some(Fresh { stamp, whose: whose(name, seen, known, place.mark), at }))
    }

    /// The same, or as too large and without its content if too much is held already; and whether it was.
    fn within_budget(&self, seen: Sight) -> (Sight, bool) {
        match seen {
            Sight::File(file) if file.content.len() > SMALL && self.model().is_full() => {
                (Sight::File(File { is_cut: true, content: Arc::default(), ..file }), true)
            }
            seen => (seen, false),
        }
    }

    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn unreadable(&self, errno: Errno) -> ScanError {
        ScanError::Read { path: self.path.clone(), source: errno.into() }
    }
}

/// One name and what it stands for.
pub(super) enum Named<'a> {
    Text(&'a str, Option<Whose>),
    /// It is no UTF-8.
    Bytes(&'a CStr),
}

/// Was the same read before? Then what was made of it is kept.
fn is_the_same(file: &File, before: &Whose) -> bool {
    matches!(before, Whose::Lock(found, _)
        if found.lock.mark == file.stamp.mark && found.content == file.content)
}
