//! A node: a long-running RPC process, as its operator describes it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::process::Identity;
use super::service::Service;

/// The program of a wallet, and so of a node that says nothing else.
pub const DEFAULT_PROCESS_NAME: &str = "monero-wallet-rpc";

/// The placement of a node that every instance can reach; no instance may have this name.
pub const ANY: &str = "any";

/// How a node is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Its process lives and is the right program.
    Pid,
    /// Its port accepts connections.
    Port,
    /// Its RPC server answers as its kind shall: a wallet tells its version.
    Api,
    /// All three; the verdict is the API's.
    Full,
}

impl Method {
    /// Every method, in the order in which they are listed to people.
    pub const ALL: [Self; 4] = [Self::Pid, Self::Port, Self::Api, Self::Full];

    /// The word for it everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Port => "port",
            Self::Api => "api",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|method| method.as_str() == word)
            .ok_or_else(|| format!("'{word}' is none of pid, port, api, full"))
    }
}

/// Whether and how TLS is spoken with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Plain HTTP.
    #[default]
    Off,
    /// HTTPS; the certificate must be valid for the host.
    Verify,
    /// HTTPS with any certificate: `monero-wallet-rpc` makes itself an X.509 v1 one, which no verifier takes.
    Insecure,
}

impl Tls {
    /// The word for it everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Verify => "verify",
            Self::Insecure => "insecure",
        }
    }
}

impl FromStr for Tls {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "off" => Ok(Self::Off),
            "verify" => Ok(Self::Verify),
            "insecure" => Ok(Self::Insecure),
            _ => Err(format!("'{word}' is none of off, verify, insecure")),
        }
    }
}

/// A password: never printed, wiped when dropped, comparable so that a change can be noticed.
#[derive(Clone)]
pub struct Password {
    text: SecretString,
    kind: Kind,
}

/// What the text of a password is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// The password itself.
    Plain,
    /// What Laravel made of it.
    Laravel,
}

impl Password {
    /// Takes the clear text.
    #[must_use]
    pub fn new(clear: String) -> Self {
        Self { text: clear.into(), kind: Kind::Plain }
    }

    /// Takes a text that only an `APP_KEY` of Laravel's opens; see [`crate::secrets`].
    #[must_use]
    pub fn laravel(payload: String) -> Self {
        Self { text: payload.into(), kind: Kind::Laravel }
    }

    /// Is its text something else than the password?
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        matches!(self.kind, Kind::Laravel)
    }

    /// The text as it is stored: in clear, or sealed.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, self.expose()) == (other.kind, other.expose())
    }
}

impl Eq for Password {}

impl Hash for Password {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.kind, self.expose()).hash(state);
    }
}

/// A node as it stands in the registry, with the identity last observed for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    /// Never reused.
    pub id: i64,
    /// Unique; see [`check_name`].
    pub name: String,
    /// What people call it.
    pub title: Option<String>,
    /// Host name or address.
    pub host: String,
    /// TCP port of its RPC server.
    pub port: u16,
    /// What it serves, and what its answer must be.
    pub service: Service,
    /// Whether TLS is spoken.
    pub tls: Tls,
    /// User of HTTP Digest authentication.
    pub username: Option<String>,
    /// Password of HTTP Digest authentication.
    pub password: Option<Password>,
    /// Address of the daemon it uses, as the user wrote it; shown only.
    pub daemon: Option<String>,
    /// The PID that the user gave; never written by us.
    pub pid: Option<i64>,
    /// A file that holds the PID.
    pub pid_file: Option<String>,
    /// File name of the executable that it must be; empty: any program will do.
    pub process_name: String,
    /// Whether it is checked and counted.
    pub available: bool,
    /// The instance that it was registered with.
    pub instance: String,
    /// Who shall answer for it by its operator's word: an instance's name, or [`ANY`]; none: see `domain::fleet`.
    pub placement: Option<String>,
    /// The process that was last observed to be this node.
    pub identity: Option<Identity>,
}

impl Node {
    /// The RPC address, without credentials and without a query.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls == Tls::Off { "http" } else { "https" };
        let path = self.service.path().split('?').next().unwrap_or_default();
        if self.host.contains(':') {
            format!("{scheme}://[{}]:{}{path}", self.host, self.port)
        } else {
            format!("{scheme}://{}:{}{path}", self.host, self.port)
        }
    }

    /// Is what is checked the same as in `other`, whatever was observed or renamed?
    #[must_use]
    pub fn same_target(&self, other: &Self) -> bool {
        (&self.host, self.port, self.tls, &self.username, &self.password)
            == (&other.host, other.port, other.tls, &other.username, &other.password)
            && (self.pid, &self.pid_file, &self.process_name, self.available)
                == (other.pid, &other.pid_file, &other.process_name, other.available)
            && self.service == other.service
    }
}

/// The rule for node names: 1 to 128 characters, no `/`, no control characters, no space at the ends,
/// not `.`, `..`, `status` or all digits (those are other things in a URL).
///
/// # Errors
/// Says which part of the rule was broken.
pub fn check_name(name: &str) -> Result<(), String> {
    let fault = if name.is_empty() || name.chars().count() > 128 {
        "must have 1 to 128 characters"
    } else if name.contains('/') || name.chars().any(char::is_control) {
        "must not contain '/' or control characters"
    } else if name.trim() != name {
        "must not begin or end with a space"
    } else if matches!(name, "." | ".." | "status") {
        "must not be '.', '..' or 'status'"
    } else if name.bytes().all(|b| b.is_ascii_digit()) {
        "must not be all digits (that is an id)"
    } else {
        return Ok(());
    };
    Err(format!("'{}' {fault}", name.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_else_in_a_url_are_refused() {
        for bad in ["", ".", "..", "status", "42", "a/b", " a", "a ", "a\n", &"x".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for good in ["main-node", "42a", "Узел 1", &"я".repeat(128), "Status"] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        assert_eq!(format!("{:?}", Password::new("s3cret".into())), "***");
        assert_eq!(format!("{:?}", Password::laravel("s3aled".into())), "***");
    }

    #[test]
    fn a_sealed_password_is_another_than_a_plain_one_of_the_same_text() {
        let (plain, sealed) = (Password::new("t".into()), Password::laravel("t".into()));
        assert_ne!(plain, sealed);
        assert_eq!(sealed, Password::laravel("t".into()));
        assert_eq!(std::collections::HashSet::from([plain.clone(), sealed.clone()]).len(), 2);
        assert_eq!((plain.is_sealed(), sealed.is_sealed()), (false, true));
        assert_eq!((plain.expose(), sealed.expose()), ("t", "t"));
    }
}
