//! A real pooler of connections to PostgreSQL, in session mode: one session of a client, one of the server.

use std::fs;
use std::time::Duration;

use super::guardian::Guarded;
use super::kernel;
use super::poll::eventually_sync;
use super::ports::HeldPort;
use super::postgres::{Postgres, Server, owner};
use super::server::Kind;

/// The pooler; ends with this handle.
#[derive(Debug)]
pub struct PgBouncer {
    guarded: Guarded,
    port: u16,
}

impl PgBouncer {
    /// In front of a server.
    pub fn of(server: &Server) -> Self {
        let dir = owner().dir();
        let file = dir.path().join("pgbouncer.ini");
        let held = HeldPort::take();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = session\nmax_client_conn = 200\ndefault_pool_size = 50\n\
             ignore_startup_parameters = extra_float_digits\n",
            server.port(),
            held.number()
        );
        fs::write(&file, text).unwrap();
        let mut words = owner().words();
        words.extend(["pgbouncer", file.to_str().unwrap()].map(str::to_owned));
        let mut guarded = Guarded::new(dir, &words, "KILL");
        let port = held.hand_over();
        guarded.start();
        eventually_sync(Duration::from_secs(30), || {
            let listens = !guarded.has_ended() && kernel::listens(guarded.pid(), port);
            if listens { Ok(()) } else { Err(guarded.log()) }
        });
        Self { guarded, port }
    }

    /// The URL of a database behind it.
    pub fn url(&self, db: &str) -> String {
        Postgres::url(self.port, db)
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        self.guarded.log()
    }
}
