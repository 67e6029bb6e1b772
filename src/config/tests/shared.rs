//! A database that several instances share: its URL, and the name that each must have.

use super::*;

const URLS: [&str; 4] =
    ["postgres://u@h/d", "postgresql://u@h/d", "mysql://u@h/d", "mariadb://u@h/d"];

fn in_a_container(url: &str) -> Case {
    let mut case = Case::new().flag("database.url", url);
    case.args.container = Some("there is /.dockerenv".into());
    case
}

#[test]
fn the_url_of_a_server_stays_as_it_is() {
    for url in URLS {
        let settings = Case::new().flag("database.url", url).settings();
        assert_eq!(settings.database.url.expose(), url);
        assert!(!settings.instance.name.is_empty(), "the host name");
    }
}

#[test]
fn in_a_container_the_name_must_be_given_if_the_database_is_shared() {
    for url in URLS {
        let case = in_a_container(url);
        let (key, problem) = case.fault();
        assert_eq!(key, "instance.name", "{url}");
        for part in ["/.dockerenv", "PROCWARDEN__INSTANCE__NAME", "spec.nodeName"] {
            assert!(problem.contains(part), "{problem}");
        }
        let named = case.env("PROCWARDEN__INSTANCE__NAME", "node-7");
        assert_eq!(named.settings().instance.name, "node-7");
    }
    let alone = in_a_container("sqlite://a.db");
    assert!(!alone.settings().instance.name.is_empty());
    assert_eq!(in_a_container("postgres://u@h").fault().0, "database.url", "one fault, not two");
}

#[test]
fn certificates_that_nobody_looks_at_are_warned_of() {
    let warned = |tls: &str, url: &str| {
        let text = format!("[database]\nurl = '{url}'\ntls_ca = 'ca.pem'\n{tls}");
        let loaded = Case::toml(&text).load().unwrap();
        loaded.warnings.iter().any(|warning| warning.contains("database.tls_ca"))
    };
    assert!(warned("", "postgres://h/d"));
    assert!(warned("tls = 'require'", "postgres://h/d?sslmode=verify-full"));
    assert!(!warned("tls = 'verify-ca'", "postgres://h/d"));
    assert!(!warned("", "postgres://h/d?sslmode=verify-full"));
    assert!(!warned("", "mysql://h/d?ssl-mode=VERIFY_IDENTITY"));
}

#[test]
fn a_password_among_the_parameters_is_a_secret_too() {
    let case = Case::toml("[database]\nurl = 'postgres:///d?host=/run/pg&password=hunter2'");
    std::fs::set_permissions(case.path("procwarden.toml"), PermissionsExt::from_mode(0o644))
        .unwrap();
    let loaded = case.load().unwrap();
    assert!(loaded.warnings.iter().any(|it| it.contains("everybody may read it")), "{loaded:?}");
    assert!(!format!("{loaded:?}").contains("hunter2"));
}
