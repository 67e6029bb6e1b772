//! `check-config`: the settings in force, each with its source. Faults end the program before this.

use super::output::{Answer, dash, printable};
use super::table::{Kind, Table};
use crate::config::{
    HealthScope, Loaded, LogFormat, MinWorking, ScopeSetting, Settings, known_keys,
};

/// What stands in place of a secret.
const HIDDEN: &str = "***";

pub(super) fn run(loaded: &Loaded, width: u16) -> Answer {
    let settings = &loaded.settings;
    let file = settings.file.as_ref().map_or_else(dash, |path| path.display().to_string());
    let mut table =
        Table::new(&[("KEY", Kind::Whole), ("VALUE", Kind::Text), ("SOURCE", Kind::Text)]);
    for info in known_keys() {
        let Some(value) = value(settings, info.key) else { continue };
        let origin = loaded.origins.get(info.key).cloned().unwrap_or_else(dash);
        table.row([info.key.to_owned(), value, origin]);
    }
    let nodes = settings.node.len();
    let text = format!(
        "configuration file: {}\n\n{}\n[[node]]: {nodes} given\n",
        printable(&file),
        table.render(width)
    );
    loaded.warnings.iter().fold(Answer::ok(text), Answer::noting)
}

/// The value in force, secrets hidden; `None` for keys of `[[node]]`.
fn value(settings: &Settings, key: &str) -> Option<String> {
    let Settings { server, database, instance, nodes, health, migrations, log, .. } = settings;
    let secret = |given: bool| if given { HIDDEN.to_owned() } else { dash() };
    let time = |duration| humantime::format_duration(duration).to_string();
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or_else(dash, |path| path.display().to_string())
    };
    let list = |list: &[String]| if list.is_empty() { dash() } else { list.join(", ") };
    Some(match key {
        "server.listen" => server.listen.to_string(),
        "server.token" => secret(server.token.is_some()),
        "server.read_token" => secret(server.read_token.is_some()),
        "server.drain" => time(server.drain),
        "server.base_paths" => list(&server.base_paths),
        "server.cors_origins" => list(&server.cors_origins),
        "database.url" => crate::store::redacted(database.url.expose()),
        "instance.name" => instance.name.clone(),
        "nodes.interval" => time(nodes.interval),
        "nodes.method" => nodes.method.to_string(),
        "nodes.connect_timeout" => time(nodes.connect_timeout),
        "nodes.api_timeout" => time(nodes.api_timeout),
        "nodes.concurrency" => nodes.concurrency.to_string(),
        "nodes.failure_threshold" => nodes.failure_threshold.to_string(),
        "nodes.success_threshold" => nodes.success_threshold.to_string(),
        "nodes.prune" => nodes.prune.to_string(),
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
        "migrations.scope" => match migrations.scope {
            ScopeSetting::Auto => "auto".to_owned(),
            ScopeSetting::Local => "local".to_owned(),
            ScopeSetting::Shared => "shared".to_owned(),
        },
        "log.format" => match log.format {
            LogFormat::Text => "text".to_owned(),
            LogFormat::Json => "json".to_owned(),
        },
        "log.file" => path(&log.file),
        "log.level" => log.level.clone(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, load};
    use crate::domain::node::Password;

    #[test]
    fn every_setting_is_shown_and_no_secret() {
        let mut settings = Settings::default();
        settings.server.token = Some(Password::new("hunter2".into()));
        settings.database.url = Password::new("postgres://u:hunter2@h/db?sslkey=hunter2".into());
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
        let answer = run(&loaded, 80);
        let line = answer.text.lines().find(|line| line.starts_with("migrations.grace")).unwrap();
        assert!(line.contains("11m") && line.contains("command line"), "{line}");
        assert!(answer.text.lines().all(|line| line.chars().count() <= 80), "{}", answer.text);
    }
}
