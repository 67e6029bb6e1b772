//! TLS to the database: never, if it can be, always, and with a look at the certificate.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use super::{assert_code, stderr};
use crate::support::authority::authority;
use crate::support::database::Database;
use crate::support::server::{Kind, Server};
use crate::support::{Engine, Warden, WardenConfig, engine, mariadb, postgres};

/// `procwarden migrate` with these words for `database.tls` and `tls_ca` ends with this code.
fn ends<K: Kind>(server: &Server<K>, tls: &str, ca: Option<&Path>, code: i32) -> String {
    let database = Database::on(server);
    let mut config = WardenConfig::default().set("database.tls", tls);
    if let Some(ca) = ca {
        config = config.set("database.tls_ca", ca.to_str().unwrap());
    }
    let output = Warden::prepare_on(&database, config).cli(&["migrate"]);
    assert_code(&output, code);
    stderr(&output)
}

/// An authority, and a certificate for `address` where the server can read it.
fn certified<K: Kind>(server: &Server<K>, address: &str) -> (PathBuf, PathBuf, PathBuf) {
    let dir = server.dir().join(address);
    std::fs::create_dir(&dir).unwrap();
    let files = authority(&dir, address);
    let owner = std::fs::metadata(server.dir()).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    for file in [&files.1, &files.2] {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    files
}

/// Once the server has a certificate of `ca` for its address.
fn everything_works<K: Kind>(server: &Server<K>, ca: &Path, stranger: &Path) {
    for tls in ["off", "prefer", "require"] {
        ends(server, tls, None, 0);
    }
    for tls in ["verify-ca", "verify-full"] {
        ends(server, tls, Some(ca), 0);
        let why = ends(server, tls, Some(stranger), 69);
        assert!(why.contains("cannot open") && !why.contains("hunter2"), "{why}");
    }
}

#[test]
fn of_postgresql() {
    if !engine::is(Engine::Postgres) {
        return;
    }
    let server = postgres::Server::start();
    ends(&server, "prefer", None, 0);
    ends(&server, "require", None, 69);
    let (other, mine) = (certified(&server, "127.0.0.2"), certified(&server, "127.0.0.1"));
    let (key, certificate) = (mine.1.to_str().unwrap(), mine.2.to_str().unwrap());
    for (name, value) in [("ssl_key_file", key), ("ssl_cert_file", certificate), ("ssl", "on")] {
        server.sql("", &format!("ALTER SYSTEM SET {name} = '{value}'"));
    }
    server.sql("", "SELECT pg_reload_conf()");
    crate::support::poll::eventually_sync(std::time::Duration::from_secs(10), || {
        let rows = server.sql("", "SHOW ssl");
        if rows[0]["ssl"] == "on" { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    everything_works(&server, &mine.0, &other.0);
}

#[test]
fn of_mariadb() {
    if !engine::is(Engine::MySql) {
        return;
    }
    let mut server = mariadb::Server::start();
    ends(&server, "prefer", None, 0);
    ends(&server, "require", None, 69);
    let (other, mine) = (certified(&server, "127.0.0.2"), certified(&server, "127.0.0.1"));
    let settings = [("ssl_ca", &mine.0), ("ssl_key", &mine.1), ("ssl_cert", &mine.2)]
        .map(|(name, path)| format!("{name}={}", path.display()));
    mariadb::configure(server.dir(), &settings);
    server.stop();
    server.restart();
    everything_works(&server, &mine.0, &other.0);
}
