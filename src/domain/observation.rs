//! What one check of a node saw: facts, not yet a verdict.

use std::sync::Arc;
use std::time::Duration;

use super::node::Method;
use super::process::{Exit, Identity, Unknowable};
use super::service::Kind;

/// Why a node is what it is; the closed list of the contract. May stand beside a working node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No PID is known.
    PidMissing,
    /// The process is proven dead.
    ProcessGone,
    /// It has ended and its parent has not asked for its exit status.
    ProcessZombie,
    /// It is stopped by a signal.
    ProcessStopped,
    /// The PID belongs to another program.
    WrongProcess,
    /// The given PID is not the node's; the listener of its port is.
    PidAdopted,
    /// The node is on another host, where PIDs mean other processes.
    PidNotApplicable,
    /// Another process than the recorded one is the node now.
    Restarted,
    /// Nothing listens.
    PortClosed,
    /// Another program listens.
    PortTaken,
    /// No connection within `connect_timeout`.
    ConnectTimeout,
    /// No complete answer within `api_timeout`.
    ApiTimeout,
    /// The credentials are refused, or missing.
    Unauthorized,
    /// An HTTP status other than the expected one.
    HttpStatus,
    /// The answer is no JSON-RPC answer to our request, or no JSON.
    NotJsonRpc,
    /// A JSON-RPC error, or an answer that says that something is wrong.
    RpcError,
    /// Another kind of server than the one that this node is.
    WrongService,
    /// TLS could not be agreed on or the certificate was refused.
    Tls,
    /// The host name does not resolve.
    Dns,
    /// The connection broke.
    Io,
    /// No answer in time, but its process computes.
    Busy,
    /// No answer in time, and its process does nothing.
    Hung,
    /// Only a lost instance could tell.
    InstanceLost,
    /// The node's password cannot be opened with the keys that are given.
    SecretUnreadable,
}

impl Reason {
    /// Every reason, in the order of the contract.
    pub const ALL: [Self; 24] = [
        Self::PidMissing,
        Self::ProcessGone,
        Self::ProcessZombie,
        Self::ProcessStopped,
        Self::WrongProcess,
        Self::PidAdopted,
        Self::PidNotApplicable,
        Self::Restarted,
        Self::PortClosed,
        Self::PortTaken,
        Self::ConnectTimeout,
        Self::ApiTimeout,
        Self::Unauthorized,
        Self::HttpStatus,
        Self::NotJsonRpc,
        Self::RpcError,
        Self::WrongService,
        Self::Tls,
        Self::Dns,
        Self::Io,
        Self::Busy,
        Self::Hung,
        Self::InstanceLost,
        Self::SecretUnreadable,
    ];

    /// The word for it everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PidMissing => "pid_missing",
            Self::ProcessGone => "process_gone",
            Self::ProcessZombie => "process_zombie",
            Self::ProcessStopped => "process_stopped",
            Self::WrongProcess => "wrong_process",
            Self::PidAdopted => "pid_adopted",
            Self::PidNotApplicable => "pid_not_applicable",
            Self::Restarted => "restarted",
            Self::PortClosed => "port_closed",
            Self::PortTaken => "port_taken",
            Self::ConnectTimeout => "connect_timeout",
            Self::ApiTimeout => "api_timeout",
            Self::Unauthorized => "unauthorized",
            Self::HttpStatus => "http_status",
            Self::NotJsonRpc => "not_json_rpc",
            Self::RpcError => "rpc_error",
            Self::WrongService => "wrong_service",
            Self::Tls => "tls",
            Self::Dns => "dns",
            Self::Io => "io",
            Self::Busy => "busy",
            Self::Hung => "hung",
            Self::InstanceLost => "instance_lost",
            Self::SecretUnreadable => "secret_unreadable",
        }
    }

    /// The reason that a stored word stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// A verdict that proves death passes the failure threshold.
    #[must_use]
    pub const fn proves_death(self) -> bool {
        matches!(self, Self::ProcessGone | Self::ProcessZombie)
    }

    /// The node takes connections and does not answer.
    #[must_use]
    pub const fn is_silence(self) -> bool {
        matches!(self, Self::ApiTimeout | Self::Busy | Self::Hung)
    }
}

/// Everything that one check saw.
#[allow(clippy::large_enum_variant)] // Boxed where it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Observation {
    /// Method `pid`.
    Pid(PidFacts),
    /// Method `port`.
    Port(PortFacts),
    /// Method `api`.
    Api(ApiFacts),
    /// Method `full`.
    Full(PidFacts, PortFacts, ApiFacts),
}

impl Observation {
    /// The method that was used.
    #[must_use]
    pub const fn method(&self) -> Method {
        match self {
            Self::Pid(_) => Method::Pid,
            Self::Port(_) => Method::Port,
            Self::Api(_) => Method::Api,
            Self::Full(..) => Method::Full,
        }
    }

    /// What was learned of the process, where it was looked at.
    #[must_use]
    pub const fn pid(&self) -> Option<&PidFacts> {
        match self {
            Self::Pid(pid) | Self::Full(pid, ..) => Some(pid),
            Self::Port(_) | Self::Api(_) => None,
        }
    }

    /// What the RPC server answered, where it was asked.
    #[must_use]
    pub const fn api(&self) -> Option<&ApiFacts> {
        match self {
            Self::Api(api) | Self::Full(_, _, api) => Some(api),
            Self::Pid(_) | Self::Port(_) => None,
        }
    }

    /// How long the answer took that the verdict rests on; `None` if none came.
    #[must_use]
    pub const fn latency(&self) -> Option<Duration> {
        match self {
            Self::Pid(_) => None,
            Self::Port(port) => port.latency,
            Self::Api(api) | Self::Full(_, _, api) => api.latency,
        }
    }
}

/// What the process table says about a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PidFacts {
    /// What the node is.
    pub kind: Kind,
    /// The PID that was looked at last: the given one, or the listener's.
    pub pid: Option<i64>,
    /// What was seen.
    pub seen: PidSeen,
    /// Its command line, secrets masked.
    pub cmdline: Option<String>,
    /// Who it is, when it is the node.
    pub identity: Option<Identity>,
    /// How it ended, if it did, was watched, and the kernel told.
    pub exit: Option<Exit>,
}

/// What was seen under a node's PID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PidSeen {
    /// No PID given, no PID file, and no listener that can be seen.
    NotSet,
    /// The node is on another host.
    NotApplicable,
    /// Proven dead.
    Gone,
    /// Dead, not yet reaped.
    Zombie,
    /// Alive and the right program, but stopped.
    Stopped,
    /// Alive, but another program.
    WrongProgram,
    /// Alive and the right program.
    Running,
    /// Alive and the right program, another process than the one recorded.
    Restarted,
    /// The given PID is not the node; this is, and it listens on the node's port.
    Adopted,
    /// It cannot be told.
    Unknown(Unknowable),
}

/// What a TCP connect to a node's port showed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PortFacts {
    /// The node's host.
    pub host: String,
    /// The node's port.
    pub port: u16,
    /// What was seen.
    pub seen: PortSeen,
    /// Who listens, where the permissions let us see it.
    pub listener: Option<Listener>,
    /// Time until the connection stood.
    pub latency: Option<Duration>,
}

/// The process that owns a listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Its PID.
    pub pid: i32,
    /// File name of its executable.
    pub program: String,
}

/// How the connect ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PortSeen {
    /// It stood, and nobody else was seen to listen.
    Open,
    /// It stood, but another program listens.
    Taken,
    /// Refused; the text is `errno: message`.
    Closed(String),
    /// Not within this time.
    Timeout(Duration),
    /// The name does not resolve.
    Dns(String),
    /// Another error of the network.
    Io(String),
    /// We could not look, for want of descriptors or memory.
    Unable(String),
}

/// What the RPC server answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ApiFacts {
    /// The address asked, without credentials.
    pub url: Arc<str>,
    /// What was seen.
    pub seen: ApiSeen,
    /// Time from the first byte sent to the whole answer; `None` if no whole answer came.
    pub latency: Option<Duration>,
    /// Why the node's password could not be read, and what to do; then the exchange was made without a login.
    pub unreadable: Option<Box<str>>,
    /// What the process did that let us wait in vain; `None` if it answered, or cannot be seen from here.
    pub silence: Option<Box<Silence>>,
}

/// What a node's process did while its answer was waited for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Silence {
    /// Its PID.
    pub pid: i32,
    /// It is stopped.
    pub stopped: bool,
    /// One of its threads ran at the begin or at the end, or waited for a processor.
    pub runnable: bool,
    /// CPU time that all its threads used while it was watched.
    pub cpu: Duration,
    /// How long it was watched.
    pub watched: Duration,
    /// It was busy at the looks before as well, for longer than it may be: see [`weigh`](super::verdict::weigh).
    pub spent: bool,
}

impl Silence {
    /// Did it compute, or would it have? A fiftieth of a core is enough, since others may have taken the rest; who waits for
    /// a hung daemon uses none (measured: an idle `monero-wallet-rpc` takes 0.01 % of a core).
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.stopped && (self.runnable || self.cpu * 50 >= self.watched)
    }
}

/// How the RPC exchange ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ApiSeen {
    /// An answer to our request with this `result.version`.
    Version(i64),
    /// A daemon that is synchronized.
    Synchronized {
        /// Blocks that it has.
        height: u64,
        /// Blocks that its peers have; 0 if it knows of none.
        target_height: u64,
    },
    /// A result of the method that was called, with what was expected in it.
    Result,
    /// This HTTP status, which was expected, with what was expected in the body.
    Status(u16),
    /// An answer of the right server, which says that something is wrong; the text says what.
    Unfit(String),
    /// 401; the text says what was refused.
    Unauthorized(String),
    /// Another HTTP status than the expected one.
    HttpStatus(u16),
    /// Not a JSON-RPC answer to our request, or not JSON.
    NotJsonRpc(String),
    /// 200 with a JSON-RPC error.
    RpcError(i64, String),
    /// An answer of another kind of server.
    WrongService(String),
    /// No connection within this time.
    ConnectTimeout(Duration),
    /// No whole answer within this time.
    Timeout(Duration),
    /// The connection was refused.
    Refused(String),
    /// TLS failed.
    Tls(String),
    /// The name does not resolve.
    Dns(String),
    /// The connection broke.
    Io(String),
    /// We could not ask, for want of descriptors or memory.
    Unable(String),
}
