//! A node: a long-running RPC process, as its operator describes it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::process::Identity;
use super::service::Service;
use super::time::Timestamp;

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
    /// Where it is to be found: `env:NAME` or `file:/PATH`.
    Named,
    /// What Laravel made of it.
    Laravel,
    /// What we made of it, and no key of ours opens.
    Sealed,
}

/// How a password begins in our table that is sealed; see `secrets::vault`.
pub const SEALED: &str = "procwarden-sealed:";

/// How one begins in our table that is only named there.
const NAMED: &str = "procwarden-named:";

/// How one begins in what people write that would be a name else.
const TEXT: &str = "text:";

/// How the names of passwords begin.
const NAMES: [&str; 2] = ["env:", "file:"];

impl Password {
    /// Takes the clear text.
    #[must_use]
    pub fn new(clear: String) -> Self {
        Self { text: clear.into(), kind: Kind::Plain }
    }

    /// Takes what people write: `env:NAME` and `file:/PATH` say where the password is to be found, `text:` stands before
    /// one that begins so itself, anything else is the password.
    #[must_use]
    pub fn given(text: String) -> Self {
        if NAMES.iter().any(|begin| text.starts_with(begin)) {
            return Self { text: text.into(), kind: Kind::Named };
        }
        match text.strip_prefix(TEXT) {
            Some(clear) => Self::new(clear.to_owned()),
            None => Self::new(text),
        }
    }

    /// The text that [`Self::given`] takes for this password; `None` of one that is sealed.
    #[must_use]
    pub fn written(&self) -> Option<String> {
        let text = self.expose();
        match self.kind {
            Kind::Plain if NAMES.iter().chain([&TEXT]).any(|begin| text.starts_with(begin)) => {
                Some(format!("{TEXT}{text}"))
            }
            Kind::Plain | Kind::Named => Some(text.to_owned()),
            Kind::Laravel | Kind::Sealed => None,
        }
    }

    /// Takes a text of our table: sealed, named, or in clear from before passwords were sealed.
    #[must_use]
    pub fn stored(text: String) -> Self {
        if text.starts_with(SEALED) {
            return Self { text: text.into(), kind: Kind::Sealed };
        }
        match text.strip_prefix(NAMED) {
            Some(name) => Self { text: name.to_owned().into(), kind: Kind::Named },
            None => Self::new(text),
        }
    }

    /// As it stands in our table without being sealed first; `None` of one in clear.
    #[must_use]
    pub fn storable(&self) -> Option<String> {
        match self.kind {
            Kind::Plain => None,
            Kind::Named => Some(format!("{NAMED}{}", self.expose())),
            Kind::Laravel | Kind::Sealed => Some(self.expose().to_owned()),
        }
    }

    /// Where it is to be found, if that is what it says.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        (self.kind == Kind::Named).then(|| self.expose())
    }

    /// Is it ours, and no key opened it?
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        matches!(self.kind, Kind::Sealed)
    }

    /// Takes a text that only an `APP_KEY` of Laravel's opens; see [`crate::secrets`].
    #[must_use]
    pub fn laravel(payload: String) -> Self {
        Self { text: payload.into(), kind: Kind::Laravel }
    }

    /// Is its text something else than the password?
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        !matches!(self.kind, Kind::Plain)
    }

    /// Its text: in clear, sealed, or where it is to be found.
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
    /// Until then it makes no alerts; it is checked and shown as ever.
    pub maintenance_until: Option<Timestamp>,
    /// The process that was last observed to be this node.
    pub identity: Option<Identity>,
}

impl Node {
    /// A wallet of which its operator says no more than this, with the id 0 until it is on record.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        host: impl Into<String>,
        port: u16,
        instance: impl Into<String>,
    ) -> Self {
        Self {
            id: 0,
            name: name.into(),
            title: None,
            host: host.into(),
            port,
            service: Service::default(),
            tls: Tls::Off,
            username: None,
            password: None,
            daemon: None,
            pid: None,
            pid_file: None,
            process_name: DEFAULT_PROCESS_NAME.to_owned(),
            available: true,
            instance: instance.into(),
            placement: None,
            maintenance_until: None,
            identity: None,
        }
    }

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

/// Can an environment variable of ours have this name? POSIX, 8.1: letters, digits and `_`, no digit first.
#[must_use]
pub fn is_variable(name: &str) -> bool {
    !name.starts_with(|it: char| it.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
}

/// The rule for names of passwords: `env:` and a variable's name, or `file:` and an absolute path; at most 255 characters.
///
/// # Errors
/// Says which part of the rule was broken.
pub fn check_password_name(name: &str) -> Result<(), String> {
    let is_good = match name.split_once(':') {
        Some(("env", name)) => is_variable(name),
        Some((_, path)) => path.starts_with('/') && !path.contains(char::is_control),
        None => false,
    };
    if is_good && name.chars().count() <= 255 {
        return Ok(());
    }
    Err("env: needs the name of a variable, file: an absolute path, both of at most 255 characters; a password that \
         begins so is written with text: before it"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_and_what_is_stored_of_it() {
        // Written, its text, whether it is a name, stored without being sealed.
        let table = [
            ("s3cret", "s3cret", false, None),
            ("env:RPC", "env:RPC", true, Some("procwarden-named:env:RPC")),
            ("file:/run/p", "file:/run/p", true, Some("procwarden-named:file:/run/p")),
            ("text:env:RPC", "env:RPC", false, None),
            ("text:text:x", "text:x", false, None),
            ("Env:RPC", "Env:RPC", false, None),
        ];
        for (written, text, is_name, stored) in table {
            let password = Password::given(written.to_owned());
            assert_eq!((password.expose(), password.name().is_some()), (text, is_name));
            assert_eq!(password.written().as_deref(), Some(written));
            assert_eq!(password.storable().as_deref(), stored);
            if let Some(stored) = stored {
                assert_eq!(Password::stored(stored.to_owned()), password);
            }
        }
        // In clear from before: what it says now was its text then.
        assert_eq!(Password::stored("env:RPC".into()), Password::new("env:RPC".into()));
        let sealed = Password::stored("procwarden-sealed:1:a:b".into());
        assert_eq!((sealed.is_locked(), sealed.written()), (true, None));
        assert_eq!(sealed.storable().as_deref(), Some("procwarden-sealed:1:a:b"));
    }

    #[test]
    fn names_of_passwords() {
        for good in ["env:A", "env:_a1", "file:/a b", "file:/"] {
            assert_eq!(check_password_name(good), Ok(()));
        }
        for bad in ["env:", "env:1", "env:A-B", "file:", "file:a", "file:./a"] {
            assert!(check_password_name(bad).is_err(), "{bad}");
        }
    }

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
