//! A database server of a test's own, or of all tests: start, end, restart on the same port and data, freeze, ask.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::guardian::Guarded;
use super::kernel;
use super::poll::eventually_sync;
use super::sql;

/// Longest wait for a server that starts, recovery included, on a busy machine.
const READY: Duration = Duration::from_mins(2);

/// What differs between the engines.
pub trait Kind {
    /// The signal that ends it cleanly, without waiting for its clients.
    const STOP: Signal;

    /// The URL of a database for the service: a login without rights over the whole server, where there is one.
    fn url(port: u16, db: &str) -> String;

    /// The URL for what the tests do to the server. An empty name is the database that always exists.
    fn admin_url(port: u16, db: &str) -> String;
}

/// A server; ends with this handle, at the latest with the test process.
#[derive(Debug)]
pub struct Server<K> {
    guarded: Guarded,
    port: u16,
    kind: PhantomData<K>,
}

impl<K: Kind> Server<K> {
    /// Starts it; nothing if another program was faster to take the port.
    pub fn launch(mut guarded: Guarded, port: u16) -> Option<Self> {
        guarded.start();
        let server = Self { guarded, port, kind: PhantomData };
        server.ready().then_some(server)
    }

    /// Waits until it answers; false if it ended for its port.
    fn ready(&self) -> bool {
        eventually_sync(READY, || {
            if self.guarded.has_ended() {
                let log = self.guarded.log();
                assert!(log.contains("Address already in use"), "it ended; its log:\n{log}");
                return Ok(false);
            }
            // Somebody else may answer there.
            if !kernel::listens(self.pid(), self.port) {
                return Err(format!("it does not listen; its log:\n{}", self.guarded.log()));
            }
            match sql::rows(&K::admin_url(self.port, ""), "SELECT 1") {
                Ok(_) => Ok(true),
                Err(error) => Err(format!("{error}; its log:\n{}", self.guarded.log())),
            }
        })
    }

    /// The URL of a database on it, for the service.
    pub fn url(&self, db: &str) -> String {
        K::url(self.port, db)
    }

    /// The same with all rights. An empty name is the database that always exists.
    pub fn admin_url(&self, db: &str) -> String {
        K::admin_url(self.port, db)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its PID.
    pub fn pid(&self) -> i32 {
        self.guarded.pid()
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.guarded.dir()
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        self.guarded.log()
    }

    /// SIGKILL, and its end awaited.
    pub fn kill9(&mut self) {
        self.guarded.kill9();
    }

    /// The clean end, and awaited; its clients are cut off.
    pub fn stop(&mut self) {
        self.guarded.signal(K::STOP);
        self.guarded.wait_end();
    }

    /// Starts it again on the same port and data, after a clean end if it runs.
    pub fn restart(&mut self) {
        self.stop();
        self.guarded.start();
        if !self.ready() {
            self.guarded.fail("another program took its port");
        }
    }

    /// Connections stand and are accepted, nothing is answered.
    pub fn freeze(&self) {
        self.guarded.freeze();
    }

    /// The end of [`Server::freeze`].
    pub fn thaw(&self) {
        self.guarded.thaw();
    }

    /// Rows of a statement with all rights in a database of it, or none; see [`sql::rows`].
    pub fn sql(&self, db: &str, statement: &str) -> Vec<Value> {
        self.try_sql(db, statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// The same where it may fail.
    ///
    /// # Errors
    /// What the engine or the network says.
    pub fn try_sql(&self, db: &str, statement: &str) -> Result<Vec<Value>, sqlx::Error> {
        sql::rows(&self.admin_url(db), statement)
    }
}
