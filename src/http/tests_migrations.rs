//! The routes of migrations over a state made by hand.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};

use super::testing::{World, example, migration, same_shape, writable};
use crate::config::Settings;
use crate::domain::migration::Status;
use crate::snapshot::{MigrationsPart, Unreadable};

fn some_migrations() -> MigrationsPart {
    let rows = [
        migration("aaa", 1, Status::InProgress, 1_000),
        migration("bbb", 1, Status::Error, 2_000),
        migration("ccc", 3, Status::Completed, 3_000),
    ];
    MigrationsPart {
        migrations: rows.into_iter().map(Arc::new).collect(),
        unreadable: vec![Unreadable { file: "x-1.lock".to_owned(), reason: "not_json" }],
        ..MigrationsPart::default()
    }
}

#[tokio::test]
async fn migrations_have_the_shapes_of_the_examples() {
    let world = World::new(Settings::default()).await;
    world.publish_migrations(some_migrations());
    let list = world.get("/migrations?brz_project_id=1&mb_project_uuid=aa").await.json();
    same_shape(&example!("migrations.json"), &list, "migrations");
    assert_eq!(list["data"][0]["progress_percent"], 40.48);
    let one = world.get("/migrations/1?mb_project_uuid=aaa").await.json();
    same_shape(&example!("migration.json"), &one, "migration");
    let newest = world.get("/migrations/1").await.json();
    assert_eq!(newest["data"]["mapping"]["mb_project_uuid"], "bbb");
    assert_eq!(newest["data"]["mapping"]["changes_json"]["monitor_updated"], true);
    assert_eq!(world.get("/migrations/1/status").await.json()["data"]["status"], "error");
    assert_eq!(world.get("/migrations/2").await.code(), "not_found");
    assert_eq!(world.get("/migrations/1/process").await.code(), "migrations_off");
}

#[tokio::test]
async fn filters_and_pages() {
    let world = World::new(Settings::default()).await;
    world.publish_migrations(some_migrations());
    for (query, ids) in [
        ("", vec![1, 1, 3]),
        ("?status=&state=&limit=", vec![1, 1, 3]),
        ("?status=success", vec![3]),
        ("?status=completed", vec![3]),
        ("?status=nonsense", vec![]),
        ("?state=finished", vec![1, 3]),
        ("?mb_project_uuid=b", vec![1]),
        ("?limit=2", vec![1, 1]),
        ("?limit=2&after=2", vec![3]),
        ("?after=99", vec![]),
    ] {
        let answer = world.get(&format!("/migrations{query}")).await.json();
        let got: Vec<_> = answer["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["id"].as_i64().unwrap())
            .collect();
        assert_eq!(got, ids, "{query}");
        assert_eq!(answer["count"], ids.len());
    }
    assert_eq!(world.get("/migrations?limit=2").await.json()["next"], 2);
    assert_eq!(world.get("/migrations?limit=3").await.json().get("next"), None);
    for query in
        ["limit=0", "limit=10001", "after=x", "brz_project_id=abc", "state=dead", "limit=1&limit=2"]
    {
        let answer = world.get(&format!("/migrations?{query}")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (400, "invalid_parameter"),
            "{query}"
        );
    }
    for id in ["abc", "0", "-1", "9007199254740992", "1.5"] {
        let answer = world.get(&format!("/migrations/{id}")).await;
        assert_eq!(answer.code(), "invalid_parameter");
        assert!(answer.json()["detail"].as_str().unwrap().contains(id));
    }
    let filtered = world.get("/migrations?status=error").await;
    let known = [("if-none-match", filtered.header("etag"))];
    assert_eq!(world.send(Method::GET, "/migrations?status=error", &known, "").await.status, 304);
}

#[tokio::test]
async fn writes_of_migrations_without_a_lock_directory() {
    let world = World::new(writable()).await;
    let done = json!({"status": "completed"});
    assert_eq!(world.write(Method::PATCH, "/migrations/1", &done).await.code(), "migrations_off");
    assert_eq!(
        world.write(Method::DELETE, "/migrations/1/lock", &json!({})).await.code(),
        "migrations_off"
    );
    for (body, field) in [
        (json!({}), "status"),
        (json!({"status": "pending"}), "status"),
        (json!({"status": 1}), "status"),
        (json!({"status": "error", "run": 0}), "run"),
        (json!({"status": "error", "error": 5}), "error"),
        (json!({"status": "error", "mb_project_uuid": "../x"}), "mb_project_uuid"),
    ] {
        let answer = world.write(Method::PATCH, "/migrations/1", &body).await;
        assert_eq!(
            (answer.code().as_str(), answer.json()["field"].as_str()),
            ("invalid_field", Some(field))
        );
    }
    assert_eq!(
        world.write(Method::DELETE, "/migrations/1/lock?force=maybe", &json!({})).await.code(),
        "invalid_parameter"
    );
}

#[tokio::test]
async fn a_runner_reports_and_an_operator_takes_a_lock() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = writable();
    settings.migrations.lock_dir = Some(dir.path().to_owned());
    let world = World::new(settings).await;
    let patch = async |body: Value| world.write(Method::PATCH, "/migrations/7", &body).await;
    assert_eq!(patch(json!({"status": "completed"})).await.code(), "not_found");
    let named = json!({"status": "success", "mb_project_uuid": "aaa"});
    for _ in 0..2 {
        let done = patch(named.clone()).await;
        assert_eq!(done.status, 200, "{done:?}");
        let mut body = done.json();
        assert!(body["data"]["mapping"]["changes_json"]["status_updated_at"].is_string());
        body["data"]["mapping"]["changes_json"] = json!({"status": "success"});
        same_shape(&example!("migration.json"), &body, "report");
        assert_eq!(done.json()["data"]["status"], "success");
    }
    assert_eq!(patch(json!({"status": "error"})).await.code(), "already_finished");
    assert_eq!(patch(json!({"status": "success", "run": 2})).await.code(), "run_mismatch");
    patch(json!({"status": "error", "mb_project_uuid": "bbb"})).await;
    let several = patch(json!({"status": "success"})).await;
    assert_eq!(
        (several.code().as_str(), &several.json()["uuids"]),
        ("ambiguous", &json!(["aaa", "bbb"]))
    );

    // This test's own process is the job.
    let lock = json!({"mb_project_uuid": "ccc", "brz_project_id": 8, "pid": std::process::id()});
    let file = dir.path().join("ccc-8.lock");
    std::fs::write(&file, lock.to_string()).unwrap();
    let seen = world.get("/migrations/8/process").await;
    assert_eq!(seen.json()["data"]["process"]["running"], true, "{seen:?}");
    assert_eq!(seen.json()["data"]["would"], json!([]));
    let kept = world.write(Method::DELETE, "/migrations/8/lock", &json!({})).await;
    assert_eq!(kept.code(), "process_alive");
    let taken = world.write(Method::DELETE, "/migrations/8/lock?force=true", &json!({})).await;
    same_shape(&example!("lock-deleted.json"), &taken.json(), "lock-deleted");
    assert!(!file.exists());
    assert_eq!(
        world
            .write(Method::DELETE, "/migrations/7/lock?mb_project_uuid=aaa", &json!({}))
            .await
            .code(),
        "no_lock"
    );
}
