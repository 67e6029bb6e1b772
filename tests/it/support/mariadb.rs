//! A real MariaDB.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::guardian::Guarded;
use super::owner::{Owner, run};
use super::ports::HeldPort;
use super::server::{self, Kind};
use super::template;

/// MariaDB, any version.
#[derive(Debug)]
pub struct MariaDb;

/// The service's login: every right in every database, none over the server, so that `read_only` binds it.
pub const USER: &str = "CREATE USER IF NOT EXISTS warden@'127.0.0.1' IDENTIFIED BY 'hunter2'; \
    GRANT ALL ON `%`.* TO warden@'127.0.0.1'";

impl Kind for MariaDb {
    const STOP: Signal = Signal::TERM;

    fn url(port: u16, db: &str) -> String {
        format!("mysql://warden:hunter2@127.0.0.1:{port}/{db}")
    }

    fn admin_url(port: u16, db: &str) -> String {
        let db = if db.is_empty() { "mysql" } else { db };
        format!("mysql://root@127.0.0.1:{port}/{db}")
    }
}

/// One server.
pub type Server = server::Server<MariaDb>;

/// Also of the template: the size of the log is the file's.
const SMALL: [&str; 2] = ["--innodb-log-file-size=16M", "--innodb-buffer-pool-size=32M"];

/// Nothing is synced at a commit: safety against a power cut costs time and shows nothing here. What was committed must
/// survive a SIGKILL all the same, so it is handed to the kernel at once (`2`).
const SETTINGS: [&str; 6] = [
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--innodb-flush-log-at-trx-commit=2",
    "--sync-binlog=0",
    "--skip-log-bin",
    "--max-connections=500",
];

impl Server {
    /// A new one on a free port, with nothing in it but the service's login.
    pub fn start() -> Self {
        for _ in 0..5 {
            let port = HeldPort::take();
            let guarded = guarded(port.number(), &[]);
            if let Some(server) = Self::launch(guarded, port.hand_over()) {
                server.sql("", USER);
                return server;
            }
        }
        panic!("no port could be had for MariaDB")
    }
}

/// A server with new data on this port, not started yet.
pub fn guarded(port: u16, settings: &[String]) -> Guarded {
    let dir = owner().dir();
    let data = dir.path().join("data");
    install(&data);
    configure(dir.path(), settings);
    let mut words = owner().words();
    words.push("mariadbd".to_owned());
    words.push(format!("--defaults-file={}/my.cnf", dir.path().display()));
    words.push(format!("--datadir={}", data.display()));
    // A server that starts removes the temporary tables that it finds, whosever they are.
    words.push(format!("--tmpdir={}", dir.path().display()));
    words.push(format!("--socket={}/socket", dir.path().display()));
    words.push(format!("--port={port}"));
    words.extend(SETTINGS.iter().chain(&SMALL).map(|&word| word.to_owned()));
    // All of it is thrown away: there is nothing to be written at the end.
    Guarded::new(dir, &words, "KILL")
}

/// Settings of a server's directory, from its next start on.
pub fn configure(dir: &Path, settings: &[String]) {
    let file = dir.join("my.cnf");
    fs::write(&file, format!("[mysqld]\n{}\n", settings.join("\n"))).unwrap();
    // The server ignores a file that others may write, and must be able to read it.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
}

fn install(data: &Path) {
    let args = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"];
    let args = [&args[..], &["--skip-name-resolve"], &SMALL].concat();
    let version = run(Command::new("mariadbd").arg("--version"));
    template::directory("mariadb", &[&[version.as_str()], &args[..]].concat(), data, |new| {
        let to = format!("--datadir={}", new.display());
        owner().run("mariadb-install-db", &[&args[..], &[to.as_str()]].concat());
    });
}

/// Who runs it.
pub fn owner() -> Owner {
    Owner::of("mysql")
}
