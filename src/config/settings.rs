//! What the settings are: plain types, no reading of them.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::adopt::Adopt;
use super::alerts::Alerts;
use super::database::DatabaseTls;
use super::history::History;
use super::secrets::Keys;
use super::server::Server;
use crate::domain::Method;
use crate::domain::node::{Password, Tls};
use crate::domain::service::Kind;
use crate::domain::verdict::Thresholds;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// `[server]`
    pub server: Server,
    /// `[database]`
    pub database: Database,
    /// `[instance]`
    pub instance: Instance,
    /// `[instances]`
    pub instances: Instances,
    /// What is kept of what was.
    pub history: History,
    /// `[nodes]`
    pub nodes: Nodes,
    /// `[[node]]`, in the order of the files.
    pub node: Vec<NodeEntry>,
    /// `[health]`
    pub health: Health,
    /// `[migrations]`
    pub migrations: Migrations,
    /// `[adopt]`
    pub adopt: Adopt,
    /// `[alerts]`
    pub alerts: Alerts,
    /// `[events]`
    pub events: Events,
    /// `[log]`
    pub log: Log,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// `sqlite://PATH`, `postgres://...` or `mysql://...`; a secret, since it may have a password in it.
    pub url: Password,
    /// Most connections of the pool. SQLite writes with one at a time; the others read.
    pub max_connections: u32,
    /// How long a call waits for a connection.
    pub connect_timeout: Duration,
    /// Limit of one statement or one transaction.
    pub statement_timeout: Duration,
    /// An unused connection is closed after this.
    pub idle_timeout: Duration,
    /// A connection is closed after this, used or not, so that a moved name is followed.
    pub max_lifetime: Duration,
    /// How long a database that failed is left alone.
    pub retry_after: Duration,
    /// TLS; none: what the URL says, else `prefer`.
    pub tls: Option<DatabaseTls>,
    /// The authorities' certificates in PEM, instead of the system's.
    pub tls_ca: Option<PathBuf>,
    /// How long `serve`, `migrate` and the other commands wait for a database that does not answer yet.
    pub wait: Duration,
    /// `[secrets]`: what seals the passwords in it.
    pub keys: Keys,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: Password::new("sqlite://procwarden.db".to_owned()),
            max_connections: 6,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_mins(10),
            max_lifetime: Duration::from_mins(30),
            retry_after: Duration::from_secs(3),
            tls: None,
            tls_ca: None,
            wait: Duration::ZERO,
            keys: Keys::default(),
        }
    }
}

/// Who we are among several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Defaults to the host name.
    pub name: String,
    /// Time between two heartbeats. An instance that missed two and a half of them is lost.
    pub heartbeat: Duration,
}

impl Default for Instance {
    fn default() -> Self {
        Self { name: String::new(), heartbeat: Duration::from_secs(5) }
    }
}

impl Instance {
    /// How long a heartbeat holds. Two and a half beats: one may be missed, and a look each second still finds a loss
    /// within three.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.heartbeat * 5 / 2
    }
}

/// The others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instances {
    /// A lost instance is forgotten after this, and its nodes are released.
    pub forget_after: Duration,
}

impl Default for Instances {
    fn default() -> Self {
        Self { forget_after: Duration::from_hours(24) }
    }
}

/// How nodes are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes {
    /// Time between two checks of one node.
    pub interval: Duration,
    /// How the background task checks.
    pub method: Method,
    /// Limit of the TCP connect.
    pub connect_timeout: Duration,
    /// Limit of the whole RPC exchange, body included.
    pub api_timeout: Duration,
    /// Checks under way at once; see [`concurrency`] for the default.
    pub concurrency: usize,
    /// Most connections to nodes that are kept between checks, and never more than half of the open files.
    pub keep_connections: usize,
    /// Failures in a row before a working node is down.
    pub failure_threshold: u32,
    /// Successes in a row before a node that is down works again.
    pub success_threshold: u32,
    /// How long a node counts as working that is busy and does not answer.
    pub busy_grace: Duration,
    /// The networks in which nodes may be; none: anywhere.
    pub allow: Vec<IpNet>,
    /// Remove nodes that came from this instance's configuration and left it.
    pub prune: bool,
    /// Register the servers that run on this host.
    pub discover: bool,
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            method: Method::Api,
            connect_timeout: Duration::from_secs(1),
            api_timeout: Duration::from_secs(3),
            concurrency: concurrency(),
            keep_connections: 20_000,
            failure_threshold: 1,
            success_threshold: 1,
            busy_grace: Duration::from_mins(1),
            allow: Vec::new(),
            prune: false,
            discover: false,
        }
    }
}

impl Nodes {
    /// What it takes to change a verdict.
    #[must_use]
    pub const fn thresholds(&self) -> Thresholds {
        Thresholds {
            failure: self.failure_threshold,
            success: self.success_threshold,
            busy_grace: self.busy_grace,
        }
    }
}

/// The default of `nodes.concurrency`: 64 for each core that we may use, at most 512. Measured: with 32 to 64 under way a
/// core makes the most checks, with 256 a third fewer.
#[must_use]
pub fn concurrency() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (64 * cores).min(512)
}

/// One `[[node]]`: a key that is absent leaves what the registry has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeEntry {
    /// Unique.
    pub name: String,
    /// See [`crate::domain::Node`], as every field below.
    pub title: Option<String>,
    /// Defaults to 127.0.0.1 for a new node.
    pub host: Option<String>,
    /// Required for a new node.
    pub port: Option<u16>,
    /// Defaults to `monero-wallet-rpc` for a new node.
    pub kind: Option<Kind>,
    /// The JSON-RPC method of kind `json-rpc`.
    pub rpc_method: Option<String>,
    /// Where it is asked.
    pub path: Option<String>,
    /// HTTP statuses that are right.
    pub expect_status: Option<String>,
    /// JSON pointer to what must be in the answer.
    pub expect_field: Option<String>,
    /// What must stand there.
    pub expect_value: Option<String>,
    /// Defaults to `off` for a new node.
    pub tls: Option<Tls>,
    /// User of the RPC login.
    pub username: Option<String>,
    /// Password of the RPC login.
    pub password: Option<Password>,
    /// The daemon it uses.
    pub daemon: Option<String>,
    /// Its PID.
    pub pid: Option<i64>,
    /// A file with its PID.
    pub pid_file: Option<String>,
    /// Defaults to that of its kind for a new node.
    pub process_name: Option<String>,
    /// Applies to a new node only: later the operator's word counts.
    pub available: Option<bool>,
    /// The instance that answers for it, or `any`.
    pub instance: Option<String>,
}

/// Which nodes `/health` counts by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HealthScope {
    /// The ones that this instance answers for.
    #[default]
    Instance,
    /// All.
    Fleet,
}

/// What healthy means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Whose nodes count.
    pub scope: HealthScope,
    /// How many of them must work.
    pub min_working: MinWorking,
}

impl Default for Health {
    fn default() -> Self {
        Self { scope: HealthScope::Instance, min_working: MinWorking::Percent(100) }
    }
}

/// `health.min_working`: `"100 %"`, `"50%"`, or a count such as `3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinWorking {
    /// At least this share of the total, 0 to 100.
    Percent(u8),
    /// At least this many, or all where there are fewer.
    Count(u32),
}

impl MinWorking {
    /// Is `working` of `total` enough?
    #[must_use]
    pub fn is_met(self, working: u64, total: u64) -> bool {
        match self {
            Self::Percent(percent) => working * 100 >= total * u64::from(percent),
            Self::Count(count) => working >= u64::from(count).min(total),
        }
    }
}

/// `migrations.scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScopeSetting {
    /// `local` in the initial PID namespace on a local file system, else `shared`.
    #[default]
    Auto,
    /// This PID table is the jobs'.
    Local,
    /// Other hosts or containers write locks here too.
    Shared,
}

/// How migrations are reconciled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrations {
    /// Where the locks are; none: migrations are off.
    pub lock_dir: Option<PathBuf>,
    /// Which key gave the directory, for messages: `migrations.lock_dir` or `CACHE_PATH`, with its source.
    pub lock_dir_source: String,
    /// What shows that this is a container, for messages about the directory; none outside of one.
    pub container: Option<String>,
    /// Time between two scans.
    pub interval: Duration,
    /// How old a lock must be before its dead process is an error.
    pub grace: Duration,
    /// How far apart two looks must be that prove something.
    pub settle: Duration,
    /// How long the progress of a live process may stand still until it is stalled; zero: for ever.
    pub stall_after: Duration,
    /// Whose PIDs the locks hold.
    pub scope: ScopeSetting,
}

impl Default for Migrations {
    fn default() -> Self {
        Self {
            lock_dir: None,
            lock_dir_source: String::new(),
            container: None,
            interval: Duration::from_secs(10),
            grace: Duration::from_mins(10),
            settle: Duration::from_secs(5),
            stall_after: Duration::from_mins(30),
            scope: ScopeSetting::Auto,
        }
    }
}

/// What the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    /// Are the ends of processes and changes of the lock directory told by the kernel, or found by looking alone?
    pub enabled: bool,
}

impl Default for Events {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where and how it is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Lines for people, or JSON.
    pub format: LogFormat,
    /// A file instead of standard error.
    pub file: Option<PathBuf>,
    /// A level or a filter such as `info,procwarden::http=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, file: None, level: "info".to_owned() }
    }
}
