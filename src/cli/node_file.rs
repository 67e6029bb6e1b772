//! `nodes export` and `nodes import FILE`: nodes as JSON, for a copy elsewhere or a safe place.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::exit::{CliError, Exit};
use super::output::{Answer, Format, dash};
use super::progress::Progress;
use super::screen::{Colour, Screen};
use super::table::{Kind, Table};
use crate::config::Settings;
use crate::domain::node::{Node, Password};
use crate::domain::service::Param;
use crate::monitor::Monitor;
use crate::registry::{Batched, NodePatch};
use crate::store::{Open, StoredNode};

/// The member that holds the list.
const NODES: &str = "nodes";

/// The member that is a secret.
const PASSWORD: &str = "password";

/// Every node, one a line, with what `import` reads of it. Without passwords, unless they are asked for.
pub(super) async fn export(settings: &Settings, secrets: bool) -> Result<Answer, CliError> {
    let monitor = Box::pin(Monitor::open(settings, Open::Existing)).await?;
    let nodes = monitor.registry().list().await?;
    monitor.close().await;
    let lines: Vec<String> =
        nodes.iter().map(|it| Value::Object(exported(&it.node, secrets)).to_string()).collect();
    let answer = Answer::ok(format!("{{\"{NODES}\":[\n{}\n]}}\n", lines.join(",\n")));
    let is_secret =
        |it: &&StoredNode| it.node.password.as_ref().is_some_and(|it| it.name().is_none());
    let without = nodes.iter().filter(is_secret).count();
    Ok(match (secrets, without) {
        (true, 1..) => answer.noting("the passwords are in it: keep it from others"),
        (false, 1..) => {
            answer.noting(format!("{without} passwords are left out; --secrets takes them along"))
        }
        _ => answer,
    })
}

fn exported(node: &Node, secrets: bool) -> Map<String, Value> {
    let all = json!({
        "name": node.name,
        "title": node.title,
        "host": node.host,
        "port": node.port,
        "kind": node.service.kind,
        "rpc_method": node.service.param(Param::RpcMethod),
        "path": node.service.param(Param::Path),
        "expect_status": node.service.param(Param::ExpectStatus),
        "expect_field": node.service.param(Param::ExpectField),
        "expect_value": node.service.param(Param::ExpectValue),
        "tls": node.tls,
        "username": node.username,
        PASSWORD: node.password.as_ref().and_then(Password::written),
        "daemon": node.daemon,
        "pid": node.pid,
        "pid_file": node.pid_file,
        "process_name": Some(&node.process_name).filter(|name| !name.is_empty()),
        "available": node.available,
        "instance": node.placement,
        "maintenance_until": node.maintenance_until,
    });
    let Value::Object(mut all) = all else { return Map::new() };
    let password = node.password.as_ref();
    // Where it is to be found is no secret.
    let is_secret = password.is_some_and(|it| it.name().is_none());
    let is_unreadable = password.is_some_and(|it| it.written().is_none());
    if is_unreadable || (!secrets && (is_secret || password.is_none())) {
        // Absent, not null: importing it again leaves the password that is there.
        all.remove(PASSWORD);
    }
    all
}

/// Reads the file, or standard input for `-`, and writes all or none.
pub(super) async fn import(
    settings: &Settings,
    file: &Path,
    (update, dry_run): (bool, bool),
    format: Format,
    screen: Screen,
) -> Result<Answer, CliError> {
    let rows = rows(&read(file)?).map_err(CliError::Usage)?;
    let names: Vec<Option<String>> = rows.iter().map(name).collect();
    let progress = Progress::of(rows.len());
    let patches = rows.into_iter().map(patch).collect();
    let open = if dry_run { Open::Existing } else { Open::Create };
    let monitor = Box::pin(Monitor::open(settings, open)).await?;
    let step = || progress.step();
    let done = monitor.registry().batch_telling(patches, update, dry_run, &step).await;
    monitor.close().await;
    drop(progress);
    let all: Vec<_> = names.into_iter().zip(done?).collect();
    let faulty = all.iter().filter(|(_, it)| matches!(it, Batched::Faulty(_))).count();
    let answer = match format {
        Format::Json => as_json(&all, dry_run || faulty > 0),
        Format::Table => as_table(&all, dry_run || faulty > 0, screen),
    };
    Ok(match faulty {
        0 => answer,
        n => answer
            .noting(format!("nothing was imported: mend {n} of them first"))
            .ending(Exit::Down),
    })
}

fn read(file: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    if file == Path::new("-") {
        let read = std::io::stdin().lock().read_to_string(&mut text);
        read.map_err(|source| CliError::Io { what: "standard input cannot be read", source })?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
        .map_err(|source| CliError::Io { what: "the file cannot be read", source })
}

/// The list, alone or as the member of an object.
fn rows(text: &str) -> Result<Vec<Value>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    match value {
        Value::Array(rows) => Ok(rows),
        Value::Object(mut map) => match map.remove(NODES) {
            Some(Value::Array(rows)) => Ok(rows),
            _ => Err(format!("the JSON has no list '{NODES}'")),
        },
        _ => Err("the JSON is neither a list nor an object".to_owned()),
    }
}

fn name(row: &Value) -> Option<String> {
    row.get("name").and_then(Value::as_str).map(str::to_owned)
}

fn patch(row: Value) -> Result<NodePatch, String> {
    // The reader would repeat it.
    if row.get(PASSWORD).is_some_and(|it| !it.is_null() && !it.is_string()) {
        return Err(format!("{PASSWORD}: is no text"));
    }
    serde_json::from_value(row).map_err(|error| error.to_string())
}

const fn word(it: &Batched, unwritten: bool) -> &'static str {
    match (it, unwritten) {
        (Batched::Added, false) => "added",
        (Batched::Added, true) => "would be added",
        (Batched::Changed, false) => "changed",
        (Batched::Changed, true) => "would be changed",
        (Batched::Same, _) => "same",
        (Batched::Exists, _) => "exists",
        (Batched::Faulty(_), _) => "faulty",
    }
}

fn as_json(all: &[(Option<String>, Batched)], unwritten: bool) -> Answer {
    let data: Vec<Value> = all
        .iter()
        .map(|(name, it)| {
            let problem = if let Batched::Faulty(problem) = it { Some(problem) } else { None };
            let done = matches!(it, Batched::Added | Batched::Changed) && !unwritten;
            json!({"name": name, "result": word(it, unwritten), "written": done, "error": problem})
        })
        .collect();
    let count = data.iter().filter(|it| it["written"] == true).count();
    let success = !all.iter().any(|(_, it)| matches!(it, Batched::Faulty(_)));
    Answer::json(&json!({"success": success, "count": count, "data": data}))
}

fn as_table(all: &[(Option<String>, Batched)], unwritten: bool, screen: Screen) -> Answer {
    let mut table = Table::new(&[
        ("ROW", Kind::Number),
        ("NAME", Kind::Text),
        ("RESULT", Kind::Whole),
        ("PROBLEM", Kind::Text),
    ]);
    for (at, (name, it)) in all.iter().enumerate() {
        let (problem, colour) = match it {
            Batched::Faulty(problem) => (problem.clone(), Some(Colour::Bad)),
            _ => (dash(), None),
        };
        let name = name.clone().unwrap_or_else(dash);
        table.coloured(colour);
        table.row([(at + 1).to_string(), name, word(it, unwritten).to_owned(), problem]);
    }
    Answer::ok(table.render(screen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::node::{DEFAULT_PROCESS_NAME, Tls};

    fn node() -> Node {
        Node {
            id: 7,
            name: "a".into(),
            title: Some("t".into()),
            host: "127.0.0.1".into(),
            port: 18_082,
            service: crate::domain::Service::default(),
            tls: Tls::Verify,
            username: Some("u".into()),
            password: Some(Password::new("s3cret".into())),
            daemon: None,
            pid: None,
            pid_file: Some("/run/a.pid".into()),
            process_name: DEFAULT_PROCESS_NAME.into(),
            available: false,
            instance: "here".into(),
            placement: Some("any".into()),
            maintenance_until: Some(Timestamp(1_900_000_000_000)),
            identity: None,
        }
    }

    #[test]
    fn all_that_can_be_said_of_a_node_is_in_the_file_and_the_password_only_when_asked_for() {
        let error = serde_json::from_value::<NodePatch>(json!({"?": 1})).unwrap_err().to_string();
        let mut fields: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        let written = exported(&node(), true);
        let mut keys: Vec<&str> = written.keys().map(String::as_str).collect();
        fields.sort_unstable();
        keys.sort_unstable();
        assert_eq!(keys, fields, "{error}");
        let plain = exported(&node(), false);
        assert!(!plain.contains_key(PASSWORD) && plain.len() == written.len() - 1);
        assert_eq!(patch(Value::Object(plain)).unwrap().password, None);
        let read = patch(Value::Object(written)).unwrap();
        assert_eq!(read.password, Some(Some(Password::new("s3cret".into()))));
        assert_eq!((read.tls, read.instance), (Some(Tls::Verify), Some(Some("any".into()))));
        assert_eq!(read.maintenance_until, Some(node().maintenance_until));
    }

    #[test]
    fn a_list_is_read_alone_or_as_exported_and_nothing_else() {
        for (text, count) in [
            ("[]", Ok(0)),
            ("{\"nodes\":[1,2]}", Ok(2)),
            ("{}", Err(())),
            ("7", Err(())),
            ("[", Err(())),
        ] {
            assert_eq!(rows(text).map(|it| it.len()).map_err(drop), count, "{text}");
        }
        assert_eq!(patch(json!({"password": 4242})).unwrap_err(), "password: is no text");
    }
}
