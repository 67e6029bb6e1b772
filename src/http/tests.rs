//! Every route over a state made by hand; those of nodes, migrations and other instances are beside.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::json;

use super::router::at_once;
use super::testing::{World, example, node, writable};
use crate::clock;
use crate::config::{MinWorking, Settings, Token};
use crate::domain::Uptime;
use crate::domain::verdict::State;
use crate::events::{Source, Watch};
use crate::gauges::Loop;

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
    Arc::make_mut(&mut off.node).available = false;
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
        Arc::make_mut(&mut nodes[round].node).available = round % 2 == 0;
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
