//! Passwords that PHP encrypts as Laravel does, opened by us, and used on a real server.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use procwarden::config::{Adopt, Settings};
use procwarden::domain::Method;
use procwarden::domain::node::{Node, Password};
use procwarden::domain::verdict::State;
use procwarden::monitor::{CheckOutcome, Monitor, MonitorError};
use procwarden::secrets::{Secrets, Unreadable};
use procwarden::store::Open;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Wallet;
use crate::support::php::php;

/// 32 bytes, as `php artisan key:generate` writes them.
const LONG: &str = "base64:q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";
/// 16 bytes.
const SHORT: &str = "base64:q83vASNFZ4mrze8BI0VniQ==";
/// Another one of 32.
const OTHER: &str = "a raw key of 32 characters, old.";

const CIPHERS: [(&str, &str); 4] =
    [("aes-256-cbc", LONG), ("aes-128-cbc", SHORT), ("aes-256-gcm", LONG), ("aes-128-gcm", SHORT)];

fn encrypt(cipher: &str, key: &str, clear: &str) -> String {
    php("adopt/laravel_encrypt.php", &[cipher, key], clear.as_bytes())
}

fn adopt(current: Option<&str>, previous: &[&str]) -> Adopt {
    let password = |text: &str| Password::new(text.to_owned());
    Adopt {
        laravel_key: current.map(password),
        laravel_previous_keys: previous.iter().map(|text| password(text)).collect(),
        ..Adopt::default()
    }
}

fn open(text: &str, current: &str, previous: &[&str]) -> Result<Password, Unreadable> {
    let secrets = Secrets::new(&adopt(Some(current), previous)).unwrap();
    secrets.open(&Password::laravel(text.to_owned()))
}

fn clear(text: &str) -> Password {
    Password::new(text.to_owned())
}

#[test]
fn what_php_encrypts_is_opened() {
    let long = "x".repeat(4000);
    for (cipher, key) in CIPHERS {
        for text in ["", "p", "exactly 16 bytes", "пароль ☃ 'q\" \\ \n", "s:3:\"abc\";", &long]
        {
            let sealed = encrypt(cipher, key, text);
            assert_eq!(open(&sealed, key, &[]), Ok(clear(text)), "{cipher} {text}");
        }
    }
}

#[test]
fn after_a_rotation_the_old_and_the_new_are_opened() {
    for (cipher, old) in CIPHERS {
        let before = encrypt(cipher, old, "before");
        assert_eq!(open(&before, OTHER, &[]).unwrap_err(), Unreadable::WrongKey, "{cipher}");
        assert_eq!(open(&before, OTHER, &[old]), Ok(clear("before")), "{cipher}");
        // Two rotations ago, with a key of another length in between.
        assert_eq!(open(&before, OTHER, &["0123456789abcdef", old]), Ok(clear("before")));
        let after = encrypt("aes-256-cbc", OTHER, "after");
        assert_eq!(open(&after, OTHER, &[old]), Ok(clear("after")), "{cipher}");
    }
}

/// Of each part, each byte, in the lowest and the highest bit.
#[test]
fn a_flipped_byte_of_any_part_is_refused() {
    for (cipher, key) in CIPHERS {
        let sealed = encrypt(cipher, key, "a password of two blocks");
        let fields: Value = serde_json::from_slice(&STANDARD.decode(&sealed).unwrap()).unwrap();
        let proof = if cipher.ends_with("gcm") { "tag" } else { "mac" };
        for part in ["iv", "value", proof] {
            let text = fields[part].as_str().unwrap();
            let bytes = if part == "mac" { text.into() } else { STANDARD.decode(text).unwrap() };
            for at in 0..bytes.len() {
                for bit in [1, 0x80_u8] {
                    let mut bytes = bytes.clone();
                    bytes[at] ^= bit;
                    let changed = match part {
                        "mac" => String::from_utf8_lossy(&bytes).into_owned(),
                        _ => STANDARD.encode(&bytes),
                    };
                    let mut fields = fields.clone();
                    fields[part] = json!(changed);
                    let refused = open(&STANDARD.encode(fields.to_string()), key, &[]);
                    assert_eq!(refused, Err(Unreadable::WrongKey), "{cipher} {part} {at}");
                }
            }
        }
    }
}

/// Of the text in the column, each byte. What is opened still is what had no part of it changed: a field that says
/// nothing, the empty `tag` of CBC, may have another name.
#[test]
fn a_flipped_byte_of_the_column_is_refused() {
    let parts = |text: &str| -> Option<[Value; 3]> {
        let fields: Value = serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()?;
        Some(["iv", "value", "mac"].map(|name| fields[name].clone()))
    };
    for (cipher, key) in CIPHERS {
        let sealed = encrypt(cipher, key, "password");
        let (mut refused, mut opened) = (0, 0);
        for at in 0..sealed.len() {
            for bit in 0..7 {
                let mut bytes = sealed.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                match open(&changed, key, &[]) {
                    Err(_) => refused += 1,
                    Ok(text) => {
                        assert_eq!(text, clear("password"), "{cipher} {at}");
                        assert_eq!(parts(&changed), parts(&sealed), "{cipher} {at}");
                        assert!(cipher.ends_with("cbc"), "{cipher} {at}");
                        opened += 1;
                    }
                }
            }
        }
        assert!(refused > 20 * opened, "{cipher}: {refused} refused, {opened} opened");
    }
}

/// A monitor with these keys, and the directory of its database.
async fn monitor(adopt: Adopt) -> (Result<Monitor, MonitorError>, TempDir) {
    let dir = TempDir::new().unwrap();
    let mut settings = Settings { adopt, ..Settings::default() };
    // The database plays no part here.
    settings.database.url = clear(&format!("sqlite://{}", dir.path().join("p.db").display()));
    settings.nodes.connect_timeout = Duration::from_secs(10);
    settings.nodes.api_timeout = Duration::from_secs(30);
    (Monitor::open(&settings, Open::Create).await, dir)
}

fn node(port: u16, password: Password) -> Node {
    Node {
        id: 1,
        username: Some("user".into()),
        password: Some(password),
        ..Node::new("theirs", "127.0.0.1", port, "i")
    }
}

async fn look(adopt: Adopt, node: &Node, method: Method) -> CheckOutcome {
    let (monitor, _dir) = monitor(adopt).await;
    let monitor = monitor.unwrap();
    let outcome = monitor.check(node, method).await;
    monitor.close().await;
    outcome
}

#[tokio::test]
async fn a_real_server_takes_what_was_opened_and_refuses_what_was_not() {
    let wallet = Wallet::start_login("user:pa:ss w0rd").await;
    for (cipher, key) in [("aes-256-cbc", LONG), ("aes-256-gcm", LONG), ("aes-128-cbc", SHORT)] {
        let sealed = Password::laravel(encrypt(cipher, key, "pa:ss w0rd"));
        let node = node(wallet.port(), sealed);
        for keys in [adopt(Some(key), &[]), adopt(Some(OTHER), &[key])] {
            let outcome = look(keys, &node, Method::Api).await;
            assert_eq!(outcome.state(), State::Up, "{cipher}: {:#}", outcome.details);
            assert_eq!(outcome.details.get("reason"), None);
        }
        for (keys, told) in [
            (adopt(Some(OTHER), &[]), "no key opens it"),
            (adopt(None, &[]), "no adopt.laravel_key is given"),
        ] {
            for method in [Method::Api, Method::Full] {
                let outcome = look(keys.clone(), &node, method).await;
                assert_eq!(outcome.state(), State::Down, "{cipher}: {:#}", outcome.details);
                assert_eq!(outcome.details["reason"], "secret_unreadable");
                let api = match method {
                    Method::Full => &outcome.details["checks"]["api"]["details"],
                    _ => &outcome.details,
                };
                assert_eq!(
                    (&api["reason"], &api["status_code"]),
                    (&json!("secret_unreadable"), &json!(401))
                );
                assert!(api["error"].as_str().unwrap().contains(told), "{api:#}");
            }
        }
    }
    // Opened, but not the server's: that is the login's fault, not the key's.
    let sealed = Password::laravel(encrypt("aes-256-cbc", LONG, "another"));
    let outcome = look(adopt(Some(LONG), &[]), &node(wallet.port(), sealed), Method::Api).await;
    assert_eq!(outcome.details["reason"], "unauthorized", "{:#}", outcome.details);
}

#[tokio::test]
async fn a_real_server_without_a_login_works_with_the_reason_beside() {
    let wallet = Wallet::start().await;
    let sealed = Password::laravel(encrypt("aes-256-cbc", LONG, "password"));
    let node = node(wallet.port(), sealed);
    for method in [Method::Api, Method::Full] {
        let outcome = look(adopt(Some(OTHER), &[]), &node, method).await;
        assert_eq!(outcome.state(), State::Up, "{:#}", outcome.details);
        assert_eq!(outcome.details["reason"], "secret_unreadable", "{:#}", outcome.details);
        let outcome = look(adopt(Some(LONG), &[]), &node, method).await;
        assert_eq!(outcome.state(), State::Up, "{:#}", outcome.details);
        assert_eq!(outcome.details.get("reason"), None, "{:#}", outcome.details);
    }
}

#[tokio::test]
async fn a_key_that_is_none_opens_no_monitor_and_makes_no_database() {
    let (monitor, dir) = monitor(adopt(Some("base64:c2hvcnQ="), &[])).await;
    let error = monitor.unwrap_err();
    assert!(matches!(error, MonitorError::Key(_)), "{error:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
