//! Disks that are small, and files that may not be written.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::owner::run;

/// Something mounted; gone with this handle. Only root can have one.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    _dir: Option<TempDir>,
}

impl Disk {
    /// A file system in memory.
    pub fn mount(options: &str) -> Self {
        let dir = TempDir::new().unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(dir.path()));
        Self { path: dir.path().to_owned(), _dir: Some(dir) }
    }

    /// What is mounted there.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), _dir: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all room that is left.
    pub fn fill(&self) -> PathBuf {
        let path = self.path.join("fill");
        let mut file = File::create(&path).unwrap();
        let block = [0; 4096];
        while file.write_all(&block).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the service may still have it open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

/// Whether the files of a database may be written.
pub fn writable(dir: &Path, is: bool) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "lock") {
            fs::set_permissions(path, Permissions::from_mode(if is { 0o600 } else { 0o400 }))
                .unwrap();
        }
    }
}
