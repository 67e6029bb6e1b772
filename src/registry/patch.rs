//! What an operator says of a node, as a merge patch: applied to the node as it is, and held to its rules.

use std::fmt::Write as _;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::RegistryError;
use crate::config::NodeEntry;
use crate::domain::node::{Node, Password, Tls, check_name, check_password_name};
use crate::domain::service::{Kind, Param};
use crate::domain::{Service, Timestamp};

/// What an operator says of a node: an absent field leaves what is there, `null` clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::option_option)] // Absent, null and given are three things in a merge patch (RFC 7396).
pub struct NodePatch {
    /// Unique; see [`check_name`].
    pub name: Option<String>,
    /// What people call it.
    #[serde(default, deserialize_with = "given")]
    pub title: Option<Option<String>>,
    /// Host name or address; 127.0.0.1 for a new node.
    pub host: Option<String>,
    /// TCP port; required for a new node.
    pub port: Option<u16>,
    /// `monero-wallet-rpc` for a new node; another kind forgets what was said beside the one before.
    pub kind: Option<Kind>,
    /// The JSON-RPC method of kind `json-rpc`.
    #[serde(default, deserialize_with = "given")]
    pub rpc_method: Option<Option<String>>,
    /// Where kinds `json-rpc` and `http` are asked.
    #[serde(default, deserialize_with = "given")]
    pub path: Option<Option<String>>,
    /// The statuses of kind `http`.
    #[serde(default, deserialize_with = "given")]
    pub expect_status: Option<Option<String>>,
    /// What must be in the answer of kinds `json-rpc` and `http`.
    #[serde(default, deserialize_with = "given")]
    pub expect_field: Option<Option<String>>,
    /// What must stand there.
    #[serde(default, deserialize_with = "given")]
    pub expect_value: Option<Option<String>>,
    /// `off` for a new node.
    pub tls: Option<Tls>,
    /// User of the RPC login.
    #[serde(default, deserialize_with = "given")]
    pub username: Option<Option<String>>,
    /// Password of the RPC login, or where it is to be found; see [`Password::given`].
    #[serde(default, deserialize_with = "given_password")]
    pub password: Option<Option<Password>>,
    /// The daemon it uses.
    #[serde(default, deserialize_with = "given")]
    pub daemon: Option<Option<String>>,
    /// Its PID.
    #[serde(default, deserialize_with = "given")]
    pub pid: Option<Option<i64>>,
    /// A file with its PID.
    #[serde(default, deserialize_with = "given")]
    pub pid_file: Option<Option<String>>,
    /// File name of its executable; empty, which is `null`: any program. A new node's is its kind's.
    #[serde(default, deserialize_with = "program")]
    pub process_name: Option<String>,
    /// True for a new node.
    pub available: Option<bool>,
    /// The instance that answers for it, or [`crate::domain::node::ANY`].
    #[serde(default, deserialize_with = "given")]
    pub instance: Option<Option<String>>,
    /// Until then it makes no alerts.
    #[serde(default, deserialize_with = "given")]
    pub maintenance_until: Option<Option<Timestamp>>,
}

impl NodePatch {
    /// What is said beside the kind.
    fn params(&self) -> impl Iterator<Item = (Param, Option<String>)> {
        let all = [
            (Param::RpcMethod, &self.rpc_method),
            (Param::Path, &self.path),
            (Param::ExpectStatus, &self.expect_status),
            (Param::ExpectField, &self.expect_field),
            (Param::ExpectValue, &self.expect_value),
        ];
        all.into_iter().filter_map(|(param, given)| Some((param, given.clone()?)))
    }
}

/// Tells `null` from an absent field.
#[allow(clippy::option_option)] // As in the structure that it fills.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

#[allow(clippy::option_option)] // As in the structure that it fills.
fn given_password<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Password>>, D::Error> {
    Ok(Some(Option::<String>::deserialize(deserializer)?.map(Password::given)))
}

/// `null` is any program; an empty name is no other word for it.
fn program<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        Some(name) if name.is_empty() => Err(D::Error::custom("must not be empty")),
        name => Ok(Some(name.unwrap_or_default())),
    }
}

pub(super) fn patch_of(entry: &NodeEntry, is_new: bool) -> NodePatch {
    NodePatch {
        name: Some(entry.name.clone()),
        title: entry.title.clone().map(Some),
        host: entry.host.clone(),
        port: entry.port,
        kind: entry.kind,
        rpc_method: entry.rpc_method.clone().map(Some),
        path: entry.path.clone().map(Some),
        expect_status: entry.expect_status.clone().map(Some),
        expect_field: entry.expect_field.clone().map(Some),
        expect_value: entry.expect_value.clone().map(Some),
        tls: entry.tls,
        username: entry.username.clone().map(Some),
        password: entry.password.clone().map(Some),
        daemon: entry.daemon.clone().map(Some),
        // A file that names one of the two means that the other is not used.
        pid: entry.pid.map(Some).or_else(|| entry.pid_file.is_some().then_some(None)),
        pid_file: entry.pid_file.clone().map(Some).or_else(|| entry.pid.is_some().then_some(None)),
        process_name: entry.process_name.clone(),
        available: entry.available.filter(|_| is_new),
        instance: entry.instance.clone().map(Some),
        maintenance_until: None,
    }
}

/// The patch as far as it is ours to make of a node that stands in a table of others: what that has no column for.
pub(super) fn ours_of(patch: NodePatch) -> Result<NodePatch, RegistryError> {
    let theirs: Vec<&str> = [
        ("name", patch.name.is_some()),
        ("title", patch.title.is_some()),
        ("host", patch.host.is_some()),
        ("port", patch.port.is_some()),
        ("username", patch.username.is_some()),
        ("password", patch.password.is_some()),
        ("daemon", patch.daemon.is_some()),
        ("pid", patch.pid.is_some()),
        ("available", patch.available.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.then_some(name))
    .collect();
    if !theirs.is_empty() {
        let problem = format!(
            "{}: stands in the table that adopt.nodes names: change it there (here: tls, pid_file, process_name, instance, maintenance_until)",
            theirs.join(", ")
        );
        return Err(RegistryError::Adopted(problem));
    }
    if patch.kind.is_some() || patch.params().next().is_some() {
        let problem = "kind: the nodes of adopt.nodes are monero-wallet-rpc, all of them";
        return Err(RegistryError::Adopted(problem.to_owned()));
    }
    // A file with the PID is the later word; theirs counts again once it is cleared.
    let pid = matches!(patch.pid_file, Some(Some(_))).then_some(None);
    Ok(NodePatch { pid, ..patch })
}

pub(super) fn missing(field: &'static str) -> RegistryError {
    RegistryError::Invalid { field, problem: "is required".to_owned() }
}

/// The node as the patch makes it.
pub(super) fn merged(before: &Node, patch: NodePatch) -> Result<Node, RegistryError> {
    let mut node = before.clone();
    node.service = before.service.changed(patch.kind, patch.params());
    let named = |field, name: String| match check_name(&name) {
        Ok(()) => Ok(name),
        Err(problem) => Err(RegistryError::Invalid { field, problem }),
    };
    if let Some(name) = patch.name {
        node.name = named("name", name)?;
    }
    if let Some(placement) = patch.instance {
        node.placement = placement.map(|name| named("instance", name)).transpose()?;
    }
    if let Some(host) = patch.host {
        host.trim_matches(['[', ']']).clone_into(&mut node.host);
    }
    node.port = patch.port.unwrap_or(node.port);
    // A program that nobody chose goes with the kind.
    let usual = |service: &Service| service.kind.preset().process_name;
    if node.service.kind != before.service.kind && node.process_name == usual(&before.service) {
        usual(&node.service).clone_into(&mut node.process_name);
    }
    node.tls = patch.tls.unwrap_or(node.tls);
    node.title = patch.title.unwrap_or(node.title);
    node.username = patch.username.unwrap_or(node.username);
    node.password = patch.password.unwrap_or(node.password);
    node.daemon = patch.daemon.unwrap_or(node.daemon);
    node.pid = patch.pid.unwrap_or(node.pid);
    node.pid_file = patch.pid_file.unwrap_or(node.pid_file);
    node.process_name = patch.process_name.unwrap_or(node.process_name);
    node.maintenance_until = patch.maintenance_until.unwrap_or(node.maintenance_until);
    node.available = patch.available.unwrap_or(node.available);
    check(&node)?;
    Ok(node)
}

/// Holds a node to the rules of its fields, but for its name's.
pub(crate) fn check(node: &Node) -> Result<(), RegistryError> {
    let text = |field, value: &str, min: usize| {
        let length = value.chars().count();
        if length < min || length > 255 || value.chars().any(char::is_control) {
            let problem = format!("must have {min} to 255 characters, none of them control");
            return Err(RegistryError::Invalid { field, problem });
        }
        Ok(())
    };
    let number = |field, good: bool, problem: &str| {
        if good {
            Ok(())
        } else {
            Err(RegistryError::Invalid { field, problem: problem.to_owned() })
        }
    };
    text("host", &node.host, 1)?;
    let spaced = node.host.contains([' ', '/', '@', '?', '#']);
    number("host", !spaced, "must be a host name or an address, without scheme or port")?;
    text("process_name", &node.process_name, 0)?;
    served(&node.service)?;
    text("title", node.title.as_deref().unwrap_or_default(), 0)?;
    text("username", node.username.as_deref().unwrap_or_default(), 0)?;
    text("daemon", node.daemon.as_deref().unwrap_or_default(), 0)?;
    // What is inside a sealed one is known once it is opened.
    let clear = node.password.as_ref().filter(|password| !password.is_sealed());
    text("password", clear.map_or("", Password::expose), 0)?;
    if let Some(name) = node.password.as_ref().and_then(Password::name) {
        check_password_name(name)
            .map_err(|problem| RegistryError::Invalid { field: "password", problem })?;
    }
    let path = node.pid_file.as_deref().unwrap_or("/");
    number("pid_file", path.len() <= 4096 && !path.is_empty(), "must have 1 to 4096 bytes")?;
    number("port", node.port > 0, "must be 1 to 65535")?;
    let pid_fits = node.pid.is_none_or(|pid| (1..=i64::from(i32::MAX)).contains(&pid));
    number("pid", pid_fits, "must be 1 to 2147483647")?;
    let one = node.pid.is_none() || node.pid_file.is_none();
    number("pid_file", one, "cannot be given together with pid")
}

/// Holds what a node serves to its rules. Every fault is told; the first one is the field's.
fn served(service: &Service) -> Result<(), RegistryError> {
    let mut faults = service.faults().into_iter();
    let Some((field, mut problem)) = faults.next() else { return Ok(()) };
    for (field, more) in faults {
        let _ = write!(problem, "; {field}: {more}");
    }
    Err(RegistryError::Invalid { field, problem })
}
