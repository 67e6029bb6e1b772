//! Nothing secret passes, and nothing else is lost.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn the_real_servers_command_line() {
    let line = mask_arguments(&[
        "monero-wallet-rpc",
        "--rpc-bind-port",
        "18082",
        "--rpc-login",
        "user:hunter2",
        "--daemon-login=me:hunter2",
        "--password",
        "hunter2 and more",
        "--wallet-dir",
        "/srv/wallets",
        "--daemon-address=http://a:hunter2@node:18081/?x=hunter2",
        "--prompt-for-password",
        "--log-level=2",
    ]);
    assert_eq!(
        line,
        "monero-wallet-rpc --rpc-bind-port 18082 --rpc-login user:*** --daemon-login=me:*** \
         --password *** --wallet-dir /srv/wallets --daemon-address=http://***@node:18081/?*** \
         --prompt-for-password --log-level=2"
    );
}

#[test]
fn secrets_in_other_shapes() {
    let cases: [(&[&str], &str); 23] = [
        (&["--electrum-seed", "a b c"], "--electrum-seed ***"),
        (&["--seed-node", "1.2.3.4:18080"], "--seed-node 1.2.3.4:18080"),
        (&["--rpc-login", "hunter2"], "--rpc-login ***"),
        (&["--proxy", "u:hunter2@host:80"], "--proxy ***@host:80"),
        (&["--proxy-login", "u:a:b"], "--proxy-login u:***"),
        (&["-u", "me:hunter2"], "-u me:***"),
        (&["sudo", "-u", "www-data"], "sudo -u www-data"),
        (&["API_TOKEN=hunter2", "run"], "API_TOKEN=*** run"),
        (&["curl", "-H", "Authorization: Bearer hunter2"], "curl -H Authorization: ***"),
        (&["--generate-from-view-key", "hunter2"], "--generate-from-view-key ***"),
        (&["--password", "--rpc-bind-port", "1"], "--password --rpc-bind-port 1"),
        (&["--password", "--Hunter2!"], "--password ***"),
        (
            &["--password-file", "/run/p", "--RPC-LOGIN=me:hunter2"],
            "--password-file /run/p --RPC-LOGIN=me:***",
        ),
        (&["rpc-login=me:hunter2", "daemon-login", "x"], "rpc-login=me:*** daemon-login x"),
        (
            &["--dsn", "mysql:host=db;user=u;password=hunter2"],
            "--dsn mysql:host=db;user=u;password=***",
        ),
        (&["curl", "-d", "user=me&password=hunter2&x=1"], "curl -d user=me&password=***&x=1"),
        (
            &["curl", "-d", r#"{"a": {"Passwd": "hunter2"}, "b": 1}"#],
            r#"curl -d {"a":{"Passwd":"***"},"b":1}"#,
        ),
        (
            &["sh", "-c", "curl -H 'Authorization: Bearer hunter2' u"],
            "sh -c curl -H 'Authorization: ***' u",
        ),
        (
            &["sh", "-c", "echo Authorization: Bearer hunter2 and on"],
            "sh -c echo Authorization: Bearer *** and on",
        ),
        (&["--password=hunter2;hunter2&x=hunter2"], "--password=***"),
        (&["--dsn=host=a;password=hunter2;hunter2;port=1"], "--dsn=host=a;password=***;port=1"),
        (&["run", "PASSWORD: hunter2"], "run PASSWORD: ***"),
        (
            &["sh", "-c", "run --password 'hunter 2' --page 3 && x --token=hunter2"],
            "sh -c run --password '***' --page 3 && x --token=***",
        ),
    ];
    for (arguments, masked) in cases {
        assert_eq!(mask_arguments(arguments), masked);
    }
}

#[test]
fn addresses() {
    let cases = [
        ("https://example.org/hooks/migration?wave=7", "https://example.org/hooks/migration?***"),
        ("https://user:pw@host/", "https://***@host/"),
        ("https://token@host", "https://***@host"),
        ("postgres://u:p/w?x@host/db", "postgres://***@host/db"),
        (
            "see http://a/?b, and <https://c:d@e?f#g>.",
            "see http://a/?*** and <https://***@e?***#g>.",
        ),
        ("https://h/cb#access_token=x", "https://h/cb#***"),
        ("https://h/page#part", "https://h/page#part"),
        ("http://[::1]:80/users/@me", "http://[::1]:80/users/@me"),
        ("http://h:80/users/@me", "http://h:80/users/@me"),
        ("http://h/http://a:b@c/?d", "http://h/http://***@c/?***"),
        ("what? me@home", "what? me@home"),
        ("https://h/?", "https://h/?"),
        ("://", "://"),
    ];
    for (text, masked) in cases {
        assert_eq!(mask_url(text), masked);
    }
}

#[test]
fn the_json_of_a_lock() {
    let Value::Object(lock) = json!({
        "pid": 48377,
        "brz_project_id": "23131992",
        "webhook_url": "https://example.org/hooks/migration?wave=7",
        "progress_percent": 40.48,
        "log_file": "/srv/app/var/log/migration?.log",
        "brizy_api_token": "hunter2",
        "apiKey": {"id": 1, "value": "hunter2"},
        "password": null,
        "use_token": true,
        "headers": [{"Authorization": "Bearer hunter2"}],
        "rpc_login": "me:hunter2",
        "command": "php run.php --secret hunter2 --pages=3",
        "cache_key": "abc",
        "nested": [{"deep": {"Private_Key": "hunter2", "COOKIE": ["hunter2"], "PassWd": 7}}],
        "dsn": "pgsql:host=db;password=hunter2",
        "body": "{\"api_key\": \"hunter2\", \"n\": 1}",
        "note": "sent Authorization: Bearer hunter2",
    }) else {
        panic!("an object");
    };
    let masked = json!({
        "pid": 48377,
        "brz_project_id": "23131992",
        "webhook_url": "https://example.org/hooks/migration?***",
        "progress_percent": 40.48,
        "log_file": "/srv/app/var/log/migration?.log",
        "brizy_api_token": "***",
        "apiKey": "***",
        "password": null,
        "use_token": true,
        "headers": [{"Authorization": "***"}],
        "rpc_login": "me:***",
        "command": "php run.php --secret *** --pages=3",
        "cache_key": "abc",
        "nested": [{"deep": {"Private_Key": "***", "COOKIE": "***", "PassWd": "***"}}],
        "dsn": "pgsql:host=db;password=***",
        "body": "{\"api_key\":\"***\",\"n\":1}",
        "note": "sent Authorization: Bearer ***",
    });
    assert_eq!(Value::Object(mask_json(lock)), masked);
}

#[test]
fn quotes_in_quotes_do_not_end_the_stack() {
    let line = format!("{} x", "\"' ".repeat(20_000));
    assert!(mask_arguments(&[line.as_str()]).ends_with('x'));
    assert!(mask_url(&"://".repeat(20_000)).starts_with("://"));
}

#[test]
fn control_characters_are_escaped() {
    assert_eq!(printable("a\nb\u{7f}\u{2028}é"), "a\\nb\\u{7f}\\u{2028}é");
}

#[test]
fn marks_before_a_name_hide_no_secret() {
    for (text, masked) in [
        ("no luck (password=pw)", "no luck (password=***"),
        ("<b>token=t</b> was refused", "<b>token=*** was refused"),
        ("mysql:password=pw;host=db", "mysql:password=***;host=db"),
        ("see https://example.org/a?b=c and [x=1]", "see https://example.org/a?*** and [x=1]"),
    ] {
        assert_eq!(mask_prose(text), masked);
    }
}

proptest! {
    #[test]
    fn any_text_is_masked_without_a_panic(text in ".*", other in ".*") {
        let _ = mask_arguments(&[text.as_str(), other.as_str()]);
        let _ = mask_text(&text);
        prop_assert!(!printable(&text).contains(char::is_control));
    }

    #[test]
    fn a_password_never_passes(password in "[A-Za-z0-9!/?#'\"@:]{0,6}HUNTER2[A-Za-z0-9!/?#'\"@:]{0,6}") {
        let url = format!("https://user:{password}@host/path");
        for arguments in [
            vec!["--password".to_owned(), password.clone()],
            vec![format!("--password={password}")],
            vec!["--rpc-login".to_owned(), format!("user:{password}")],
            vec![format!("--rpc-login=user:{password}")],
        ] {
            prop_assert!(!mask_arguments(&arguments).contains("HUNTER2"));
        }
        // What should have been escaped is found in all but two cases: what looks like a port and a path, and
        // what looks like a host and a path.
        let like_port = password.starts_with(|it: char| it.is_ascii_digit() || "/?#".contains(it));
        if !like_port && !password.contains('@') {
            prop_assert!(!mask_url(&url).contains("HUNTER2"), "{}", mask_url(&url));
        }
    }
}
