//! The file of an SQLite database: which one a URL names, who may read it, and whether it is still the one opened.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{StoreError, redacted};

/// The file that was opened.
#[derive(Debug, Clone)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// Device and inode.
    mark: (u64, u64),
}

impl DatabaseFile {
    pub(super) fn opened(path: PathBuf) -> std::io::Result<Self> {
        let mark = mark_of(&path)?;
        Ok(Self { path, mark })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A write into a file that was removed succeeds and is lost, and the lock of the job would go all the same.
    pub(super) fn require_in_place(&self) -> Result<(), StoreError> {
        match mark_of(&self.path) {
            Ok(mark) if mark == self.mark => Ok(()),
            Ok(_) => Err(StoreError::Replaced { path: self.path.clone(), source: None }),
            Err(source) => {
                Err(StoreError::Replaced { path: self.path.clone(), source: Some(source) })
            }
        }
    }
}

/// Makes an empty file that only its owner may read, where there is none: passwords of nodes stand in it. SQLite gives
/// the files beside it the same permissions.
pub(super) fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn mark_of(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|it| (it.dev(), it.ino()))
}

/// The file that a `sqlite://` URL names; none for a database on a server.
///
/// # Errors
/// [`StoreError::Url`] for a URL of no engine.
pub fn sqlite_path(url: &str) -> Result<Option<PathBuf>, StoreError> {
    match super::connect::engine_of(url)? {
        super::Engine::Sqlite => {}
        _ => return Ok(None),
    }
    let path = url
        .strip_prefix("sqlite://")
        .or_else(|| url.strip_prefix("sqlite:"))
        .map(|rest| rest.split('?').next().unwrap_or(rest))
        .filter(|path| !path.is_empty())
        .ok_or_else(|| StoreError::Url(format!("'{}' names no file", redacted(url))))?;
    Ok(Some(PathBuf::from(path)))
}
