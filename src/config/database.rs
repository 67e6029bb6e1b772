//! `database.url`: which engine it names, and what is wrong with it before anybody connects.
//!
//! A message tells nothing of a URL but its scheme: a password may stand anywhere in one that is wrong.

use std::borrow::Cow;
use std::path::Path;

use percent_encoding::percent_decode_str;
use url::{ParseError, Url};

use super::parse::{Problem, shown};
use super::raw::Raw;
use crate::domain::node::Password;

/// Whether and how TLS is spoken with the database; the words are PostgreSQL's `sslmode` (libpq, 34.18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseTls {
    /// Never.
    Off,
    /// If the server can, with any certificate.
    Prefer,
    /// Always, with any certificate.
    Require,
    /// Always, with a certificate that a known authority signed.
    VerifyCa,
    /// Always, with a certificate that a known authority signed for this host.
    VerifyFull,
}

impl DatabaseTls {
    /// Every one, from the least to the most.
    pub const ALL: [Self; 5] =
        [Self::Off, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// The word for it in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Is the certificate looked at?
    #[must_use]
    pub const fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }
}

/// What a URL may be.
const FORMS: &str = "sqlite://PATH, postgres://USER:PASSWORD@HOST/DATABASE (postgresql:// too) \
                     or mysql://USER:PASSWORD@HOST/DATABASE (mariadb:// too)";

/// What a URL that cannot be taken apart mostly suffers from.
const ENCODE: &str = "in user, password and database write each of @ : / ? # % by its code, \
                      such as %40 for @";

/// Which kind of database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// `PostgreSQL`.
    Postgres,
    /// `MariaDB` or `MySQL`.
    MySql,
}

impl Engine {
    /// The engine that the scheme of a URL names.
    #[must_use]
    pub fn of(url: &str) -> Option<Self> {
        if url.starts_with("sqlite:") {
            return Some(Self::Sqlite);
        }
        match url.split_once("://")?.0 {
            "postgres" | "postgresql" => Some(Self::Postgres),
            "mysql" | "mariadb" => Some(Self::MySql),
            _ => None,
        }
    }

    /// What people call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MariaDB/MySQL",
        }
    }
}

/// What the URL of a database server names, decoded; without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) engine: Engine,
    /// None: the driver's default.
    pub(super) user: Option<String>,
    pub(super) database: String,
}

/// `database.url`. A relative path of SQLite is made absolute; the URL of a server stays as it is, since its driver reads
/// the parameters.
pub(super) fn url(raw: &Raw) -> Result<Password, Problem> {
    let url = raw.text()?;
    match Engine::of(&url) {
        Some(Engine::Sqlite) => sqlite(&url, &raw.base),
        Some(Engine::Postgres | Engine::MySql) => server(&url).map(|_| Password::new(url)),
        None => Err(unknown(&url)),
    }
}

/// `sqlite://PATH` with an absolute path.
fn sqlite(url: &str, base: &Path) -> Result<Password, Problem> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path == ":memory:" {
        return Err("needs a file, as in sqlite://procwarden.db".to_owned());
    }
    if path.contains(['?', '#']) {
        return Err("must be sqlite://PATH without '?' or '#'".to_owned());
    }
    sqlite_url(&base.join(path))
}

/// The URL of a SQLite file.
pub(super) fn sqlite_url(path: &Path) -> Result<Password, Problem> {
    match path.to_str() {
        Some(text) if !text.contains(['?', '#']) => Ok(Password::new(format!("sqlite://{text}"))),
        _ => Err(format!("{} is not UTF-8 or contains '?' or '#'", shown(&path.to_string_lossy()))),
    }
}

/// Why a URL is no database's that we know.
fn unknown(url: &str) -> Problem {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some(scheme) if scheme.len() <= 20 && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            format!("'{scheme}://' is no known database: write {FORMS}")
        }
        _ => format!("must begin with the scheme of a known database: write {FORMS}"),
    }
}

/// Takes the URL of a server apart.
pub(super) fn server(url: &str) -> Result<Server, Problem> {
    let engine = Engine::of(url).filter(|it| *it != Engine::Sqlite).ok_or_else(|| unknown(url))?;
    if has_several_hosts(url) {
        return Err("names several hosts: name one, such as a proxy in front of them".to_owned());
    }
    let parsed = match Url::parse(url) {
        Ok(parsed) if parsed.fragment().is_none() => parsed,
        Ok(_) => return Err(format!("must not have a '#': {ENCODE}")),
        Err(ParseError::EmptyHost) => return Err(missing("no host")),
        Err(error) => return Err(format!("is no URL ({error}): {ENCODE}")),
    };
    let path = parsed.path().trim_start_matches('/');
    // The rest of a password with such a character ends up here, and would be shown as the name.
    if path.contains(['/', '@']) {
        return Err(format!("has '/' or '@' in the name of its database: {ENCODE}"));
    }
    let database =
        parameter(&parsed, engine, &["dbname"], &[]).map_or_else(|| decoded(path), Ok)?;
    let has_host = parsed.host_str().is_some_and(|host| !host.is_empty())
        || parameter(&parsed, engine, &["host", "hostaddr"], &["socket"]).is_some();
    match (has_host, database.is_empty()) {
        (true, false) => {}
        (false, false) => return Err(missing("no host")),
        (true, true) => return Err(missing("no database")),
        (false, true) => return Err(missing("neither a host nor a database")),
    }
    let user = parameter(&parsed, engine, &["user"], &[])
        .map_or_else(|| decoded(parsed.username()), Ok)?;
    if [&database, &user].iter().any(|name| name.chars().any(char::is_control)) {
        return Err("must not have control characters in names".to_owned());
    }
    Ok(Server { engine, user: Some(user).filter(|user| !user.is_empty()), database })
}

fn missing(what: &str) -> Problem {
    format!("names {what}: write {FORMS}")
}

/// The last parameter of these names; each driver has its own.
fn parameter(url: &Url, engine: Engine, postgres: &[&str], mysql: &[&str]) -> Option<String> {
    let names = if engine == Engine::Postgres { postgres } else { mysql };
    let pairs = url.query_pairs().filter(|(name, _)| names.contains(&name.as_ref()));
    pairs.last().map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
}

/// Does a comma stand where the host is?
fn has_several_hosts(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority).contains(',')
}

fn decoded(text: &str) -> Result<String, Problem> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Cow::into_owned).map_err(|_| "must be UTF-8 where it has codes such as %40".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (Option<String>, String) {
        let server = server(url).unwrap_or_else(|problem| panic!("{url}: {problem}"));
        (server.user, server.database)
    }

    #[test]
    fn the_scheme_alone_decides() {
        let of = |url| Engine::of(url);
        assert_eq!(of("sqlite://a"), Some(Engine::Sqlite));
        assert_eq!(of("sqlite:a"), Some(Engine::Sqlite));
        for url in ["postgres://h/d", "postgresql://h/d"] {
            assert_eq!(of(url), Some(Engine::Postgres), "{url}");
        }
        for url in ["mysql://h/d", "mariadb://h/d"] {
            assert_eq!(of(url), Some(Engine::MySql), "{url}");
        }
        for url in ["postgres:h", "mysqlx://h/d", "MYSQL://h/d", "h/d", ""] {
            assert_eq!(of(url), None, "{url}");
        }
    }

    #[test]
    fn user_and_database_are_decoded_wherever_they_stand() {
        let some = |user: &str, database: &str| (Some(user.to_owned()), database.to_owned());
        assert_eq!(parts("postgres://u:p%40ss@h:5432/db?sslmode=require"), some("u", "db"));
        assert_eq!(parts("mysql://a%40b:p@[::1]/%D0%91%20%2F"), some("a@b", "Б /"));
        assert_eq!(parts("postgres://h/db"), (None, "db".to_owned()));
        assert_eq!(parts("postgres:///db?host=/run/postgresql&user=u"), some("u", "db"));
        assert_eq!(parts("postgresql://u@%2Frun%2Fpostgresql/db"), some("u", "db"));
        assert_eq!(parts("postgres://u@h?dbname=db"), some("u", "db"));
        assert_eq!(parts("mariadb://u@localhost/db?socket=/run/s.sock"), some("u", "db"));
        // Each driver has its own parameters.
        assert!(server("mysql:///db?host=/run/x").unwrap_err().contains("no host"));
        assert!(server("mysql://h/?dbname=db").unwrap_err().contains("no database"));
    }

    #[test]
    fn what_is_wrong_is_told_and_nothing_of_a_password() {
        let cases = [
            ("postgres://", "neither a host nor a database"),
            ("postgres:///db", "no host"),
            ("mysql://u:hunter2@/db", "no host"),
            ("mysql://u:hunter2@h", "no database"),
            ("mysql://u:hunter2@h/", "no database"),
            ("mysql://u:hunter2@a:1,b:2/db", "several hosts"),
            ("postgres://u:hunter2@a,b/db", "several hosts"),
            ("postgres://u:hunt/er2@h/db", "%40"),
            ("postgres://u:1/hunter2@h/db", "%40"),
            ("postgres://u:1#hunter2@h/db", "%40"),
            ("postgres://u:1?hunter2@h/db", "no database"),
            ("postgres://u:hunter2@h:99999/db", "is no URL"),
            ("postgres://u:hunter2@h/a/b", "'/'"),
            ("postgres://u:hunter2@h/%FF", "UTF-8"),
            ("postgres://u:hunter2@h/a%0Ab", "control characters"),
        ];
        for (url, part) in cases {
            let problem = server(url).unwrap_err();
            assert!(problem.contains(part), "{url}: {problem}");
            assert!(!problem.contains("hunt") && !problem.contains("er2"), "{url}: {problem}");
        }
    }

    #[test]
    fn another_scheme_is_answered_with_those_that_there_are() {
        for url in ["oracle://u:hunter2@h/d", "hunter2", "hunter2;x://h", "host=h password=hunter2"]
        {
            let problem = unknown(url);
            assert!(!problem.contains("hunter2"), "{problem}");
            for scheme in ["sqlite://", "postgres://", "postgresql://", "mysql://", "mariadb://"] {
                assert!(problem.contains(scheme), "{problem}");
            }
        }
    }
}
