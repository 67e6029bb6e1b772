//! The file that says which process the server is: held locked while it runs, so that a second start knows, and `stop` means
//! that process and no other.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::Signal;

use crate::domain::{Identity, Presence};
use crate::process::{Handle, Processes};

/// As much of it as is read.
const LIMIT: u64 = 1024;

/// Somebody else may remove it between our opening and our locking so often.
const TRIES: u32 = 8;

/// Why it was not had, or what it says cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// A server that runs has it.
    #[error("a server runs already: PID {} ({})", .pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()), .path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// Its PID, if it has written it.
        pid: Option<i32>,
    },
    /// It cannot be read or written.
    #[error("the PID file {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is locked, and what it says is not of a process that is seen here.
    #[error("the PID file {}: {problem}; nobody was signalled", .path.display())]
    Stranger {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Held while it lives; removed when it is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    _file: File,
}

impl PidFile {
    /// Writes who we are, and keeps it locked. What a server left that was killed is written anew.
    ///
    /// # Errors
    /// [`PidFileError::Held`] with the PID of the server that runs, [`PidFileError::Io`].
    pub fn take(path: &Path, processes: &Processes) -> Result<Self, PidFileError> {
        let io = |source| PidFileError::Io { path: path.to_owned(), source };
        for _ in 0..TRIES {
            let mut file = open(path, true).map_err(io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let pid =
                        read(&file).map_err(io)?.lines().next().and_then(|it| it.parse().ok());
                    return Err(PidFileError::Held { path: path.to_owned(), pid });
                }
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
            if !stands(&file, path) {
                // Its owner ended between our opening and our locking: that one is gone.
                continue;
            }
            file.set_len(0)
                .and_then(|()| file.write_all(ours(processes).as_bytes()))
                .map_err(io)?;
            return Ok(Self { path: path.to_owned(), _file: file });
        }
        Err(io(io::ErrorKind::Interrupted.into()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // While it is locked: nobody else has begun with it.
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the PID file stays");
        }
    }
}

/// Asks the server that has this file to end, and holds on to it. None if none runs.
///
/// # Errors
/// [`PidFileError::Stranger`] if the file does not mean a process that is seen here, [`PidFileError::Io`], also where it may
/// not be signalled.
pub fn end(path: &Path, processes: &Processes) -> Result<Option<Handle>, PidFileError> {
    let io = |source| PidFileError::Io { path: path.to_owned(), source };
    let stranger = |problem| PidFileError::Stranger { path: path.to_owned(), problem };
    let file = match open(path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(io)?,
    };
    match file.try_lock_shared() {
        Ok(()) => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    let recorded = parse(&read(&file).map_err(io)?).ok_or_else(|| stranger("it names nobody"))?;
    if !recorded.is_of(processes.here()) {
        return Err(stranger("it is of another boot, or of another PID namespace"));
    }
    match processes.try_watch(recorded.pid.into()) {
        (Presence::Alive(_), Ok(Some(handle)))
            if handle.identity().start_ticks == recorded.start_ticks =>
        {
            handle.signal(Signal::TERM).map_err(io)?;
            Ok(Some(handle))
        }
        (Presence::Dead(_), _) => Ok(None),
        (_, Err(source)) => Err(io(source)),
        _ => Err(stranger("its PID is another process")),
    }
}

fn open(path: &Path, writes: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(writes)
        .create(writes)
        .truncate(false)
        .mode(0o644)
        // A link in a directory that others may write leads elsewhere; a FIFO would be waited for.
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
}

fn read(file: &File) -> io::Result<String> {
    let mut text = String::new();
    file.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

fn stands(file: &File, path: &Path) -> bool {
    let (held, there) = (file.metadata(), std::fs::metadata(path));
    held.is_ok_and(|held| there.is_ok_and(|it| (it.dev(), it.ino()) == (held.dev(), held.ino())))
}

/// The PID alone in the first line, for whoever reads it as it always was; then what makes it this process.
fn ours(processes: &Processes) -> String {
    let (here, pid) = (processes.here(), std::process::id());
    let ticks = match processes.look(pid.into()) {
        Presence::Alive(alive) => alive.identity.start_ticks,
        _ => None,
    };
    let start = ticks.map_or_else(|| "-".to_owned(), |it| it.to_string());
    format!("{pid}\nstart={start} ns={} boot={}\n", here.pid_ns, here.boot_id)
}

fn parse(text: &str) -> Option<Identity> {
    let mut lines = text.lines();
    let pid = lines.next()?.parse().ok()?;
    let (mut start_ticks, mut pid_ns, mut boot_id) = (None, None, None);
    for (name, value) in lines.next()?.split(' ').filter_map(|it| it.split_once('=')) {
        match name {
            "start" => start_ticks = value.parse().ok(),
            "ns" => pid_ns = value.parse().ok(),
            "boot" => boot_id = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(Identity { boot_id: boot_id?, pid_ns: pid_ns?, pid, start_ticks, inode: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_and_the_other_is_told_who() {
        let (dir, processes) = (tempfile::tempdir().unwrap(), Processes::new().unwrap());
        let path = dir.path().join("p.pid");
        std::fs::write(&path, "4711\nleft by one that was killed\n").unwrap();
        let held = PidFile::take(&path, &processes).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(text.lines().next(), Some(&*me.to_string()));
        let identity = parse(&text).unwrap();
        assert!(identity.is_of(processes.here()) && identity.start_ticks.is_some(), "{text}");
        match PidFile::take(&path, &processes) {
            Err(PidFileError::Held { pid, .. }) => assert_eq!(pid, Some(me)),
            other => panic!("{other:?}"),
        }
        drop(held);
        assert!(!path.exists());
        PidFile::take(&path, &processes).unwrap();
    }

    #[test]
    fn nobody_is_signalled_whom_the_file_does_not_mean() {
        let (dir, processes) = (tempfile::tempdir().unwrap(), Processes::new().unwrap());
        let path = dir.path().join("p.pid");
        assert!(end(&path, &processes).unwrap().is_none(), "there is no file");
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let here = processes.here();
        let (pid, ns, boot) = (child.id(), here.pid_ns, &here.boot_id);
        std::fs::write(&path, format!("{pid}\nstart=1 ns={ns} boot={boot}\n")).unwrap();
        assert!(end(&path, &processes).unwrap().is_none(), "nobody holds it");
        let holder = File::open(&path).unwrap();
        holder.lock().unwrap();
        for text in [
            format!("{pid}\nstart=1 ns={ns} boot={boot}\n"),
            format!("{pid}\nstart=1 ns=7 boot={boot}\n"),
            format!("{pid}\n"),
            String::new(),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = end(&path, &processes).unwrap_err();
            assert!(matches!(error, PidFileError::Stranger { .. }), "{text}: {error}");
        }
        assert!(child.try_wait().unwrap().is_none(), "it lives");
        child.kill().unwrap();
        child.wait().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(PidFile::take(&link, &processes), Err(PidFileError::Io { .. })));
    }
}
