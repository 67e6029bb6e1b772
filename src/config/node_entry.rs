//! `[[node]]`: its own rules, and those among several.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use super::fault::Fault;
use super::key::Set;
use super::keys;
use super::parse::{Problem, shown};
use super::raw::{Raw, Source, Value};
use super::settings::NodeEntry;
use crate::domain::node::{Password, check_password_name};
use crate::domain::service::{Param, Service};

/// One `[[node]]` before it is understood.
pub(super) struct RawNode {
    /// Its keys, without `node.`.
    pub(super) keys: BTreeMap<String, Raw>,
    /// The file that it stands in.
    pub(super) source: Source,
    /// Its place among those of the file, from 1.
    pub(super) place: usize,
}

impl RawNode {
    /// How messages call it: by its name, else by its place.
    fn label(&self) -> String {
        match self.keys.get("name").map(|raw| &raw.value) {
            Some(Value::Text(name)) if !name.is_empty() => {
                let name = shown(name);
                format!("node[{}]", name.trim_matches('\''))
            }
            _ => format!("node[#{}]", self.place),
        }
    }
}

/// A password, or where it is to be found.
pub(super) fn password(raw: &Raw) -> Result<Password, Problem> {
    let password = Password::given(raw.text()?);
    match password.name() {
        Some(name) => check_password_name(name)?,
        None if password.expose().chars().count() > 255 => {
            return Err("must have at most 255 characters".to_owned());
        }
        None => {}
    }
    Ok(password)
}

/// All of them, in order; a name that was taken or is missing is a fault.
pub(super) fn read(nodes: &[RawNode], faults: &mut Vec<Fault>) -> Vec<NodeEntry> {
    let mut entries = Vec::with_capacity(nodes.len());
    let mut taken: BTreeMap<String, &Source> = BTreeMap::new();
    for node in nodes {
        let entry = read_one(node, faults);
        if entry.name.is_empty() {
            continue;
        }
        if let Some(first) = taken.get(&entry.name) {
            let problem = format!("the name is taken by another one in {first}");
            faults.push(Fault::new(format!("{}.name", node.label()), &node.source, problem));
            continue;
        }
        taken.insert(entry.name.clone(), &node.source);
        entries.push(entry);
    }
    entries
}

fn read_one(node: &RawNode, faults: &mut Vec<Fault>) -> NodeEntry {
    let label = node.label();
    let mut entry = NodeEntry::default();
    for (name, raw) in &node.keys {
        let result = match keys::of_node(name).map(|info| info.set) {
            Some(Set::Node(set)) => set(&mut entry, raw),
            _ => Err(keys::unknown("node.")),
        };
        if let Err(problem) = result {
            let key = format!("{label}.{}", name.escape_debug());
            faults.push(Fault::new(key, &raw.source, problem));
        }
    }
    if !node.keys.contains_key("name") {
        faults.push(Fault::new(format!("{label}.name"), &node.source, "is missing"));
    }
    // What stands beside a kind is judged with it; in a file that names none, once the node is known.
    if entry.kind.is_some() {
        let service = entry.service();
        // What breaks the rule of its own key was told above; what is missing may be known of a node that is there.
        let is_given = |name| service.params().keys().any(|param| param.as_str() == name);
        for (name, problem) in service.faults().into_iter().filter(|(name, _)| is_given(*name)) {
            let source = node.keys.get(name).map_or(&node.source, |raw| &raw.source);
            faults.push(Fault::new(format!("{label}.{name}"), source, problem));
        }
    }
    if node.keys.contains_key("pid") && node.keys.contains_key("pid_file") {
        let problem = "pid and pid_file exclude each other";
        faults.push(Fault::new(format!("{label}.pid_file"), &node.source, problem));
    }
    entry
}

impl NodeEntry {
    /// What it says of what the node serves.
    fn service(&self) -> Service {
        let params = [
            (Param::RpcMethod, &self.rpc_method),
            (Param::Path, &self.path),
            (Param::ExpectStatus, &self.expect_status),
            (Param::ExpectField, &self.expect_field),
            (Param::ExpectValue, &self.expect_value),
        ];
        let given = params.into_iter().filter_map(|(param, value)| Some((param, value.clone()?)));
        Service::new(self.kind.unwrap_or_default(), given.collect())
    }
}

impl Raw {
    /// What stands beside a kind.
    pub(super) fn param(&self, param: Param) -> Result<String, Problem> {
        let text = self.as_text("text in quotes")?;
        if param.takes(text) {
            Ok(text.to_owned())
        } else {
            Err(format!("{} {}", shown(text), param.rule()))
        }
    }
}

/// A host name or an address, without brackets and port.
pub(super) fn host(raw: &Raw) -> Result<String, Problem> {
    let text = raw.text()?;
    let good = if text.contains(':') {
        // A zone, as in fe80::1%eth0, is the resolver's business.
        text.split('%').next().unwrap_or_default().parse::<Ipv6Addr>().is_ok()
    } else {
        text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'))
    };
    if good {
        Ok(text)
    } else {
        Err("must be a host name or an address without brackets, scheme and port".to_owned())
    }
}

/// The path of a file with a PID, made absolute.
pub(super) fn pid_file(raw: &Raw) -> Result<String, Problem> {
    let path = raw.path()?;
    path.into_os_string().into_string().map_err(|_| "must be UTF-8".to_owned())
}

/// The file name of an executable.
pub(super) fn process_name(raw: &Raw) -> Result<String, Problem> {
    let name = raw.text()?;
    if name.contains('/') {
        Err(format!("{} must be a file name without its directory", shown(&name)))
    } else {
        Ok(name)
    }
}
