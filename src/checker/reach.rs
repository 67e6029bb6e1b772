//! From a node's host and port to a TCP connection, inside one time limit.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::names::{Found, Names};

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
    /// Nothing was tried: this process, or this machine, lacks what it takes. It says nothing of the node.
    Unable(io::Error),
}

/// Before it is tried again, where we lacked something.
const LACK_PAUSE: Duration = Duration::from_millis(20);

/// Connects to the first of the host's addresses that takes us, within `limit` all together.
///
/// # Errors
/// What the last address said.
pub async fn connect(
    names: &Names,
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<TcpStream, Unreached> {
    let end = Instant::now() + limit;
    let addresses = match timeout_at(end, names.resolve(host)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(text)) => return Err(Unreached::Dns(text.to_string())),
        Err(_) => return Err(Unreached::Timeout),
    };
    let mut last = Unreached::Dns("no address".to_owned());
    for (tried, address) in addresses.iter().enumerate() {
        if let Err(refused) = names.allow.check(address.ip()) {
            last = Unreached::Io(refused);
            continue;
        }
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let now = Instant::now();
        // Each address gets its share of what is left, so that a silent one does not use up the next one's.
        let share = now + end.saturating_duration_since(now) / left;
        let mut address = *address;
        address.set_port(port);
        last = match timeout_at(share, able(address, share)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(why)) => why,
            Err(_) => Unreached::Timeout,
        };
    }
    names.doubt(host, &addresses);
    Err(last)
}

/// Tries again until `end` where it is on us.
async fn able(address: SocketAddr, end: Instant) -> Result<TcpStream, Unreached> {
    loop {
        match one(address).await {
            Err(Unreached::Unable(_)) if Instant::now() + LACK_PAUSE * 2 < end => {
                tokio::time::sleep(LACK_PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Descriptors or memory: of this process, or of the machine.
fn is_lack(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)
    )
}

/// The addresses of a host, within `limit`; none where the name does not resolve.
pub async fn addresses(names: &Names, host: &str, limit: Duration) -> Vec<IpAddr> {
    let found: Option<Found> = tokio::time::timeout(limit, names.resolve(host)).await.ok();
    let found = found.and_then(Result::ok);
    found.iter().flat_map(|all| all.iter()).map(SocketAddr::ip).collect()
}

async fn one(address: SocketAddr) -> Result<TcpStream, Unreached> {
    let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Unreached::Refused(error),
        io::ErrorKind::TimedOut => Unreached::Timeout,
        _ if is_lack(&error) => Unreached::Unable(error),
        _ => Unreached::Io(error),
    })?;
    // Where nobody listens on a port of the ephemeral range, the kernel may pick that very port for our end
    // and TCP connects us with ourselves (simultaneous open, RFC 9293 section 3.5).
    if matches!((stream.local_addr(), stream.peer_addr()), (Ok(ours), Ok(theirs)) if ours == theirs)
    {
        let code = Errno::CONNREFUSED.raw_os_error();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::allow::Allow;

    #[tokio::test]
    async fn a_refusal_is_told_apart_and_told_briefly() {
        let (_deaf, port) = crate::checker::tests::deaf();
        let Err(Unreached::Refused(error)) =
            connect(&Names::default(), "127.0.0.1", port, Duration::from_secs(5)).await
        else {
            panic!("somebody listens")
        };
        assert_eq!(numbered(&error), "111: Connection refused");
        assert_eq!(plain(&error), "Connection refused");
    }

    #[tokio::test]
    async fn what_a_name_leads_to_is_judged_each_time() {
        use std::net::{Ipv4Addr, TcpListener};
        use std::sync::Arc;
        use std::sync::atomic::{AtomicU8, Ordering};

        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let last = Arc::new(AtomicU8::new(1));
        let leads = last.clone();
        let resolver = move |_| {
            let last = leads.load(Ordering::SeqCst);
            async move { Ok([SocketAddr::from(([127, 0, 0, last], 0))].into()) }
        };
        let only = ["127.0.0.1/32".parse().unwrap()];
        let limit = Duration::from_secs(5);
        let names = Names::with(resolver.clone()).allowing(Allow::only(&only));
        assert!(connect(&names, "node", port, limit).await.is_ok());
        // The same name leads elsewhere now: somebody listens there as well.
        last.store(2, Ordering::SeqCst);
        let names = Names::with(resolver).allowing(Allow::only(&only));
        let Err(Unreached::Io(error)) = connect(&names, "node", port, limit).await else {
            panic!("it was connected to")
        };
        assert_eq!(plain(&error), "127.0.0.2 is in no network of nodes.allow");
        let mapped = connect(&names, "::ffff:127.0.0.2", port, limit).await;
        assert!(matches!(mapped, Err(Unreached::Io(_))), "{mapped:?}");
        assert!(connect(&names, "127.0.0.1", port, limit).await.is_ok());
    }

    #[tokio::test]
    async fn a_name_that_cannot_be() {
        let names = Names::default();
        let found = connect(&names, "no such host", 1, Duration::from_secs(20)).await;
        assert!(matches!(found, Err(Unreached::Dns(_))), "{found:?}");
        assert!(addresses(&names, "no such host", Duration::from_secs(20)).await.is_empty());
        assert_eq!(
            addresses(&names, "::1", Duration::from_secs(1)).await,
            ["::1".parse::<IpAddr>().unwrap()]
        );
    }
}
