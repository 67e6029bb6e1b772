//! What a node is asked, and which answer is right: prepared once per node, since it is asked again and again.

use std::borrow::Cow;

use super::answer;
use super::connection::Reads;
use super::wire;
use crate::domain::Node;
use crate::domain::observation::ApiSeen;
use crate::domain::service::{Expected, Kind, Service, Statuses};

/// Of a wallet, which most nodes are, nothing is made at all.
#[derive(Debug)]
pub enum Question {
    /// The same for every node of its kind.
    Common(&'static Parts),
    /// With what its operator said.
    Own(Box<Parts>),
}

/// The text of a request around its host, its login and its id, and how its answer is read.
#[derive(Debug)]
pub struct Parts {
    /// `POST` or `GET`.
    pub verb: &'static str,
    /// What follows it: path and query.
    pub path: Cow<'static, str>,
    /// The headers behind `Host`, each with its line end.
    pub headers: &'static str,
    /// The body around the id; none: a request without a body.
    pub body: Option<(Cow<'static, str>, Cow<'static, str>)>,
    judge: Judge,
}

/// How an answer is read.
#[derive(Debug)]
enum Judge {
    Wallet,
    Daemon,
    Result(Option<Expected>),
    Status(Statuses, Option<Expected>),
}

const RPC_HEADERS: &str = "Content-Type: application/json\r\nAccept: application/json\r\n";

static WALLET: Parts = Parts {
    verb: "POST",
    path: Cow::Borrowed("/json_rpc"),
    headers: RPC_HEADERS,
    body: Some((
        Cow::Borrowed(r#"{"jsonrpc":"2.0","id":""#),
        Cow::Borrowed(r#"","method":"get_version"}"#),
    )),
    judge: Judge::Wallet,
};

impl Question {
    /// What a node that serves this is asked.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        match service.kind {
            Kind::MoneroWalletRpc => Self::Common(&WALLET),
            Kind::Monerod => Self::own(service, Judge::Daemon),
            Kind::JsonRpc => Self::own(service, Judge::Result(service.expected())),
            Kind::Http => Self::own(service, Judge::Status(service.statuses(), service.expected())),
        }
    }

    fn own(service: &Service, judge: Judge) -> Self {
        let path = Cow::Owned(service.path().to_owned());
        Self::Own(Box::new(match service.rpc_method() {
            Some(method) => Parts {
                verb: "POST",
                path,
                headers: RPC_HEADERS,
                body: Some((
                    Cow::Borrowed(r#"{"jsonrpc":"2.0","id":""#),
                    format!("\",\"method\":{}}}", serde_json::Value::from(method)).into(),
                )),
                judge,
            },
            None => Parts { verb: "GET", path, headers: "Accept: */*\r\n", body: None, judge },
        }))
    }

    /// Its text.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        match self {
            Self::Common(parts) => parts,
            Self::Own(parts) => parts,
        }
    }
}

impl Parts {
    /// What every request to a node begins with, up to the login; none if HTTP cannot name its host.
    #[must_use]
    pub fn begin(&self, node: &Node) -> Option<Box<str>> {
        let (Self { verb, path, headers, .. }, Node { host, port, .. }) = (self, node);
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        let text = || {
            format!("{verb} {path} HTTP/1.1\r\nHost: {open}{host}{close}:{port}\r\n{headers}")
                .into()
        };
        wire::is_sendable(host).then(text)
    }

    /// Is an answer with this status worth reading?
    #[must_use]
    pub fn takes(&self, status: u16) -> bool {
        match &self.judge {
            Judge::Status(statuses, _) => statuses.has(status),
            _ => status == 200,
        }
    }

    /// How much is read of an answer with this status.
    #[must_use]
    pub fn reads(&self, status: u16) -> Reads {
        match &self.judge {
            _ if status == 401 => Reads::Whole,
            _ if !self.takes(status) => Reads::Nothing,
            Judge::Status(_, None) => Reads::IfShort,
            _ => Reads::Whole,
        }
    }

    /// What an answer that it takes says.
    #[must_use]
    pub fn read(&self, status: u16, body: &[u8], id: &str) -> ApiSeen {
        match &self.judge {
            Judge::Wallet => answer::read(body, id),
            Judge::Daemon => answer::daemon(body, id),
            Judge::Result(expected) => answer::result(body, id, expected.as_ref()),
            Judge::Status(_, expected) => answer::page(status, body, expected.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::service::Param;

    fn asked(kind: Kind, params: &[(Param, &str)]) -> (String, String) {
        let params = params.iter().map(|(param, value)| (*param, (*value).to_owned()));
        let question = Question::of(&Service::new(kind, params.collect()));
        let parts = question.parts();
        let body = parts.body.as_ref().map(|(before, after)| format!("{before}7{after}"));
        (format!("{} {}", parts.verb, parts.path), body.unwrap_or_default())
    }

    #[test]
    fn requests_as_a_table() {
        let rpc = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":"7","method":{method}}}"#);
        let table = [
            (asked(Kind::MoneroWalletRpc, &[]), ("POST /json_rpc", rpc("\"get_version\""))),
            (asked(Kind::Monerod, &[]), ("POST /json_rpc", rpc("\"get_info\""))),
            (
                asked(Kind::JsonRpc, &[(Param::RpcMethod, "a\"b"), (Param::Path, "/")]),
                ("POST /", rpc("\"a\\\"b\"")),
            ),
            (asked(Kind::Http, &[]), ("GET /", String::new())),
            (asked(Kind::Http, &[(Param::Path, "/a?b")]), ("GET /a?b", String::new())),
        ];
        for ((line, body), (expected, text)) in table {
            assert_eq!((line.as_str(), body), (expected, text));
        }
    }

    #[test]
    fn beginnings_as_a_table() {
        let begin = |host: &str| {
            let node = Node { host: host.to_owned(), ..crate::checker::tests::node(18_082) };
            WALLET.begin(&node).map(|text| text.lines().take(2).collect::<Vec<_>>().join("|"))
        };
        for (host, expected) in [
            ("localhost", Some("POST /json_rpc HTTP/1.1|Host: localhost:18082")),
            ("::1", Some("POST /json_rpc HTTP/1.1|Host: [::1]:18082")),
            ("a\r\nB: c", None),
            ("a\0", None),
        ] {
            assert_eq!(begin(host).as_deref(), expected, "{host:?}");
        }
    }

    #[test]
    fn a_wallets_parts_are_its_presets() {
        let preset = Kind::MoneroWalletRpc.preset();
        assert_eq!(WALLET.path, preset.path);
        let (_, after) = WALLET.body.as_ref().unwrap();
        assert_eq!(**after, format!("\",\"method\":\"{}\"}}", preset.rpc_method.unwrap()));
    }

    #[test]
    fn only_what_is_needed_is_read() {
        let service = |params: &[(Param, &str)]| {
            let params = params.iter().map(|(param, value)| (*param, (*value).to_owned()));
            Question::of(&Service::new(Kind::Http, params.collect()))
        };
        let (plain, field) = (service(&[]), service(&[(Param::ExpectField, "/a")]));
        let table = [
            (&plain, [Reads::IfShort, Reads::Nothing, Reads::Whole]),
            (&field, [Reads::Whole, Reads::Nothing, Reads::Whole]),
        ];
        for (question, reads) in table {
            assert_eq!([204, 302, 401].map(|status| question.parts().reads(status)), reads);
        }
        assert_eq!([200, 204, 401].map(|it| WALLET.takes(it)), [true, false, false]);
    }
}
