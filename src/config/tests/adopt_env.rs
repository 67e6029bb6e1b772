//! `adopt.env`: the `.env` of the earlier systems, the weakest source of all.

use super::*;

const MB: &str = "MG_DB_HOST=db.example\nMG_DB_NAME=dashboard\nMG_DB_USER=mb\nMG_DB_PASS=hunter2\n";
const LARAVEL: &str =
    "DB_CONNECTION=mysql\nDB_DATABASE=app\nDB_USERNAME=laravel\nDB_PASSWORD=hunter2\n";

/// Their file is `theirs/.env`.
fn case(whose: &str, text: &str) -> Case {
    Case::toml(&format!("[adopt]\nenv = '{whose}'\nenv_file = 'theirs/.env'"))
        .file("theirs/.env", text)
}

#[track_caller]
fn url(case: &Case) -> String {
    case.settings().database.url.expose().to_owned()
}

fn mb(lines: &str) -> String {
    url(&case("mb", &format!("{MB}{lines}")))
}

fn laravel(lines: &str) -> String {
    url(&case("laravel", &format!("{LARAVEL}{lines}")))
}

#[test]
fn the_dashboards_database_becomes_a_url() {
    assert_eq!(mb(""), "mysql://mb:hunter2@db.example:3306/dashboard");
    assert_eq!(mb("MG_DB_HOST="), "mysql://mb:hunter2@127.0.0.1:3306/dashboard");
    assert_eq!(mb("MG_DB_HOST=localhost"), "mysql://mb:hunter2@localhost:3306/dashboard");
    assert_eq!(mb("MG_DB_HOST=::1\nMG_DB_PORT=3307"), "mysql://mb:hunter2@[::1]:3307/dashboard");
    assert_eq!(mb("MG_DB_HOST=[fe80::1]"), "mysql://mb:hunter2@[fe80::1]:3306/dashboard");
    assert_eq!(mb("MG_DB_PASS="), "mysql://mb@db.example:3306/dashboard");
    assert_eq!(
        mb("MG_DB_PASS='p@ss:/?#%w \"п'\nMG_DB_USER=a@b\nMG_DB_NAME=da/ta"),
        "mysql://a%40b:p%40ss%3A%2F%3F%23%25w%20%22%D0%BF@db.example:3306/da%2Fta"
    );
}

#[test]
fn their_lock_directory_starts_at_their_file_and_their_interval_is_seconds() {
    let case = case("mb", &format!("{MB}CACHE_PATH=var/cache\nMIGRATION_MONITOR_INTERVAL=20"));
    let migrations = case.settings().migrations;
    assert_eq!(migrations.lock_dir, Some(case.path("theirs/var/cache")));
    assert_eq!(migrations.interval, Duration::from_secs(20));
    let source = format!("CACHE_PATH in line 5 of {}", case.path("theirs/.env").display());
    assert_eq!(migrations.lock_dir_source, source);

    // As without adopt.env: the process's starts where the process does.
    let case = case.env("CACHE_PATH", "locks");
    assert_eq!(case.settings().migrations.lock_dir, Some(case.path("locks")));

    let text = format!("{LARAVEL}CACHE_PATH=/locks");
    let case = self::case("laravel", &text);
    assert_eq!(case.settings().migrations.lock_dir, None, "it is nothing of Laravel's");
}

#[test]
fn whatever_is_ours_is_stronger_wherever_it_stands() {
    let text = format!("{MB}CACHE_PATH=/theirs\nMIGRATION_MONITOR_INTERVAL=20");
    let base = || case("mb", &text);
    let ours = "sqlite:///ours.db";
    let with = |extra: &str| {
        let text = format!("[adopt]\nenv = 'mb'\nenv_file = 'theirs/.env'\n{extra}");
        base().file("procwarden.toml", &text)
    };
    let case = with("[migrations]\nlock_dir = '/ours'\n[database]\nurl = 'sqlite:///ours.db'");
    assert_eq!(url(&case), ours);
    let migrations = case.settings().migrations;
    assert_eq!(migrations.lock_dir, Some("/ours".into()));
    assert_eq!(migrations.interval, Duration::from_secs(20), "each key by itself");
    assert_eq!(url(&base().file(".env", "PROCWARDEN__DATABASE__URL=sqlite:///ours.db")), ours);
    assert_eq!(url(&base().env("PROCWARDEN__DATABASE__URL", ours)), ours);
    assert_eq!(url(&base().flag("database.url", ours)), ours);

    // What is wrong with theirs does not matter then.
    let case = self::case("mb", "MG_DB_PORT=x\nMG_DB_PASS='hunter2\n").flag("database.url", ours);
    assert_eq!(url(&case), ours);
}

#[test]
fn the_environment_is_stronger_than_their_file_and_nothing_is_read_unasked() {
    let case = case("mb", MB).env("MG_DB_NAME", "other").env("MG_DB_HOST", "");
    assert_eq!(url(&case), "mysql://mb:hunter2@db.example:3306/other");
    let origin = case.load().unwrap().origins["database.url"].clone();
    assert_eq!(origin, format!("MG_DB_* in {}", case.path("theirs/.env").display()));

    let mut alone = Case::toml("[adopt]\nenv = 'mb'").env("MG_DB_NAME", "d");
    alone = alone.env("MG_DB_USER", "u").env("MG_DB_PASS", "hunter2");
    assert_eq!(url(&alone), "mysql://u:hunter2@127.0.0.1:3306/d");
    let origin = alone.load().unwrap().origins["database.url"].clone();
    assert_eq!(origin, "environment variables MG_DB_*");

    let unasked = Case::new().file(".env", MB).env("MG_DB_NAME", "d").env("APP_KEY", "x");
    assert!(url(&unasked).starts_with("sqlite://"));
    assert_eq!(unasked.settings().adopt.laravel_key, None);
}

#[test]
fn their_file_is_that_of_the_working_directory_unless_another_is_named() {
    let case = Case::new().file(".env", &format!("PROCWARDEN__ADOPT__ENV=mb\n{MB}"));
    assert_eq!(url(&case), "mysql://mb:hunter2@db.example:3306/dashboard");
    let (key, problem) = Case::toml("[adopt]\nenv = 'mb'\nenv_file = 'gone'").fault();
    assert_eq!(key, "adopt.env_file");
    assert!(problem.contains("gone cannot be read"), "{problem}");
}

#[test]
fn laravels_database_becomes_a_url() {
    assert_eq!(laravel(""), "mysql://laravel:hunter2@127.0.0.1:3306/app");
    assert_eq!(laravel("DB_CONNECTION=mariadb"), "mysql://laravel:hunter2@127.0.0.1:3306/app");
    let pgsql = "DB_CONNECTION=pgsql\nDB_HOST=db.example";
    assert_eq!(laravel(pgsql), "postgres://laravel:hunter2@db.example:5432/app");
    assert_eq!(
        laravel("DB_CONNECTION=pgsql\nDB_HOST=/run/postgresql\nDB_SSLMODE=require"),
        "postgres://laravel:hunter2@%2Frun%2Fpostgresql:5432/app?sslmode=require"
    );
    assert_eq!(
        laravel("DB_SOCKET=/run/mysqld/mysqld.sock"),
        "mysql://laravel:hunter2@127.0.0.1:3306/app?socket=%2Frun%2Fmysqld%2Fmysqld.sock"
    );
    for none in ["", "null", "(null)", "empty", "\"\""] {
        let made = laravel(&format!("DB_PASSWORD={none}"));
        assert_eq!(made, "mysql://laravel@127.0.0.1:3306/app", "{none}");
    }
    assert_eq!(
        laravel("ROOT=a\nDB_PASSWORD=\"${ROOT}$b#\\\"c\" # theirs"),
        "mysql://laravel:a%24b%23%22c@127.0.0.1:3306/app"
    );
}

#[test]
fn laravels_sqlite_is_a_file_beside_theirs() {
    let at = |text: &str| {
        let case = case("laravel", text);
        url(&case).replace(case.dir.path().to_str().unwrap(), "~")
    };
    assert_eq!(at("DB_CONNECTION=sqlite"), "sqlite://~/theirs/database/database.sqlite");
    assert_eq!(at("DB_CONNECTION=sqlite\nDB_DATABASE=a.db"), "sqlite://~/theirs/a.db");
    assert_eq!(at("DB_CONNECTION=sqlite\nDB_DATABASE=/var/a.db"), "sqlite:///var/a.db");
    let (key, problem) = case("laravel", "DB_CONNECTION=sqlite\nDB_DATABASE=:memory:").fault();
    assert_eq!((key.as_str(), problem.contains("needs a file")), ("database.url", true));
}

#[test]
fn laravels_url_is_stronger_than_its_parts() {
    assert_eq!(
        laravel("DB_URL=mysql://u:p%40s@db.example:3307/other?charset=utf8mb4"),
        "mysql://u:p%40s@db.example:3307/other"
    );
    assert_eq!(
        laravel("DATABASE_URL=postgresql://db.example?sslmode=require\nDB_PORT=5433"),
        "postgres://laravel:hunter2@db.example:5433/app?sslmode=require"
    );
    for (bad, part) in [
        ("DB_URL=hunter2", "is not the URL"),
        ("DB_URL=sqlite:///hunter2", "is not the URL"),
        ("DB_URL=sqlsrv://hunter2@h/d", "SQL Server"),
        ("DB_URL=redis://hunter2@h/d", "must be mysql"),
    ] {
        let (key, problem) = case("laravel", &format!("{LARAVEL}{bad}")).fault();
        assert_eq!(key, "database.url", "{bad}");
        assert!(problem.contains(part) && !problem.contains("hunter2"), "{bad}: {problem}");
    }
}

#[test]
fn laravels_keys_are_ours_too() {
    let text = "APP_KEY=\"0123456789abcdef\"\nAPP_PREVIOUS_KEYS=fedcba9876543210,base64:AAECAwQFBgcICQoLDA0ODw==\n";
    let case = case("laravel", &format!("{LARAVEL}{text}"));
    let adopt = case.settings().adopt;
    assert_eq!(adopt.laravel_key.unwrap().expose(), "0123456789abcdef");
    assert_eq!(adopt.laravel_previous_keys.len(), 2);
    let ours = case.env("PROCWARDEN__ADOPT__LARAVEL_KEY", "ffffffffffffffff");
    assert_eq!(ours.settings().adopt.laravel_key.unwrap().expose(), "ffffffffffffffff");
}

#[test]
fn what_is_wrong_with_theirs_names_the_line_and_shows_no_value() {
    // Whose, lines after the good ones, the key, what the source begins with, and a part of the problem.
    let cases = [
        ("mb", "MG_DB_PORT=hunter2", "database.url", "MG_DB_PORT in line 5", "1 to 65535"),
        ("mb", "MG_DB_PORT=0", "database.url", "MG_DB_PORT in line 5", "1 to 65535"),
        ("mb", "MG_DB_HOST=a:hunter2@b", "database.url", "MG_DB_HOST in line 5", "one host name"),
        ("mb", "MG_DB_PASS='hunter2", "database.url", "MG_DB_PASS in line 5", "quote it"),
        ("mb", "CACHE_PATH='hunter2", "migrations.lock_dir", "CACHE_PATH in line 5", "quote it"),
        ("laravel", "DB_PASSWORD=a hunter2", "database.url", "DB_PASSWORD in line 5", "quote it"),
        ("laravel", "DB_HOST=${GONE}", "database.url", "DB_HOST in line 5", "given before"),
        (
            "laravel",
            "DB_CONNECTION=sqlsrv",
            "database.url",
            "DB_CONNECTION in line 5",
            "SQL Server",
        ),
        ("laravel", "DB_CONNECTION=hunter2", "database.url", "DB_CONNECTION in line 5", "sqlite"),
        ("laravel", "APP_KEY=hunter2", "adopt.laravel_key", "APP_KEY in line 5", "16 or 32"),
    ];
    for (whose, line, key, source, part) in cases {
        let good = if whose == "mb" { MB } else { LARAVEL };
        let faults = case(whose, &format!("{good}{line}")).faults();
        assert_eq!(faults.len(), 1, "{line}: {faults:?}");
        assert_eq!(faults[0].key, key, "{line}");
        assert!(faults[0].source.starts_with(source), "{line}: {}", faults[0].source);
        assert!(faults[0].problem.contains(part), "{line}: {}", faults[0].problem);
        assert!(!faults[0].to_string().contains("hunter2"), "{line}: {}", faults[0]);
    }
}

#[test]
fn what_is_missing_is_named_together() {
    let (key, problem) = case("mb", "MG_DB_PASS=hunter2").fault();
    assert_eq!(key, "database.url");
    assert!(problem.contains("MG_DB_NAME and MG_DB_USER are not given in "), "{problem}");
    let (_, problem) = case("laravel", "DB_HOST=a").fault();
    assert!(problem.contains("DB_CONNECTION is not given"), "{problem}");
    let (_, problem) = Case::toml("[adopt]\nenv = 'mb'").fault();
    assert!(problem.contains("(there is no such file)"), "{problem}");
}

#[test]
fn a_file_of_theirs_with_secrets_that_everybody_may_read_is_warned_of() {
    let warned = |whose: &str, text: &str| {
        let case = case(whose, text);
        std::fs::set_permissions(case.path("theirs/.env"), PermissionsExt::from_mode(0o644))
            .unwrap();
        let loaded = case.load().unwrap();
        assert!(!format!("{loaded:?}").contains("hunter2"));
        loaded.warnings.iter().any(|it| it.contains("theirs/.env holds secrets"))
    };
    assert!(warned("mb", MB) && warned("laravel", LARAVEL));
    assert!(!warned("mb", "MG_DB_NAME=d\nMG_DB_USER=u"));
    assert!(warned("laravel", "DB_CONNECTION=sqlite\nAPP_KEY=0123456789abcdef"));
    assert!(!warned("laravel", "DB_CONNECTION=sqlite"));
}
