//! Who asks: the peer of a connection, what is asked of it, and whether a request came through somebody else.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName};

use super::AppState;
use crate::config::Settings;
use crate::domain::access::{Doors, Standing, client};

/// Whom a request comes from; with every request that reaches the Router.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Its address, or that part of it which one client has.
    pub client: IpAddr,
    /// What is asked of it.
    pub standing: Standing,
}

impl Caller {
    /// The other end of a connection.
    pub fn of(state: &AppState, peer: IpAddr) -> Self {
        Self { client: client(peer), standing: state.0.doors.standing(peer) }
    }

    /// May it read without a token?
    pub fn reads_freely(&self, headers: &HeaderMap) -> bool {
        !self.standing.needs_token.is(|| forwarded(headers).is_some())
    }

    /// Does this request count against its rate?
    pub fn is_counted(&self, headers: &HeaderMap) -> bool {
        self.standing.is_counted.is(|| forwarded(headers).is_some())
    }
}

/// What the settings say of readers.
pub fn doors(settings: &Settings) -> Doors {
    let server = &settings.server;
    Doors {
        is_local: server.listen.ip().to_canonical().is_loopback(),
        is_open: server.open_reads,
        is_guarded: !server.read_token.is_empty(),
        trusted: server.trusted_proxies.clone(),
    }
}

/// The header that tells that this request came through a proxy: `Forwarded` (RFC 7239), `Via` (RFC 9110, 7.6.3), or one of
/// those that were there before and stayed.
pub fn forwarded(headers: &HeaderMap) -> Option<&HeaderName> {
    headers.keys().find(|name| {
        let name = name.as_str();
        matches!(name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded")
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn what_tells_of_a_proxy() {
        let with = |name: &str| {
            let name: HeaderName = name.parse().unwrap();
            HeaderMap::from_iter([(name, HeaderValue::from_static(""))])
        };
        for name in [
            "Forwarded",
            "X-Forwarded-For",
            "x-forwarded-host",
            "X-FORWARDED-PROTO",
            "x-forwarded-anything",
            "X-Real-IP",
            "Via",
        ] {
            assert!(forwarded(&with(name)).is_some(), "{name}");
        }
        for name in ["host", "x-forward", "x-request-id", "accept", "forwarded-for"] {
            assert!(forwarded(&with(name)).is_none(), "{name}");
        }
    }
}
