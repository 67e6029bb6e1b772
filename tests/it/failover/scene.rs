//! A service with three nodes and two jobs over a database that goes away: what must be seen, step by step.

use serde_json::{Value, json};

use super::SOON;
use super::switch::Switch;
use crate::migrations::{KILLED, events, gone, line, row, wait};
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::{Answer, Warden, WardenConfig, db, eventually};

/// Who is on stage.
pub struct Scene {
    pub warden: Warden,
    /// Goes down while the database is away.
    pub falls: Switch,
    /// Goes down and comes up again meanwhile.
    blinks: Switch,
    _stays: Switch,
    /// Dies meanwhile.
    dies: Program,
    _lives: Program,
    /// The flips that were to be recorded so far.
    told: Vec<&'static str>,
}

/// Times as short as a busy machine allows.
pub fn config(url: &str) -> WardenConfig {
    crate::migrations::long_grace()
        .set("database.url", url)
        .set("database.connect_timeout", "1s")
        .set("database.statement_timeout", "1s")
        .set("database.retry_after", "200ms")
        .set("nodes.interval", "200ms")
        .set("nodes.method", "port")
}

impl Scene {
    /// All are up and alive, and the database has it.
    pub async fn begin(config: WardenConfig) -> Self {
        Self::begin_under(config, &[]).await
    }

    /// The same with the service started through a command.
    pub async fn begin_under(config: WardenConfig, wrapper: &[&str]) -> Self {
        let (falls, blinks) = (Switch::up("falls").await, Switch::up("blinks").await);
        let stays = Switch::up("stays").await;
        let config = [&falls, &blinks, &stays].iter().fold(config, |it, node| it.node(node.keys()));
        let mut warden = Warden::prepare(config);
        warden.launch_under(wrapper);
        warden.ready().await;
        let (dies, lives) = (Program::sleeper(warden.dir()), Program::sleeper(warden.dir()));
        for (id, job) in [(1, &dies), (2, &lives)] {
            Lock::new(id, job.pid()).started_ago(9000).write(&warden.lock_dir());
        }
        let scene =
            Self { warden, falls, blinks, _stays: stays, dies, _lives: lives, told: Vec::new() };
        scene.health(200, 3).await;
        for id in [1, 2] {
            wait(&scene.warden, id, "in_progress alive - run1").await;
        }
        scene.recorded([("falls", "up"), ("blinks", "up"), ("stays", "up")]).await;
        assert!(scene.flips().is_empty(), "a first look is no flip");
        scene
    }

    /// `/health` has this code and this many nodes work.
    pub async fn health(&self, code: u16, working: u64) {
        let seen = |answer: &Answer| {
            (answer.status == code && answer.json["working"] == working).then_some(())
        };
        self.warden.until("/health", SOON, seen).await;
    }

    /// The database is away: everything that happens is seen, nothing is written or removed.
    pub async fn act(&mut self) {
        self.falls.off().await;
        self.health(503, 2).await;
        self.blinks.off().await;
        self.health(503, 1).await;
        self.dies.kill();
        self.away().await;
        self.blinks.on().await;
        self.health(503, 2).await;
        // Two looks at the dead job at least.
        self.looks_dead().await;
        self.untouched().await;
        self.ready_without_database().await;
    }

    /// Said to be away.
    pub async fn away(&self) {
        let away = |answer: &Answer| (answer.status == 503).then_some(());
        self.warden.until("/readyz?require=database", SOON, away).await;
    }

    async fn looks_dead(&self) {
        let seen = |answer: &Answer| {
            let process = &answer.json["data"]["process"]["running"];
            (answer.status == 200 && *process == json!(false)).then_some(())
        };
        self.warden.until("/migrations/1/process", SOON, seen).await;
    }

    async fn untouched(&self) {
        for id in [1, 2] {
            assert!(self.lock(id).exists(), "no lock goes without the database's word");
        }
        let list = self.warden.get("/migrations?brz_project_id=1").await;
        let shown = line(&list.json["data"][0]);
        assert!(shown.starts_with("in_progress "), "{shown}");
    }

    async fn ready_without_database(&self) {
        let answer = self.warden.get("/readyz?verbose").await;
        assert_eq!(answer.status, 200, "{:#}; {}", answer.json, self.warden.log());
        let components = &answer.json["components"];
        assert_eq!(
            (&answer.json["status"], &components["database"]),
            (&json!("degraded"), &json!("degraded"))
        );
        assert_eq!((&components["nodes"], &components["migrations"]), (&json!("ok"), &json!("ok")));
        assert_eq!(self.warden.get("/livez").await.status, 200);
    }

    /// Said to be back.
    pub async fn back(&self) {
        let back = |answer: &Answer| (answer.status == 200).then_some(());
        self.warden.until("/readyz?require=database", SOON, back).await;
    }

    /// It is back: the net state is recorded, one event per flip, and then the lock goes.
    pub async fn end(&mut self) {
        self.back().await;
        self.health(503, 2).await;
        self.recorded([("falls", "down"), ("blinks", "up"), ("stays", "up")]).await;
        wait(&self.warden, 1, &format!("error finished {KILLED} run1")).await;
        gone(&self.lock(1)).await;
        crate::migrations::ticks_pass(&self.warden).await;
        self.fell();
        assert_eq!(events(&self.warden, 1), ["1:error"]);
        assert_eq!(row(&self.warden, 1)["status"], "error");
        assert_eq!(row(&self.warden, 2)["status"], "in_progress");
        assert!(self.lock(2).exists() && events(&self.warden, 2).is_empty());
        let log = self.warden.log();
        assert!(!log.contains("panicked"), "{log}");
        // A failure is told once, where it is handled: not by the driver's pool as well (its words may stand in ours).
        assert!(!log.contains(" sqlx"), "{log}");
    }

    /// It was recorded as one flip.
    pub fn fell(&mut self) {
        self.told.push("falls:down");
        assert_eq!(self.flips(), self.told, "{}", self.warden.log());
    }

    /// Goes down and comes up again so many times, each recorded.
    pub async fn flip(&mut self, times: usize) {
        for _ in 0..times {
            self.falls.off().await;
            self.recorded([("falls", "down"), ("blinks", "up"), ("stays", "up")]).await;
            self.fell();
            self.goes_on().await;
        }
    }

    /// Works as before: the next flip is recorded.
    pub async fn goes_on(&mut self) {
        self.falls.on().await;
        self.health(200, 3).await;
        self.recorded([("falls", "up"), ("blinks", "up"), ("stays", "up")]).await;
        self.told.push("falls:up");
        assert_eq!(self.flips(), self.told);
    }

    pub fn lock(&self, id: i64) -> std::path::PathBuf {
        self.warden.lock_dir().join(job::file_name(id))
    }

    /// `name:state` of each event of a node, in order.
    pub fn flips(&self) -> Vec<String> {
        let events = db::events_of(self.warden.database(), "node");
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or("-").to_owned();
        events.iter().map(|it| format!("{}:{}", text(it, "name"), text(it, "state"))).collect()
    }

    /// The rows say this.
    pub async fn recorded(&self, wanted: [(&str, &str); 3]) {
        eventually(SOON, || async {
            let rows =
                db::try_query(self.warden.database(), "SELECT name, state FROM procwarden_nodes")
                    .map_err(|error| error.to_string())?;
            let stands = |(name, state): &(&str, &str)| {
                rows.iter().any(|row| row["name"] == *name && row["state"] == *state)
            };
            if wanted.iter().all(stands) {
                Ok(())
            } else {
                Err(format!("{rows:?}; {}", self.warden.log()))
            }
        })
        .await;
    }
}
