//! The table of all keys: reading, the detection of unknown keys and the documentation follow from it.

use std::time::Duration;

use super::adopt::{AdoptMode, TheirEnv};
use super::alerts::SmtpTls;
use super::database::DatabaseTls;
use super::key::{KeyInfo, Kind, Set, key, node};
use super::parse::Problem;
use super::settings::{HealthScope, LogFormat, ScopeSetting};
use crate::domain::Method;
use crate::domain::node::{Password, Tls, check_name};
use crate::domain::service::{Kind as Service, Param};

/// Every key that may be given, in the order of the documentation.
#[must_use]
pub fn known_keys() -> &'static [KeyInfo] {
    KEYS
}

/// The key of that name that is a setting.
pub(super) fn setting(key: &str) -> Option<&'static KeyInfo> {
    KEYS.iter().find(|info| info.key == key && matches!(info.set, Set::Setting(_)))
}

/// The key of `[[node]]` of that name, without `node.`.
pub(super) fn of_node(key: &str) -> Option<&'static KeyInfo> {
    KEYS.iter().find(|info| {
        info.key.strip_prefix("node.") == Some(key) && matches!(info.set, Set::Node(_))
    })
}

/// Why `key` is not known, with what is.
pub(super) fn unknown(key: &str) -> Problem {
    let section = key.split_once('.').map_or("", |(section, _)| section);
    let siblings = names_in(section);
    if section == "node" {
        format!("unknown key; [[node]] in a file takes {}", siblings.join(", "))
    } else if siblings.is_empty() {
        let mut sections: Vec<&str> = Vec::new();
        for (section, _) in KEYS.iter().filter_map(|info| info.key.split_once('.')) {
            if !sections.contains(&section) {
                sections.push(section);
            }
        }
        format!("unknown section; the sections are {}", sections.join(", "))
    } else {
        format!("unknown key; [{section}] takes {}", siblings.join(", "))
    }
}

/// The keys of a section, without its name.
pub(super) fn names_in(section: &str) -> Vec<&'static str> {
    KEYS.iter()
        .filter_map(|info| info.key.split_once('.'))
        .filter(|(of, _)| *of == section)
        .map(|(_, name)| name)
        .collect()
}

const MS_10: Duration = Duration::from_millis(10);
const MS_100: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// Linux's `PID_MAX_LIMIT` on 64 bits (`include/linux/threads.h`).
const PID_MAX: i64 = 4_194_304;

// What `[adopt]` says of their migrations is put together in `adopt_rules.rs`: here it is looked at only.
#[rustfmt::skip] // A table: one key a paragraph, its reading in the last line.
static KEYS: &[KeyInfo] = &[
    key("server.listen", Kind::Address, "\"127.0.0.1:8686\"",
        "Where HTTP is served.",
        |s, raw| raw.address().map(|v| s.server.listen = v)),
    key("server.token", Kind::Secrets, "",
        "Bearer token of writes, or two to rotate: the text, file:PATH, env:NAME or sha256:HEX; without one every write is refused.",
        |_, raw| raw.tokens()),
    key("server.read_token", Kind::Secrets, "",
        "The same of reads; without one they are open to direct requests at a loopback address. Health routes are always open.",
        |_, raw| raw.tokens()),
    key("server.open_reads", Kind::Bool, "false",
        "Whether everybody who gets here may read without a token, from other machines and through proxies as well.",
        |s, raw| raw.bool().map(|v| s.server.open_reads = v)),
    key("server.trusted_proxies", Kind::List, "[]",
        "Addresses or networks, such as \"127.0.0.1\", of proxies that let in only who may read: what they send needs no token.",
        |s, raw| raw.networks().map(|v| s.server.trusted_proxies = v)),
    key("server.rate", Kind::Integer, "100",
        "Requests a second of one client, five times that at once, 0 to 100000; 0 is no limit. Not for health or this machine.",
        |s, raw| raw.integer(0, 100_000).map(|v| s.server.rate = v)),
    key("server.max_connections", Kind::Integer, "10000",
        "Most connections at once, 8 to 1000000, never more than a quarter of the open files (RLIMIT_NOFILE).",
        |s, raw| raw.integer(8, 1_000_000).map(|v| s.server.max_connections = v)),
    key("server.drain", Kind::Duration, "\"500ms\"",
        "How long /readyz says 503 before connections are refused, 0s to 7s (a stop ends after 8s).",
        |s, raw| raw.duration(Duration::ZERO, 7 * SECOND).map(|v| s.server.drain = v)),
    key("server.base_paths", Kind::List, "[]",
        "Prefixes under which every route is served as well, such as \"/dashboard/api\".",
        |s, raw| raw.base_paths().map(|v| s.server.base_paths = v)),
    key("server.cors_origins", Kind::List, "[]",
        "Origins that browsers may call from, such as \"https://example.org\", or \"*\"; none is off.",
        |s, raw| raw.origins().map(|v| s.server.cors_origins = v)),

    key("database.url", Kind::DatabaseUrl, "\"sqlite://procwarden.db\"",
        "sqlite://PATH (a relative one starts at this file's directory), postgres:// or mysql://USER:PASSWORD@HOST/DATABASE.",
        |s, raw| super::database::url(raw).map(|v| s.database.url = v)),
    key("database.max_connections", Kind::Integer, "6",
        "Most connections at once, 1 to 1000.",
        |s, raw| raw.integer(1, 1000).map(|v| s.database.max_connections = v)),
    key("database.connect_timeout", Kind::Duration, "\"5s\"",
        "How long a call waits for a connection, 10ms to 5m.",
        |s, raw| raw.duration(MS_10, 5 * MINUTE).map(|v| s.database.connect_timeout = v)),
    key("database.statement_timeout", Kind::Duration, "\"5s\"",
        "Limit of one statement or one transaction, 10ms to 10m.",
        |s, raw| raw.duration(MS_10, 10 * MINUTE).map(|v| s.database.statement_timeout = v)),
    key("database.idle_timeout", Kind::Duration, "\"10m\"",
        "A connection that nobody used for so long is closed, 1s to 1d.",
        |s, raw| raw.duration(SECOND, DAY).map(|v| s.database.idle_timeout = v)),
    key("database.max_lifetime", Kind::Duration, "\"30m\"",
        "A connection is closed after this in any case, so that a moved name is followed, 1s to 1d.",
        |s, raw| raw.duration(SECOND, DAY).map(|v| s.database.max_lifetime = v)),
    key("database.retry_after", Kind::Duration, "\"3s\"",
        "How long a database that failed is left alone, 10ms to 5m.",
        |s, raw| raw.duration(MS_10, 5 * MINUTE).map(|v| s.database.retry_after = v)),
    key("database.tls", Kind::Word(&["off", "prefer", "require", "verify-ca", "verify-full"]), "",
        "TLS to PostgreSQL or MariaDB: off, prefer, require, verify-ca or verify-full; else what the URL says, else prefer.",
        |s, raw| raw.word(&DatabaseTls::ALL.map(|t| (t.as_str(), t))).map(|v| s.database.tls = Some(v))),
    key("database.tls_ca", Kind::Path, "",
        "The authorities' certificates (PEM) for verify-ca and verify-full, instead of the system's.",
        |s, raw| raw.path().map(|v| s.database.tls_ca = Some(v))),
    key("database.wait", Kind::Duration, "\"0s\"",
        "How long to wait for a database that does not answer yet (--wait-for-database), up to 1d.",
        |s, raw| raw.duration(Duration::ZERO, DAY).map(|v| s.database.wait = v)),

    key("secrets.key", Kind::Secret, "",
        "The key that seals the passwords of nodes in the database: 32 random bytes in base64. Better in secrets.key_file.",
        |s, raw| super::secrets::key(raw).map(|v| s.database.keys.key = Some(v))),
    key("secrets.key_file", Kind::Path, "",
        "The file with that key, mode 0600, if secrets.key is not given; on SQLite one is made beside the database: its name and .key.",
        |s, raw| raw.path().map(|v| s.database.keys.file = Some(v))),
    key("secrets.previous_keys", Kind::Secrets, "[]",
        "Keys of before: what they sealed is sealed anew at the start.",
        |s, raw| super::secrets::keys(raw).map(|v| s.database.keys.previous = v)),

    key("instance.name", Kind::Text, "",
        "Who this is among several; the host name by default. To be set in a container on a shared database.",
        |s, raw| raw.instance_name().map(|v| s.instance.name = v)),
    key("instance.heartbeat", Kind::Duration, "\"5s\"",
        "Time between two heartbeats, 100ms to 5m; after two and a half without one an instance is lost.",
        |s, raw| raw.duration(MS_100, 5 * MINUTE).map(|v| s.instance.heartbeat = v)),

    key("instances.forget_after", Kind::Duration, "\"24h\"",
        "A lost instance is forgotten after this, and its nodes are released, 1s to 365d.",
        |s, raw| raw.duration(SECOND, 365 * DAY).map(|v| s.instances.forget_after = v)),

    key("history.retain", Kind::Duration, "\"90d\"",
        "How long turns of nodes and migrations are kept, 2d to 3650d.",
        |s, raw| raw.duration(2 * DAY, 3650 * DAY).map(|v| s.history.retain = v)),

    key("nodes.interval", Kind::Duration, "\"30s\"",
        "Time between two checks of one node.",
        |s, raw| raw.duration(MS_10, DAY).map(|v| s.nodes.interval = v)),
    key("nodes.method", Kind::Word(&["pid", "port", "api", "full"]), "\"api\"",
        "How the background task checks: pid, port, api or full (all three).",
        |s, raw| raw.word(&Method::ALL.map(|m| (m.as_str(), m))).map(|v| s.nodes.method = v)),
    key("nodes.connect_timeout", Kind::Duration, "\"1s\"",
        "Limit of the TCP connect.",
        |s, raw| raw.duration(MS_10, MINUTE).map(|v| s.nodes.connect_timeout = v)),
    key("nodes.api_timeout", Kind::Duration, "\"3s\"",
        "Limit of the whole RPC exchange, body included.",
        |s, raw| raw.duration(MS_10, 5 * MINUTE).map(|v| s.nodes.api_timeout = v)),
    key("nodes.concurrency", Kind::Integer, "",
        "Checks under way at once, 1 to 10000; by default 64 for each core, at most 512.",
        |s, raw| raw.integer(1, 10_000).map(|v| s.nodes.concurrency = v)),
    key("nodes.keep_connections", Kind::Integer, "20000",
        "Most connections kept between checks, 0 to 1000000, never more than half of the open files (RLIMIT_NOFILE).",
        |s, raw| raw.integer(0, 1_000_000).map(|v| s.nodes.keep_connections = v)),
    key("nodes.failure_threshold", Kind::Integer, "1",
        "Failures in a row before a working node is down.",
        |s, raw| raw.integer(1, 1000).map(|v| s.nodes.failure_threshold = v)),
    key("nodes.success_threshold", Kind::Integer, "1",
        "Successes in a row before a node that is down works again.",
        |s, raw| raw.integer(1, 1000).map(|v| s.nodes.success_threshold = v)),
    key("nodes.busy_grace", Kind::Duration, "\"1m\"",
        "How long a node counts as working whose process computes and does not answer, 0s to 1d.",
        |s, raw| raw.duration(Duration::ZERO, DAY).map(|v| s.nodes.busy_grace = v)),
    key("nodes.allow", Kind::List, "[]",
        "Networks that nodes may be in, such as \"10.0.0.0/8\" or \"::1\", asked about each address before a connect; none: any.",
        |s, raw| raw.networks().map(|v| s.nodes.allow = v)),
    key("nodes.prune", Kind::Bool, "false",
        "Remove nodes that came from this instance's configuration and left it.",
        |s, raw| raw.bool().map(|v| s.nodes.prune = v)),
    key("nodes.discover", Kind::Bool, "false",
        "Register each monero-wallet-rpc and monerod that runs on this host, at the start and once a minute; none is removed.",
        |s, raw| raw.bool().map(|v| s.nodes.discover = v)),

    key("health.scope", Kind::Word(&["instance", "fleet"]), "\"instance\"",
        "Whose nodes /health counts: this instance's or the whole fleet's.",
        |s, raw| raw.word(&[("instance", HealthScope::Instance), ("fleet", HealthScope::Fleet)])
            .map(|v| s.health.scope = v)),
    key("health.min_working", Kind::Share, "\"100 %\"",
        "How many of them must work to be healthy: a percentage or a count.",
        |s, raw| raw.min_working().map(|v| s.health.min_working = v)),

    key("migrations.lock_dir", Kind::Path, "",
        "The directory of the lock files (CACHE_PATH); without one migrations are off.",
        |s, raw| raw.path().map(|v| {
            s.migrations.lock_dir = Some(v);
            s.migrations.lock_dir_source = raw.source.describe("migrations.lock_dir");
        })),
    key("migrations.interval", Kind::Duration, "\"10s\"",
        "Time between two scans (MIGRATION_MONITOR_INTERVAL, in seconds).",
        |s, raw| raw.duration(MS_10, DAY).map(|v| s.migrations.interval = v)),
    key("migrations.grace", Kind::Duration, "\"10m\"",
        "How old a lock must be before its dead process is an error.",
        |s, raw| raw.duration(Duration::ZERO, 90 * DAY).map(|v| s.migrations.grace = v)),
    key("migrations.settle", Kind::Duration, "\"5s\"",
        "How far apart the two looks are that prove a death.",
        |s, raw| raw.duration(MS_10, 10 * MINUTE).map(|v| s.migrations.settle = v)),
    key("migrations.stall_after", Kind::Duration, "\"30m\"",
        "How long stage_updated_at (else the mtime) may stand still until a live one is stalled; 0s: for ever.",
        |s, raw| raw.duration(Duration::ZERO, 90 * DAY).map(|v| s.migrations.stall_after = v)),
    key("migrations.scope", Kind::Word(&["auto", "local", "shared"]), "\"auto\"",
        "Whose PIDs the locks hold: local (this PID table's), shared (other hosts or containers too) or auto.",
        |s, raw| raw.word(&[
            ("auto", ScopeSetting::Auto), ("local", ScopeSetting::Local), ("shared", ScopeSetting::Shared),
        ]).map(|v| s.migrations.scope = v)),

    key("adopt.mode", Kind::Word(&["off", "shadow", "write"]), "\"off\"",
        "Whether their tables are watched: off, shadow (nothing of theirs is written, no lock removed) or write.",
        |s, raw| raw.word(&AdoptMode::ALL.map(|m| (m.as_str(), m))).map(|v| s.adopt.mode = v)),
    key("adopt.nodes", Kind::Text, "",
        "Their table of nodes: monero_nodes, or with its schema (MariaDB: database), as in app.monero_nodes.",
        |s, raw| raw.table().map(|v| s.adopt.nodes = Some(v))),
    key("adopt.migrations", Kind::Text, "",
        "Their table of migrations: migrations_mapping, migrations or another, also with its schema.",
        |_, raw| raw.table().map(drop)),
    key("adopt.migrations_project_id", Kind::Text, "\"brz_project_id\"",
        "Its column of the project's id.",
        |_, raw| raw.name().map(drop)),
    key("adopt.migrations_uuid", Kind::Text, "\"mb_project_uuid\"",
        "Its column of the project's UUID.",
        |_, raw| raw.name().map(drop)),
    key("adopt.migrations_json", Kind::Text, "",
        "Its JSON column, or \"\" for plain columns. Known of migrations_mapping (changes_json) and of migrations (\"\").",
        |_, raw| raw.name_or_none().map(drop)),
    key("adopt.migrations_status", Kind::Text, "\"status\"",
        "The key in the JSON, or the column, of the status.",
        |_, raw| raw.name().map(drop)),
    key("adopt.migrations_error", Kind::Text, "\"error\"",
        "The key in the JSON, or the column, of the error's text.",
        |_, raw| raw.name().map(drop)),
    key("adopt.laravel_key", Kind::Secret, "",
        "Their APP_KEY, which opens the passwords of their nodes.",
        |s, raw| raw.laravel_key().map(|v| s.adopt.laravel_key = Some(v))),
    key("adopt.laravel_previous_keys", Kind::Secrets, "[]",
        "Their APP_PREVIOUS_KEYS, for passwords from before the key was changed.",
        |s, raw| raw.laravel_keys().map(|v| s.adopt.laravel_previous_keys = v)),
    key("adopt.env", Kind::Word(&["mb", "laravel"]), "",
        "Their .env gives what nobody else does: mb (MG_DB_*, CACHE_PATH, ...) or laravel (DB_*, APP_KEY, ...).",
        |s, raw| raw.word(&TheirEnv::ALL.map(|e| (e.as_str(), e))).map(|v| s.adopt.env = Some(v))),
    key("adopt.env_file", Kind::Path, "",
        "Where that is; .env in the working directory by default.",
        |s, raw| raw.path().map(|v| s.adopt.env_file = Some(v))),

    key("alerts.webhook_url", Kind::Secret, "",
        "Where alerts are posted as JSON, signed; without one there is no webhook.",
        |s, raw| super::alerts::webhook_url(raw).map(|v| s.alerts.webhook_url = Some(v))),
    key("alerts.webhook_secret", Kind::Secret, "", "The key of the signature (HMAC-SHA-256).",
        |s, raw| super::alerts::key(raw).map(|v| s.alerts.webhook_secret = Some(v))),
    key("alerts.smtp_host", Kind::Text, "",
        "The mail server that takes the alerts; without one no mail is sent.",
        |s, raw| super::alerts::host(raw).map(|v| s.alerts.smtp_host = Some(v))),
    key("alerts.smtp_port", Kind::Integer, "",
        "Its port; by default 587 with starttls, 465 with tls, 25 with off.",
        |s, raw| raw.integer(1, 65_535).map(|v| s.alerts.smtp_port = Some(v))),
    key("alerts.smtp_tls", Kind::Word(&["starttls", "tls", "off"]), "\"starttls\"",
        "starttls (or no mail is sent), tls from the first byte, or off.",
        |s, raw| raw.word(&SmtpTls::ALL.map(|t| (t.as_str(), t))).map(|v| s.alerts.smtp_tls = v)),
    key("alerts.smtp_user", Kind::Text, "", "Its user, where it wants one.",
        |s, raw| raw.short_text().map(|v| s.alerts.smtp_user = Some(v))),
    key("alerts.smtp_password", Kind::Secret, "", "That user's password.",
        |s, raw| raw.short_text().map(|v| s.alerts.smtp_password = Some(Password::new(v)))),
    key("alerts.mail_from", Kind::Text, "",
        "Who sends the mails, such as \"procwarden <warden@example.org>\".",
        |s, raw| super::alerts::mailbox(raw).map(|v| s.alerts.mail_from = Some(v))),
    key("alerts.mail_to", Kind::List, "", "Who gets them.",
        |s, raw| super::alerts::mailboxes(raw).map(|v| s.alerts.mail_to = v)),
    key("alerts.on", Kind::List, "[\"node_down\", \"migration_error\", \"migration_stalled\", \"instance_lost\"]",
        "What is told, each with its end.",
        |s, raw| super::alerts::kinds(raw).map(|v| s.alerts.on = v)),
    key("alerts.group_wait", Kind::Duration, "\"30s\"",
        "How long the first alert waits for others, so that they are one message, 0s to 1h.",
        |s, raw| raw.duration(Duration::ZERO, 60 * MINUTE).map(|v| s.alerts.group_wait = v)),

    key("events.enabled", Kind::Bool, "true",
        "Whether the kernel is asked to tell of ends of processes and of changed locks at once; looking goes on beside.",
        |s, raw| raw.bool().map(|v| s.events.enabled = v)),

    key("log.format", Kind::Word(&["text", "json"]), "\"text\"",
        "Lines for people, or one JSON object a line.",
        |s, raw| raw.word(&[("text", LogFormat::Text), ("json", LogFormat::Json)]).map(|v| s.log.format = v)),
    key("log.file", Kind::Path, "",
        "A file instead of standard error; SIGHUP opens it again.",
        |s, raw| raw.path().map(|v| s.log.file = Some(v))),
    key("log.level", Kind::Filter, "\"info\"",
        "off, error, warn, info, debug or trace, or a filter such as \"info,procwarden::http=debug\".",
        |s, raw| raw.log_filter().map(|v| s.log.level = v)),

    node("node.name", Kind::Text, "",
        "Required and unique; not all digits, no '/'.",
        |n, raw| raw.text().and_then(|v| check_name(&v).map(|()| n.name = v))),
    node("node.title", Kind::Text, "",
        "What people call it.",
        |n, raw| raw.short_text().map(|v| n.title = Some(v))),
    node("node.host", Kind::Text, "\"127.0.0.1\"",
        "Host name or address, without the port.",
        |n, raw| super::node_entry::host(raw).map(|v| n.host = Some(v))),
    node("node.port", Kind::Integer, "",
        "The port of its RPC server; required for a new node.",
        |n, raw| raw.integer(1, 65_535).map(|v| n.port = Some(v))),
    node("node.kind", Kind::Word(&["monero-wallet-rpc", "monerod", "json-rpc", "http"]), "\"monero-wallet-rpc\"",
        "What it serves: monero-wallet-rpc, monerod, json-rpc (any other) or http (a GET).",
        |n, raw| raw.word(&Service::ALL.map(|k| (k.as_str(), k))).map(|v| n.kind = Some(v))),
    node("node.rpc_method", Kind::Text, "",
        "The method that is called; json-rpc only, and required there.",
        |n, raw| raw.param(Param::RpcMethod).map(|v| n.rpc_method = Some(v))),
    node("node.path", Kind::Text, "",
        "Where it is asked, with a query if need be: json-rpc (\"/json_rpc\") and http (\"/\") only.",
        |n, raw| raw.param(Param::Path).map(|v| n.path = Some(v))),
    node("node.expect_status", Kind::Text, "\"200-299\"",
        "The statuses that are right, such as \"200\" or \"200-299,401\"; http only.",
        |n, raw| raw.param(Param::ExpectStatus).map(|v| n.expect_status = Some(v))),
    node("node.expect_field", Kind::Text, "",
        "A JSON pointer to what must be in the result (json-rpc) or in the body (http), such as \"/status\".",
        |n, raw| raw.param(Param::ExpectField).map(|v| n.expect_field = Some(v))),
    node("node.expect_value", Kind::Text, "",
        "What must stand there: the text, or the number, true, false or null of that spelling.",
        |n, raw| raw.param(Param::ExpectValue).map(|v| n.expect_value = Some(v))),
    node("node.tls", Kind::Word(&["off", "verify", "insecure"]), "\"off\"",
        "off, verify, or insecure (any certificate: monero-wallet-rpc makes its own X.509 v1 one).",
        |n, raw| raw.word(&[Tls::Off, Tls::Verify, Tls::Insecure].map(|t| (t.as_str(), t)))
            .map(|v| n.tls = Some(v))),
    node("node.username", Kind::Text, "",
        "User of --rpc-login.",
        |n, raw| raw.short_text().map(|v| n.username = Some(v))),
    node("node.password", Kind::Secret, "",
        "Password of --rpc-login, or where it is: env:NAME or file:/PATH, looked up at each login (text: before one that begins so).",
        |n, raw| super::node_entry::password(raw).map(|v| n.password = Some(v))),
    node("node.daemon", Kind::Text, "",
        "The address of the daemon it uses; shown only.",
        |n, raw| raw.short_text().map(|v| n.daemon = Some(v))),
    node("node.pid", Kind::Integer, "",
        "Its PID; without one and without a file, the process that owns the port.",
        |n, raw| raw.integer(1, PID_MAX).map(|v| n.pid = Some(v))),
    node("node.pid_file", Kind::Path, "",
        "A file with its PID, instead of pid.",
        |n, raw| super::node_entry::pid_file(raw).map(|v| n.pid_file = Some(v))),
    node("node.process_name", Kind::Text, "\"monero-wallet-rpc\"",
        "File name of the executable that it must be; monerod for that kind, any for json-rpc and http.",
        |n, raw| super::node_entry::process_name(raw).map(|v| n.process_name = Some(v))),
    node("node.available", Kind::Bool, "true",
        "Whether it is checked and counted; applies to a new node only.",
        |n, raw| raw.bool().map(|v| n.available = Some(v))),
    node("node.instance", Kind::Text, "",
        "The instance that answers for it, or any; else the one it was registered with if it has a PID or a loopback host.",
        |n, raw| raw.placement().map(|v| n.instance = Some(v))),
];
