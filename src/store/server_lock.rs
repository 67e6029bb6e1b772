//! One server per SQLite database: an exclusive lock on `<db>.lock`, which holds the server's PID.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Held while it lives; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct ServerLock {
    _file: File,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockHeld {
    /// Another process has it.
    #[error("a server is running on this database{}", .pid.map(|p| format!(" (PID {p})")).unwrap_or_default())]
    Held {
        /// Its PID, if it wrote it.
        pid: Option<u32>,
    },
    /// The file cannot be opened or locked.
    #[error("cannot lock {}", .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ServerLock {
    /// Takes the lock of the database at `database`, without waiting.
    ///
    /// # Errors
    /// [`LockHeld`].
    pub fn take(database: &Path) -> Result<Self, LockHeld> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let io = |source| LockHeld::Io { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Only for the message: an unreadable PID is left out.
                let _ = file.read_to_string(&mut text);
                return Err(LockHeld::Held { pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()))
            .map_err(io)?;
        Ok(Self { _file: file })
    }
}
