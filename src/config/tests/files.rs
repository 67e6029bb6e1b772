//! Files: which are read, what is wrong with them, where their paths start, and the example.

use super::*;
use crate::domain::service;

const EXAMPLE: &str = include_str!("../../../deploy/procwarden.example.toml");

#[test]
fn a_named_file_must_be_there_and_the_usual_ones_need_not() {
    let settings = Case::new().settings();
    assert_eq!(settings.file, None);

    let case = Case::toml("[log]\nlevel = 'nonsense'").config("gone.toml");
    let (key, problem) = case.fault();
    assert_eq!(key, "--config");
    assert!(problem.contains(case.path("gone.toml").to_str().unwrap()), "{problem}");

    let case = Case::new();
    std::fs::create_dir(case.path("procwarden.toml")).unwrap();
    assert_eq!(case.fault().0, "procwarden.toml");
}

#[test]
fn a_syntax_error_is_one_fault_with_its_line_and_without_the_line_itself() {
    let cases = [
        ("[server]\ntoken = \"hunter2\n[log]\n", "line 2"),
        ("[server]\ntoken = hunter2\n", "line 2"),
        ("[server]\ntoken = 'hunter2'\ntoken = 'hunter2'\n", "line 3"),
        ("[server]\ntoken = 'hunter2' hunter2\n", "line 2"),
        ("[server\n", "line 1"),
        ("[nodes]\nconcurrency = 99999999999999999999\n", "is not TOML: "),
    ];
    for (text, part) in cases {
        let case = Case::toml(text);
        let faults = case.faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        let line = faults[0].to_string();
        assert!(line.contains(part) && !line.contains("hunter2"), "{text:?}: {line}");
        assert!(line.contains(case.path("procwarden.toml").to_str().unwrap()), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn every_fault_of_every_source_is_told_at_once() {
    let case = Case::toml("[server]\nlisten = 'x'\n[log]\nformat = 'xml'\n[[node]]\nport = 0")
        .env("PROCWARDEN__NODES__METHOD", "ping")
        .env("MIGRATION_MONITOR_INTERVAL", "soon")
        .flag("health.scope", "all");
    let keys: Vec<String> = case.faults().into_iter().map(|fault| fault.key).collect();
    assert_eq!(
        keys,
        [
            "server.listen",
            "nodes.method",
            "health.scope",
            "migrations.interval",
            "log.format",
            "node[#1].port",
            "node[#1].name",
        ]
    );
}

#[test]
fn what_is_no_section_is_a_fault() {
    let cases = [
        ("server = 1", "server", "[server]"),
        ("listen = 'x'", "listen", "unknown section"),
        ("'server.listen' = 'x'", "server.listen", "not in quotes"),
        ("[node]\nname = 'a'", "node", "[[node]]"),
        ("node = [1]", "node", "[[node]]"),
        ("[[server]]\nlisten = 'x'", "server", "[server]"),
    ];
    for (text, key, part) in cases {
        let (found, problem) = Case::toml(text).fault();
        assert_eq!(found, key, "{text}");
        assert!(problem.contains(part), "{text}: {problem}");
    }
}

#[test]
fn relative_paths_start_at_the_file_or_at_the_working_directory() {
    let url = |case: &Case| case.settings().database.url.expose().to_owned();
    let at = |case: &Case, name: &str| format!("sqlite://{}", case.path(name).display());

    let case = Case::new();
    assert_eq!(url(&case), at(&case, "procwarden.db"));
    let case = Case::new().file("conf/a.toml", "[log]\nfile = 'a.log'").config("conf/a.toml");
    assert_eq!(url(&case), at(&case, "conf/procwarden.db"));
    assert_eq!(case.settings().log.file, Some(case.path("conf/a.log")));
    assert_eq!(case.settings().file, Some(case.path("conf/a.toml")));
    let case = case.file("conf/a.toml", "[database]\nurl = 'sqlite://b.db'");
    assert_eq!(url(&case), at(&case, "conf/b.db"));
    let case = case.file(".env", "PROCWARDEN__DATABASE__URL=sqlite:c.db");
    assert_eq!(url(&case), at(&case, "c.db"));
    let case = case.env("PROCWARDEN__DATABASE__URL", "sqlite://sub/d.db");
    assert_eq!(url(&case), at(&case, "sub/d.db"));
    let case = case.flag("database.url", "sqlite:///var/e.db");
    assert_eq!(url(&case), "sqlite:///var/e.db");
}

#[test]
fn secrets_that_everybody_may_read_are_warned_of() {
    let exposed = |name: &str, text: &str| {
        let case = Case::new().file(name, text);
        std::fs::set_permissions(case.path(name), PermissionsExt::from_mode(0o644)).unwrap();
        let warnings = case.load().unwrap().warnings;
        warnings.iter().any(|w| w.contains(name) && w.contains("everybody may read it"))
    };
    assert!(exposed("procwarden.toml", "[server]\ntoken = 'hunter2'"));
    assert!(exposed("procwarden.toml", "[server]\nread_token = 'hunter2'"));
    assert!(exposed("procwarden.toml", "[[node]]\nname = 'a'\npassword = 'hunter2'"));
    assert!(exposed(".env", "PROCWARDEN__SERVER__TOKEN=hunter2"));
    assert!(!exposed("procwarden.toml", "[server]\ndrain = '1s'"));
    let case = Case::toml("[server]\ntoken = 'hunter2'");
    assert!(!case.load().unwrap().warnings.iter().any(|w| w.contains("secrets")));
}

#[test]
fn migrations_without_a_directory_are_said_to_be_off() {
    let off =
        |case: Case| case.load().unwrap().warnings.iter().any(|w| w.contains("migrations are off"));
    assert!(off(Case::new()));
    assert!(!off(Case::new().env("CACHE_PATH", "/locks")));
}

#[test]
fn no_secret_is_in_debug() {
    let case = Case::toml("[server]\ntoken='hunter2'\n[[node]]\nname='a'\npassword='hunter2'")
        .env("PROCWARDEN__SERVER__READ_TOKEN", "hunter2");
    let loaded = case.load().unwrap();
    assert_eq!(loaded.settings.server.read_token, [Token::of("hunter2")]);
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn text_that_is_not_utf_8_is_a_fault() {
    let (_, problem) = Case::new().env("CACHE_PATH", "/caf\u{FFFD}").fault();
    assert!(problem.contains("UTF-8"), "{problem}");
}

/// Each key under its section, with its help above it and its default where it has one.
#[test]
fn the_example_has_every_key_with_its_default_and_its_help() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for info in known_keys() {
        let (section, name) = info.key.split_once('.').unwrap();
        let head = if section == "node" { "# [[node]]".to_owned() } else { format!("[{section}]") };
        let start = lines.iter().position(|line| *line == head).unwrap_or_else(|| panic!("{head}"));
        let help = format!("# {}", info.help);
        let at = start
            + lines[start..]
                .iter()
                .position(|line| *line == help)
                .unwrap_or_else(|| panic!("{help}"));
        let line = lines[at + 1];
        let assigned = line.trim_start_matches("# ").strip_prefix(&format!("{name} = "));
        let value = assigned.unwrap_or_else(|| panic!("{}: {line}", info.key));
        if !info.default.is_empty() && info.key != "database.url" {
            assert_eq!(value, info.default, "{}", info.key);
            assert!(line.starts_with("# "), "{line}");
        }
    }
}

#[test]
fn the_example_is_good_as_it_is_and_with_everything_switched_on() {
    let loaded = Case::toml(EXAMPLE).load().unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(loaded.settings.database.url.expose(), "sqlite:///var/lib/procwarden/procwarden.db");
    let given = loaded.origins.values().filter(|origin| *origin != "default").count();
    assert_eq!(given, 1);

    for kind in service::Kind::ALL {
        all_switched_on(kind);
    }
}

/// With what goes with one kind of node, since no kind takes everything.
fn all_switched_on(kind: service::Kind) {
    let foreign = service::Param::ALL.into_iter().filter(|it| !kind.preset().takes.contains(it));
    let foreign: Vec<String> = foreign.map(|it| format!("node.{}", it.as_str())).collect();
    let is_value = |line: &str| {
        known_keys().iter().any(|info| {
            let (_, name) = info.key.split_once('.').unwrap();
            let is_meant = info.key != "node.pid_file" && !foreign.iter().any(|it| it == info.key);
            line.starts_with(&format!("{name} = ")) && is_meant
        }) || line == "[[node]]"
    };
    let all: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(value) if is_value(value) => format!("{value}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let all = all.replace("kind = \"monero-wallet-rpc\"", &format!("kind = \"{kind}\""));
    let case = Case::new().file("their.env", "");
    let all = all.replace("/srv/app/.env", case.path("their.env").to_str().unwrap());
    let case = case.file("procwarden.toml", &all);
    let loaded = case.load().unwrap_or_else(|faults| panic!("{faults}"));
    assert!(!loaded.origins.values().any(|origin| origin == "default"), "{:?}", loaded.origins);
    assert_eq!(loaded.settings.node.len(), 1);
}

#[test]
fn the_example_of_env_is_good() {
    let text = include_str!("../../../.env.example");
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(value) if !value.starts_with(' ') => format!("{value}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let settings = Case::new().file(".env", &all).settings();
    assert_eq!(settings.migrations.lock_dir, Some("/srv/app/var/cache".into()));
    assert!(!settings.server.token.is_empty());
}

/// Every variable of ours in the files for containers is one that is read.
#[test]
fn the_variables_in_the_files_for_containers_are_ours() {
    let files = [
        include_str!("../../../Dockerfile"),
        include_str!("../../../docker-compose.yml"),
        include_str!("../../../deploy/kubernetes.yaml"),
    ];
    for text in files {
        let names: Vec<String> = text
            .match_indices("PROCWARDEN__")
            .map(|(at, prefix)| {
                let rest = &text[at + prefix.len()..];
                let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_');
                rest[..end.unwrap_or(rest.len())].to_lowercase().replacen("__", ".", 1)
            })
            .collect();
        assert!(names.len() > 1, "{text}");
        for name in names {
            assert!(known_keys().iter().any(|info| info.key == name), "{name}");
        }
    }
}
