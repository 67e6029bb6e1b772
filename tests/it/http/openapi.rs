//! The committed description is the one that the program writes.

use std::fs;
use std::path::Path;

use crate::support::{Warden, WardenConfig};

fn committed() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.yaml");
    fs::read_to_string(path).expect("openapi.yaml is committed")
}

#[test]
fn the_committed_file_is_current() {
    let warden = Warden::prepare(WardenConfig::default());
    let output = warden.cli(&["openapi"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed == committed(), "openapi.yaml is another one than the program has");
}

#[tokio::test]
async fn the_served_one_is_the_same() {
    let warden = Warden::start(WardenConfig::default()).await;
    let answer = warden.get("/openapi.yaml").await;
    assert_eq!(answer.status, 200);
    assert_eq!(String::from_utf8(answer.body).unwrap(), committed());
}

#[test]
fn it_names_every_route_and_every_closed_word_list() {
    let text = committed();
    for route in [
        "/nodes/status",
        "/nodes/{id}/status",
        "/nodes/{id}/health",
        "/health",
        "/livez",
        "/readyz",
        "/migrations",
        "/migrations/{id}",
        "/migrations/{id}/status",
        "/migrations/{id}/process",
        "/migrations/{id}/lock",
        "/nodes",
        "/events",
        "/metrics",
        "/nodes/{id}",
        "/openapi.yaml",
        "/",
        "/web/{name}",
        "/session",
    ] {
        assert!(text.contains(&format!("  {route}:")), "{route}");
    }
    for word in ["pid_adopted", "wrong_service", "lock_released_unwatched", "writes_disabled"] {
        assert!(text.contains(word), "{word}");
    }
}
