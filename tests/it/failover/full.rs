//! SQLite's file when its disk is full, and when it may not be written any more.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;
use tempfile::TempDir;

use super::scene::{Scene, config};
use crate::support::engine;
use crate::support::owner::run;

/// A small disk for the file; gone with this handle. Only root can have one.
struct Disk {
    dir: TempDir,
}

impl Disk {
    fn mount() -> Self {
        let dir = TempDir::new().unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=4M", "none"]).arg(dir.path()));
        Self { dir }
    }

    /// Takes all room that is left.
    fn fill(&self) -> PathBuf {
        let path = self.dir.path().join("fill");
        let mut file = File::create(&path).unwrap();
        let block = [0; 4096];
        while file.write_all(&block).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the service may still have it open.
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
    }
}

#[tokio::test]
async fn the_disk_is_full_and_has_room_again() {
    if !engine::only_sqlite("a server's disk is the server's concern") {
        return;
    }
    if !geteuid().is_root() {
        println!("nothing shown: only root can mount a small disk");
        return;
    }
    let disk = Disk::mount();
    let url = format!("sqlite://{}", disk.dir.path().join("procwarden.db").display());
    let mut scene = Scene::begin(config(&url)).await;
    let fill = disk.fill();
    scene.away().await;
    scene.act().await;
    let log = scene.warden.log();
    assert!(log.contains("full"), "{log}");
    fs::remove_file(fill).unwrap();
    scene.end().await;
    scene.goes_on().await;
}

/// Connections that stand keep what they may do, so each is soon replaced.
#[tokio::test]
async fn the_file_is_made_read_only_and_writable_again() {
    if !engine::only_sqlite("a server's files are the server's concern") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("procwarden.db");
    let config = config(&format!("sqlite://{}", file.display())).set("database.max_lifetime", "1s");
    // Root may write whatever the mode says, unless it gives that up.
    let root = geteuid().is_root();
    let words = ["setpriv", "--bounding-set", "-dac_override", "--"];
    let mut scene = Scene::begin_under(config, if root { &words } else { &[] }).await;
    writable(dir.path(), false);
    scene.away().await;
    scene.act().await;
    let log = scene.warden.log();
    assert!(log.contains("read-only"), "{log}");
    writable(dir.path(), true);
    scene.end().await;
    scene.goes_on().await;
}

fn writable(dir: &Path, is: bool) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "lock") {
            fs::set_permissions(path, Permissions::from_mode(if is { 0o600 } else { 0o400 }))
                .unwrap();
        }
    }
}
