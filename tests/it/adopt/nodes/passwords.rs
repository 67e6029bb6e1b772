//! Passwords that only Laravel can read, kept there or imported.

use super::*;

fn sealed(key: &str, clear: &str) -> String {
    php("adopt/laravel_encrypt.php", &["aes-256-cbc", key], clear.as_bytes())
}

#[tokio::test]
async fn a_password_that_cannot_be_read_is_one_nodes_trouble() {
    let (wallet, theirs) = (Wallet::start_login("user:pa ss").await, Theirs::new());
    theirs.add(1, "readable", wallet.port());
    theirs.add(2, "unreadable", wallet.port());
    theirs.set(1, &format!("username = 'user', password = '{}'", sealed(KEY, "pa ss")));
    theirs.set(2, &format!("username = 'user', password = '{}'", sealed(OTHER_KEY, "pa ss")));
    let warden = adopting(&theirs, "write").await;
    becomes(&warden, "readable", "up", None).await;
    becomes(&warden, "unreadable", "down", Some("secret_unreadable")).await;
    theirs.until_told(1, true).await;
    assert_eq!(theirs.until_told(2, false).await["reason"], "secret_unreadable");
    // It is saved anew, with the key that counts.
    theirs.set(2, &format!("password = '{}'", sealed(KEY, "pa ss")));
    becomes(&warden, "unreadable", "up", None).await;
    let stored = db::nodes(warden.database());
    assert!(stored.iter().all(|row| !row["password"].as_str().unwrap().contains("pa ss")));
}

#[tokio::test]
async fn nodes_are_imported_once() {
    let wallet = Wallet::start_login("user:pa ss").await;
    let theirs = Theirs::new();
    theirs.add(30, "main", wallet.port());
    theirs.add(31, "there", wallet.port());
    theirs.add(32, "a/b", wallet.port());
    theirs.set(30, &format!("username = 'user', password = '{}'", sealed(KEY, "pa ss")));
    let before = theirs.rows();
    let config = WardenConfig::default().set("adopt.laravel_key", KEY);
    let ours = Warden::prepare(config);
    assert_eq!(code(&ours.cli(&["nodes", "add", "there", "--port", "1"])), Some(0));
    let import = |more: &[&str]| {
        let source = theirs.database.url();
        let args = ["nodes", "import", "--from", "laravel", "--output", "json", "--source", "-"];
        ours.cli_reading(&[&args[..], more].concat(), &format!("{source}\n"))
    };

    let dry = import(&["--dry-run"]);
    assert_eq!(code(&dry), Some(0), "{}", said(&dry));
    let shown: Value = serde_json::from_slice(&dry.stdout).unwrap();
    assert_eq!((&shown["count"], &shown["dry_run"]), (&json!(2), &json!(true)));
    assert_eq!(db::nodes(ours.database()).len(), 1, "nothing is written");

    let done = import(&[]);
    assert_eq!(code(&done), Some(0), "{}", said(&done));
    let shown: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(shown["count"], 2, "{shown:#}");
    assert_eq!(find(&shown["data"], "there")["exists"], true);
    assert_eq!(find(&shown["data"], "node-32")["their_id"], 32);
    let stored = db::nodes(ours.database());
    let main = find(&json!(stored), "main");
    assert_eq!(main["origin"], "user");
    assert!(main["password"].as_str().unwrap().starts_with("procwarden-sealed:1:"));
    assert_eq!(find(&json!(stored), "there")["port"], 1, "left alone");
    let up = ours.cli(&["status", "main", "--method", "api"]);
    assert_eq!(code(&up), Some(0), "{}", said(&up));
    let again: Value = serde_json::from_slice(&import(&[]).stdout).unwrap();
    assert_eq!(again["count"], 0);

    // One whose password nobody can read comes without it; one that cannot be a node stops all.
    theirs.add(33, "sealed", 1);
    theirs.set(33, &format!("password = '{}'", sealed(OTHER_KEY, "x")));
    let partly = import(&[]);
    assert_eq!(code(&partly), Some(1), "{}", said(&partly));
    assert!(said(&partly).contains("node 'sealed' is imported without its password"));
    assert_eq!(find(&json!(db::nodes(ours.database())), "sealed")["password"], Value::Null);
    theirs.add(34, "fine", 1);
    theirs.add(35, "portless", 0);
    let refused = import(&[]);
    assert_eq!(code(&refused), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("nothing was imported"), "{}", said(&refused));
    assert_eq!(db::nodes(ours.database()).len(), 4);
    assert_eq!(theirs.rows()[..3], before, "theirs is only read");
}

#[tokio::test]
async fn what_is_imported_after_an_adoption_stays() {
    let (wallet, theirs) = (Wallet::start().await, Theirs::new());
    theirs.add(30, "main", wallet.port());
    let mut warden = adopting(&theirs, "shadow").await;
    becomes(&warden, "main", "up", None).await;
    warden.stop().await;
    warden.reconfigure(|config| config.set("adopt.mode", "off"));
    let done = warden.cli(&["nodes", "import", "--from", "laravel", "--output", "json"]);
    assert_eq!(code(&done), Some(0), "{}", said(&done));
    let shown: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(shown["data"][0]["imported"], true, "{shown:#}");
    warden.launch();
    warden.ready().await;
    becomes(&warden, "main", "up", None).await;
}
