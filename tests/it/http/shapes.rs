//! Every example of `tests/fixtures/http` against the service's own answer.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::SOON;
use crate::nodes::{becomes, node, node_with};
use crate::support::program::Program;
use crate::support::shape::{assert_like, example};
use crate::support::{Wallet, Warden, WardenConfig, ports};

const UUID: &str = "3c56530e-ca31-4a7c-964f-e69be01f382a";

/// The examples that some test compares; a new file without a test fails here.
#[test]
fn every_example_is_compared() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/http");
    let files: BTreeSet<String> = fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.to_owned())
        })
        .collect();
    let compared = [
        "error-400",
        "health-200",
        "health-503",
        "lock-deleted",
        "migration",
        "migration-process",
        "migrations",
        "node-status-api-down",
        "node-status-api-up",
        "node-status-full",
        "node-status-pid",
        "node-status-port",
        "nodes-status",
    ];
    assert_eq!(files, compared.map(str::to_owned).into());
}

/// A lock as the runner of the examples writes it.
fn write_lock(dir: &Path, id: i64, pid: i32) -> PathBuf {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let lock = json!({
        "mb_project_uuid": UUID,
        "brz_project_id": id,
        "pid": pid,
        "started_at": "2026-01-15 10:30:45",
        "started_timestamp": now,
        "current_stage": "Миграция страниц",
        "stage_updated_at": now,
        "total_pages": 42,
        "processed_pages": 17,
        "progress_percent": 40.48,
    });
    let file = dir.join(format!("{UUID}-{id}.lock"));
    fs::write(&file, lock.to_string()).unwrap();
    file
}

#[tokio::test]
async fn nodes_and_health() {
    let wallet = Wallet::start().await;
    let config = WardenConfig::default()
        .node(node_with("main", wallet.port(), json!({"pid": wallet.pid()})))
        .node(node("spare", ports::free_port()));
    let warden = Warden::start(config).await;
    becomes(&warden, "main", "up", None).await;
    becomes(&warden, "spare", "down", Some("port_closed")).await;

    let list = warden.get("/nodes/status").await;
    // `reason` and `latency_ms` are null or not in the two nodes of the example itself.
    let nullable = ["/nodes/*/reason", "/nodes/*/latency_ms"];
    assert_like(&list.json, &example("nodes-status"), &nullable);
    assert_eq!(
        (&list.json["total"], &list.json["working"], &list.json["failed"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(list.json["nodes"][0]["live"], false);

    for (name, method, file) in [
        ("main", "pid", "node-status-pid"),
        ("main", "api", "node-status-api-up"),
        ("spare", "api", "node-status-api-down"),
        ("spare", "port", "node-status-port"),
    ] {
        let answer = warden.get(&format!("/nodes/{name}/status?method={method}")).await;
        assert_like(&answer.json, &example(file), &[]);
        assert_eq!(answer.json["status"], example(file)["status"], "{file}");
        assert_eq!(answer.json["details"]["message"], example(file)["details"]["message"]);
    }

    let degraded = warden.get("/health").await;
    assert_eq!(degraded.status, 503);
    assert_eq!(degraded.json, example("health-503"), "the very words and numbers");
    warden.delete("/nodes/spare").await;
    let second = Wallet::start().await;
    warden.post("/nodes", &node("spare", second.port())).await;
    becomes(&warden, "spare", "up", None).await;
    let healthy = warden.get("/health").await;
    assert_eq!((healthy.status, &healthy.json), (200, &example("health-200")));
}

#[tokio::test]
async fn full_of_a_server_that_does_not_answer() {
    let wallet = Wallet::start().await;
    wallet.stop().await;
    let config = WardenConfig::default().set("nodes.api_timeout", "300ms").node(node_with(
        "hung",
        wallet.port(),
        json!({"pid": wallet.pid()}),
    ));
    let warden = Warden::start(config).await;
    let answer = warden.get("/nodes/hung/status").await;
    assert_like(&answer.json, &example("node-status-full"), &[]);
    assert_eq!(
        answer.json["details"]["message"],
        example("node-status-full")["details"]["message"]
    );
}

#[tokio::test]
async fn migrations_and_their_locks() {
    let dir = TempDir::new().unwrap();
    let mut job = Program::sleeper(dir.path());
    // A grace that does not end here: the lock stays for all that is asked of it.
    let warden = Warden::start(WardenConfig::default().set("migrations.grace", "1h")).await;
    let id = 23_131_991;
    write_lock(&warden.lock_dir(), id, job.pid());
    fs::write(
        warden.lock_dir().join("9f8e7d6c-5b4a-4392-8170-6f5e4d3c2b05-23131997.lock"),
        r#"{"mb_project_uuid": "9f8"#,
    )
    .unwrap();
    fs::write(warden.lock_dir().join("composer.lock"), "{}").unwrap();

    let list = warden
        .until("/migrations", SOON, |answer| {
            let one = answer.json["data"].as_array()?.iter().any(|row| row["state"] == "alive");
            let bad = !answer.json["unreadable"].as_array()?.is_empty();
            (one && bad).then(|| answer.json.clone())
        })
        .await;
    let mut list = list;
    // The half-written one has a row as well, with nothing known of it; compared is the other one.
    list["data"].as_array_mut().unwrap().retain(|row| row["brz_project_id"] == id);
    assert_like(&list, &example("migrations"), &["/data/*/reason", "/data/*/result"]);
    assert_eq!(list["data"][0]["status"], "in_progress");
    assert_eq!(
        list["unreadable"].as_array().unwrap().len(),
        1,
        "composer.lock is nobody's business"
    );

    let one = warden.get(&format!("/migrations/{id}")).await;
    assert_eq!(one.status, 200);
    assert_like(&one.json, &example("migration"), &["/data/result", "/data/result_data"]);
    let status = warden.get(&format!("/migrations/{id}/status")).await;
    assert_eq!((status.status, &status.json["success"]), (200, &json!(true)));

    let process = warden.get(&format!("/migrations/{id}/process")).await;
    // Alive: what is null for the dead one of the example is known here.
    assert_like(
        &process.json,
        &example("migration-process"),
        &["/data/process_details", "/data/would"],
    );
    assert_eq!(process.json["data"]["process"]["running"], true);
    assert_eq!(process.json["data"]["status_updated"], false);

    assert_eq!(warden.delete(&format!("/migrations/{id}/lock")).await.status, 409);
    job.kill();
    warden
        .until(&format!("/migrations/{id}"), SOON, |answer| {
            (answer.json["data"]["state"] == "waiting").then_some(())
        })
        .await;
    let process = warden.get(&format!("/migrations/{id}/process")).await;
    assert_like(&process.json, &example("migration-process"), &["/data/would"]);
    assert_eq!(process.json["data"]["process"]["running"], false);
    assert_eq!(process.json["data"]["verdict"], "wait");
    assert!(process.json["data"]["would"].is_array());

    let removed = warden.delete(&format!("/migrations/{id}/lock")).await;
    assert_eq!(removed.status, 200, "{:#}", removed.json);
    assert_like(&removed.json, &example("lock-deleted"), &[]);
    assert_eq!(removed.json["data"]["removed"], true);
}

#[tokio::test]
async fn the_filters_of_migrations() {
    let dir = TempDir::new().unwrap();
    let job = Program::sleeper(dir.path());
    let warden = Warden::start(WardenConfig::default()).await;
    for id in 1..=3 {
        write_lock(&warden.lock_dir(), id, job.pid());
    }
    warden.until("/migrations", SOON, |answer| (answer.json["count"] == 3).then_some(())).await;
    for (query, count) in [
        ("", 3),
        ("status=", 3),
        ("status=in_progress", 3),
        ("status=success", 0),
        ("status=nonsense", 0),
        ("brz_project_id=2", 1),
        ("brz_project_id=", 3),
        ("mb_project_uuid=3c56530e", 3),
        ("mb_project_uuid=ffffffff", 0),
        ("state=alive", 3),
        ("state=gone", 0),
        ("limit=2", 2),
    ] {
        let answer = warden.get(&format!("/migrations?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {:#}", answer.json);
        assert_eq!(answer.json["data"].as_array().unwrap().len(), count, "{query}");
    }
    // A page, then the next one after it: each row once.
    let first = warden.get("/migrations?limit=2").await.json;
    let last = &first["data"][1]["id"];
    let rest = warden.get(&format!("/migrations?limit=2&after={last}")).await.json;
    let mut seen: Vec<i64> = [&first["data"], &rest["data"]]
        .iter()
        .flat_map(|page| page.as_array().unwrap())
        .map(|row| row["brz_project_id"].as_i64().unwrap())
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3]);
}

#[tokio::test]
async fn secrets_of_a_lock_are_masked_everywhere() {
    let dir = TempDir::new().unwrap();
    let job = Program::sleeper(dir.path());
    let warden = Warden::start(WardenConfig::default()).await;
    let file = write_lock(&warden.lock_dir(), 5, job.pid());
    let mut lock: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    lock["webhook_url"] = json!("https://me:hunter2@example.org/hook?token=hunter2");
    lock["api_token"] = json!("hunter2");
    fs::write(&file, lock.to_string()).unwrap();
    warden.until("/migrations/5", SOON, |answer| (answer.status == 200).then_some(())).await;
    for path in ["/migrations", "/migrations/5", "/migrations/5/status", "/migrations/5/process"] {
        let text = warden.get(path).await.json.to_string();
        assert!(!text.contains("hunter2"), "{path}: {text}");
    }
    assert!(!warden.log().contains("hunter2"));
}

#[tokio::test]
async fn everything_is_served_under_the_base_paths_too() {
    let bases = json!(["/api/admin/monero", "/dashboard/api"]);
    let config = WardenConfig::default().set("server.base_paths", bases);
    let warden = Warden::start(config).await;
    for base in ["", "/api/admin/monero", "/dashboard/api"] {
        for path in
            ["/nodes/status", "/migrations", "/health", "/livez", "/readyz", "/openapi.yaml"]
        {
            assert_eq!(warden.get(&format!("{base}{path}")).await.status, 200, "{base}{path}");
        }
    }
    assert_eq!(warden.get("/somewhere/else/nodes/status").await.status, 404);
    assert_eq!(warden.get("/dashboard/apihealth").await.status, 404);
}
