//! The file of the key that seals passwords: its owner's alone, made once where that is ours to do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::vault::{self, NoKey, SealFault};
use crate::domain::node::Password;

/// Longest file that is read, in bytes; a key has 44.
const LIMIT: u64 = 1024;

/// Why there is no key in a file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or made.
    #[error("the key file {} cannot be {what}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// `read` or `made`.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("the key file {} may be read by others (mode {mode:03o}): chmod 600 it", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What is in it is no key.
    #[error("the key file {}", path.display())]
    NoKey {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: NoKey,
    },
    /// None can be made.
    #[error("a key for {} cannot be made", path.display())]
    Random {
        /// Which.
        path: PathBuf,
        /// Why.
        source: SealFault,
    },
}

/// The key in a file; `None` if there is no file.
///
/// # Errors
/// [`KeyFileError`]
pub fn read(path: &Path) -> Result<Option<Password>, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), what: "read", source };
    // A FIFO in its place would be waited for.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(LIMIT).read_to_string(&mut text).map_err(failed)?;
    let key = Password::new(text.trim().to_owned());
    match vault::check(key.expose()) {
        Ok(()) => Ok(Some(key)),
        Err(source) => Err(KeyFileError::NoKey { path: path.to_owned(), source }),
    }
}

/// The key in a file, made if there is none. Of two who make it at once both get the same.
///
/// # Errors
/// [`KeyFileError`]
pub fn read_or_make(path: &Path) -> Result<Password, KeyFileError> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    let key = vault::new_key()
        .map_err(|source| KeyFileError::Random { path: path.to_owned(), source })?;
    let failed = |source| KeyFileError::Io { path: path.to_owned(), what: "made", source };
    place(path, &key).map_err(failed)?;
    read(path)?.ok_or_else(|| failed(ErrorKind::NotFound.into()))
}

/// Written whole beside it and linked: whoever finds it finds all of it.
fn place(path: &Path, key: &Password) -> io::Result<()> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut beside = path.to_owned().into_os_string();
    beside.push(format!(".{:016x}", u64::from_ne_bytes(random)));
    let beside = PathBuf::from(beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file
        .write_all(format!("{}\n", key.expose()).as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| match fs::hard_link(&beside, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
    let removed = fs::remove_file(&beside);
    written?;
    removed?;
    // Passwords are sealed with it next: it must be there after a power cut as well.
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.db.key");
        assert_eq!(read(&path).unwrap(), None);
        let made: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> =
                (0..4).map(|_| scope.spawn(|| read_or_make(&path).unwrap())).collect();
            all.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert!(made.iter().all(|it| *it == made[0]));
        assert_eq!(read_or_make(&path).unwrap(), made[0]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(matches!(place(&path, &Password::new("x".into())), Ok(())), "it was there already");
        assert_eq!(read(&path).unwrap().as_ref(), Some(&made[0]));
    }

    #[test]
    fn what_others_may_read_or_what_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = read_or_make(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Open { mode: seen, .. } if seen == mode));
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).unwrap().as_ref(), Some(&made));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hunter2").unwrap();
        let told = crate::causes::chain(&read_or_make(&path).unwrap_err());
        assert!(told.contains("openssl rand") && !told.contains("hunter2"), "{told}");
        assert!(read(dir.path()).is_err(), "a directory");
    }
}
