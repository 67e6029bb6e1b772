//! Who may read without a token, and whose requests are counted.

use std::net::IpAddr;

use ipnet::IpNet;

/// What the configuration says of readers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Doors {
    /// Is the address that is listened on a loopback one? Who reaches it is on this machine, or behind a proxy on it.
    pub is_local: bool,
    /// `server.open_reads`.
    pub is_open: bool,
    /// Is there a token of reads?
    pub is_guarded: bool,
    /// `server.trusted_proxies`.
    pub trusted: Vec<IpNet>,
}

/// Which of a peer's requests something applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// To none.
    None,
    /// To those that came through somebody else, by their own headers.
    Forwarded,
    /// To all.
    All,
}

impl Which {
    /// Does it apply to a request that `forwarded` tells the way of?
    #[must_use]
    pub fn is(self, forwarded: impl FnOnce() -> bool) -> bool {
        match self {
            Self::None => false,
            Self::Forwarded => forwarded(),
            Self::All => true,
        }
    }
}

/// What is asked of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The reads that need a token.
    pub needs_token: Which,
    /// The requests that count against the peer's rate.
    pub is_counted: Which,
}

impl Standing {
    /// Of whom nothing is known.
    pub const STRANGER: Self = Self { needs_token: Which::All, is_counted: Which::All };
}

impl Doors {
    /// What is asked of this peer.
    #[must_use]
    pub fn standing(&self, peer: IpAddr) -> Standing {
        let peer = peer.to_canonical();
        if self.trusted.iter().any(|network| network.contains(&peer)) {
            return Standing { needs_token: Which::None, is_counted: Which::None };
        }
        let needs_token = if self.is_open {
            Which::None
        } else if self.is_local && !self.is_guarded {
            Which::Forwarded
        } else {
            Which::All
        };
        let is_counted = if peer.is_loopback() { Which::Forwarded } else { Which::All };
        Standing { needs_token, is_counted }
    }
}

/// The part of an address that one client has for itself: of IPv6 it has a whole /64 (RFC 6177), and could take another
/// address of it for each request.
#[must_use]
pub fn client(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Takes one request of a client whose requests are spread at `interval`, of which `burst` may come at once; the result
/// is when the next one is due, or how long this one came too early. All in microseconds. It is the generic cell rate
/// algorithm (ITU-T I.371, annex A): one number for each client instead of a count and a time.
///
/// # Errors
/// If it came too early; it does not count then.
pub fn admit(due: u64, now: u64, interval: u64, burst: u64) -> Result<u64, u64> {
    let due = due.max(now);
    let early = due - now;
    let allowed = interval.saturating_mul(burst.saturating_sub(1));
    if early > allowed { Err(early - allowed) } else { Ok(due.saturating_add(interval)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_needs_a_token() {
        use Which::{All, Forwarded, None};
        let doors = |is_local, is_open, is_guarded| Doors {
            is_local,
            is_open,
            is_guarded,
            trusted: vec!["10.0.0.0/8".parse().unwrap(), "fd00::7/128".parse().unwrap()],
        };
        for (is_local, is_open, is_guarded, expected) in [
            (true, false, false, Forwarded),
            (true, false, true, All),
            (false, false, false, All),
            (false, false, true, All),
            (false, true, false, None),
            (true, true, false, None),
        ] {
            let doors = doors(is_local, is_open, is_guarded);
            // On an address that others reach, even a peer of this machine shows a token: it may be a proxy.
            for peer in ["127.0.0.1", "192.0.2.1", "::1", "fd00::8"] {
                assert_eq!(doors.standing(ip(peer)).needs_token, expected, "{doors:?} {peer}");
            }
            for peer in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::7"] {
                let standing = doors.standing(ip(peer));
                assert_eq!((standing.needs_token, standing.is_counted), (None, None), "{peer}");
            }
        }
    }

    #[test]
    fn who_is_counted() {
        let doors = Doors::default();
        for (peer, expected) in [
            ("127.0.0.1", Which::Forwarded),
            ("127.9.9.9", Which::Forwarded),
            ("::1", Which::Forwarded),
            ("::ffff:127.0.0.1", Which::Forwarded),
            ("192.0.2.1", Which::All),
            ("2001:db8::1", Which::All),
        ] {
            assert_eq!(doors.standing(ip(peer)).is_counted, expected, "{peer}");
        }
        assert_eq!(client(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(client(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[test]
    fn a_burst_is_taken_and_then_the_rate() {
        // Ten a second, three at once.
        let (mut due, mut taken) = (0, Vec::new());
        for now in (0..1_000_000).step_by(10_000) {
            if let Ok(next) = admit(due, now, 100_000, 3) {
                due = next;
                taken.push(now);
            }
        }
        assert_eq!(taken[..4], [0, 10_000, 20_000, 100_000]);
        assert_eq!(taken.len(), 3 + 9);
        assert_eq!(admit(due, 990_000, 100_000, 3), Err(10_000), "how long it has to wait");
        let later = admit(due, 60_000_000, 100_000, 3);
        assert_eq!(later, Ok(60_100_000), "a pause gives the burst back, and no more");
        assert_eq!(admit(0, 0, 1, 1), Ok(1));
        assert_eq!(admit(1, 0, 1, 1), Err(1));
    }
}
