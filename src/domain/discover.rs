//! What a running server is as a node, by what it was started with and where it listens. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::node::{Node, Password, Tls};
use super::process::Identity;
use super::service::Kind;

/// The kinds that are looked for.
pub const KINDS: [Kind; 2] = [Kind::MoneroWalletRpc, Kind::Monerod];

/// What a program was started with, by the names of its options without dashes. Never shown: passwords are in it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Options(BTreeMap<String, String>);

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Options")
    }
}

impl Options {
    /// Those of a command line, without the program. An option without a value is `1`.
    #[must_use]
    pub fn of_arguments<S: AsRef<str>>(arguments: &[S]) -> Self {
        let mut options = Self::default();
        let mut rest = arguments.iter().map(AsRef::as_ref).peekable();
        while let Some(argument) = rest.next() {
            let Some(option) = argument.strip_prefix("--") else { continue };
            match option.split_once('=') {
                Some((name, value)) => options.offer(name, value),
                None => match rest.next_if(|next| !next.starts_with("--")) {
                    Some(value) => options.offer(option, value),
                    None => options.offer(option, "1"),
                },
            }
        }
        options
    }

    /// Adds those of a configuration file, `key=value` a line, where the command line says nothing.
    pub fn add_file(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            if let Some((name, value)) = line.split_once('=') {
                self.offer(name.trim(), value.trim());
            }
        }
    }

    /// The first word counts.
    pub fn offer(&mut self, name: &str, value: &str) {
        self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// The value of an option.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Is this flag set?
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "0" | "false" | "no" | "off"))
    }
}

/// Where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listens {
    /// There, by its own sockets.
    Here(Vec<(IpAddr, u16)>),
    /// Its sockets may not be read; somebody listens there.
    Somebody(Vec<(IpAddr, u16)>),
}

/// What could not be read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unread {
    /// Its environment.
    Environment,
    /// Its configuration file.
    ConfigFile,
}

/// A running process of one of the [`KINDS`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// What it is.
    pub kind: Kind,
    /// Who it is.
    pub identity: Identity,
    /// What it was started with.
    pub options: Options,
    /// Its login is one that it made itself for this run.
    pub made_login: bool,
    /// Where it listens.
    pub listens: Listens,
    /// It is of another PID namespace.
    pub elsewhere: bool,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// The same as a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Who it is.
    pub identity: Identity,
    /// Where it answers; none: it cannot be a node, and the notes say why.
    pub place: Option<(IpAddr, u16)>,
    /// Whether TLS is spoken.
    pub tls: Tls,
    /// User of its login.
    pub username: Option<String>,
    /// Password of its login.
    pub password: Option<Password>,
    /// The daemon that it was told to use.
    pub daemon: Option<String>,
    /// A file with its PID.
    pub pid_file: Option<String>,
    /// What people should know.
    pub notes: Vec<&'static str>,
}

/// What a server is as a node.
#[must_use]
pub fn found(server: &Server) -> Found {
    let Server { kind, options, .. } = server;
    let mut notes = Vec::new();
    let place = place(server, &mut notes);
    let (username, password) = login(server, &mut notes);
    // Any certificate: it makes itself one that no verifier takes. With autodetect it speaks both.
    let tls = if options.get("rpc-ssl") == Some("enabled") { Tls::Insecure } else { Tls::Off };
    Found {
        kind: *kind,
        identity: server.identity.clone(),
        place,
        tls,
        username,
        password,
        daemon: daemon(server),
        pid_file: options.get("pidfile").filter(|path| path.starts_with('/')).map(str::to_owned),
        notes,
    }
}

fn place(server: &Server, notes: &mut Vec<&'static str>) -> Option<(IpAddr, u16)> {
    if server.elsewhere {
        notes.push("it is in another PID namespace (a container): add it by hand");
        return None;
    }
    let given = server.options.get("rpc-bind-port").and_then(|port| port.parse::<u16>().ok());
    let port = given.or_else(|| usual_port(server));
    let (listening, own) = match &server.listens {
        Listens::Here(places) => (places, true),
        Listens::Somebody(places) => (places, false),
    };
    let at = |port: u16| {
        // IPv4 first: it is what such a server listens on unless told otherwise.
        let mut places: Vec<_> = listening.iter().filter(|place| place.1 == port).collect();
        places.sort_unstable();
        places.first().map(|(address, port)| (reached(*address), *port))
    };
    let mut found = port.and_then(at);
    if found.is_none() && own && port.is_none() {
        let mut ports: Vec<u16> = listening.iter().map(|place| place.1).collect();
        ports.sort_unstable();
        ports.dedup();
        if let [port] = ports[..] {
            found = at(port);
        }
    }
    match (found, own) {
        (Some(_), true) => {}
        (Some(_), false) => notes.push("its sockets cannot be read: the port is as it was told"),
        (None, true) => notes.push("it does not listen on a port for RPC"),
        (None, false) => {
            notes.push("its sockets cannot be read, and nobody listens where it was told");
        }
    }
    found
}

/// The port of a daemon that was told none (`monerod --help`); a wallet has to be told.
fn usual_port(server: &Server) -> Option<u16> {
    let is = |net| server.options.is_set(net);
    match server.kind {
        Kind::Monerod if is("testnet") => Some(28_081),
        Kind::Monerod if is("stagenet") => Some(38_081),
        Kind::Monerod => Some(18_081),
        _ => None,
    }
}

/// The address by which a listener is reached from this host.
fn reached(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

fn login(server: &Server, notes: &mut Vec<&'static str>) -> (Option<String>, Option<Password>) {
    let Server { kind, options, .. } = server;
    if options.is_set("disable-rpc-login") {
        return (None, None);
    }
    if let Some(login) = options.get("rpc-login") {
        if server.made_login {
            notes.push("its login is another one after each start: give it --rpc-login");
        }
        if let Some((user, password)) = login.split_once(':') {
            return (Some(user.to_owned()), Some(Password::new(password.to_owned())));
        }
        notes.push("its password is nowhere to be read");
        return (Some(login.to_owned()), None);
    }
    if server.unread.contains(&Unread::ConfigFile) {
        notes.push("its configuration file cannot be read, and a login may be there");
    }
    if server.unread.contains(&Unread::Environment) {
        notes.push("its environment cannot be read, and a login may be there");
    } else if *kind == Kind::MoneroWalletRpc && server.unread.is_empty() {
        notes.push("it made itself a login that cannot be read");
    }
    (None, None)
}

fn daemon(server: &Server) -> Option<String> {
    let options = &server.options;
    if server.kind != Kind::MoneroWalletRpc || options.is_set("offline") {
        return None;
    }
    let parts = || match (options.get("daemon-host"), options.get("daemon-port")) {
        (None, None) => None,
        (host, port) => {
            Some(format!("{}:{}", host.unwrap_or("localhost"), port.unwrap_or("18081")))
        }
    };
    options.get("daemon-address").map(str::to_owned).or_else(parts)
}

impl Found {
    /// Is it this node already: the same place, or the same process?
    #[must_use]
    pub fn is(&self, node: &Node) -> bool {
        let same_place = self.place.is_some_and(|(address, port)| {
            let host = node.host.parse::<IpAddr>().map(|host| host.to_canonical());
            let loopback = node.host == "localhost" || host.as_ref().is_ok_and(IpAddr::is_loopback);
            node.port == port && (host == Ok(address) || (loopback && address.is_loopback()))
        });
        let recorded = node.identity.as_ref();
        let same_process = recorded.is_some_and(|it| {
            it.boot_id == self.identity.boot_id
                && it.pid_ns == self.identity.pid_ns
                && !it.differs_from(&self.identity)
        });
        same_place || same_process
    }

    /// A name for it that is none of those `taken`: `wallet-18082`, else `wallet-18082-2` and so on.
    #[must_use]
    pub fn name(&self, taken: impl Fn(&str) -> bool) -> Option<String> {
        let (_, port) = self.place?;
        let what = if self.kind == Kind::Monerod { "monerod" } else { "wallet" };
        let plain = format!("{what}-{port}");
        if !taken(&plain) {
            return Some(plain);
        }
        (2..10_000).map(|nth| format!("{plain}-{nth}")).find(|name| !taken(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { boot_id: "b".into(), pid_ns: 1, pid: 7, start_ticks: Some(5), inode: None }
    }

    fn server(kind: Kind, line: &str, listens: &[&str]) -> Server {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let places = listens.iter().map(|text| text.parse::<std::net::SocketAddr>().unwrap());
        Server {
            kind,
            identity: identity(),
            options: Options::of_arguments(&arguments),
            made_login: false,
            listens: Listens::Here(places.map(|it| (it.ip(), it.port())).collect()),
            elsewhere: false,
            unread: Vec::new(),
        }
    }

    fn wallet(line: &str, listens: &[&str]) -> Found {
        found(&server(Kind::MoneroWalletRpc, line, listens))
    }

    fn text(place: Option<(IpAddr, u16)>) -> String {
        place.map(|it| std::net::SocketAddr::from(it).to_string()).unwrap_or_default()
    }

    #[test]
    fn options_come_from_the_command_line_before_the_file() {
        let mut options =
            Options::of_arguments(&["x", "--a", "1", "--b=2=3", "--flag", "--c", "-1", "--d"]);
        options.add_file("a=9\n# b=9\n e = f # g\nflag=0\noff=false\n[section]\nno value\n");
        let got = ["a", "b", "flag", "c", "d", "e", "x"].map(|name| options.get(name));
        assert_eq!(
            got,
            [Some("1"), Some("2=3"), Some("1"), Some("-1"), Some("1"), Some("f"), None]
        );
        assert!(options.is_set("flag") && !options.is_set("off") && !options.is_set("nothing"));
        let secret = Options::of_arguments(&["--rpc-login", "u:s3cret"]);
        assert!(!format!("{secret:?}").contains("s3cret"));
    }

    #[test]
    fn the_port_is_the_one_of_its_own_sockets() {
        let daemon =
            |line: &str, listens: &[&str]| text(found(&server(Kind::Monerod, line, listens)).place);
        let wallet = |line: &str, listens: &[&str]| text(wallet(line, listens).place);
        for (seen, expected) in [
            (wallet("--rpc-bind-port 5", &["127.0.0.1:5"]), "127.0.0.1:5"),
            (wallet("--rpc-bind-port=5", &["0.0.0.0:5", "127.0.0.1:9"]), "127.0.0.1:5"),
            (wallet("--rpc-bind-port 5", &["[::1]:5", "127.0.0.1:5"]), "127.0.0.1:5"),
            (wallet("--rpc-bind-port 5", &["[::]:5"]), "[::1]:5"),
            (wallet("--rpc-bind-port 5", &["10.0.0.7:5"]), "10.0.0.7:5"),
            (wallet("--rpc-bind-port 5", &["127.0.0.1:6"]), ""),
            (wallet("--rpc-bind-port 5", &[]), ""),
            (wallet("", &["127.0.0.1:6"]), "127.0.0.1:6"),
            (wallet("", &["127.0.0.1:6", "127.0.0.1:7"]), ""),
            (
                daemon("", &["0.0.0.0:18080", "127.0.0.1:18081", "127.0.0.1:18082"]),
                "127.0.0.1:18081",
            ),
            (daemon("--testnet", &["127.0.0.1:28081", "127.0.0.1:18081"]), "127.0.0.1:28081"),
            (daemon("--stagenet", &["127.0.0.1:38081"]), "127.0.0.1:38081"),
            (daemon("--rpc-bind-port 9", &["0.0.0.0:8", "127.0.0.1:9"]), "127.0.0.1:9"),
            (daemon("--rpc-bind-port 9", &["0.0.0.0:8"]), ""),
        ] {
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let mut hidden =
            server(Kind::MoneroWalletRpc, "--rpc-bind-port 5 --disable-rpc-login", &[]);
        hidden.listens =
            Listens::Somebody(vec![([127, 0, 0, 1].into(), 5), ([127, 0, 0, 1].into(), 6)]);
        let seen = found(&hidden);
        assert_eq!(text(seen.place), "127.0.0.1:5");
        assert_eq!(seen.notes, ["its sockets cannot be read: the port is as it was told"]);
        hidden.options = Options::of_arguments(&["--disable-rpc-login"]);
        assert_eq!(found(&hidden).place, None, "another's socket is no guess");
        let mut server = server(Kind::MoneroWalletRpc, "--rpc-bind-port 5", &["127.0.0.1:5"]);
        assert_eq!(found(&server).notes, ["it made itself a login that cannot be read"]);
        server.unread = vec![Unread::ConfigFile, Unread::Environment];
        assert_eq!(found(&server).notes.len(), 2);
        server.elsewhere = true;
        assert_eq!(found(&server).place, None);
    }

    #[test]
    fn logins_and_daemons() {
        let seen =
            wallet("--rpc-bind-port 5 --rpc-login u:pa:ss --rpc-ssl enabled", &["127.0.0.1:5"]);
        assert_eq!((seen.username.as_deref(), seen.tls), (Some("u"), Tls::Insecure));
        assert_eq!(seen.password, Some(Password::new("pa:ss".into())));
        assert!(seen.notes.is_empty() && !format!("{seen:?}").contains("pa:ss"));
        let seen = wallet("--rpc-bind-port 5 --rpc-login u --disable-rpc-login", &["127.0.0.1:5"]);
        assert_eq!((seen.username, seen.tls), (None, Tls::Off));
        let seen = wallet("--rpc-login u", &["127.0.0.1:5"]);
        assert_eq!((seen.username.as_deref(), seen.notes.len()), (Some("u"), 1));
        let daemon = |line: &str| wallet(line, &[]).daemon.unwrap_or_default();
        assert_eq!(daemon("--daemon-address h:1 --daemon-port 2"), "h:1");
        assert_eq!(daemon("--daemon-port 2"), "localhost:2");
        assert_eq!(daemon("--daemon-address h:1 --offline"), "");
        assert_eq!(daemon(""), "");
        assert_eq!(found(&server(Kind::Monerod, "--rpc-bind-port 5", &[])).username, None);
    }

    #[test]
    fn names_are_free_ones() {
        let seen = wallet("--rpc-bind-port 5", &["127.0.0.1:5"]);
        let taken = ["wallet-5", "wallet-5-2"];
        assert_eq!(seen.name(|_| false).as_deref(), Some("wallet-5"));
        assert_eq!(seen.name(|name| taken.contains(&name)).as_deref(), Some("wallet-5-3"));
        assert_eq!(wallet("", &[]).name(|_| false), None);
    }
}
