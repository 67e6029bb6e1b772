//! What a node serves: a table of presets, and what its operator says beside one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::node::DEFAULT_PROCESS_NAME;

/// Longest path that is asked for, in bytes.
const LONGEST_PATH: usize = 1024;

/// Longest name of a JSON-RPC method, in characters.
const LONGEST_METHOD: usize = 128;

/// Longest JSON pointer, and longest value that is compared, in characters.
const LONGEST: usize = 255;

/// What kind of RPC a node speaks.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A wallet: it tells its version.
    #[default]
    MoneroWalletRpc,
    /// A daemon: it is synchronized.
    Monerod,
    /// Any JSON-RPC 2.0 server: a method has a result.
    JsonRpc,
    /// Any HTTP server: a GET has an expected status.
    Http,
}

/// What is known of a kind.
#[derive(Debug)]
pub struct Preset {
    /// The word for it everywhere.
    pub word: &'static str,
    /// File name of its executable; empty: any program will do.
    pub process_name: &'static str,
    /// What is said where a PID is another program's.
    pub wrong_program: &'static str,
    /// Is `is_monero_process` told of its process?
    pub is_monero: bool,
    /// What is asked by POST; none: it is asked by GET, or the method is [`Param::RpcMethod`].
    pub rpc_method: Option<&'static str>,
    /// Where it is asked, unless [`Param::Path`] says otherwise.
    pub path: &'static str,
    /// What may be said beside it.
    pub takes: &'static [Param],
    /// What must be said beside it.
    pub needs: &'static [Param],
}

static PRESETS: [Preset; 4] = [
    Preset {
        word: "monero-wallet-rpc",
        process_name: DEFAULT_PROCESS_NAME,
        wrong_program: "Process exists but not monero-wallet-rpc",
        is_monero: true,
        rpc_method: Some("get_version"),
        path: "/json_rpc",
        takes: &[],
        needs: &[],
    },
    Preset {
        word: "monerod",
        process_name: "monerod",
        wrong_program: "Process exists but not monerod",
        is_monero: true,
        rpc_method: Some("get_info"),
        path: "/json_rpc",
        takes: &[],
        needs: &[],
    },
    Preset {
        word: "json-rpc",
        process_name: "",
        wrong_program: "Process exists but is another program",
        is_monero: false,
        rpc_method: None,
        path: "/json_rpc",
        takes: &[Param::RpcMethod, Param::Path, Param::ExpectField, Param::ExpectValue],
        needs: &[Param::RpcMethod],
    },
    Preset {
        word: "http",
        process_name: "",
        wrong_program: "Process exists but is another program",
        is_monero: false,
        rpc_method: None,
        path: "/",
        takes: &[Param::Path, Param::ExpectStatus, Param::ExpectField, Param::ExpectValue],
        needs: &[],
    },
];

impl Kind {
    /// Every kind, in the order in which they are listed to people.
    pub const ALL: [Self; 4] = [Self::MoneroWalletRpc, Self::Monerod, Self::JsonRpc, Self::Http];

    /// Its line of the table.
    #[must_use]
    pub fn preset(self) -> &'static Preset {
        match self {
            Self::MoneroWalletRpc => &PRESETS[0],
            Self::Monerod => &PRESETS[1],
            Self::JsonRpc => &PRESETS[2],
            Self::Http => &PRESETS[3],
        }
    }

    /// The word for it everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.preset().word
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        kind.ok_or_else(|| {
            format!("'{}' is none of {}", word.escape_debug(), words(&Self::ALL.map(Self::as_str)))
        })
    }
}

/// What may be said beside a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Param {
    /// The JSON-RPC method.
    RpcMethod,
    /// Path, and query, of the URL.
    Path,
    /// HTTP statuses that are right.
    ExpectStatus,
    /// JSON pointer (RFC 6901) to what must be there: in the result, or in the body.
    ExpectField,
    /// What stands there.
    ExpectValue,
}

impl Param {
    /// Every one, in the order in which they are listed to people.
    pub const ALL: [Self; 5] =
        [Self::RpcMethod, Self::Path, Self::ExpectStatus, Self::ExpectField, Self::ExpectValue];

    /// The name of its key everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RpcMethod => "rpc_method",
            Self::Path => "path",
            Self::ExpectStatus => "expect_status",
            Self::ExpectField => "expect_field",
            Self::ExpectValue => "expect_value",
        }
    }

    /// What a value of it must be.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::RpcMethod => "must have 1 to 128 characters, none of them control",
            Self::Path => {
                "must begin with / and have up to 1024 visible ASCII characters, none of them # (others as %XX)"
            }
            Self::ExpectStatus => {
                "must be codes from 200 to 599 such as \"200\" or \"200-299,401\""
            }
            Self::ExpectField => {
                "must be a JSON pointer such as \"/status\" with up to 255 characters, none of them control"
            }
            Self::ExpectValue => "must have up to 255 characters, none of them control",
        }
    }

    /// Does this value keep its rule?
    #[must_use]
    pub fn takes(self, value: &str) -> bool {
        let (length, plain) = (value.chars().count(), !value.chars().any(char::is_control));
        match self {
            Self::RpcMethod => plain && (1..=LONGEST_METHOD).contains(&length),
            Self::Path => {
                let visible = value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
                value.starts_with('/') && visible && value.len() <= LONGEST_PATH
            }
            Self::ExpectStatus => Statuses::parse(value).is_some(),
            Self::ExpectField => plain && length <= LONGEST && is_pointer(value),
            Self::ExpectValue => plain && length <= LONGEST,
        }
    }
}

/// RFC 6901, section 3; the whole document would be no field.
fn is_pointer(text: &str) -> bool {
    let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.starts_with('/') && escaped
}

/// HTTP statuses, as ranges with both ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Those of an HTTP node whose operator names none: what went well (RFC 9110, section 15.3).
    pub const DEFAULT: &'static str = "200-299";

    /// `200`, `200-299,401`; `None` if it is no such list.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let code = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|code| digits && (200..=599).contains(code))
        };
        let range = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (code(from.trim())?, code(to.trim())?);
            (from <= to).then_some((from, to))
        };
        if text.len() > LONGEST {
            return None;
        }
        text.split(',').map(|part| range(part.trim())).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Is this one of them?
    #[must_use]
    pub fn has(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }
}

/// What must stand in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expected {
    /// Where (RFC 6901).
    pub field: String,
    /// What: the text, or the number, true, false or null of that spelling. None: anything.
    pub value: Option<String>,
}

/// What a node serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Service {
    /// The preset.
    pub kind: Kind,
    params: BTreeMap<Param, String>,
}

impl Service {
    /// A kind with what is said beside it; see [`Self::faults`].
    #[must_use]
    pub const fn new(kind: Kind, params: BTreeMap<Param, String>) -> Self {
        Self { kind, params }
    }

    /// Of two columns: the word of the kind, and [`Self::params_text`].
    ///
    /// # Errors
    /// Says what cannot be read.
    pub fn stored(kind: &str, params: Option<&str>) -> Result<Self, String> {
        let params = params.map(serde_json::from_str).transpose();
        let params = params.map_err(|error| format!("params: {error}"))?;
        Ok(Self::new(kind.parse()?, params.unwrap_or_default()))
    }

    /// What is said beside the kind, as JSON; nothing is said of most nodes.
    #[must_use]
    pub fn params_text(&self) -> Option<String> {
        (!self.params.is_empty()).then(|| serde_json::to_string(&self.params).unwrap_or_default())
    }

    /// As it was given, if it was.
    #[must_use]
    pub fn param(&self, param: Param) -> Option<&str> {
        self.params.get(&param).map(String::as_str)
    }

    /// What is said beside the kind.
    #[must_use]
    pub const fn params(&self) -> &BTreeMap<Param, String> {
        &self.params
    }

    /// The same after a change: another kind begins with nothing beside it; `None` removes what was there.
    #[must_use]
    pub fn changed(
        &self,
        kind: Option<Kind>,
        params: impl IntoIterator<Item = (Param, Option<String>)>,
    ) -> Self {
        let kind = kind.unwrap_or(self.kind);
        let mut changed =
            if kind == self.kind { self.clone() } else { Self::new(kind, BTreeMap::new()) };
        for (param, value) in params {
            match value {
                Some(value) => changed.params.insert(param, value),
                None => changed.params.remove(&param),
            };
        }
        changed
    }

    /// Everything that is wrong with it, each with its key.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let Preset { word, takes, needs, .. } = self.kind.preset();
        let mut faults = Vec::new();
        for (param, value) in &self.params {
            if !takes.contains(param) {
                let kinds: Vec<&str> = Kind::ALL
                    .into_iter()
                    .map(Kind::preset)
                    .filter_map(|it| it.takes.contains(param).then_some(it.word))
                    .collect();
                let problem = format!("is for kind {} and not for {word}", kinds.join(" or "));
                faults.push((param.as_str(), problem));
            } else if !param.takes(value) {
                faults.push((param.as_str(), param.rule().to_owned()));
            }
        }
        for param in needs.iter().filter(|param| !self.params.contains_key(param)) {
            faults.push((param.as_str(), format!("is required for kind {word}")));
        }
        let value = self.params.contains_key(&Param::ExpectValue);
        if value && takes.contains(&Param::ExpectValue) && self.param(Param::ExpectField).is_none()
        {
            let problem = "needs expect_field, which says where it stands";
            faults.push((Param::ExpectValue.as_str(), problem.to_owned()));
        }
        faults
    }

    /// Where it is asked, its query included.
    #[must_use]
    pub fn path(&self) -> &str {
        self.param(Param::Path).unwrap_or(self.kind.preset().path)
    }

    /// The JSON-RPC method that is called; none: it is asked by GET.
    #[must_use]
    pub fn rpc_method(&self) -> Option<&str> {
        self.kind.preset().rpc_method.or_else(|| self.param(Param::RpcMethod))
    }

    /// Which HTTP statuses are right.
    #[must_use]
    pub fn statuses(&self) -> Statuses {
        let given = self.param(Param::ExpectStatus).and_then(Statuses::parse);
        given.or_else(|| Statuses::parse(Statuses::DEFAULT)).unwrap_or(Statuses(Vec::new()))
    }

    /// What must stand in its answer.
    #[must_use]
    pub fn expected(&self) -> Option<Expected> {
        let field = self.param(Param::ExpectField)?.to_owned();
        Some(Expected { field, value: self.param(Param::ExpectValue).map(str::to_owned) })
    }
}

fn words(all: &[&str]) -> String {
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(kind: Kind, params: &[(Param, &str)]) -> Service {
        let params = params.iter().map(|(param, value)| (*param, (*value).to_owned()));
        Service::new(kind, params.collect())
    }

    #[test]
    fn words_and_keys_are_the_same_everywhere() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for param in Param::ALL {
            assert_eq!(serde_json::to_value(param).unwrap(), param.as_str());
        }
        let error = "wallet".parse::<Kind>().unwrap_err();
        assert_eq!(error, "'wallet' is none of monero-wallet-rpc, monerod, json-rpc, http");
    }

    #[test]
    fn values_as_a_table() {
        let (long, path) = ("x".repeat(256), format!("/{}", "x".repeat(LONGEST_PATH)));
        let table: [(Param, &[&str], &[&str]); 5] = [
            (Param::RpcMethod, &["get_info", "a.b", "я"], &["", "a\nb", &long]),
            (
                Param::Path,
                &["/", "/a?b=c%20d", "/~x"],
                &["", "a", "/a b", "/a#b", "/я", "/a\r\n", &path],
            ),
            (
                Param::ExpectStatus,
                &["200", "200-299", "200, 204-206 ,401", "599"],
                &[
                    "",
                    "ok",
                    "199",
                    "600",
                    "299-200",
                    "200,",
                    "2xx",
                    "+200",
                    "0200",
                    "200-",
                    "200-299-300",
                ],
            ),
            (
                Param::ExpectField,
                &["/", "/a/0", "/a~1b~0"],
                &["", "a", "/a~2", "/a~", "/a\tb", &long],
            ),
            (Param::ExpectValue, &["", "OK", "true"], &["a\nb", &long]),
        ];
        for (param, good, bad) in table {
            assert!(good.iter().all(|value| param.takes(value)), "{param:?} {good:?}");
            for value in bad {
                assert!(!param.takes(value), "{param:?} {value:?}");
            }
        }
        let statuses = Statuses::parse("200-299, 401").unwrap();
        assert_eq!(
            [199, 200, 299, 300, 401].map(|it| statuses.has(it)),
            [false, true, true, false, true]
        );
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let service = service(Kind::Http, &[(Param::Path, "/a"), (Param::ExpectStatus, "200")]);
        let text = service.params_text();
        assert_eq!(text.as_deref(), Some(r#"{"path":"/a","expect_status":"200"}"#));
        assert_eq!(Service::stored("http", text.as_deref()), Ok(service));
        assert_eq!(Service::default().params_text(), None);
        assert_eq!(Service::stored("monerod", None).map(|it| it.kind), Ok(Kind::Monerod));
        assert!(Service::stored("other", None).is_err());
        assert!(Service::stored("http", Some("{\"other\":1}")).is_err());
    }

    #[test]
    fn every_fault_is_named() {
        let fine = [
            Service::default(),
            service(Kind::Monerod, &[]),
            service(Kind::Http, &[]),
            service(Kind::JsonRpc, &[(Param::RpcMethod, "m"), (Param::ExpectField, "/a")]),
        ];
        assert!(fine.iter().all(|it| it.faults().is_empty()));
        let keys = |it: &Service| it.faults().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        let foreign =
            service(Kind::MoneroWalletRpc, &[(Param::Path, "/"), (Param::RpcMethod, "m")]);
        assert_eq!(keys(&foreign), ["rpc_method", "path"]);
        assert_eq!(foreign.faults()[0].1, "is for kind json-rpc and not for monero-wallet-rpc");
        assert_eq!(keys(&service(Kind::JsonRpc, &[])), ["rpc_method"]);
        let bad = service(
            Kind::Http,
            &[(Param::Path, "x"), (Param::ExpectStatus, "x"), (Param::ExpectValue, "v")],
        );
        assert_eq!(keys(&bad), ["path", "expect_status", "expect_value"]);
    }

    #[test]
    fn another_kind_begins_anew_and_the_same_keeps_what_is_not_said() {
        let before = service(Kind::JsonRpc, &[(Param::RpcMethod, "m"), (Param::ExpectField, "/a")]);
        let same = before.changed(Some(Kind::JsonRpc), [(Param::ExpectField, None)]);
        assert_eq!(same, service(Kind::JsonRpc, &[(Param::RpcMethod, "m")]));
        let other = before.changed(Some(Kind::Http), [(Param::Path, Some("/x".to_owned()))]);
        assert_eq!(other, service(Kind::Http, &[(Param::Path, "/x")]));
        assert_eq!(before.changed(None, []), before);
    }
}
