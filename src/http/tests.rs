//! Every route over a state made by hand.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::router::at_once;
use super::testing::{World, migration, node, same_shape, writable};
use crate::clock;
use crate::config::{MinWorking, Settings, Token};
use crate::domain::Uptime;
use crate::domain::migration::Status;
use crate::domain::node::Node;
use crate::domain::verdict::State;
use crate::events::{Source, Watch};
use crate::gauges::Loop;
use crate::snapshot::{MigrationsPart, Unreadable};

macro_rules! example {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../tests/fixtures/http/", $name)))
            .unwrap()
    };
}

#[tokio::test]
async fn health_is_what_the_examples_say() {
    let world = World::new(Settings::default()).await;
    world.publish(vec![node(1, "a", State::Up), node(2, "b", State::Up)]);
    let good = world.get("/health").await;
    assert_eq!((good.status.as_u16(), good.json()), (200, example!("health-200.json")));
    assert_eq!(good.header("cache-control"), "no-store");
    world.publish(vec![node(1, "a", State::Up), node(2, "b", State::Down)]);
    let bad = world.get("/health").await;
    assert_eq!((bad.status.as_u16(), bad.json()), (503, example!("health-503.json")));
    assert!(!bad.header("retry-after").is_empty());
    world.publish(vec![]);
    assert_eq!(
        world.get("/health").await.json(),
        json!({"status":"healthy","working":0,"total":0})
    );
}

#[tokio::test]
async fn health_grows_stale_by_itself_and_counts_no_disabled_node() {
    let mut settings = Settings::default();
    settings.health.min_working = MinWorking::Percent(50);
    let world = World::new(settings).await;
    let (mut old, mut off) = (node(2, "old", State::Up), node(3, "off", State::Up));
    old.verdict.checked_up = Some(clock::now().up.minus(Duration::from_hours(1)));
    off.node.available = false;
    world.publish(vec![node(1, "a", State::Up), old, off]);
    let body = world.get("/health").await;
    assert_eq!((body.status.as_u16(), body.json()["working"].as_u64()), (200, Some(1)));
    assert_eq!(body.json()["total"], 2);
    world.publish_until(
        vec![node(1, "a", State::Up)],
        clock::now().up.minus(Duration::from_millis(1)),
    );
    let stale = world.get("/health").await;
    assert_eq!(stale.status, 503);
    assert_eq!(stale.json(), json!({"status":"stale","working":0,"total":1}));
    assert_eq!(world.get("/livez").await.status, 503);
    assert_eq!(world.get("/nodes/status").await.json()["nodes"][0]["state"], "stale");
}

#[tokio::test]
async fn a_cached_health_turns_when_a_verdict_grows_too_old() {
    let world = World::new(Settings::default()).await;
    let mut soon = node(1, "soon", State::Up);
    // The window is two minutes: this verdict has 200 ms left.
    soon.verdict.checked_up = Some(clock::now().up.minus(Duration::from_millis(119_800)));
    world.publish(vec![soon]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while world.get("/health").await.status != 503 {
        assert!(tokio::time::Instant::now() < deadline, "it never turned");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.get("/nodes/status").await.json()["nodes"][0]["state"], "stale");
}

#[tokio::test]
async fn health_routes_answer_three_methods_and_refuse_the_others() {
    let mut settings = Settings::default();
    settings.server.cors_origins = vec!["*".to_owned()];
    settings.server.base_paths = vec!["/dashboard/api".to_owned()];
    settings.server.read_token = vec![Token::of("r")];
    let world = World::new(settings).await;
    world.publish(vec![node(1, "a b", State::Down)]);
    for base in ["", "/dashboard/api"] {
        for path in ["/health", "/livez", "/readyz", "/nodes/1/health", "/nodes/a%20b/health"] {
            let path = format!("{base}{path}");
            let code = if path.ends_with('z') { 200 } else { 503 };
            for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
                let origin = [("origin", "https://x"), ("access-control-request-method", "GET")];
                let answer = world.send(method, &path, &origin, "").await;
                assert_eq!(answer.status, code, "{path}");
                assert_eq!(answer.header("access-control-allow-origin"), "");
                assert_eq!(answer.header("cache-control"), "no-store");
            }
            let refused = world.send(Method::POST, &path, &[], "").await;
            assert_eq!(
                (refused.status.as_u16(), refused.code().as_str()),
                (405, "method_not_allowed")
            );
            assert_eq!(refused.header("allow"), "GET, HEAD, OPTIONS");
        }
    }
    assert_eq!(world.send(Method::OPTIONS, "/", &[], "").await.json()["status"], "degraded");
    assert_eq!(world.get("/health?scope=world").await.code(), "invalid_parameter");
    assert_eq!(world.get("/nodes/nobody/health").await.code(), "not_found");
}

#[tokio::test]
async fn readiness_tells_its_components() {
    let world = World::new(Settings::default()).await;
    assert_eq!(world.get("/readyz").await.json()["status"], "not_ready");
    world.publish(vec![]);
    assert_eq!(world.get("/readyz").await.json(), json!({"status": "ready"}));
    world.store_trouble.store(true, Ordering::Relaxed);
    world.state.0.parts.gauges.late(Loop::Migrations, Duration::from_hours(1));
    let lost = world.get("/readyz?verbose").await;
    assert_eq!(lost.status, 200);
    let parts = json!({
        "nodes":"ok","migrations":"off","database":"degraded","events":"off","nodes_lag_ms":0,
        "migrations_lag_ms":0,"alerts":"off","server":"ok",
    });
    assert_eq!(lost.json(), json!({"status": "degraded", "components": parts}));
    assert_eq!(world.get("/readyz?require=database").await.status, 503);
    assert_eq!(world.get("/readyz?require=database&exclude=database").await.status, 200);
    assert_eq!(world.get("/readyz?require=moon").await.code(), "invalid_parameter");
    world.draining.store(true, Ordering::Relaxed);
    assert_eq!(world.get("/readyz").await.json()["status"], "draining");
    assert_eq!(world.get("/health").await.json()["status"], "draining");
    assert_eq!(world.get("/health").await.status, 503);
    assert_eq!(world.get("/livez").await.status, 200);
}

#[tokio::test]
async fn readiness_tells_what_the_kernel_does_not() {
    for read_token in [vec![], vec![Token::of("reader")]] {
        let mut settings = Settings::default();
        let open = read_token.is_empty();
        settings.server.read_token = read_token;
        let world = World::new(settings).await;
        world.publish(vec![]);
        let hub = &world.state.0.parts.events;
        hub.set_watch(Source::Processes, Watch::On);
        let seen = world.get("/readyz?verbose").await.json();
        assert_eq!(seen["components"]["events"], "ok");
        assert!(seen["components"].get("events_trouble").is_none());
        hub.set_watch(Source::Locks, Watch::Polling("no inotify".to_owned()));
        let seen = world.get("/readyz?verbose").await.json();
        assert_eq!(
            (&seen["status"], &seen["components"]["events"]),
            (&json!("ready"), &json!("polling"))
        );
        let trouble = seen["components"].get("events_trouble");
        assert_eq!(trouble, open.then(|| json!("locks: no inotify")).as_ref());
    }
}

/// What is answered before the Router is what the Router answers.
#[tokio::test]
async fn a_known_list_is_told_at_once_and_only_where_everybody_may_read() {
    let lists = ["/nodes/status", "/migrations"];
    let ask = |path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    };
    let world = World::new(Settings::default()).await;
    world.publish((1..40).map(|id| node(id, &format!("n{id}"), State::Up)).collect());
    for path in lists {
        assert!(
            at_once(&world.state, &world.caller(), &ask(path, &[])).is_none(),
            "nobody asked for it before"
        );
        let mut slow = world.get(path).await;
        // Hyper adds it to the other one as well.
        slow.headers.remove("content-length");
        let fast = at_once(&world.state, &world.caller(), &ask(path, &[])).unwrap();
        assert_eq!((fast.status(), fast.headers()), (slow.status, &slow.headers), "{path}");
        assert_eq!(fast.into_body().collect().await.unwrap().to_bytes(), slow.bytes);
        let known = [("if-none-match", slow.header("etag"))];
        assert_eq!(
            at_once(&world.state, &world.caller(), &ask(path, &known)).unwrap().status(),
            304
        );
        assert!(
            at_once(&world.state, &world.caller(), &ask(&format!("{path}?method=pid"), &[]))
                .is_none()
        );
    }
    // The next generation is made by whoever asks first.
    world.publish(vec![node(1, "n1", State::Down)]);
    assert!(at_once(&world.state, &world.caller(), &ask("/nodes/status", &[])).is_none());

    let mut settings = Settings::default();
    settings.server.read_token = vec![Token::of("reader")];
    let world = World::new(settings).await;
    world.publish(vec![]);
    for path in lists {
        let reader = [("authorization", "Bearer reader")];
        assert_eq!(world.send(Method::GET, path, &reader, "").await.status, 200);
        assert!(at_once(&world.state, &world.caller(), &ask(path, &[])).is_none(), "{path}");
    }
    for path in ["/health", "/livez"] {
        assert_eq!(
            at_once(&world.state, &world.caller(), &ask(path, &[])).unwrap().status(),
            200,
            "{path}"
        );
    }
}

/// A list that grew from the last one is what is made from nothing.
#[tokio::test]
async fn lists_follow_what_is_published() {
    let world = World::new(Settings::default()).await;
    let mut nodes: Vec<_> = (1..=30).map(|id| node(id, &format!("n{id}"), State::Up)).collect();
    for round in 0..6_usize {
        nodes[round * 3] = node(i64::try_from(round * 3 + 1).unwrap(), "other", State::Down);
        nodes[round].node.available = round % 2 == 0;
        world.publish(nodes.clone());
        let list = world.get("/nodes/status").await.json();
        let available = nodes.iter().filter(|view| view.node.available);
        let expected: Vec<_> = available
            .clone()
            .map(|view| json!([view.node.id, view.node.name, view.verdict.state == State::Up]))
            .collect();
        let rows = list["nodes"].as_array().unwrap();
        let seen: Vec<_> =
            rows.iter().map(|row| json!([row["id"], row["name"], row["status"]])).collect();
        assert_eq!(seen, expected, "round {round}");
        let up = available.filter(|view| view.verdict.state == State::Up).count();
        assert_eq!([&list["total"], &list["working"]], [expected.len(), up]);
    }
}

#[tokio::test]
async fn the_list_of_nodes_has_the_shape_of_the_example_and_a_mark() {
    let world = World::new(Settings::default()).await;
    let mut off = node(3, "off", State::Up);
    off.node.available = false;
    world.publish(vec![node(1, "main-node", State::Up), node(2, "spare", State::Down), off]);
    let list = world.get("/nodes/status").await;
    same_shape(&example!("nodes-status.json"), &list.json(), "nodes-status");
    let body = list.json();
    assert_eq!([&body["total"], &body["working"], &body["failed"]], [2, 1, 1]);
    let etag = list.header("etag").to_owned();
    let again = world.send(Method::GET, "/nodes/status", &[("if-none-match", &etag)], "").await;
    assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0));
    world.publish(vec![node(1, "main-node", State::Down)]);
    let other = world.send(Method::GET, "/nodes/status", &[("if-none-match", &etag)], "").await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn a_live_look_says_what_it_saw_and_wakes_nobody_else() {
    let world = World::new(Settings::default()).await;
    world.publish(vec![node(1, "main", State::Up), node(2, "spare", State::Down)]);
    let (a, b) =
        tokio::join!(world.get("/nodes/status?method=api"), world.get("/nodes/status?method=api"));
    for live in [a.json(), b.json()] {
        same_shape(&example!("nodes-status.json"), &live, "live");
        assert_eq!(live["working"], 0, "nothing listens on port 1");
        assert_eq!(live["nodes"][0]["live"], true);
        assert_eq!(live["nodes"][0]["reason"], "port_closed");
    }
    assert_eq!(world.get("/nodes/status").await.json()["working"], 1, "the record is untouched");
    let one = world.get("/nodes/main/status?method=api").await.json();
    same_shape(&example!("node-status-api-down.json"), &one, "down");
    let full = world.get("/nodes/1/status").await.json();
    assert_eq!(full["details"]["method"], "full");
    assert_eq!(full["status"], false);
    let refused = world.get("/nodes/main/status?method=foo").await;
    assert_eq!(refused.json()["detail"], example!("error-400.json")["detail"]);
    assert_eq!(world.get("/nodes/9/status").await.code(), "not_found");
}

#[tokio::test]
async fn the_registry_over_http() {
    let world = World::new(writable()).await;
    let body = json!({"name": "Узел 1", "port": 18082, "password": "s3cret", "title": "t"});
    let made = world.write(Method::POST, "/nodes", &body).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, "/nodes/1"));
    let data = &made.json()["data"];
    assert_eq!((&data["has_password"], &data["worked"]), (&json!(true), &json!(false)));
    assert!(!String::from_utf8_lossy(&made.bytes).contains("s3cret"));
    assert_eq!(world.write(Method::POST, "/nodes", &body).await.code(), "duplicate_name");
    let path = "/nodes/%D0%A3%D0%B7%D0%B5%D0%BB%201";
    let changed = world.write(Method::PATCH, path, &json!({"title": null, "port": 2})).await;
    assert_eq!(
        (&changed.json()["data"]["title"], &changed.json()["data"]["port"]),
        (&json!(null), &json!(2))
    );
    let gone = world.write(Method::DELETE, "/nodes/1", &json!({})).await;
    assert_eq!((gone.status.as_u16(), &gone.json()["success"]), (200, &json!(true)));
    assert_eq!(world.write(Method::DELETE, "/nodes/1", &json!({})).await.code(), "not_found");
}

#[tokio::test]
async fn each_node_is_shown_where_it_belongs() {
    let world = World::new(writable()).await;
    let shown = |change: fn(&mut Node)| {
        let mut view = node(1, "a", State::Up);
        change(&mut view.node);
        world.publish(vec![view]);
        async { world.get("/nodes/1").await.json()["data"]["instance"].clone() }
    };
    assert_eq!(shown(|node| node.host = "192.0.2.1".into()).await, "any");
    assert_eq!(shown(|_| {}).await, "host-1", "a loopback address is the first one's");
    let with_pid = shown(|node| (node.host, node.pid) = ("192.0.2.1".into(), Some(1))).await;
    assert_eq!(with_pid, "host-1", "so is a PID");
    assert_eq!(shown(|node| node.placement = Some("any".into())).await, "any");
    assert_eq!(shown(|node| node.placement = Some("host-2".into())).await, "host-2");
    let list = world.get("/nodes").await.json();
    assert_eq!(list["data"][0]["instance"], "host-2");
}

#[tokio::test]
async fn a_bad_field_is_named_and_a_password_is_not_repeated() {
    let world = World::new(writable()).await;
    for (field, value) in [
        ("port", json!("80")),
        ("port", json!(0)),
        ("port", json!(65536)),
        ("port", json!(null)),
        ("name", json!("a/b")),
        ("tls", json!("maybe")),
        ("available", json!("yes")),
        ("password", json!(["s3cret"])),
        ("pid", json!(-1)),
        ("host", json!("http://x")),
        ("instance", json!(7)),
        ("instance", json!("a/b")),
        ("instance", json!("")),
    ] {
        let mut body = json!({"name": "n", "port": 1});
        body[field] = value;
        let answer = world.write(Method::POST, "/nodes", &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (400, "invalid_field"),
            "{body}"
        );
        assert_eq!(answer.json()["field"], field);
        assert!(answer.json()["detail"].as_str().unwrap().starts_with(field));
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("s3cret"));
    }
    let unknown = world.write(Method::POST, "/nodes", &json!({"nmae": "n"})).await;
    assert_eq!(unknown.code(), "invalid_body");
    assert!(unknown.json()["detail"].as_str().unwrap().contains("'nmae'"));
}

#[tokio::test]
async fn writes_need_the_token_and_reads_where_it_is_wanted() {
    let open = World::new(Settings::default()).await;
    assert_eq!(open.write(Method::POST, "/nodes", &json!({})).await.code(), "writes_disabled");
    let mut settings = writable();
    settings.server.read_token = vec![Token::of("reader")];
    let world = World::new(settings).await;
    world.publish(vec![]);
    for auth in ["Bearer wrong", "Bearer ", "Basic t0ken", "t0ken", "Bearer reader"] {
        let answer = world.send(Method::POST, "/nodes", &[("authorization", auth)], "{}").await;
        assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, "Bearer"));
        assert_eq!(answer.code(), "unauthorized");
    }
    for (auth, code) in [("Bearer reader", 200), ("bearer t0ken", 200), ("Bearer x", 401)] {
        let answer = world.send(Method::GET, "/nodes", &[("authorization", auth)], "").await;
        assert_eq!(answer.status, code, "{auth}");
    }
    for path in ["/nodes", "/nodes/status", "/migrations"] {
        assert_eq!(world.get(path).await.status, 401);
    }
    for path in ["/health", "/livez", "/readyz", "/openapi.yaml"] {
        assert_eq!(world.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_a_problem() {
    let world = World::new(writable()).await;
    assert_eq!(world.get("/nothing").await.code(), "unknown_route");
    assert_eq!(world.get("/nodes/").await.status, 404);
    let wrong = world.send(Method::DELETE, "/nodes/status", &[], "").await;
    assert_eq!((wrong.code().as_str(), wrong.header("allow")), ("method_not_allowed", "GET,HEAD"));
    let auth = ("authorization", "Bearer t0ken");
    let json_type = ("content-type", "application/json");
    for (headers, body, status, code) in [
        (vec![auth], "{}".to_owned(), 415, "unsupported_media_type"),
        (
            vec![auth, ("content-type", "text/plain")],
            "{}".to_owned(),
            415,
            "unsupported_media_type",
        ),
        (vec![auth, json_type], "{".to_owned(), 400, "invalid_body"),
        (vec![auth, json_type], "[]".to_owned(), 400, "invalid_body"),
        (vec![auth, json_type], " ".repeat(70_000), 413, "body_too_large"),
    ] {
        let answer = world.send(Method::POST, "/nodes", &headers, &body).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code));
    }
    let problem = world.get("/nodes/status?method=foo").await.json();
    for (key, value) in example!("error-400.json").as_object().unwrap() {
        assert_eq!(&problem[key], value, "{key}");
    }
}

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

#[tokio::test]
async fn base_paths_serve_the_same_and_cors_answers_before_the_token() {
    let mut settings = writable();
    settings.server.base_paths = vec!["/api/admin/monero".to_owned(), "/api/".to_owned()];
    settings.server.cors_origins = vec!["https://d.example".to_owned()];
    settings.server.read_token = vec![Token::of("reader")];
    let world = World::new(settings).await;
    world.publish_until(vec![], Uptime(i64::MAX));
    let auth = ("authorization", "Bearer reader");
    for base in ["", "/api/admin/monero", "/api"] {
        let answer =
            world.send(Method::GET, &format!("{base}/nodes/status?x=1"), &[auth], "").await;
        assert_eq!(answer.status, 200, "{base}");
    }
    let made = world.write(Method::POST, "/api/nodes", &json!({"name": "n", "port": 1})).await;
    assert_eq!(made.header("location"), "/api/nodes/1");
    assert_eq!(world.get("/apinodes").await.code(), "unknown_route");
    assert_eq!(world.get("/api").await.status, 308);
    let preflight = [
        ("origin", "https://d.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "x-dashboard-session"),
    ];
    let answer = world.send(Method::OPTIONS, "/nodes/status", &preflight, "").await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://d.example");
    assert!(answer.header("access-control-allow-headers").contains("x-dashboard-session"));
}
