//! `[server]`: where HTTP is served, and to whom.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::token::Token;

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Bearer tokens of writes; without one they are refused.
    pub token: Vec<Token>,
    /// Bearer tokens of reads; without one reads are open to who asks directly at a loopback address.
    pub read_token: Vec<Token>,
    /// Whether reads are open to all.
    pub open_reads: bool,
    /// Networks whose requests may read without a token.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests a second of one client; zero: no limit.
    pub rate: u32,
    /// Most connections at once.
    pub max_connections: usize,
    /// How long `/readyz` says 503 before connections are refused.
    pub drain: Duration,
    /// Prefixes under which every route is served as well, such as `/dashboard/api`.
    pub base_paths: Vec<String>,
    /// Origins that browsers may call from, or `*`; empty is off.
    pub cors_origins: Vec<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8686)),
            token: Vec::new(),
            read_token: Vec::new(),
            open_reads: false,
            trusted_proxies: Vec::new(),
            rate: 100,
            max_connections: 10_000,
            drain: Duration::from_millis(500),
            base_paths: Vec::new(),
            cors_origins: Vec::new(),
        }
    }
}
