//! What an instance tells of the others, over a state made by hand.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use super::testing::{World, held, migration, node, of_lost, of_other, writable};
use crate::clock;
use crate::config::{HealthScope, Settings, Token};
use crate::domain::migration::Status;
use crate::domain::verdict::State;
use crate::snapshot::{MigrationView, MigrationsPart, NodeView, Standing, Watch};

/// One node of each standing, all of them up by their records.
fn all_standings() -> Vec<NodeView> {
    vec![
        node(1, "mine", State::Up),
        held(node(2, "other", State::Up), of_other()),
        held(node(3, "lost", State::Up), of_lost()),
        held(node(4, "released", State::Up), Standing::Released),
    ]
}

#[tokio::test]
async fn instances_are_listed_under_every_base_path_for_readers() {
    let mut settings = writable();
    settings.server.base_paths = vec!["/dashboard/api".to_owned()];
    settings.server.read_token = vec![Token::of("reader")];
    let world = World::new(settings).await;
    let ask = async |method, path: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        world.send(method, path, &[("authorization", bearer.as_str())], "").await
    };
    assert_eq!(ask(Method::GET, "/instances", "reader").await.json(), json!({"instances": []}));
    // This one's own row looks lost while the database is away: it is there all the same.
    world.publish_fleet(&[("host-1", false), ("host-2", true), ("host-3", false)]);
    for path in ["/instances", "/dashboard/api/instances"] {
        let list = ask(Method::GET, path, "reader").await;
        assert_eq!(list.status, 200, "{path}");
        let body = list.json();
        let states: Vec<_> =
            body["instances"].as_array().unwrap().iter().map(|it| &it["state"]).collect();
        assert_eq!(states, ["live", "live", "lost"]);
        let expected = json!({
            "name": "host-2", "state": "live", "version": "0.1.0", "since": "1970-01-01T00:00:01+00:00",
            "last_beat": "1970-01-01T00:01:01+00:00", "nodes": 7, "locks": 2, "tick_ms": 35,
        });
        assert_eq!(body["instances"][1], expected, "exactly these");
        assert_eq!(ask(Method::GET, path, "wrong").await.code(), "unauthorized");
        let wrong = ask(Method::POST, path, "t0ken").await;
        assert_eq!((wrong.status.as_u16(), wrong.header("allow")), (405, "GET,HEAD"));
        assert_eq!(wrong.code(), "method_not_allowed");
    }
}

#[tokio::test]
async fn health_counts_its_own_nodes_or_the_fleets() {
    let world = World::new(Settings::default()).await;
    world.publish(all_standings());
    // Asked in turns: one scope's answer is not kept for the other.
    for _ in 0..2 {
        let here = world.get("/health").await;
        assert_eq!(here.status, 200);
        assert_eq!(here.json(), json!({"status": "healthy", "working": 1, "total": 1}));
        let fleet = world.get("/health?scope=fleet").await;
        assert_eq!(fleet.status, 503, "the lost one's node counts and does not work");
        assert_eq!(fleet.json(), json!({"status": "degraded", "working": 2, "total": 3}));
        assert_eq!(world.get("/health?scope=instance").await.json(), here.json());
    }
    let mut settings = Settings::default();
    settings.health.scope = HealthScope::Fleet;
    let world = World::new(settings).await;
    world.publish(all_standings());
    assert_eq!(world.get("/health").await.json()["total"], 3, "as configured");
    assert_eq!(world.get("/health?scope=instance").await.json()["total"], 1);
}

#[tokio::test]
async fn an_instance_without_nodes_is_healthy_and_says_where_they_are() {
    let world = World::new(Settings::default()).await;
    let mut off = node(1, "off", State::Up);
    Arc::make_mut(&mut off.node).available = false;
    let other = || held(node(2, "other", State::Down), of_other());
    world.publish(vec![off.clone(), other()]);
    let body = world.get("/health").await;
    let note = json!({"status": "healthy", "working": 0, "total": 0, "note": "no_nodes_here"});
    assert_eq!((body.status.as_u16(), body.json()), (200, note));
    assert_eq!(world.get("/health?scope=fleet").await.json().get("note"), None);
    world.publish_until(vec![other()], clock::now().up.minus(Duration::from_millis(1)));
    assert_eq!(world.get("/health").await.json()["status"], "stale", "it cannot know");
    // Nobody has any: that is no news of other instances.
    world.publish(vec![off, held(node(4, "released", State::Up), Standing::Released)]);
    let none = json!({"status": "healthy", "working": 0, "total": 0});
    assert_eq!(world.get("/health").await.json(), none);
    assert_eq!(world.get("/health?scope=fleet").await.json(), none);
}

#[tokio::test]
async fn the_record_of_another_instance_grows_stale_by_its_own_window() {
    let world = World::new(Settings::default()).await;
    // The window of this instance is two minutes, that of the other one: 200 ms are left of it.
    let mut soon = held(node(2, "other", State::Up), of_other());
    soon.verdict.checked_up = Some(clock::now().up.minus(Duration::from_millis(59_800)));
    world.publish(vec![soon]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while world.get("/health?scope=fleet").await.status != 503 {
        assert!(tokio::time::Instant::now() < deadline, "it never turned");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.get("/nodes/status").await.json()["nodes"][0]["state"], "stale");
    assert_eq!(world.get("/nodes/2/health").await.json()["status"], "stale");
}

#[tokio::test]
async fn the_list_of_nodes_is_the_fleets() {
    let world = World::new(Settings::default()).await;
    world.publish(all_standings());
    let list = world.get("/nodes/status").await.json();
    assert_eq!([&list["total"], &list["working"], &list["failed"]], [3, 2, 1]);
    let names: Vec<_> = list["nodes"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["mine", "other", "lost"], "what nobody answers for is left out");
    let lost = &list["nodes"][2];
    assert_eq!((&lost["state"], &lost["status"]), (&json!("unknown"), &json!(false)));
    assert_eq!(lost["reason"], "instance_lost");
    assert!(lost["message"].as_str().unwrap().contains("'host-3'"), "{lost}");
    // Checked now are its own alone: nothing listens on their port.
    let live = world.get("/nodes/status?method=port").await.json();
    let seen = |n: usize| (live["nodes"][n]["live"].clone(), live["nodes"][n]["state"].clone());
    assert_eq!(seen(0), (json!(true), json!("down")));
    assert_eq!(seen(1), (json!(false), json!("up")), "another host's loopback is not this one's");
    assert_eq!(seen(2), (json!(false), json!("unknown")));
    assert_eq!(live["working"], 1);
}

#[tokio::test]
async fn a_node_of_another_instance_is_answered_from_the_record() {
    let world = World::new(Settings::default()).await;
    world.publish(all_standings());
    let ask =
        async |name: &str| world.get(&format!("/nodes/{name}/status?method=port")).await.json();
    assert_eq!(ask("mine").await["details"]["method"], "port", "looked at");
    let recorded = json!({"status": true, "details": {
        "method": "api", "message": "API is responding",
        "last_check": ask("other").await["details"]["last_check"], "state": "up", "live": false,
    }});
    assert_eq!(ask("other").await, recorded);
    let lost = ask("lost").await;
    assert_eq!(lost["status"], false);
    let details = &lost["details"];
    assert_eq!([&details["reason"], &details["state"]], ["instance_lost", "unknown"]);
    assert_eq!((&details["method"], &details["live"]), (&json!("api"), &json!(false)));
    assert!(details["message"].as_str().unwrap().contains("'host-3'"), "{details}");
    let released = ask("released").await;
    assert_eq!((&released["status"], &released["details"]["live"]), (&json!(false), &json!(false)));
    assert!(released["details"]["message"].as_str().unwrap().starts_with("Nobody answers"));
    for (name, status, state, reason) in [
        ("mine", 200, "up", json!(null)),
        ("other", 200, "up", json!(null)),
        ("lost", 503, "unknown", json!("instance_lost")),
        ("released", 503, "unknown", json!(null)),
    ] {
        let health = world.get(&format!("/nodes/{name}/health")).await;
        assert_eq!(health.status, status, "{name}");
        let body = health.json();
        assert_eq!((&body["state"], &body["reason"]), (&json!(state), &reason), "{name}");
    }
}

#[tokio::test]
async fn the_registry_says_who_answers() {
    let world = World::new(writable()).await;
    world.publish(all_standings());
    let list = world.get("/nodes").await.json();
    let told = |key: &str| -> Vec<Value> {
        list["data"].as_array().unwrap().iter().map(|it| it[key].clone()).collect()
    };
    assert_eq!(told("owner"), [json!("host-1"), json!("host-2"), json!("host-3"), json!(null)]);
    assert_eq!(told("reason"), [json!(null), json!(null), json!("instance_lost"), json!(null)]);
    assert_eq!(told("worked"), [true, true, false, false]);
    let keys: Vec<_> = list["data"][0].as_object().unwrap().keys().cloned().collect();
    let at = keys.iter().position(|key| key == "instance").unwrap();
    assert_eq!(keys[at..at + 3], ["instance", "maintenance_until", "owner"]);
    assert_eq!(world.get("/nodes/lost").await.json()["data"], list["data"][2]);
    let made = world.write(Method::POST, "/nodes", &json!({"name": "new", "port": 1})).await;
    assert_eq!(made.json()["data"]["owner"], "host-1", "{made:?}");
}

/// A run that `instance` watches, seen from `host-1`.
fn watched(id: i64, instance: &str, status: Status, watch: Watch) -> MigrationView {
    let mut view = migration("aaa", id, status, 1_000 + id);
    instance.clone_into(&mut view.row.instance);
    MigrationView { lock_exists: watch == Watch::Here, watch, ..view }
}

fn runs() -> MigrationsPart {
    let rows = [
        watched(1, "host-1", Status::InProgress, Watch::Here),
        watched(2, "host-2", Status::InProgress, Watch::Recorded),
        watched(3, "host-3", Status::InProgress, Watch::Lost),
        watched(4, "host-3", Status::Completed, Watch::Lost),
    ];
    MigrationsPart { migrations: rows.into_iter().map(Arc::new).collect(), ..Default::default() }
}

#[tokio::test]
async fn a_run_elsewhere_is_the_record_and_a_lost_one_is_unknown() {
    let world = World::new(Settings::default()).await;
    world.publish_migrations(runs());
    let list = world.get("/migrations").await.json();
    let rows = list["data"].as_array().unwrap();
    let told: Vec<_> = rows.iter().map(|it| [&it["state"], &it["reason"]]).collect();
    let lost = [&json!("unknown"), &json!("instance_lost")];
    let alive = [&json!("alive"), &json!(null)];
    assert_eq!(told, [alive, alive, lost, [&json!("finished"), &json!(null)]]);
    let live: Vec<_> = rows.iter().map(|it| it.get("live")).collect();
    let no = json!(false);
    assert_eq!(live, [None, Some(&no), Some(&no), Some(&no)]);
    assert!(rows.iter().all(|row| row["status"] != "error"), "reported, not marked");
    for (state, ids) in [("alive", vec![1, 2]), ("unknown", vec![3]), ("finished", vec![4])] {
        let list = world.get(&format!("/migrations?state={state}")).await.json();
        let found: Vec<_> =
            list["data"].as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
        assert_eq!(found, ids, "{state}");
    }
    assert_eq!(world.get("/migrations/1").await.json()["data"].get("live"), None);
    let one = world.get("/migrations/3").await.json();
    assert_eq!((&one["data"]["state"], &one["data"]["live"]), (&json!("unknown"), &no));
    let status = world.get("/migrations/3/status").await.json();
    assert_eq!([&status["data"]["state"], &status["data"]["reason"]], lost);
    let there = async |id: i64| {
        let body = world.get(&format!("/migrations/{id}/status")).await.json();
        body["data"]["lock_file_exists"].clone()
    };
    assert_eq!([there(1).await, there(2).await, there(4).await], [true, true, false]);
}

#[tokio::test]
async fn the_process_of_a_run_elsewhere_is_not_looked_at() {
    let world = World::new(Settings::default()).await;
    world.publish_migrations(runs());
    for (id, instance, running, says) in [
        (
            2,
            "host-2",
            true,
            "Process 48213 is watched by the instance 'host-2', alive by its record",
        ),
        (3, "host-3", false, "Process 48213 was watched by the instance 'host-3', which is lost"),
        (4, "host-3", false, "The run has ended: completed"),
    ] {
        let answer = world.get(&format!("/migrations/{id}/process")).await;
        assert_eq!(answer.status, 200, "although no directory is watched here");
        let data = &answer.json()["data"];
        let process = &data["process"];
        assert_eq!((&process["running"], &process["message"]), (&json!(running), &json!(says)));
        assert_eq!(
            (&process["pid"], &process["detected_by"]),
            (&json!(48213), &json!("recorded_pid"))
        );
        assert_eq!(process["progress_percent"], 40.48);
        let explain = json!([{"predicate": "watched_here", "value": instance, "holds": false}]);
        assert_eq!((&data["explain"], &data["live"]), (&explain, &json!(false)));
        assert_eq!((&data["verdict"], &data["would"]), (&json!("none"), &json!([])));
    }
    assert_eq!(world.get("/migrations/1/process").await.code(), "migrations_off");
}

#[tokio::test]
async fn a_lock_elsewhere_is_not_removed_here() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = writable();
    settings.migrations.lock_dir = Some(dir.path().to_owned());
    settings.migrations.interval = Duration::from_hours(1);
    let world = World::new(settings).await;
    // The reconciler's first word comes once; then what is published is the test's.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while world.published.load().migrations.generation == 0 {
        assert!(tokio::time::Instant::now() < deadline, "it never published");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.publish_migrations(runs());
    for (id, instance) in [(2, "host-2"), (3, "host-3")] {
        for force in ["", "&force=true"] {
            let path = format!("/migrations/{id}/lock?mb_project_uuid=AAA{force}");
            let refused = world.write(Method::DELETE, &path, &json!({})).await;
            assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "not_here"));
            let body = refused.json();
            assert_eq!(body["instance"], instance);
            assert!(body["detail"].as_str().unwrap().contains(instance), "{body}");
        }
    }
    // Of a run that is over the directory tells: a new lock may stand there.
    let over = world.write(Method::DELETE, "/migrations/4/lock", &json!({})).await;
    assert_eq!(over.code(), "not_found", "this reconciler has no such row and no lock");
}

#[tokio::test]
async fn figures_are_of_this_instance_or_of_all_and_say_nothing_in_confidence() {
    let mut settings = writable();
    settings.migrations.interval = Duration::from_secs(7);
    let world = World::new(settings).await;
    world.publish_fleet(&[("host-1", true), ("host-2", true), ("host-3", false)]);
    let mut nodes = all_standings();
    Arc::make_mut(&mut nodes[0].node).available = false;
    nodes.push(node(5, "down", State::Down));
    nodes[4].verdict.message = "Process 4242 at http://user:word@10.0.0.1 is gone".to_owned();
    world.publish(nodes);
    let view = |uuid: &str, id, status, instance: &str| {
        let mut view = migration(uuid, id, status, 1_000);
        instance.clone_into(&mut view.row.instance);
        view.row.lock_started = Some(crate::domain::Timestamp(clock::now().wall.0 - 90_000));
        Arc::new(view)
    };
    let lost = view("c", 3, Status::InProgress, "host-3");
    world.publish_migrations(MigrationsPart {
        migrations: vec![
            view("a", 1, Status::InProgress, "host-1"),
            view("b", 2, Status::Error, "host-2"),
            Arc::new(MigrationView { watch: Watch::Lost, ..MigrationView::clone(&lost) }),
        ],
        ..MigrationsPart::default()
    });
    let ask = async |path: &str| String::from_utf8(world.get(path).await.bytes).unwrap();
    let (own, fleet) = (ask("/metrics").await, ask("/metrics?scope=fleet").await);
    let has = |text: &str, line: &str| text.lines().any(|it| it == line);
    for (line, in_own, in_fleet) in [
        ("procwarden_node_state{node=\"mine\",state=\"disabled\",reason=\"\"} 1", true, true),
        ("procwarden_node_up{node=\"mine\"} 0", false, false),
        ("procwarden_node_up{node=\"down\"} 0", true, true),
        ("procwarden_node_up{node=\"other\"} 1", false, true),
        (
            "procwarden_node_state{node=\"lost\",state=\"unknown\",reason=\"instance_lost\"} 1",
            false,
            true,
        ),
        ("procwarden_nodes{state=\"down\"} 1", true, true),
        ("procwarden_nodes{state=\"unknown\"} 0", true, false),
        ("procwarden_migrations{status=\"in_progress\",state=\"alive\"} 1", true, true),
        ("procwarden_migrations{status=\"in_progress\",state=\"unknown\"} 1", false, true),
        ("procwarden_migrations{status=\"in_progress\",state=\"stalled\"} 0", true, true),
        ("procwarden_migrations{status=\"error\",state=\"finished\"} 1", false, true),
        ("procwarden_migration_last_error_timestamp_seconds 1.000", false, true),
        ("procwarden_locks 1", true, false),
        ("procwarden_locks 2", false, true),
        ("procwarden_instances{state=\"live\"} 2", true, true),
        ("procwarden_instances{state=\"lost\"} 1", true, true),
        ("procwarden_record_fresh{part=\"nodes\"} 1", true, true),
        ("procwarden_events_source{source=\"node_processes\",state=\"off\"} 1", true, true),
        ("procwarden_tick_interval_seconds{loop=\"migrations\"} 7.000", false, false),
    ] {
        assert_eq!((has(&own, line), has(&fleet, line)), (in_own, in_fleet), "{line}\n{own}");
    }
    let age = own.lines().find_map(|it| it.strip_prefix("procwarden_oldest_lock_age_seconds "));
    assert!(age.is_some_and(|age| age.starts_with("90.") || age.starts_with("91.")), "{age:?}");
    for word in ["4242", "word", "10.0.0.1", "127.0.0.1", "48213"] {
        assert!(!fleet.contains(word), "{word}");
    }
    world.publish_until(all_standings(), clock::now().up.minus(Duration::from_secs(1)));
    let stale = ask("/metrics").await;
    assert!(has(&stale, "procwarden_record_fresh{part=\"nodes\"} 0"), "{stale}");
    assert!(has(&stale, "procwarden_node_up{node=\"mine\"} 0"), "{stale}");
}
