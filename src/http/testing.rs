//! A state made by hand for the tests of this module.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::access::Caller;
use super::router::{answer, router};
use super::{AppState, Parts};
use crate::checker::{Checker, Limits, Places};
use crate::clock;
use crate::config::{Database, Settings, Token};
use crate::domain::migration::{Key, Migration, Source, State as MigrationState, Status};
use crate::domain::node::{Node, Password};
use crate::domain::observation::Reason;
use crate::domain::verdict::{State, Verdict};
use crate::domain::{Method as CheckMethod, Timestamp, Uptime};
use crate::instance::{self, Patience};
use crate::locks::LockDir;
use crate::process::Processes;
use crate::reconciler::{migrations, nodes};
use crate::registry::Registry;
use crate::secrets::Secrets;
use crate::snapshot::{
    FleetPart, InstanceView, MigrationView, MigrationsPart, NodeView, NodesPart, Published,
    Standing, Watch,
};
use crate::store::{Open, Store};

/// An answer as the contract's examples have it.
macro_rules! example {
    ($name:literal) => {
        serde_json::from_str::<serde_json::Value>(include_str!(concat!(
            "../../tests/fixtures/http/",
            $name
        )))
        .unwrap()
    };
}
pub(super) use example;

/// The token of writes in these tests.
pub const TOKEN: &str = "t0ken";

/// A server's insides, without its socket.
pub struct World {
    pub state: AppState,
    pub published: Arc<Published>,
    pub draining: Arc<AtomicBool>,
    pub store_trouble: Arc<AtomicBool>,
    router: Router,
    _dir: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a problem, after a look at its form.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!((&body["success"], &body["error"]), (&json!(false), &body["detail"]));
        body["code"].as_str().unwrap().to_owned()
    }
}

impl World {
    /// No nodes, no migrations; a reconciler for them where the settings have a lock directory.
    pub async fn new(mut settings: Settings) -> Self {
        "host-1".clone_into(&mut settings.instance.name);
        let dir = tempfile::tempdir().unwrap();
        let url = Password::new(format!("sqlite://{}", dir.path().join("p.db").display()));
        let database = Database { url, ..Database::default() };
        let store = Store::open(&database, Open::Create).await.unwrap();
        let limits =
            Limits { connect_timeout: Duration::from_secs(1), api_timeout: Duration::from_secs(3) };
        let processes = Processes::new().unwrap();
        let (name, holds) = ("host-1", Duration::from_secs(10));
        let lease = instance::take(&store, &processes, name, holds, Patience::None).await.unwrap();
        let checker =
            Checker::new(processes.clone(), limits, Secrets::default(), Places::new(100)).unwrap();
        let registry = Registry::new(store.clone(), checker.clone(), "host-1".to_owned());
        let published = Arc::new(Published::default());
        published.publish_fleet(FleetPart {
            here: name.to_owned(),
            sole: true,
            ..FleetPart::default()
        });
        if settings.migrations.lock_dir.is_none() {
            published.publish_migrations(MigrationsPart {
                valid_until: Uptime(i64::MAX),
                ..MigrationsPart::default()
            });
        }
        let draining = Arc::new(AtomicBool::new(false));
        let store_trouble = Arc::new(AtomicBool::new(false));
        let events = crate::events::Hub::default();
        let gauges = crate::gauges::Gauges::default();
        let (_, nodes) = nodes::Reconciler::new(nodes::Parts {
            store: store.clone(),
            checker: checker.clone(),
            published: Arc::clone(&published),
            settings: Arc::new(settings.clone()),
            lease: lease.clone(),
            here: processes.here().clone(),
            processes: processes.clone(),
            store_trouble: Arc::clone(&store_trouble),
            events: events.clone(),
            gauges: gauges.clone(),
        });
        let migrations = settings.migrations.lock_dir.clone().map(|path| {
            let (reconciler, handle) = migrations::Reconciler::new(migrations::Parts {
                adopted: None,
                keeps_locks: false,
                store: store.clone(),
                processes: processes.clone(),
                dir: LockDir::new(path),
                published: Arc::clone(&published),
                settings: settings.migrations.clone(),
                lease: lease.clone(),
                store_trouble: Arc::clone(&store_trouble),
                events: events.clone(),
                gauges: gauges.clone(),
                watches: true,
            });
            tokio::spawn(reconciler.run(CancellationToken::new()));
            handle
        });
        let state = AppState::new(Parts {
            published: Arc::clone(&published),
            checker,
            store,
            registry,
            nodes,
            migrations,
            settings: Arc::new(settings),
            draining: Arc::clone(&draining),
            store_trouble: Arc::clone(&store_trouble),
            events,
            gauges,
        });
        let router = router(state.clone());
        Self { state, published, draining, store_trouble, router, _dir: dir }
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.send(Method::GET, path, &[], "").await
    }

    /// A write with the right token.
    pub async fn write(&self, method: Method, path: &str, body: &Value) -> Answered {
        let auth = format!("Bearer {TOKEN}");
        let headers = [("authorization", auth.as_str()), ("content-type", "application/json")];
        self.send(method, path, &headers, &body.to_string()).await
    }

    /// A client on this machine.
    pub fn caller(&self) -> Caller {
        Caller::of(&self.state, IpAddr::from([127, 0, 0, 1]))
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answered {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let caller = self.caller();
        let response = answer(&self.state, &self.router, &caller, request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Answered { status: parts.status, headers: parts.headers, bytes }
    }

    /// Publishes nodes that hold for a minute.
    pub fn publish(&self, nodes: Vec<NodeView>) {
        self.publish_until(nodes, clock::now().up.plus(Duration::from_mins(1)));
    }

    pub fn publish_until(&self, nodes: Vec<NodeView>, valid_until: Uptime) {
        self.published.publish_nodes(NodesPart {
            nodes: nodes.into_iter().map(Arc::new).collect(),
            window: Duration::from_mins(2),
            valid_until,
            persisted: true,
            passed: true,
            ..NodesPart::default()
        });
    }

    /// Publishes instances, of which this one is the first.
    pub fn publish_fleet(&self, names: &[(&str, bool)]) {
        let instances = names.iter().map(|(name, live)| instance(name, *live)).collect();
        let here = "host-1".to_owned();
        self.published.publish_fleet(FleetPart { here, sole: false, instances });
    }

    pub fn publish_migrations(&self, part: MigrationsPart) {
        let valid_until = clock::now().up.plus(Duration::from_mins(1));
        self.published.publish_migrations(MigrationsPart { valid_until, enabled: true, ..part });
    }
}

/// Settings in which writes are allowed.
pub fn writable() -> Settings {
    let mut settings = Settings::default();
    settings.server.token = vec![Token::of(TOKEN)];
    settings
}

/// A node as the examples have it; it points at a port on which nothing listens.
pub fn node(id: i64, name: &str, state: State) -> NodeView {
    let at = clock::now();
    let verdict = Verdict {
        state,
        reason: (state == State::Down).then_some(Reason::PortClosed),
        message: if state == State::Up { "API is responding" } else { "API check failed" }.into(),
        method: Some(CheckMethod::Api),
        data: Some(r#"{"method":"api","message":"API is responding"}"#.into()),
        checked_at: Some(at.wall),
        checked_up: Some(at.up),
        since: Some(at.wall),
        latency_ms: (state == State::Up).then_some(3),
        identity: None,
        streak: 0,
        busy_since: None,
    };
    let node = Node {
        id,
        password: Some(Password::new("s3cret".to_owned())),
        // Port 1 (tcpmux) is served nowhere.
        ..Node::new(name, "127.0.0.1", 1, "host-1")
    };
    NodeView { node: node.into(), verdict, standing: Standing::Mine }
}

/// The same under the answer of another instance.
pub fn held(view: NodeView, standing: Standing) -> NodeView {
    NodeView { standing, ..view }
}

/// That of `host-2`, whose verdicts hold for a minute.
pub fn of_other() -> Standing {
    Standing::Of { owner: "host-2".to_owned(), window: Duration::from_mins(1) }
}

/// That of `host-3`, which is gone.
pub fn of_lost() -> Standing {
    Standing::Lost { owner: "host-3".to_owned() }
}

fn instance(name: &str, live: bool) -> InstanceView {
    InstanceView {
        name: name.to_owned(),
        live,
        version: "0.1.0".to_owned(),
        since: Timestamp(1_000),
        last_beat: Timestamp(61_000),
        nodes: 7,
        locks: 2,
        tick_ms: 35,
        seq: 9,
    }
}

/// A migration as the examples have it.
pub fn migration(uuid: &str, id: i64, status: Status, created: i64) -> MigrationView {
    let ended = status.is_final();
    let lock = json!({
        "pid": 48213, "started_at": "2026-01-15 10:30:45", "current_stage": "Миграция страниц",
        "stage_updated_at": 1_736_937_305, "total_pages": 42, "processed_pages": 17, "progress_percent": 40.48,
    });
    let row = Migration {
        key: Key { mb_project_uuid: uuid.to_owned(), brz_project_id: id },
        instance: "host-1".to_owned(),
        host_id: "host".to_owned(),
        status,
        state: if ended { MigrationState::Finished } else { MigrationState::Alive },
        reason: None,
        status_source: ended.then_some(Source::Monitor),
        error: (status == Status::Error).then(|| "Process 48213 is gone".to_owned()),
        run: 1,
        since: Timestamp(created),
        created_at: Timestamp(created),
        updated_at: Timestamp(created),
        status_updated_at: ended.then_some(Timestamp(created)),
        ended_at: ended.then_some(Timestamp(created)),
        lock_file: Some(format!("{uuid}-{id}.lock")),
        lock_pid: Some(48213),
        lock_started: None,
        lock_mark: None,
        dir: None,
        identity: None,
        lock_taken: false,
        their_status: None,
        exit: None,
        lock_data: None,
    };
    let lock = lock.as_object().cloned().map(Arc::new);
    MigrationView { row, lock, lock_exists: !ended, watch: Watch::Here, turns_at: None }
}

/// Checks that two answers have the same members, of the same types, in the same order.
///
/// Null in the example fits anything, since an example shows one case; a list has the shape of its first element.
pub fn same_shape(example: &Value, given: &Value, at: &str) {
    match (example, given) {
        (Value::Object(example), Value::Object(given)) => {
            let keys =
                |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(example), keys(given), "members of {at}");
            for (key, value) in example {
                same_shape(value, &given[key], &format!("{at}.{key}"));
            }
        }
        (Value::Array(example), Value::Array(given)) => {
            for (n, value) in given.iter().enumerate().filter(|_| !example.is_empty()) {
                same_shape(&example[0], value, &format!("{at}[{n}]"));
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::Number(a), Value::Number(b)) => assert_eq!(a.is_f64(), b.is_f64(), "{at}"),
        (a, b) => {
            assert_eq!(std::mem::discriminant(a), std::mem::discriminant(b), "{at}: {a} or {b}");
        }
    }
}
