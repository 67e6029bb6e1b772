//! The database that the `.env` of the earlier systems names, as a URL.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::fault::Fault;
use super::raw::{Source, Value};
use super::sources::Gathered;
use super::their_env::{Theirs, URL_KEY, Without};

/// What need not be encoded in a URL (RFC 3986, 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The host where none is given.
const LOCALHOST: &str = "127.0.0.1";

/// The file of Laravel's SQLite where none is given.
const SQLITE_FILE: &str = "database/database.sqlite";

/// The dashboard's, by `MG_DB_*`.
pub(super) fn mb(theirs: &Theirs, found: &mut Gathered) {
    let mut reading = Reading::new(theirs);
    let parts = Parts {
        scheme: "mysql",
        host: reading.host("MG_DB_HOST"),
        port: reading.port("MG_DB_PORT", 3306),
        database: reading.needed("MG_DB_NAME"),
        user: reading.needed("MG_DB_USER"),
        password: reading.optional("MG_DB_PASS"),
        parameter: None,
    };
    reading.finish(found, parts.url(), "MG_DB_*");
}

/// Laravel's, by `DB_*`.
pub(super) fn laravel(theirs: &Theirs, found: &mut Gathered) {
    let mut reading = Reading::new(theirs);
    let url = reading.laravel_url();
    // What kind it is was told wrongly, or not at all, in the URL.
    let url = match (url, reading.faults.is_empty()) {
        (None, false) => return reading.finish(found, None, "DB_*"),
        (url, _) => url,
    };
    let named = match &url {
        Some((name, url)) => Some((*name, url.scheme().to_owned())),
        None => reading.needed("DB_CONNECTION").map(|word| ("DB_CONNECTION", word)),
    };
    let url = url.map(|(_, url)| url);
    let made = match named.as_ref().map(|(name, word)| (name, word.as_str())) {
        None => None,
        Some((_, "sqlite")) => {
            let file = reading.optional("DB_DATABASE").unwrap_or_else(|| SQLITE_FILE.to_owned());
            Some(format!("sqlite://{file}"))
        }
        Some((_, "mysql" | "mysql2" | "mariadb")) => {
            reading.server("mysql", 3306, url.as_ref()).url()
        }
        Some((_, "pgsql" | "postgres" | "postgresql")) => {
            reading.server("postgres", 5432, url.as_ref()).url()
        }
        Some((name, "sqlsrv" | "mssql")) => {
            reading.wrong(name, "is SQL Server's, which is not spoken here: give database.url");
            None
        }
        Some((name, _)) => {
            reading.wrong(name, "must be mysql, mariadb, pgsql or sqlite; or give database.url");
            None
        }
    };
    reading.finish(found, made, "DB_*");
}

/// The parts of the URL of a server; a part is none where it is missing or faulty.
struct Parts {
    scheme: &'static str,
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    password: Option<String>,
    parameter: Option<(&'static str, String)>,
}

impl Parts {
    fn url(&self) -> Option<String> {
        let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let user = encoded(self.user.as_deref()?);
        let password = self.password.as_deref().map(encoded);
        let password = password.map(|password| format!(":{password}")).unwrap_or_default();
        let (host, port) = (self.host.as_deref()?, self.port?);
        let database = encoded(self.database.as_deref()?);
        let mut url = format!("{}://{user}{password}@{host}:{port}/{database}", self.scheme);
        if let Some((name, value)) = &self.parameter {
            let _ = write!(url, "?{name}={}", encoded(value));
        }
        Some(url)
    }
}

/// The reading of what makes up a URL, with all that is wrong with it.
struct Reading<'a> {
    theirs: &'a Theirs,
    missing: Vec<&'a str>,
    faults: Vec<Fault>,
    /// Their file gave something.
    from_file: bool,
    /// Their file gave a password.
    is_secret: bool,
}

impl<'a> Reading<'a> {
    fn new(theirs: &'a Theirs) -> Self {
        Self { theirs, missing: Vec::new(), faults: Vec::new(), from_file: false, is_secret: false }
    }

    fn look(&mut self, name: &str) -> Result<String, Without> {
        match self.theirs.look(name) {
            Ok(given) => {
                let in_file = given.source.path().is_some();
                self.from_file |= in_file;
                self.is_secret |= in_file && (name.contains("PASS") || name.ends_with("URL"));
                Ok(given.value)
            }
            Err((without, fault)) => {
                self.faults.extend(fault);
                Err(without)
            }
        }
    }

    fn optional(&mut self, name: &str) -> Option<String> {
        self.look(name).ok()
    }

    fn needed(&mut self, name: &'a str) -> Option<String> {
        let value = self.look(name);
        if matches!(value, Err(Without::Missing)) {
            self.missing.push(name);
        }
        value.ok()
    }

    fn port(&mut self, name: &str, default: u16) -> Option<u16> {
        let port = match self.look(name) {
            Ok(text) => text.trim().parse().ok().filter(|port| *port > 0),
            Err(Without::Missing) => return Some(default),
            Err(Without::Faulty) => return None,
        };
        if port.is_none() {
            self.wrong(name, "is not a port: a whole number from 1 to 65535");
        }
        port
    }

    fn host(&mut self, name: &str) -> Option<String> {
        let host = match self.look(name) {
            Ok(text) => host(&text),
            Err(Without::Missing) => return Some(LOCALHOST.to_owned()),
            Err(Without::Faulty) => return None,
        };
        if host.is_none() {
            let problem = "must be one host name or address, without scheme and port; ${NAME} counts \
                           only where NAME is given before";
            self.wrong(name, problem);
        }
        host
    }

    /// A fault of a variable that is given.
    fn wrong(&mut self, name: &str, problem: &str) {
        if let Some((_, source)) = self.theirs.given.get(name) {
            self.faults.push(Fault::new(URL_KEY, source, problem));
        }
    }

    /// `DB_URL`, or `DATABASE_URL` of Laravel before 11, with its name. What it does not say, `DB_*` do.
    fn laravel_url(&mut self) -> Option<(&'static str, Url)> {
        let (name, text) = ["DB_URL", "DATABASE_URL"]
            .into_iter()
            .find_map(|name| Some((name, self.optional(name)?)))?;
        let url = Url::parse(&text).ok();
        let url = url.filter(|url| url.has_host() && !url.scheme().starts_with("sqlite"));
        if url.is_none() {
            let problem = "is not the URL of a database server: write DB_CONNECTION, DB_HOST and so \
                           on instead, or give database.url";
            self.wrong(name, problem);
        }
        Some((name, url?))
    }

    /// A server of Laravel's. What the URL says is stronger than `DB_*`, as it is there.
    fn server(&mut self, scheme: &'static str, port: u16, url: Option<&Url>) -> Parts {
        let of_url = |part: fn(&Url) -> Option<&str>| {
            let text = percent_decode_str(part(url?)?).decode_utf8_lossy().into_owned();
            Some(text).filter(|text| !text.is_empty())
        };
        let (parameter, name) =
            if scheme == "mysql" { ("socket", "DB_SOCKET") } else { ("sslmode", "DB_SSLMODE") };
        let in_url = url.and_then(|url| url.query_pairs().find(|(name, _)| name == parameter));
        let value = in_url.map(|(_, value)| value.into_owned()).or_else(|| self.optional(name));
        Parts {
            scheme,
            host: of_url(Url::host_str)
                .and_then(|text| host(&text))
                .or_else(|| self.host("DB_HOST")),
            port: url.and_then(Url::port).or_else(|| self.port("DB_PORT", port)),
            database: of_url(|url| url.path().strip_prefix('/'))
                .or_else(|| self.needed("DB_DATABASE")),
            user: of_url(|url| Some(url.username())).or_else(|| self.needed("DB_USERNAME")),
            password: of_url(Url::password).or_else(|| self.optional("DB_PASSWORD")),
            parameter: value.map(|value| (parameter, value)),
        }
    }

    /// Hands over the URL, or what keeps it from being one.
    fn finish(mut self, found: &mut Gathered, url: Option<String>, names: &'static str) {
        let theirs = self.theirs;
        if !self.missing.is_empty() {
            let gone = if theirs.there { "" } else { " (there is no such file)" };
            let problem = format!(
                "must be given, since adopt.env is {} and {} not given in {}{gone} or in the environment",
                theirs.whose.as_str(),
                match self.missing.as_slice() {
                    [name] => format!("{name} is"),
                    names => format!("{} are", names.join(" and ")),
                },
                theirs.path.display(),
            );
            let source = found.values.get("adopt.env").map(|raw| raw.source.to_string());
            self.faults.push(Fault::new(URL_KEY, &source.unwrap_or_default(), problem));
        }
        if !self.faults.is_empty() {
            found.faults.append(&mut self.faults);
            return;
        }
        let Some(url) = url else { return };
        if self.is_secret {
            found.secret_files.insert(theirs.path.clone());
        }
        let file = self.from_file.then(|| theirs.path.clone());
        let raw = theirs.raw(Value::Text(url), Source::Several { names, file });
        found.values.insert(URL_KEY, raw);
    }
}

/// A host as it stands in a URL.
fn host(text: &str) -> Option<String> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<Ipv6Addr>().is_ok() {
        return Some(format!("[{bare}]"));
    }
    if text.starts_with('/') {
        // The directory of PostgreSQL's socket.
        return Some(utf8_percent_encode(text, ENCODED).to_string());
    }
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!text.is_empty() && text.bytes().all(is_good)).then(|| text.to_owned())
}
