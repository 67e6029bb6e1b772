//! A real PostgreSQL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::guardian::Guarded;
use super::owner::{Owner, run};
use super::poll::eventually_sync;
use super::ports::HeldPort;
use super::server::{self, Kind};
use super::template;

/// PostgreSQL, any version.
#[derive(Debug)]
pub struct Postgres;

impl Kind for Postgres {
    /// "Fast": sessions are ended, data is written.
    const STOP: Signal = Signal::INT;

    fn url(port: u16, db: &str) -> String {
        let db = if db.is_empty() { "postgres" } else { db };
        format!("postgres://postgres@127.0.0.1:{port}/{db}")
    }

    fn admin_url(port: u16, db: &str) -> String {
        Self::url(port, db)
    }
}

/// One server.
pub type Server = server::Server<Postgres>;

/// No `fsync`: safety against a power cut costs time and shows nothing here. What was committed must survive a SIGKILL
/// all the same, so it is handed to the kernel at once. Shared memory that would outlive one lies in the data directory.
const SETTINGS: [&str; 9] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "max_connections=400",
    "shared_buffers=32MB",
    "dynamic_shared_memory_type=mmap",
    "wal_keep_size=64MB",
    "hot_standby=on",
    "log_line_prefix=%m [%p] %d ",
];

impl Server {
    /// A new one on a free port, with nothing in it.
    pub fn start() -> Self {
        launch(|data| {
            let args = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"];
            let version = run(Command::new(program("postgres")).arg("--version"));
            let key = [&[version.as_str()], &args[..]].concat();
            template::directory("postgres", &key, data, |new| {
                let to = ["-D", new.to_str().unwrap()];
                owner().run(program("initdb"), &[&args[..], &to].concat());
            });
        })
    }

    /// A streaming replica of this server as it is now, on a port of its own.
    pub fn replica(&self) -> Self {
        let source = format!("host=127.0.0.1 port={} user=postgres", self.port());
        launch(|data| {
            let args = ["-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", &source, "-D"];
            let to = [data.to_str().unwrap()];
            owner().run(program("pg_basebackup"), &[&args[..], &to].concat());
        })
    }

    /// From now on a commit returns once a replica has it, so that nothing is lost with this server; without a replica it
    /// waits. A replica that is made later has the setting as well.
    pub fn commit_with_replica(&self) {
        self.sql("", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("", "SELECT pg_reload_conf()");
        eventually_sync(Duration::from_secs(30), || {
            let rows = self.sql("", "SELECT sync_state FROM pg_stat_replication");
            let found = rows.iter().any(|row| row["sync_state"] == "sync");
            if found { Ok(()) } else { Err(format!("{rows:?}")) }
        });
    }

    /// Makes a primary of a replica, and waits for it. The old primary must be gone for good: if it came back, there
    /// would be two.
    pub fn promote(&self) {
        self.sql("", "SELECT pg_promote()");
        assert!(!self.is_replica());
    }

    /// Whether it can only be read.
    pub fn is_replica(&self) -> bool {
        self.sql("", "SELECT pg_is_in_recovery() AS replica")[0]["replica"] == true
    }
}

/// Starts a server on data that `make` puts at the path that it is given.
fn launch(make: impl Fn(&Path)) -> Server {
    for _ in 0..5 {
        let (dir, port) = (owner().dir(), HeldPort::take());
        let data = dir.path().join("data");
        make(&data);
        let number = port.number().to_string();
        let mut words = owner().words();
        words.push(program("postgres").to_str().unwrap().to_owned());
        words.extend(["-D", data.to_str().unwrap(), "-p", &number].map(str::to_owned));
        for setting in SETTINGS {
            words.extend(["-c", setting].map(str::to_owned));
        }
        // "Immediate": nothing is written, but the shared memory is given back.
        let guarded = Guarded::new(dir, &words, "QUIT");
        if let Some(server) = Server::launch(guarded, port.hand_over()) {
            return server;
        }
    }
    panic!("no port could be had for PostgreSQL")
}

/// Who runs it.
pub fn owner() -> Owner {
    Owner::of("postgres")
}

/// A program of the newest version that is installed: Debian has them outside of PATH.
pub fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .map(|entry| entry.path().join("bin").join(name))
        .filter(|path| path.exists())
        .max_by_key(|path| version(path));
    newest.unwrap_or_else(|| PathBuf::from(name))
}

fn version(path: &Path) -> u32 {
    let mut parts = path.iter().filter_map(|part| part.to_str()?.parse().ok());
    parts.next().unwrap_or(0)
}
