//! A database that several instances share: what is settled before anybody connects.

use super::{assert_code, stderr, stdout};
use crate::support::{Warden, WardenConfig};

const SERVERS: [&str; 2] =
    ["postgres://wd:hunter2@127.0.0.1:1/shared", "mariadb://wd:hunter2@127.0.0.1:1/shared"];

fn on(url: &str) -> WardenConfig {
    WardenConfig::default().set("database.url", url)
}

#[test]
fn in_a_container_the_instance_must_have_a_name_of_its_own() {
    for variable in ["container", "KUBERNETES_SERVICE_HOST"] {
        for url in SERVERS {
            let inside = on(url).unset("instance.name").env(variable, "10.96.0.1");
            for command in ["check-config", "serve", "status"] {
                let output = Warden::prepare(inside.clone()).cli(&[command]);
                assert_code(&output, 78);
                let said = stderr(&output);
                for part in ["instance.name", variable, "PROCWARDEN__INSTANCE__NAME", "nodeName"] {
                    assert!(said.contains(part), "{command}: {part} is not in {said}");
                }
            }
            let named = inside.env("PROCWARDEN__INSTANCE__NAME", "node-7");
            let output = Warden::prepare(named).cli(&["check-config"]);
            assert_code(&output, 0);
            assert!(stdout(&output).contains("node-7"), "{}", stdout(&output));
        }
    }
    // A file is nobody else's.
    let alone = on("sqlite://alone.db").unset("instance.name").env("container", "podman");
    assert_code(&Warden::prepare(alone).cli(&["check-config"]), 0);
}

#[test]
fn a_url_that_names_no_database_is_a_fault_without_its_password() {
    let schemes = ["sqlite://", "postgres://", "postgresql://", "mysql://", "mariadb://"];
    let cases = [
        ("oracle://wd:hunter2@127.0.0.1/shared", &schemes[..]),
        ("postgres://wd:hunter2@127.0.0.1", &["no database"]),
        ("mysql://wd:hunter2@/shared", &["no host"]),
        ("mysql://wd:hunter2@a,b/shared", &["several hosts"]),
        ("postgres://wd:hunter2#@127.0.0.1/shared", &["%40"]),
    ];
    for (url, parts) in cases {
        let output = Warden::prepare(on(url)).cli(&["serve"]);
        assert_code(&output, 78);
        let said = stderr(&output);
        assert!(said.contains("database.url") && !said.contains("hunter2"), "{url}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{url}: {said}");
    }
}

#[test]
fn what_an_administrator_has_to_run_is_shown() {
    for (url, parts) in SERVERS.into_iter().zip([
        [
            "CREATE USER \"wd\"",
            "CREATE DATABASE \"shared\"",
            "GRANT USAGE, CREATE ON SCHEMA public",
        ],
        ["CREATE USER 'wd'@'%'", "CHARACTER SET utf8mb4", "ALTER, INDEX ON `shared`.*"],
    ]) {
        let output = Warden::prepare(on(url)).cli(&["check-config"]);
        assert_code(&output, 0);
        let said = stdout(&output) + &stderr(&output);
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn the_flag_for_waiting_wins_over_the_file() {
    let warden = Warden::prepare(WardenConfig::default().set("database.wait", "5s"));
    let output = warden.cli(&["check-config", "--wait-for-database", "60s"]);
    assert_code(&output, 0);
    let said = stdout(&output);
    let line = said.lines().find(|line| line.starts_with("database.wait")).unwrap_or_default();
    assert!(line.contains("1m") && line.contains("the command line"), "{said}");
    assert_code(&warden.cli(&["check-config", "--wait-for-database", "60"]), 78);
    assert_code(&warden.cli(&["check-config", "--wait-for-database"]), 64);
}
