//! `[adopt]`: what its keys say together, and what contradicts itself.

use super::*;

const KEY: &str = "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// `[adopt]` with these lines, a lock directory, and these lines before.
fn adopt_after(before: &str, lines: &str) -> Case {
    Case::toml(&format!("{before}\n[migrations]\nlock_dir = '/locks'\n[adopt]\n{lines}"))
}

fn adopt(lines: &str) -> Case {
    adopt_after("", lines)
}

fn place(lines: &str) -> StatusPlace {
    adopt(lines).settings().adopt.migrations.unwrap().status
}

#[test]
fn everything_is_off_unless_it_is_asked_for() {
    let settings = Case::new().settings();
    assert_eq!(settings.adopt, Adopt::default());
    assert!(settings.adopt.nodes().is_none() && !settings.adopt.writes());

    let adopt = adopt("mode = 'off'\nnodes = 'monero_nodes'\nmigrations = 'migrations'");
    let adopt = adopt.settings().adopt;
    assert!(adopt.nodes.is_some() && adopt.migrations.is_some(), "they stay named");
    assert!(adopt.nodes().is_none() && adopt.migrations().is_none(), "this is how one goes back");
}

#[test]
fn a_known_table_needs_no_more_than_its_name() {
    let columns = |status: &str, error: &str| StatusPlace::Columns {
        status: status.to_owned(),
        error: error.to_owned(),
    };
    let json = |column: &str| StatusPlace::Json {
        column: column.to_owned(),
        status: "status".to_owned(),
        error: "error".to_owned(),
    };
    assert_eq!(place("migrations = 'migrations_mapping'"), json("changes_json"));
    assert_eq!(place("migrations = 'mb.migrations_mapping'"), json("changes_json"));
    assert_eq!(place("migrations = 'migrations'"), columns("status", "error"));
    assert_eq!(place("migrations = 'migrations'\nmigrations_json = 'j'"), json("j"));
    assert_eq!(place("migrations = 'jobs'\nmigrations_json = 'j'"), json("j"));
    let plain = "migrations = 'jobs'\nmigrations_json = ''\nmigrations_status = 'state'";
    assert_eq!(place(plain), columns("state", "error"));

    let table =
        adopt("migrations = 'mb.jobs'\nmigrations_json = 'j'\nmigrations_uuid = 'Идентификатор'");
    let table = table.settings().adopt.migrations.unwrap();
    assert_eq!(table.name.to_string(), "mb.jobs");
    assert_eq!(table.name.schema.as_deref(), Some("mb"));
    assert_eq!(
        (table.project_id.as_str(), table.uuid.as_str()),
        ("brz_project_id", "Идентификатор")
    );
}

/// An empty variable counts as not given, so the quotes say it.
#[test]
fn plain_columns_can_be_asked_for_outside_of_a_file() {
    let case = adopt("migrations = 'jobs'").env("PROCWARDEN__ADOPT__MIGRATIONS_JSON", "\"\"");
    let table = case.settings().adopt.migrations.unwrap();
    assert!(matches!(table.status, StatusPlace::Columns { .. }), "{table:?}");
}

#[test]
fn what_contradicts_itself_is_a_fault_of_its_key() {
    // Lines, the key, and a part of the problem.
    let cases = [
        ("mode = 'write'", "adopt.mode", "adopt.nodes or adopt.migrations"),
        ("mode = 'shadow'", "adopt.mode", "set it to off"),
        (
            "migrations = 'jobs'",
            "adopt.migrations_json",
            "neither migrations_mapping nor migrations",
        ),
        ("migrations = 'Migrations'", "adopt.migrations_json", "must be given"),
        (
            "migrations = 'migrations'\nmigrations_uuid = 'status'",
            "adopt.migrations_uuid",
            "same column as adopt.migrations_status",
        ),
        (
            "migrations = 'migrations'\nmigrations_status = 'STATUS'\nmigrations_error = 'Status'",
            "adopt.migrations_error",
            "same column as adopt.migrations_status",
        ),
        (
            "migrations = 'migrations_mapping'\nmigrations_project_id = 'changes_json'",
            "adopt.migrations_project_id",
            "same column as adopt.migrations_json",
        ),
        (
            "migrations = 'migrations_mapping'\nmigrations_error = 'status'",
            "adopt.migrations_error",
            "same key as adopt.migrations_status",
        ),
        (
            "migrations = 'migrations_mapping'\nmigrations_error = 'monitor_updated'",
            "adopt.migrations_error",
            "set beside it",
        ),
        (
            "mode = 'write'\nnodes = 'app.a'\nmigrations = 'a'\nmigrations_json = 'j'",
            "adopt.migrations",
            "same table as adopt.nodes",
        ),
        ("nodes = 'procwarden_nodes'", "adopt.nodes", "procwarden's own"),
        ("migrations = 'app.Procwarden_migrations'", "adopt.migrations", "procwarden's own"),
        ("nodes = 'a.b.c'", "adopt.nodes", "one dot"),
        ("nodes = '.a'", "adopt.nodes", "must not be empty"),
        ("nodes = 'a.'", "adopt.nodes", "must not be empty"),
        ("nodes = ''", "adopt.nodes", "must not be empty"),
        ("nodes = '`a`'", "adopt.nodes", "without quotes"),
        ("nodes = ' a'", "adopt.nodes", "space"),
        ("nodes = \"a\\u0000\"", "adopt.nodes", "control characters"),
        ("nodes = 5", "adopt.nodes", "must be text"),
        ("migrations_uuid = 'a\"b'", "adopt.migrations_uuid", "without quotes"),
        ("migrations_json = '\"\"'", "adopt.migrations_json", "without quotes"),
        ("laravel_key = 'base64:hunter2'", "adopt.laravel_key", "16 or 32"),
        ("laravel_previous_keys = ['hunter2']", "adopt.laravel_previous_keys", "16 or 32"),
        (
            "laravel_previous_keys = ['hunter2hunter2hu', 'hunter2hunter2hu']",
            "adopt.laravel_previous_keys",
            "twice",
        ),
        ("laravel_previous_keys = 'hunter2hunter2hu'", "adopt.laravel_previous_keys", "a list"),
    ];
    for (lines, key, part) in cases {
        let (found, problem) = adopt(lines).fault();
        assert_eq!(found, key, "{lines}: {problem}");
        assert!(problem.contains(part) && !problem.contains("hunter2"), "{lines}: {problem}");
    }
    let long = adopt(&format!("nodes = '{}'", "n".repeat(64))).fault();
    assert_eq!(long.1, "must have 1 to 63 characters, it has 64");
}

#[test]
fn names_differ_by_case_in_postgres_alone() {
    let lines = "migrations = 'migrations'\nmigrations_error = 'Status'";
    let at = |url: &str| adopt(lines).flag("database.url", url).load().is_ok();
    assert!(at("postgres://u@h/d") && !at("mysql://u@h/d"));
}

#[test]
fn migrations_need_a_lock_directory_while_they_are_watched() {
    let (key, problem) = Case::toml("[adopt]\nmode = 'shadow'\nmigrations = 'migrations'").fault();
    assert_eq!(key, "adopt.migrations");
    assert!(problem.contains("migrations.lock_dir (CACHE_PATH)"), "{problem}");
    Case::toml("[adopt]\nmigrations = 'migrations'").settings();
}

#[test]
fn nodes_of_ours_do_not_stand_beside_theirs() {
    let lines = |mode| format!("mode = '{mode}'\nnodes = 'monero_nodes'");
    let node = "[[node]]\nname = 'a'\nport = 1";
    let (key, problem) = adopt_after(node, &lines("write")).fault();
    assert_eq!(key, "node");
    assert!(problem.contains("monero_nodes") && problem.contains("remove"), "{problem}");
    adopt_after(node, &lines("off")).settings();
    adopt_after(node, "mode = 'write'\nmigrations = 'migrations'").settings();
    let case = adopt(&lines("shadow")).file("nodes.d/a.toml", node);
    assert!(case.faults()[0].source.contains("nodes.d/a.toml"));
}

#[test]
fn all_is_told_at_once_and_one_mistake_once() {
    let text = "[adopt]\nmode = 'write'\nnodes = 'a.b.c'\nmigrations = 'jobs'\nlaravel_key = 'x'";
    let mut keys: Vec<String> = Case::toml(text).faults().into_iter().map(|it| it.key).collect();
    keys.sort_unstable();
    let expected =
        ["adopt.laravel_key", "adopt.migrations", "adopt.migrations_json", "adopt.nodes"];
    assert_eq!(keys, expected);
}

#[test]
fn what_may_not_be_meant_is_warned_of() {
    let warned = |lines: &str, part: &str| {
        adopt(lines).load().unwrap().warnings.iter().any(|warning| warning.contains(part))
    };
    let key = format!("laravel_key = '{KEY}'");
    for mode in ["shadow", "write"] {
        let lines = format!("mode = '{mode}'\nnodes = 'n'");
        assert!(warned(&lines, "passwords cannot be read"), "{mode}");
        assert!(!warned(&format!("{lines}\n{key}"), "passwords cannot be read"), "{mode}");
    }
    assert!(!warned("nodes = 'n'", "passwords"), "nothing is read of them");
    assert!(warned("migrations_error = 'e'", "only together with adopt.migrations"));
    assert!(warned("env_file = 'e'", "only together with adopt.env"));
}

#[test]
fn keys_are_secrets_and_come_as_a_list_or_by_commas() {
    let lines = format!("laravel_key = '{KEY}'\nlaravel_previous_keys = ['hunter2hunter2hu']");
    let case = adopt(&lines);
    std::fs::set_permissions(case.path("procwarden.toml"), PermissionsExt::from_mode(0o644))
        .unwrap();
    let loaded = case.load().unwrap();
    assert!(loaded.warnings.iter().any(|it| it.contains("everybody may read it")), "{loaded:?}");
    assert!(!format!("{loaded:?}").contains("hunter2") && !format!("{loaded:?}").contains(KEY));

    let case = case.env(
        "PROCWARDEN__ADOPT__LARAVEL_PREVIOUS_KEYS",
        "base64:AAECAwQFBgcICQoLDA0ODw, 0123456789abcdef",
    );
    let adopt = case.settings().adopt;
    let keys: Vec<&str> = adopt.laravel_previous_keys.iter().map(|key| key.expose()).collect();
    assert_eq!(keys, ["base64:AAECAwQFBgcICQoLDA0ODw==", "0123456789abcdef"]);
    assert_eq!(adopt.laravel_key.unwrap().expose(), KEY);
}
