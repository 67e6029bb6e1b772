//! Where nodes may be: networks, asked about each address before it is connected to.
//!
//! The address is judged and not the name: who controls a name may let it lead to another address a moment later.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

/// The networks of `nodes.allow`; everywhere if there are none.
#[derive(Debug, Clone, Default)]
pub struct Allow(Box<[IpNet]>);

impl Allow {
    /// Only in these networks; anywhere for none.
    #[must_use]
    pub fn only(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    /// May this address be connected to?
    ///
    /// # Errors
    /// Says that it is in none of the networks.
    pub fn check(&self, address: IpAddr) -> io::Result<()> {
        // `::ffff:10.0.0.1` leads to 10.0.0.1.
        let address = address.to_canonical();
        if self.0.is_empty() || self.0.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        Err(io::Error::other(format!("{address} is in no network of nodes.allow")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_whatever_form() {
        let networks = ["10.0.0.0/8", "192.168.1.7/32", "fd00::/8"].map(|it| it.parse().unwrap());
        let allow = Allow::only(&networks);
        let is_allowed = |text: &str| allow.check(text.parse().unwrap()).is_ok();
        for good in ["10.0.0.1", "10.255.255.255", "192.168.1.7", "fd12::1", "::ffff:10.1.2.3"] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in ["11.0.0.1", "192.168.1.8", "127.0.0.1", "::1", "::ffff:127.0.0.1", "::10.0.0.1"]
        {
            assert!(!is_allowed(bad), "{bad}");
        }
        let told = allow.check("::ffff:127.0.0.1".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(told, "127.0.0.1 is in no network of nodes.allow");
        assert!(Allow::default().check("8.8.8.8".parse().unwrap()).is_ok());
    }
}
