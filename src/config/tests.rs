//! The rules of reading, each as a table of cases.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::read::load_with;
use super::*;
use crate::domain::Method;

mod access;
mod adopt;
mod adopt_env;
mod alerts;
mod files;
mod nodes;
mod shared;

/// A working directory with files in it, and what the process is started with.
struct Case {
    dir: TempDir,
    args: Overrides,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let args = Overrides { working_dir: dir.path().to_path_buf(), ..Overrides::default() };
        Self { dir, args }
    }

    fn toml(text: &str) -> Self {
        Self::new().file("procwarden.toml", text)
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.args.environment.insert(name.into(), value.into());
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.args.flags.push((key.into(), value.into()));
        self
    }

    fn config(mut self, path: &str) -> Self {
        self.args.config_file = Some(path.into());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn load(&self) -> Result<Loaded, Faults> {
        load_with(&self.args, &self.path("etc/procwarden.toml"))
    }

    #[track_caller]
    fn settings(&self) -> Settings {
        self.load().unwrap_or_else(|faults| panic!("{faults}")).settings
    }

    #[track_caller]
    fn faults(&self) -> Vec<Fault> {
        self.load().map(|loaded| loaded.settings).unwrap_err().0
    }

    /// The only fault, as key and problem.
    #[track_caller]
    fn fault(&self) -> (String, String) {
        let faults = self.faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        (faults[0].key.clone(), faults[0].problem.clone())
    }
}

#[test]
fn the_defaults_of_the_table_are_the_defaults_of_the_types() {
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    for info in known_keys().iter().filter(|info| !info.default.is_empty()) {
        let (section, name) = info.key.split_once('.').unwrap();
        if section != "node" {
            let lines = sections.entry(section).or_default();
            lines.extend([name, " = ", info.default, "\n"]);
        }
    }
    let sections: Vec<String> =
        sections.iter().map(|(section, lines)| format!("[{section}]\n{lines}")).collect();
    let text = sections.concat();
    let given = Case::toml(&text);
    let settings = given.settings();
    assert_eq!(
        settings.database.url.expose(),
        format!("sqlite://{}", given.path("procwarden.db").display())
    );
    assert!(!settings.instance.name.is_empty());
    let mut expected =
        Settings { file: Some(given.path("procwarden.toml")), ..Settings::default() };
    expected.database.url = settings.database.url.clone();
    expected.instance.name.clone_from(&settings.instance.name);
    assert_eq!(settings, expected);
}

#[test]
fn keys_are_unique_and_every_listed_word_is_accepted() {
    for (at, info) in known_keys().iter().enumerate() {
        assert!(known_keys()[..at].iter().all(|other| other.key != info.key), "{}", info.key);
        let (section, name) = info.key.split_once('.').unwrap();
        let Kind::Word(words) = info.kind else { continue };
        let case = |word: &str| match section {
            "node" => Case::toml(&format!("[[node]]\nname = 'a'\n{name} = '{word}'")),
            "adopt" => Case::toml(&format!("[adopt]\nnodes = 'a'\n{name} = '{word}'"))
                .flag("database.url", "sqlite://a.db"),
            _ => Case::toml(&format!("[{section}]\n{name} = '{word}'")),
        };
        for word in words {
            case(word).settings();
        }
        let (_, problem) = case("nonsense").fault();
        assert_eq!(problem, format!("'nonsense' is none of {}", words.join(", ")), "{}", info.key);
    }
}

#[test]
fn the_last_source_wins_and_is_named() {
    let key = "log.level";
    let case = Case::new();
    assert_eq!(case.load().unwrap().origins[key], "default");
    let case = case.file("etc/procwarden.toml", "[log]\nlevel = 'error'");
    assert_eq!(case.settings().log.level, "error");
    let case = case.file("procwarden.toml", "[log]\nlevel = 'warn'");
    assert_eq!(case.settings().log.level, "warn");
    let case = case.file("named.toml", "[log]\nlevel = 'off'").config("named.toml");
    assert_eq!(case.settings().log.level, "off");
    assert_eq!(
        case.load().unwrap().origins[key],
        format!("file {}", case.path("named.toml").display())
    );
    let case = case.file(".env", "# ours\nPROCWARDEN__LOG__LEVEL=info\n");
    assert_eq!(case.settings().log.level, "info");
    assert!(case.load().unwrap().origins[key].contains("PROCWARDEN__LOG__LEVEL in line 2 of"));
    let case = case.env("PROCWARDEN__LOG__LEVEL", "debug");
    assert_eq!(case.settings().log.level, "debug");
    assert_eq!(case.load().unwrap().origins[key], "environment variable PROCWARDEN__LOG__LEVEL");
    let case = case.flag(key, "info").flag(key, "trace");
    assert_eq!(case.settings().log.level, "trace");
    assert_eq!(case.load().unwrap().origins[key], "the command line");
}

#[test]
fn the_seeds_names_count_and_ours_beat_them_within_one_source_only() {
    let interval = |case: &Case| case.settings().migrations.interval.as_secs();
    let case =
        Case::toml("[migrations]\ninterval = '1s'").file(".env", "MIGRATION_MONITOR_INTERVAL=20");
    assert_eq!(interval(&case), 20);
    let case =
        case.file(".env", "PROCWARDEN__MIGRATIONS__INTERVAL=30s\nMIGRATION_MONITOR_INTERVAL=20");
    assert_eq!(interval(&case), 30);
    let case = case.env("MIGRATION_MONITOR_INTERVAL", "40");
    assert_eq!(interval(&case), 40);
    let case = case.env("PROCWARDEN__MIGRATIONS__INTERVAL", "50s");
    assert_eq!(interval(&case), 50);

    for bad in ["0", "-1", "1.5", "10s", "abc"] {
        let (key, _) = Case::new().env("MIGRATION_MONITOR_INTERVAL", bad).fault();
        assert_eq!(key, "migrations.interval", "{bad}");
    }

    let case = Case::new().file(".env", "CACHE_PATH=var/cache");
    let migrations = case.settings().migrations;
    assert_eq!(migrations.lock_dir, Some(case.path("var/cache")));
    assert!(migrations.lock_dir_source.starts_with("CACHE_PATH in line 1 of "), "{migrations:?}");
    let case = Case::toml("[migrations]\nlock_dir = '/locks'");
    let source = case.settings().migrations.lock_dir_source;
    assert_eq!(
        source,
        format!("migrations.lock_dir in file {}", case.path("procwarden.toml").display())
    );
}

#[test]
fn foreign_lines_of_env_are_ignored_even_broken_ones() {
    let text = "APP_NAME=Laravel App here\n\
                BROKEN='never closed\n\
                garbage without equals\n\
                9=digit\n\
                PW_TEST_ROOT=/srv/app\n\
                export CACHE_PATH=\"${PW_TEST_ROOT}/cache\" # theirs\n\
                PROCWARDEN__SERVER__TOKEN='pa$word'\r\n\
                PROCWARDEN__LOG__FORMAT=json   ";
    let settings = Case::new().file(".env", text).settings();
    assert_eq!(settings.migrations.lock_dir, Some("/srv/app/cache".into()));
    assert_eq!(settings.server.token, [Token::of("pa$word")]);
    assert_eq!(settings.log.format, LogFormat::Json);

    let case = Case::new().file(".env", "A=1\nPROCWARDEN__SERVER__TOKEN='hunter2\nCACHE_PATH=/x");
    let faults = case.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].key, "server.token");
    assert!(faults[0].source.contains("line 2"));
    assert!(!format!("{faults:?}").contains("hunter2"));
}

#[test]
fn unknown_keys_are_faults_in_every_source_and_foreign_variables_are_not() {
    let case = Case::toml("[server]\nlisten_on = 1\n[servr]\nport = 1\n[[node]]\nname='a'\nprt=1")
        .env("PROCWARDEN__SERVR__PORT", "1")
        .env("PROCWARDEN__NODE__0__NAME", "x")
        .env("PROCWARDEN_PORT", "tcp://10.0.0.1:8686")
        .env("HOME", "/root")
        .file(".env", "PROCWARDEN__LOG__COLOUR=1")
        .flag("log.colour", "1");
    let faults = case.faults();
    let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "server.listen_on",
            "servr",
            "log.colour",
            "node.0.name",
            "servr.port",
            "log.colour",
            "node[a].prt"
        ]
    );
    assert!(faults[0].problem.contains("[server] takes listen, token"), "{}", faults[0].problem);
    assert!(faults[1].problem.contains("server, database"), "{}", faults[1].problem);
    assert_eq!(faults[4].source, "environment variable PROCWARDEN__SERVR__PORT");
    assert!(faults[6].problem.contains("name, title, host, port"), "{}", faults[6].problem);

    let warnings = Case::new().env("PROCWARDEN_SERVER_TOKEN", "x").load().unwrap().warnings;
    assert!(warnings.iter().any(|w| w.contains("write PROCWARDEN__SERVER__TOKEN")), "{warnings:?}");
}

#[test]
fn values_that_are_refused() {
    // Section, line, and a part of the problem.
    let cases = [
        ("server", "listen = 'localhost:8686'", "is not an IP address"),
        ("server", "listen = ':8686'", "is not an IP address"),
        ("server", "listen = 8686", "not a number"),
        ("server", "listen.port = 1", "not a table"),
        ("server", "token = ''", "must not be empty"),
        ("server", "token = 5", "must be text, not a number"),
        ("server", "token = 'a b'", "without spaces"),
        ("server", "drain = '8s'", "is not from 0s to 7s"),
        ("server", "base_paths = ['api']", "must start with '/'"),
        ("server", "base_paths = ['/api/']", "must not end with '/'"),
        ("server", "base_paths = ['/']", "must not end with '/'"),
        ("server", "base_paths = ['/a//b']", "empty"),
        ("server", "base_paths = ['/{id}']", "letters"),
        ("server", "base_paths = ['/a', '/a']", "twice"),
        ("server", "base_paths = '/a'", "must be a list"),
        ("server", "base_paths = [1]", "list of texts"),
        ("server", "cors_origins = ['example.org']", "origins such as"),
        ("server", "cors_origins = ['https://example.org/']", "origins such as"),
        ("server", "cors_origins = ['*', 'https://a.b']", "alone"),
        ("database", "url = 'postgres://u:hunter2@h'", "names no database"),
        ("database", "url = 'mysql://u:hunter2@/d'", "names no host"),
        ("database", "url = 'oracle://u:hunter2@h/d'", "'oracle://' is no known database"),
        ("database", "url = 'hunter2'", "scheme of a known database"),
        ("database", "url = 'sqlite://'", "needs a file"),
        ("database", "url = 'sqlite::memory:'", "needs a file"),
        ("database", "url = 'sqlite://a.db?mode=ro'", "without '?'"),
        ("database", "max_connections = 0", "from 1 to 1000"),
        ("database", "max_connections = 1001", "from 1 to 1000"),
        ("database", "statement_timeout = '0s'", "more than zero"),
        ("database", "max_lifetime = '10ms'", "is not from 1s"),
        ("database", "wait = '2days'", "is not from 0s to 1day"),
        ("database", "tls_ca = ''", "must not be empty"),
        ("instance", "name = 'a/b'", "must not contain '/'"),
        ("instance", "name = 'any'", "every instance"),
        ("instance", "heartbeat = '99ms'", "is not from 100ms to 5m"),
        ("instance", "heartbeat = '6m'", "is not from 100ms to 5m"),
        ("instances", "forget_after = '0s'", "more than zero"),
        (
            "instances",
            "forget_after = '12s'",
            "longer than two and a half instance.heartbeat, 12s 500ms",
        ),
        ("nodes", "interval = 30", "has no unit"),
        ("nodes", "interval = '30'", "has no unit"),
        ("nodes", "interval = '0s'", "more than zero"),
        ("nodes", "interval = '0'", "has no unit"),
        ("nodes", "interval = 'soon'", "300ms, 30s, 10m, 2h or 90d"),
        ("nodes", "interval = ''", "300ms, 30s, 10m, 2h or 90d"),
        ("nodes", "interval = '-5s'", "300ms, 30s, 10m, 2h or 90d"),
        ("nodes", "interval = '2days'", "to 1day"),
        ("nodes", "interval = true", "not true or false"),
        ("nodes", "concurrency = 0", "from 1 to 10000"),
        ("nodes", "concurrency = 1.5", "a number with a fraction"),
        ("nodes", "concurrency = '5'", "must be a whole number"),
        ("nodes", "failure_threshold = -1", "from 1 to 1000"),
        ("nodes", "prune = 'yes'", "must be true or false, not text"),
        ("health", "min_working = '101 %'", "percentage"),
        ("health", "min_working = 'most'", "percentage"),
        ("health", "min_working = -3", "percentage"),
        ("migrations", "settle = '0s'", "more than zero"),
        ("migrations", "lock_dir = ''", "must not be empty"),
        ("log", "level = 'inof'", "off, error, warn, info, debug, trace"),
        ("log", "level = 'info,procwarden=lots'", "off, error, warn, info, debug, trace"),
        ("log", "level = 'info,='", "off, error, warn, info, debug, trace"),
    ];
    for (section, line, part) in cases {
        let case = Case::toml(&format!("[{section}]\n{line}"));
        let (key, problem) = case.fault();
        assert!(key.starts_with(section), "{line}: {key}");
        assert!(problem.contains(part), "{line}: {problem}");
        assert!(!problem.contains("hunter2"), "{line}: {problem}");
    }
}

#[test]
fn values_that_are_accepted() {
    let settings = Case::toml(
        "[server]\nlisten = '[::1]:0'\nbase_paths = ['/api/admin/monero', '/dashboard/api']\n\
         cors_origins = ['https://example.org', 'http://localhost:3000']\ndrain = '0s'\n\
         [nodes]\ninterval = '300ms'\nmethod = 'full'\napi_timeout = '5m'\nprune = true\n\
         [health]\nmin_working = 3\n[migrations]\ngrace = '90d'\ninterval = '2h'\n\
         [log]\nlevel = 'info,procwarden::http=DEBUG'",
    )
    .settings();
    assert_eq!(settings.server.listen, "[::1]:0".parse().unwrap());
    assert_eq!(settings.server.base_paths, ["/api/admin/monero", "/dashboard/api"]);
    assert_eq!(settings.nodes.interval, Duration::from_millis(300));
    assert_eq!(settings.nodes.method, Method::Full);
    assert!(settings.nodes.prune);
    assert_eq!(settings.health.min_working, MinWorking::Count(3));
    assert_eq!(settings.migrations.grace, Duration::from_hours(90 * 24));
    assert_eq!(settings.migrations.interval, Duration::from_hours(2));

    let settings = Case::toml(
        "[database]\nurl = 'mariadb://u:p%40ss@h:3306/d?ssl-mode=VERIFY_CA'\nmax_connections = 1000\n\
         tls = 'verify-full'\ntls_ca = 'ca.pem'\nwait = '60s'\nretry_after = '100ms'\n\
         [instance]\nname = 'host-1'\nheartbeat = '200ms'\n[instances]\nforget_after = '1s'",
    );
    let database = settings.settings().database;
    assert_eq!(database.url.expose(), "mariadb://u:p%40ss@h:3306/d?ssl-mode=VERIFY_CA");
    assert_eq!((database.max_connections, database.wait), (1000, Duration::from_mins(1)));
    assert_eq!(database.retry_after, Duration::from_millis(100));
    assert_eq!(database.tls, Some(DatabaseTls::VerifyFull));
    assert_eq!(database.tls_ca, Some(settings.path("ca.pem")));
    assert_eq!(settings.settings().instance.lease(), Duration::from_millis(500));
    assert_eq!(settings.settings().instances.forget_after, Duration::from_secs(1));

    let settings = Case::new()
        .env("PROCWARDEN__SERVER__BASE_PATHS", "/a, /b,")
        .env("PROCWARDEN__NODES__CONCURRENCY", "7")
        .env("PROCWARDEN__NODES__PRUNE", "true")
        .env("PROCWARDEN__HEALTH__MIN_WORKING", "50%")
        .env("PROCWARDEN__SERVER__TOKEN", "")
        .settings();
    assert_eq!(settings.server.base_paths, ["/a", "/b"]);
    assert_eq!((settings.nodes.concurrency, settings.nodes.prune), (7, true));
    assert_eq!(settings.health.min_working, MinWorking::Percent(50));
    assert_eq!(settings.server.token, []);
}
