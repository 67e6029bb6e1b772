//! `[[node]]`: one by one, among each other, and over several files.

use super::*;
use crate::domain::node::Tls;

#[test]
fn a_node_has_what_was_given_and_nothing_else() {
    let case = Case::toml(
        "[[node]]\nname = 'main-node'\ntitle = 'Главный'\nhost = '::1'\nport = 18082\ntls = 'insecure'\n\
         username = 'u'\npassword = ' p:%$ '\ndaemon = 'node:18081'\npid = 42\nprocess_name = 'wallet'\n\
         available = false\ninstance = 'any'\n[[node]]\nname = 'second'\npid_file = 'run/a.pid'",
    );
    let nodes = case.settings().node;
    assert_eq!(nodes.len(), 2);
    let first = &nodes[0];
    assert_eq!((first.name.as_str(), first.title.as_deref()), ("main-node", Some("Главный")));
    assert_eq!((first.host.as_deref(), first.port), (Some("::1"), Some(18082)));
    assert_eq!(
        (first.tls, first.pid, first.available),
        (Some(Tls::Insecure), Some(42), Some(false))
    );
    assert_eq!(first.password.as_ref().unwrap().expose(), " p:%$ ");
    assert_eq!(first.process_name.as_deref(), Some("wallet"));
    assert_eq!(first.instance.as_deref(), Some("any"));
    let second = NodeEntry {
        name: "second".into(),
        pid_file: Some(case.path("run/a.pid").to_str().unwrap().into()),
        ..NodeEntry::default()
    };
    assert_eq!(nodes[1], second);
}

#[test]
fn nodes_that_are_refused() {
    // The lines of a node, the key of the fault, a part of the problem.
    let cases = [
        ("port = 1", "node[#1].name", "is missing"),
        ("name = ''", "node[#1].name", "must not be empty"),
        ("name = 5", "node[#1].name", "must be text"),
        ("name = '42'", "node[42].name", "all digits"),
        ("name = 'status'", "node[status].name", "must not be"),
        ("name = 'a/b'", "node[a/b].name", "must not contain"),
        ("name = ' a'", "node[ a].name", "space"),
        ("name = 'a'\nport = 0", "node[a].port", "from 1 to 65535"),
        ("name = 'a'\nport = 65536", "node[a].port", "from 1 to 65535"),
        ("name = 'a'\nport = '18082'", "node[a].port", "not text"),
        ("name = 'a'\ntls = true", "node[a].tls", "one of off, verify, insecure"),
        ("name = 'a'\npid = 0", "node[a].pid", "from 1 to"),
        ("name = 'a'\npid = 1\npid_file = '/p'", "node[a].pid_file", "exclude each other"),
        ("name = 'a'\nhost = '127.0.0.1:18082'", "node[a].host", "without brackets"),
        ("name = 'a'\nhost = '[::1]'", "node[a].host", "without brackets"),
        ("name = 'a'\nhost = 'http://a'", "node[a].host", "without brackets"),
        ("name = 'a'\nhost = ''", "node[a].host", "must not be empty"),
        (
            "name = 'a'\nprocess_name = '/usr/bin/a'",
            "node[a].process_name",
            "without its directory",
        ),
        ("name = 'a'\navailable = 1", "node[a].available", "true or false"),
        ("name = 'a'\ninstance = 'b/c'", "node[a].instance", "must not contain"),
        ("name = 'a'\ninstance = ''", "node[a].instance", "must not be empty"),
        ("name = 'a'\ninstance = true", "node[a].instance", "must be text"),
        ("name = 'a'\npassword = 5", "node[a].password", "must be text"),
        ("name = 'a'\npassword = \"hunter2\\u0000\"", "node[a].password", "control characters"),
    ];
    for (lines, key, part) in cases {
        let (found, problem) = Case::toml(&format!("[[node]]\n{lines}")).fault();
        assert_eq!(found, key, "{lines}");
        assert!(problem.contains(part), "{lines}: {problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn a_name_is_taken_once_over_all_files() {
    let case = Case::toml("[[node]]\nname = 'a'\n[[node]]\nname = 'A'\n[[node]]\nname = 'a'");
    assert_eq!(case.fault().0, "node[a].name");
    let case = Case::toml("[[node]]\nname = 'a'").file("nodes.d/x.toml", "[[node]]\nname = 'a'");
    let faults = case.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].problem.contains("procwarden.toml"), "{}", faults[0].problem);
    assert!(faults[0].source.contains("nodes.d/x.toml"), "{}", faults[0].source);
}

#[test]
fn nodes_d_is_read_by_name_and_holds_nodes_only() {
    let case = Case::toml("[[node]]\nname = 'first'")
        .file("nodes.d/b.toml", "[[node]]\nname = 'third'\npid_file = 'x'")
        .file("nodes.d/a.toml", "[[node]]\nname = 'second'")
        .file("nodes.d/.hidden.toml", "broken")
        .file("nodes.d/c.toml.bak", "broken");
    let nodes = case.settings().node;
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "third"]);
    assert_eq!(nodes[2].pid_file.as_deref(), case.path("nodes.d/x").to_str());

    let case = Case::toml("").file("nodes.d/a.toml", "[server]\ntoken = 'hunter2'");
    let (key, problem) = case.fault();
    assert_eq!((key.as_str(), problem.as_str()), ("server", "only [[node]] may stand in nodes.d"));

    let case = Case::toml("").file("nodes.d/a.toml", "[[node]").file("nodes.d/b.toml", "x");
    let keys: Vec<String> = case.faults().into_iter().map(|fault| fault.key).collect();
    assert_eq!(keys, ["a.toml", "b.toml"]);
}

#[test]
fn nodes_are_read_again_and_a_faulty_file_gives_none() {
    let case = Case::toml("[[node]]\nname = 'a'").config("procwarden.toml");
    assert_eq!(reread_nodes(&case.args).unwrap().len(), 1);
    let case = case.file("procwarden.toml", "[[node]]\nname = 'a'\n[[node]]\nname = 'b'");
    assert_eq!(reread_nodes(&case.args).unwrap().len(), 2);
    let case = case.file("procwarden.toml", "[[node]]\nname = 'b'\n[log]\nformat = 'xml'");
    assert_eq!(reread_nodes(&case.args).unwrap_err().0[0].key, "log.format");
}
