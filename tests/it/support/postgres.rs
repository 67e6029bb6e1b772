//! A real PostgreSQL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::guardian::Guarded;
use super::owner::{Owner, run};
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
        launch(&[], |data| {
            let args = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"];
            let version = run(Command::new(program("postgres")).arg("--version"));
            let key = [&[version.as_str()], &args[..]].concat();
            template::directory("postgres", &key, data, |new| {
                let to = ["-D", new.to_str().unwrap()];
                owner().run(program("initdb"), &[&args[..], &to].concat());
            });
        })
    }
}

/// Starts a server on data that `make` puts at the path that it is given.
pub fn launch(settings: &[&str], make: impl Fn(&Path)) -> Server {
    for _ in 0..5 {
        let (dir, port) = (owner().dir(), HeldPort::take());
        let data = dir.path().join("data");
        make(&data);
        let number = port.number().to_string();
        let mut words = owner().words();
        words.push(program("postgres").to_str().unwrap().to_owned());
        words.extend(["-D", data.to_str().unwrap(), "-p", &number].map(str::to_owned));
        for setting in SETTINGS.iter().chain(settings) {
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
