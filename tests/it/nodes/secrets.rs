//! Passwords of nodes: sealed where they are stored, or named and looked up at each login.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use super::{becomes, live, node, node_with};
use crate::support::canary::secret;
use crate::support::{Engine, Wallet, Warden, WardenConfig, db};

/// Another one than the tests' own.
const OTHER_KEY: &str = "YW5vdGhlci1rZXktb2YtMzItYnl0ZXMtYWx0b2dldGg=";

fn stored(warden: &Warden, name: &str) -> String {
    let rows = db::nodes(warden.database());
    let row = rows.iter().find(|row| row["name"] == name).expect("it is there");
    row["password"].as_str().unwrap_or_default().to_owned()
}

fn login(password: &str) -> serde_json::Value {
    json!({"username": "user", "password": password})
}

async fn wallet(name: &str) -> (Wallet, String) {
    let password = secret(name);
    (Wallet::start_login(&format!("user:{password}")).await, password)
}

fn own_key(engine: Engine) -> bool {
    engine == Engine::Sqlite
}

#[tokio::test]
async fn what_is_stored_is_sealed_and_opens_with_its_key_alone() {
    let (wallet, password) = wallet("sealed").await;
    let config = WardenConfig::default().node(node_with("file", wallet.port(), login(&password)));
    let mut warden = Warden::start(config).await;
    let mut keys = node_with("api", wallet.port(), login(&password));
    assert_eq!(warden.post("/nodes", &keys).await.status, 201);
    keys["name"] = json!("moved");
    assert_eq!(warden.post("/nodes", &keys).await.status, 201);
    for name in ["file", "api", "moved"] {
        becomes(&warden, name, "up", None).await;
        assert!(stored(&warden, name).starts_with("procwarden-sealed:1:"));
    }
    let key = warden.dir().join("procwarden.db.key");
    if own_key(warden.database().engine()) {
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    }

    // A restart opens them. What was copied into another row opens there with no key.
    warden.stop().await;
    let copied = stored(&warden, "api");
    db::execute(
        warden.database(),
        &format!("UPDATE procwarden_nodes SET password = '{copied}' WHERE name = 'moved'"),
    );
    warden.restart().await;
    for name in ["file", "api"] {
        live(&warden, name, "api", true, None).await;
    }
    let refused = live(&warden, "moved", "api", false, Some("secret_unreadable")).await;
    assert!(refused["error"].as_str().unwrap().contains("secrets.previous_keys"), "{refused:#}");

    // Without the key: what the configuration has is sealed anew, the rest says what is missing.
    warden.stop().await;
    if own_key(warden.database().engine()) {
        fs::remove_file(&key).unwrap();
    } else {
        warden.reconfigure(|config| config.set("secrets.key", OTHER_KEY));
    }
    warden.restart().await;
    live(&warden, "file", "api", true, None).await;
    becomes(&warden, "api", "down", Some("secret_unreadable")).await;
    assert_eq!(stored(&warden, "api"), copied, "it is kept for when the key comes back");
    // Set anew, it counts at once.
    assert_eq!(warden.patch("/nodes/api", &json!({"password": password})).await.status, 200);
    becomes(&warden, "api", "up", None).await;
}

#[tokio::test]
async fn what_stands_in_clear_from_before_is_sealed_at_the_start() {
    let (wallet, password) = wallet("before").await;
    let mut warden = Warden::start(WardenConfig::default()).await;
    for name in ["one", "two"] {
        let keys = node_with(name, wallet.port(), json!({"username": "user"}));
        assert_eq!(warden.post("/nodes", &keys).await.status, 201);
    }
    warden.stop().await;
    // A literal that would be a name today was the password itself then.
    for (name, text) in [("one", password.as_str()), ("two", "env:cAnArY")] {
        let statement =
            format!("UPDATE procwarden_nodes SET password = '{text}' WHERE name = '{name}'");
        db::execute(warden.database(), &statement);
    }
    warden.restart().await;
    becomes(&warden, "one", "up", None).await;
    becomes(&warden, "two", "down", Some("unauthorized")).await;
    for name in ["one", "two"] {
        assert!(stored(&warden, name).starts_with("procwarden-sealed:1:"));
    }
}

#[tokio::test]
async fn a_key_is_changed_with_the_one_before_at_hand() {
    let (wallet, password) = wallet("rotated").await;
    let config = WardenConfig::default().set("secrets.key", crate::support::warden_config::KEY);
    let mut warden = Warden::start(config).await;
    let keys = node_with("n", wallet.port(), login(&password));
    assert_eq!(warden.post("/nodes", &keys).await.status, 201);
    becomes(&warden, "n", "up", None).await;
    let before = stored(&warden, "n");
    let changes: [fn(WardenConfig) -> WardenConfig; 2] = [
        |config| {
            config
                .set("secrets.key", OTHER_KEY)
                .set("secrets.previous_keys", vec![crate::support::warden_config::KEY])
        },
        |config| config.unset("secrets.previous_keys"),
    ];
    for change in changes {
        warden.stop().await;
        warden.reconfigure(change);
        warden.restart().await;
        live(&warden, "n", "api", true, None).await;
        let now = stored(&warden, "n");
        assert_ne!(now[..30], before[..30], "another key's id");
    }
    assert!(!warden.dir().join("procwarden.db.key").exists(), "a key was given");
}

#[tokio::test]
async fn a_named_password_is_looked_up_at_each_login_and_never_stored() {
    let (wallet, password) = wallet("named").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    let by_file = login(&format!("file:{}", file.display()));
    let config = WardenConfig::default()
        .env("RPC_PASSWORD", &password)
        .node(node_with("env", wallet.port(), login("env:RPC_PASSWORD")))
        .node(node_with("no-env", wallet.port(), login("env:RPC_PASSWORD_NONE")))
        .node(node_with("file", wallet.port(), by_file));
    let warden = Warden::start(config).await;
    becomes(&warden, "env", "up", None).await;
    let missing = live(&warden, "no-env", "api", false, Some("secret_unreadable")).await;
    assert!(missing["error"].as_str().unwrap().contains("RPC_PASSWORD_NONE"), "{missing:#}");
    let missing = live(&warden, "file", "api", false, Some("secret_unreadable")).await;
    assert!(missing["error"].as_str().unwrap().contains("No such file"), "{missing:#}");

    // Without a restart or a request.
    fs::write(&file, format!("{}\n", secret("another"))).unwrap();
    becomes(&warden, "file", "down", Some("unauthorized")).await;
    fs::write(&file, format!("{password}\n")).unwrap();
    becomes(&warden, "file", "up", None).await;
    assert_eq!(stored(&warden, "env"), "procwarden-named:env:RPC_PASSWORD");
    assert_eq!(warden.get("/nodes/env").await.json["data"]["has_password"], true);

    // Where it is to be found is no secret, and goes along.
    let exported = warden.cli(&["nodes", "export"]);
    let exported = String::from_utf8(exported.stdout).unwrap();
    assert!(exported.contains(r#""password":"env:RPC_PASSWORD""#), "{exported}");
    for bad in ["env:", "env:A-B", "file:relative"] {
        let answer = warden.patch("/nodes/env", &json!({"password": bad})).await;
        assert_eq!((answer.status, &answer.json["field"]), (400, &json!("password")), "{bad}");
    }
    // One that begins like a name is written with `text:` before it.
    let text = secret("env:RPC_PASSWORD");
    let body = json!({"password": format!("text:{text}")});
    assert_eq!(warden.patch("/nodes/no-env", &body).await.status, 200);
    becomes(&warden, "no-env", "down", Some("unauthorized")).await;
}

#[tokio::test]
async fn a_shared_database_takes_no_password_without_a_key() {
    if own_key(Engine::current()) {
        return;
    }
    // Given as nothing, so that the tests' own is not.
    let config = WardenConfig::default().set("secrets.key", serde_json::Value::Null);
    let mut warden = Warden::start(config).await;
    let keys = node_with("n", 18_082, login(&secret("shared")));
    let answer = warden.post("/nodes", &keys).await;
    assert_eq!(
        (answer.status, &answer.json["field"]),
        (400, &json!("password")),
        "{:#}",
        answer.json
    );
    assert!(
        answer.json["detail"].as_str().unwrap().contains("secrets.key_file"),
        "{:#}",
        answer.json
    );
    let named = node_with("n", 18_082, login("env:RPC_PASSWORD"));
    assert_eq!(warden.post("/nodes", &named).await.status, 201);
    warden.stop().await;
    warden.reconfigure(|config| config.node(node_with("m", 18_083, login(&secret("shared")))));
    let output = warden.cli(&["check-config"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("secrets.key_file") && said.contains("'m'"), "{said}");
}

#[tokio::test]
async fn a_node_outside_the_allowed_networks_is_not_connected_to() {
    let (wallet, _) = wallet("allowed").await;
    let config = WardenConfig::default()
        .set("nodes.allow", vec!["10.0.0.0/8", "127.0.0.1"])
        .node(node("inside", wallet.port()))
        .node(node_with("name", wallet.port(), json!({"host": "localhost"})))
        .node(node_with("outside", wallet.port(), json!({"host": "127.0.0.2"})))
        .node(node_with("mapped", wallet.port(), json!({"host": "::ffff:127.0.0.2"})));
    let warden = Warden::start(config).await;
    for name in ["inside", "name"] {
        becomes(&warden, name, "down", Some("unauthorized")).await;
    }
    for name in ["outside", "mapped"] {
        becomes(&warden, name, "down", Some("io")).await;
        for method in ["api", "port"] {
            let details = live(&warden, name, method, false, Some("io")).await;
            assert_eq!(details["error"], "127.0.0.2 is in no network of nodes.allow");
        }
    }
    let refused = Warden::prepare(WardenConfig::default().set("nodes.allow", vec!["10.0.0/8"]));
    let output = refused.cli(&["check-config"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
}
