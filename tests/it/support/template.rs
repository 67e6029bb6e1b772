//! New data directories, copied from one that was made before: to make one takes a server seconds.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::owner::run;

/// Makes the directory `to`, as `make` left it at the first time for the same `key`.
///
/// The key says all that the outcome depends on: the server's version, its arguments. What was made is kept beside the
/// build. It appears under its name in one step, so two test processes at once, or one that was killed, do no harm.
pub fn directory(name: &str, key: &[&str], to: &Path, make: impl FnOnce(&Path)) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = place(name, key);
    if kept.exists() {
        copy(&kept, to);
        return;
    }
    make(to);
    let parent = kept.parent().unwrap();
    fs::create_dir_all(parent).unwrap();
    let new = tempfile::Builder::new().prefix("new-").tempdir_in(parent).unwrap();
    copy(to, &new.path().join("data"));
    // Somebody else may have been faster; theirs is as good.
    let _ = fs::rename(new.path().join("data"), kept);
}

fn place(name: &str, key: &[&str]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    // What root made belongs to the server's user, and nobody else can read it.
    (key, rustix::process::geteuid().as_raw()).hash(&mut hasher);
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("templates")
        .join(format!("{name}-{:016x}", hasher.finish()))
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to));
}
