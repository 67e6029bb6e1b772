//! From a node's host and port to a TCP connection, inside one time limit.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

/// Why there is no connection.
#[derive(Debug)]
pub enum Unreached {
    /// Not within the limit; a resolver that hangs counts too.
    Timeout,
    /// The name has no address.
    Dns(String),
    /// Nobody listens.
    Refused(io::Error),
    /// The network said something else.
    Io(io::Error),
}

/// Connects to the first of the host's addresses that takes us, within `limit` all together.
///
/// # Errors
/// What the last address said.
pub async fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, Unreached> {
    let end = Instant::now() + limit;
    let addresses =
        timeout_at(end, resolve(host, port)).await.unwrap_or(Err(Unreached::Timeout))?;
    let mut last = Unreached::Dns("no address".to_owned());
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let now = Instant::now();
        // Each address gets its share of what is left, so that a silent one does not use up the next one's.
        let share = now + end.saturating_duration_since(now) / left;
        last = match timeout_at(share, one(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(why)) => why,
            Err(_) => Unreached::Timeout,
        };
    }
    Err(last)
}

/// The addresses of a host, in the resolver's order.
///
/// # Errors
/// [`Unreached::Dns`]
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Unreached> {
    match lookup_host((host, port)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(Unreached::Dns(dns_text(&error))),
    }
}

/// The same without a port, within `limit`; none where the name does not resolve.
pub async fn addresses(host: &str, limit: Duration) -> Vec<IpAddr> {
    match tokio::time::timeout(limit, resolve(host, 0)).await {
        Ok(Ok(found)) => found.into_iter().map(|address| address.ip()).collect(),
        _ => Vec::new(),
    }
}

async fn one(address: SocketAddr) -> Result<TcpStream, Unreached> {
    let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Unreached::Refused(error),
        io::ErrorKind::TimedOut => Unreached::Timeout,
        _ => Unreached::Io(error),
    })?;
    // Where nobody listens on a port of the ephemeral range, the kernel may pick that very port for our end
    // and TCP connects us with ourselves (simultaneous open, RFC 9293 section 3.5).
    if matches!((stream.local_addr(), stream.peer_addr()), (Ok(ours), Ok(theirs)) if ours == theirs)
    {
        let code = rustix::io::Errno::CONNREFUSED.raw_os_error();
        return Err(Unreached::Refused(io::Error::from_raw_os_error(code)));
    }
    stream.set_nodelay(true).map_err(Unreached::Io)?;
    Ok(stream)
}

/// `Connection refused`, without the `(os error 111)` that Rust adds.
#[must_use]
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// `111: Connection refused`, as the earlier module shows errors of the port.
#[must_use]
pub fn numbered(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("{code}: {}", plain(error)),
        None => plain(error),
    }
}

fn dns_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_is_told_apart_and_told_briefly() {
        let (_deaf, port) = crate::checker::tests::deaf();
        let Err(Unreached::Refused(error)) =
            connect("127.0.0.1", port, Duration::from_secs(5)).await
        else {
            panic!("somebody listens")
        };
        assert_eq!(numbered(&error), "111: Connection refused");
        assert_eq!(plain(&error), "Connection refused");
    }

    #[tokio::test]
    async fn a_name_that_cannot_be() {
        let found = connect("no such host", 1, Duration::from_secs(20)).await;
        assert!(matches!(found, Err(Unreached::Dns(_))), "{found:?}");
        assert!(addresses("no such host", Duration::from_secs(20)).await.is_empty());
        assert_eq!(
            addresses("::1", Duration::from_secs(1)).await,
            ["::1".parse::<IpAddr>().unwrap()]
        );
    }
}
