//! A real HAProxy in front of database servers: one address that leads to the one that takes writes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::guardian::Guarded;
use super::poll::eventually_sync;
use super::ports::HeldPort;
use super::postgres;
use super::server::Kind;
use super::{kernel, mariadb};

/// Longest wait for its first checks, and for a server to be taken in or out.
const SOON: Duration = Duration::from_mins(1);

/// The proxy; ends with this handle.
#[derive(Debug)]
pub struct HaProxy {
    guarded: Guarded,
    port: u16,
    url: fn(u16, &str) -> String,
}

impl HaProxy {
    /// In front of PostgreSQL servers: only a primary is up. `option pgsql-check` would not tell it from a replica.
    pub fn of_postgres(ports: &[u16]) -> Self {
        let psql = postgres::program("psql");
        let check = format!(
            "[ \"$(timeout 2 {} -XAtq -h 127.0.0.1 -p \"$4\" -U postgres -d postgres \
             -c 'SELECT pg_is_in_recovery()')\" = f ]",
            psql.display()
        );
        Self::start(ports, &check, postgres::Postgres::url)
    }

    /// In front of the nodes of a Galera cluster: the first that is ready takes everything, the others wait.
    pub fn of_galera(ports: &[u16]) -> Self {
        let check = "timeout 2 mariadb --no-defaults --protocol tcp -h 127.0.0.1 -P \"$4\" -u root -NBe \
             \"SHOW STATUS LIKE 'wsrep_ready'\" | grep -q ON";
        Self::start(ports, check, mariadb::MariaDb::url)
    }

    fn start(ports: &[u16], check: &str, url: fn(u16, &str) -> String) -> Self {
        let dir = TempDir::new().unwrap();
        let script = dir.path().join("check");
        fs::write(&script, format!("#!/bin/sh\nexec 2>/dev/null\n{check}\n")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let held = HeldPort::take();
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, configuration(dir.path(), held.number(), ports)).unwrap();
        let words = ["haproxy", "-db", "-f", file.to_str().unwrap()].map(str::to_owned);
        let mut guarded = Guarded::new(dir, &words, "KILL");
        let port = held.hand_over();
        guarded.start();
        let proxy = Self { guarded, port, url };
        eventually_sync(SOON, || {
            if proxy.guarded.has_ended() || !kernel::listens(proxy.guarded.pid(), port) {
                return Err(format!("it does not listen: {}", proxy.guarded.log()));
            }
            // Until its first check a server is taken for up.
            let states = proxy.states();
            let checked =
                states.len() == ports.len() && !states.iter().any(|it| it.contains("INI"));
            if checked { Ok(()) } else { Err(format!("{states:?}")) }
        });
        proxy
    }

    /// The URL of a database behind it.
    pub fn url(&self, db: &str) -> String {
        (self.url)(self.port, db)
    }

    /// Waits until exactly these ports are up.
    pub fn until_up(&self, ports: &[u16]) {
        eventually_sync(SOON, || {
            let states = self.states();
            let up: Vec<String> = states.iter().filter(|it| it.contains(" UP ")).cloned().collect();
            let all =
                ports.iter().all(|port| up.iter().any(|it| it.starts_with(&format!("{port} "))));
            if all && up.len() == ports.len() { Ok(()) } else { Err(format!("{states:?}")) }
        });
    }

    /// `port state check` of each server; none while it does not answer.
    pub fn states(&self) -> Vec<String> {
        let Ok(mut socket) = UnixStream::connect(self.guarded.dir().join("admin")) else {
            return Vec::new();
        };
        socket.set_read_timeout(Some(SOON)).unwrap();
        let mut text = String::new();
        if socket.write_all(b"show stat\n").is_err() || socket.read_to_string(&mut text).is_err() {
            return Vec::new();
        }
        let servers = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        // Columns by HAProxy's manual, "CSV format": svname, status, check_status.
        servers
            .filter_map(|row| Some((row.get(1)?.strip_prefix("on-")?.to_owned(), row)))
            .map(|(port, row)| format!("{port} {} {}", row[17], row[36]))
            .collect()
    }
}

/// All but the first are spare; one that goes down takes its sessions with it.
fn configuration(dir: &Path, port: u16, servers: &[u16]) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let dir = dir.display();
    let lines = servers.iter().enumerate().map(|(index, server)| {
        let spare = if index == 0 { "" } else { " backup" };
        format!("    server on-{server} 127.0.0.1:{server} check{spare}\n")
    });
    format!(
        "global\n    external-check\n    insecure-fork-wanted\n    stats socket {dir}/admin level admin\n\
         defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 1h\n    timeout server 1h\n    timeout check 3s\n\
         listen database\n    bind 127.0.0.1:{port}\n    option external-check\n    external-check path \"{path}\"\n    \
         external-check command {dir}/check\n    \
         default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions\n{}",
        lines.collect::<String>()
    )
}
