//! `check-config`: the settings in force, each with its source. Faults end the program before this.

use super::output::{Answer, dash, printable_lines};
use crate::config::{
    Adopt, Alerts, HealthScope, Loaded, LogFormat, MinWorking, NodeEntry, ScopeSetting, Settings,
    StatusPlace, grants, known_keys,
};
use crate::locks::LockDir;

/// What stands in place of a secret.
const HIDDEN: &str = "***";

pub(super) fn run(loaded: &Loaded) -> Answer {
    let settings = &loaded.settings;
    let file = settings.file.as_ref().map_or_else(dash, |path| path.display().to_string());
    let mut lines = vec![format!("configuration file: {file}"), String::new()];
    for info in known_keys() {
        let Some(value) = value(settings, info.key) else { continue };
        let origin = loaded.origins.get(info.key).map_or("default", String::as_str);
        lines.push(format!("{:24} {value}  ({origin})", info.key));
    }
    for node in &settings.node {
        lines.push(format!("\n[[node]] {}", node.name));
        for (key, value) in given(node) {
            lines.push(format!("{key:24} {value}"));
        }
    }
    let statements = grants(settings.database.url.expose(), &settings.adopt);
    if !statements.is_empty() {
        lines.push("\nSQL for the administrator of the database server, once:".to_owned());
        lines.extend(statements);
    }
    let text: String = lines.iter().map(|line| printable_lines(line).into_owned() + "\n").collect();
    let answer = loaded.warnings.iter().fold(Answer::ok(text), Answer::noting);
    missing_locks(settings).into_iter().fold(answer, Answer::noting)
}

/// What a server would warn of at once. It is no fault: the directory may be made by the first runner.
fn missing_locks(settings: &Settings) -> Option<String> {
    let Settings { migrations, .. } = settings;
    let dir = LockDir::new(migrations.lock_dir.clone()?).within(migrations.container.as_deref());
    let error = dir.missing()?;
    Some(format!("{}: {error}", migrations.lock_dir_source))
}

/// What a `[[node]]` says, its password hidden.
fn given(node: &NodeEntry) -> Vec<(&'static str, String)> {
    let all = [
        ("title", node.title.clone()),
        ("host", node.host.clone()),
        ("port", node.port.map(|port| port.to_string())),
        ("kind", node.kind.map(|kind| kind.as_str().to_owned())),
        ("rpc_method", node.rpc_method.clone()),
        ("path", node.path.clone()),
        ("expect_status", node.expect_status.clone()),
        ("expect_field", node.expect_field.clone()),
        ("expect_value", node.expect_value.clone()),
        ("tls", node.tls.map(|tls| tls.as_str().to_owned())),
        ("username", node.username.clone()),
        ("password", node.password.as_ref().map(|_| HIDDEN.to_owned())),
        ("daemon", node.daemon.clone()),
        ("pid", node.pid.map(|pid| pid.to_string())),
        ("pid_file", node.pid_file.clone()),
        ("process_name", node.process_name.clone()),
        ("available", node.available.map(|available| available.to_string())),
        ("instance", node.instance.clone()),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// The value in force, secrets hidden; `None` for keys of `[[node]]`.
fn value(settings: &Settings, key: &str) -> Option<String> {
    let Settings { server, database, nodes, health, migrations, log, .. } = settings;
    let secret = |given: bool| if given { HIDDEN.to_owned() } else { dash() };
    let time = |duration| humantime::format_duration(duration).to_string();
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or_else(dash, |path| path.display().to_string())
    };
    let list = |list: &[String]| if list.is_empty() { dash() } else { list.join(", ") };
    Some(match key {
        "server.listen" => server.listen.to_string(),
        "server.token" => secret(!server.token.is_empty()),
        "server.read_token" => secret(!server.read_token.is_empty()),
        "server.open_reads" => server.open_reads.to_string(),
        "server.trusted_proxies" => {
            list(&server.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>())
        }
        "server.rate" => server.rate.to_string(),
        "server.max_connections" => server.max_connections.to_string(),
        "server.drain" => time(server.drain),
        "server.base_paths" => list(&server.base_paths),
        "server.cors_origins" => list(&server.cors_origins),
        "database.url" => crate::store::redacted(database.url.expose()),
        "database.max_connections" => database.max_connections.to_string(),
        "database.connect_timeout" => time(database.connect_timeout),
        "database.statement_timeout" => time(database.statement_timeout),
        "database.idle_timeout" => time(database.idle_timeout),
        "database.max_lifetime" => time(database.max_lifetime),
        "database.retry_after" => time(database.retry_after),
        "database.tls" => database.tls.map_or_else(dash, |tls| tls.as_str().to_owned()),
        "database.tls_ca" => path(&database.tls_ca),
        "database.wait" => time(database.wait),
        "instance.name" => settings.instance.name.clone(),
        "instance.heartbeat" => time(settings.instance.heartbeat),
        "instances.forget_after" => time(settings.instances.forget_after),
        "secrets.key" => secret(settings.database.keys.key.is_some()),
        "secrets.key_file" => {
            let file = settings.database.keys.file.as_ref();
            file.map_or_else(dash, |path| path.display().to_string())
        }
        "secrets.previous_keys" => secret(!settings.database.keys.previous.is_empty()),
        "history.retain" => time(settings.history.retain),
        "nodes.interval" => time(nodes.interval),
        "nodes.method" => nodes.method.to_string(),
        "nodes.connect_timeout" => time(nodes.connect_timeout),
        "nodes.api_timeout" => time(nodes.api_timeout),
        "nodes.concurrency" => nodes.concurrency.to_string(),
        "nodes.keep_connections" => nodes.keep_connections.to_string(),
        "nodes.failure_threshold" => nodes.failure_threshold.to_string(),
        "nodes.success_threshold" => nodes.success_threshold.to_string(),
        "nodes.busy_grace" => time(nodes.busy_grace),
        "nodes.allow" => {
            let all: Vec<String> = nodes.allow.iter().map(ToString::to_string).collect();
            list(&all)
        }
        "nodes.prune" => nodes.prune.to_string(),
        "nodes.discover" => nodes.discover.to_string(),
        "health.scope" => match health.scope {
            HealthScope::Instance => "instance".to_owned(),
            HealthScope::Fleet => "fleet".to_owned(),
        },
        "health.min_working" => match health.min_working {
            MinWorking::Percent(percent) => format!("{percent} %"),
            MinWorking::Count(count) => count.to_string(),
        },
        "migrations.lock_dir" => path(&migrations.lock_dir),
        "migrations.interval" => time(migrations.interval),
        "migrations.grace" => time(migrations.grace),
        "migrations.settle" => time(migrations.settle),
        "migrations.stall_after" => time(migrations.stall_after),
        "migrations.scope" => match migrations.scope {
            ScopeSetting::Auto => "auto".to_owned(),
            ScopeSetting::Local => "local".to_owned(),
            ScopeSetting::Shared => "shared".to_owned(),
        },
        "events.enabled" => settings.events.enabled.to_string(),
        "log.format" => match log.format {
            LogFormat::Text => "text".to_owned(),
            LogFormat::Json => "json".to_owned(),
        },
        "log.file" => path(&log.file),
        "log.level" => log.level.clone(),
        _ => {
            return adopt_value(&settings.adopt, key)
                .or_else(|| alerts_value(&settings.alerts, key));
        }
    })
}

/// The same for `[alerts]`.
fn alerts_value(alerts: &Alerts, key: &str) -> Option<String> {
    let secret = |given: bool| if given { HIDDEN.to_owned() } else { dash() };
    let text = |text: &Option<String>| text.clone().unwrap_or_else(dash);
    Some(match key {
        "alerts.webhook_url" => secret(alerts.webhook_url.is_some()),
        "alerts.webhook_secret" => secret(alerts.webhook_secret.is_some()),
        "alerts.smtp_host" => text(&alerts.smtp_host),
        "alerts.smtp_port" => alerts.port().to_string(),
        "alerts.smtp_tls" => alerts.smtp_tls.as_str().to_owned(),
        "alerts.smtp_user" => text(&alerts.smtp_user),
        "alerts.smtp_password" => secret(alerts.smtp_password.is_some()),
        "alerts.mail_from" => text(&alerts.mail_from),
        "alerts.mail_to" if alerts.mail_to.is_empty() => dash(),
        "alerts.mail_to" => alerts.mail_to.join(", "),
        "alerts.on" => alerts.on.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", "),
        "alerts.group_wait" => humantime::format_duration(alerts.group_wait).to_string(),
        _ => return None,
    })
}

/// The same for `[adopt]`; what describes a table that is not named is not in force.
fn adopt_value(adopt: &Adopt, key: &str) -> Option<String> {
    let table = adopt.migrations.as_ref();
    let (json, status, error) = match table.map(|table| &table.status) {
        Some(StatusPlace::Json { column, status, error }) => {
            (Some(column), Some(status), Some(error))
        }
        Some(StatusPlace::Columns { status, error }) => (None, Some(status), Some(error)),
        None => (None, None, None),
    };
    let text = |text: Option<&String>| text.cloned().unwrap_or_else(dash);
    let secret = |given: bool| if given { HIDDEN.to_owned() } else { dash() };
    Some(match key {
        "adopt.mode" => adopt.mode.as_str().to_owned(),
        "adopt.nodes" => adopt.nodes.as_ref().map_or_else(dash, ToString::to_string),
        "adopt.migrations" => table.map_or_else(dash, |table| table.name.to_string()),
        "adopt.migrations_project_id" => text(table.map(|table| &table.project_id)),
        "adopt.migrations_uuid" => text(table.map(|table| &table.uuid)),
        "adopt.migrations_json" => text(json),
        "adopt.migrations_status" => text(status),
        "adopt.migrations_error" => text(error),
        "adopt.laravel_key" => secret(adopt.laravel_key.is_some()),
        "adopt.laravel_previous_keys" => secret(!adopt.laravel_previous_keys.is_empty()),
        "adopt.env" => adopt.env.map_or_else(dash, |env| env.as_str().to_owned()),
        "adopt.env_file" => {
            adopt.env_file.as_ref().map_or_else(dash, |path| path.display().to_string())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Token;
    use crate::config::{Overrides, load};
    use crate::domain::node::Password;

    #[test]
    fn every_setting_is_shown_and_no_secret() {
        let mut settings = Settings::default();
        settings.server.token = vec![Token::of("hunter2")];
        settings.database.url = Password::new("postgres://u:hunter2@h/db?sslkey=hunter2".into());
        settings.alerts.webhook_url = Some(Password::new("https://h/hunter2".into()));
        settings.alerts.webhook_secret = Some(Password::new("hunter2".into()));
        settings.alerts.smtp_password = Some(Password::new("hunter2".into()));
        settings.adopt.laravel_key = Some(Password::new("hunter2".into()));
        settings.adopt.laravel_previous_keys = vec![Password::new("hunter2".into())];
        for info in known_keys().iter().filter(|info| !info.key.starts_with("node.")) {
            let value = value(&settings, info.key);
            assert!(value.is_some_and(|value| !value.contains("hunter2")), "{}", info.key);
        }
    }

    #[test]
    fn each_value_stands_beside_its_source() {
        let dir = tempfile::tempdir().unwrap();
        let overrides = Overrides {
            working_dir: dir.path().to_owned(),
            flags: vec![("migrations.grace".into(), "11m".into())],
            ..Overrides::default()
        };
        let loaded = load(&overrides).unwrap();
        let text = run(&loaded).text;
        let line = |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
        assert!(line("migrations.grace").contains("11m  (the command line)"), "{text}");
        assert!(line("migrations.settle").contains("5s  (default)"), "{text}");
    }

    #[test]
    fn the_administrators_sql_is_shown_for_servers_and_not_for_a_file() {
        let shown = |url: &str| {
            let mut settings = Settings::default();
            settings.database.url = Password::new(url.to_owned());
            let origins = std::collections::BTreeMap::new();
            run(&Loaded { settings, warnings: Vec::new(), origins }).text
        };
        for url in ["postgres://wd:hunter2@h/db", "mariadb://wd:hunter2@h/db"] {
            let text = shown(url);
            assert!(text.contains("GRANT ") && text.contains("wd"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(!shown("sqlite:///a.db").contains("GRANT"));
    }

    #[test]
    fn their_settings_stand_beside_the_lines_of_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join(".env");
        std::fs::write(
            &theirs,
            "APP_KEY=0123456789abcdef\nDB_CONNECTION=mysql\nDB_DATABASE=app\nDB_USERNAME=wd\n\
             DB_PASSWORD=hunter2\n",
        )
        .unwrap();
        let flags = [
            ("adopt.env", "laravel"),
            ("adopt.mode", "write"),
            ("adopt.nodes", "monero_nodes"),
            ("instance.name", "a"),
        ];
        let overrides = Overrides {
            working_dir: dir.path().to_owned(),
            flags: flags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            ..Overrides::default()
        };
        let text = run(&load(&overrides).unwrap()).text;
        let path = theirs.display();
        for line in [
            "adopt.mode               write  (the command line)".to_owned(),
            "adopt.migrations_status  -  (default)".to_owned(),
            format!("adopt.laravel_key        ***  (APP_KEY in line 1 of {path})"),
            format!("database.url             mysql://***@127.0.0.1:3306/app  (DB_* in {path})"),
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
        assert!(text.contains("GRANT UPDATE (`worked`, `worked_data`) ON `app`.`monero_nodes`"));
        assert!(!text.contains("hunter2") && !text.contains("0123456789abcdef"), "{text}");
    }

    #[test]
    fn nodes_are_shown_without_their_passwords() {
        let node = NodeEntry {
            name: "a".into(),
            port: Some(7),
            password: Some(Password::new("hunter2".into())),
            ..NodeEntry::default()
        };
        let settings = Settings { node: vec![node], ..Settings::default() };
        let loaded = Loaded {
            settings,
            warnings: vec!["w".into()],
            origins: std::collections::BTreeMap::new(),
        };
        let answer = run(&loaded);
        assert!(answer.text.contains("[[node]] a\nport "), "{}", answer.text);
        assert!(answer.text.contains("***") && !answer.text.contains("hunter2"));
        assert_eq!(answer.notes, ["w"]);
    }
}
