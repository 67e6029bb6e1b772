//! The scene that every fault meets, and what has to be true after it.
//!
//! Nodes that stay up, stay down, fall and rise; jobs that live, die, end, have ended, have died long ago or just now, and
//! come meanwhile; a lock that is nobody's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::migrations::{KILLED, events, gone, long_grace, source, ticks_pass, wait};
use crate::support::job::{self, Lock};
use crate::support::light::{Does, Light, Lights};
use crate::support::program::Program;
use crate::support::{Answer, Warden, WardenConfig, db, eventually};

/// Longest wait for what happens within seconds, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_mins(1);

/// Ends well when it is asked to.
const GRACEFUL: &str =
    "$SIG{TERM} = sub { exit 0 }; print qq(on\n); close STDOUT; sleep 600 while 1";

const LIVES: i64 = 1;
const DIES: i64 = 2;
const ENDS: i64 = 3;
const REPORTED: i64 = 4;
const DEAD: i64 = 5;
const IN_GRACE: i64 = 6;
const COMES_DEAD: i64 = 7;
const COMES: i64 = 8;

/// A file that must not be touched: what it holds and which file it is.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    text: Vec<u8>,
    inode: u64,
}

impl Kept {
    fn of(path: PathBuf) -> Self {
        let (text, inode) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().ino());
        Self { path, text, inode }
    }

    fn is_untouched(&self) {
        let name = self.path.display();
        assert_eq!(fs::read(&self.path).ok().as_ref(), Some(&self.text), "{name} is another text");
        assert_eq!(fs::metadata(&self.path).unwrap().ino(), self.inode, "{name} is another file");
    }
}

/// Who is on stage.
pub struct Stage {
    pub warden: Warden,
    lights: Lights,
    falls: Light,
    rises: Light,
    _others: [Light; 2],
    pub more: Vec<Light>,
    lives: Program,
    dies: Program,
    ends: Option<Program>,
    comes: Option<Program>,
    kept: Vec<Kept>,
    /// Nodes could not be looked at for a while, and that may be on record.
    pub blind: bool,
    /// Flips of a node that were to be recorded besides those of the scene.
    pub also: BTreeMap<String, Vec<&'static str>>,
}

/// Times as short as a busy machine allows.
pub fn config() -> WardenConfig {
    long_grace()
        .set("database.connect_timeout", "1s")
        .set("database.statement_timeout", "1s")
        .set("database.retry_after", "200ms")
        .set("database.max_lifetime", "1s")
        .set("nodes.connect_timeout", "1s")
        .set("nodes.api_timeout", "2s")
}

fn named(name: &str, light: &Light) -> Value {
    json!({"name": name, "port": light.port()})
}

impl Stage {
    /// All are seen as they are, and on record.
    pub async fn begin(config: WardenConfig, wrapper: &[&str]) -> Self {
        let lights = Lights::start();
        let node = |does| lights.node(does);
        let (falls, rises) = (node(Does::Answers), node(Does::Closed));
        let others = [node(Does::Answers), node(Does::Closed)];
        let config = config
            .node(named("stays", &others[0]))
            .node(named("down", &others[1]))
            .node(named("falls", &falls))
            .node(named("rises", &rises));
        let mut warden = Warden::prepare(config);
        let dir = warden.dir().to_owned();
        let locks = warden.lock_dir();
        let (lives, dies) = (Program::sleeper(&dir), Program::sleeper(&dir));
        let (reported, ends) = (Program::sleeper(&dir), graceful(&warden).await);
        for (id, job) in [(LIVES, &lives), (DIES, &dies), (ENDS, &ends), (REPORTED, &reported)] {
            Lock::new(id, job.pid()).started_ago(9000).write(&locks);
        }
        Lock::new(DEAD, job::dead_pid(&dir)).ago(9000).write(&locks);
        Lock::new(IN_GRACE, job::dead_pid(&dir)).write(&locks);
        fs::write(locks.join("composer.lock"), "{}").unwrap();
        let kept = [job::file_name(LIVES), job::file_name(IN_GRACE), "composer.lock".to_owned()];
        let kept = kept.map(|name| Kept::of(locks.join(name))).into();
        warden.launch_under(wrapper);
        warden.ready().await;
        let stage = Self {
            warden,
            lights,
            falls,
            rises,
            _others: others,
            more: Vec::new(),
            lives,
            dies,
            ends: Some(ends),
            comes: None,
            kept,
            blind: false,
            also: BTreeMap::new(),
        };
        stage.before(reported).await;
        stage
    }

    async fn before(&self, reported: Program) {
        for id in [LIVES, DIES, ENDS, REPORTED] {
            wait(&self.warden, id, "in_progress alive - run1").await;
        }
        let path = format!("/migrations/{REPORTED}");
        let answer = self.warden.patch(&path, &job::report("success")).await;
        assert_eq!(answer.status, 200, "{:#}", answer.json);
        fs::remove_file(self.lock(REPORTED)).unwrap();
        drop(reported);
        wait(&self.warden, REPORTED, "success finished reported run1").await;
        wait(&self.warden, DEAD, "error finished process_gone run1").await;
        gone(&self.lock(DEAD)).await;
        wait(&self.warden, IN_GRACE, "in_progress waiting process_gone run1").await;
        self.recorded(&[("stays", "up"), ("down", "down"), ("falls", "up"), ("rises", "down")])
            .await;
        self.recorded_flips(&[]);
    }

    /// More nodes, each on record as it is.
    pub async fn add(&mut self, does: impl IntoIterator<Item = Does>) {
        for does in does {
            let light = self.lights.node(does);
            let name = format!("more-{}", self.more.len());
            let answer = self.warden.post("/nodes", &named(&name, &light)).await;
            assert_eq!(answer.status, 201, "{:#}", answer.json);
            self.more.push(light);
        }
    }

    /// What happens while the fault lasts.
    pub async fn act(&mut self) {
        self.act_without_files();
        self.act_on_files().await;
    }

    /// The part of it for which no file is written.
    pub fn act_without_files(&mut self) {
        self.falls.set(Does::Closed);
        self.rises.set(Does::Answers);
        self.dies.kill();
    }

    /// The other part.
    pub async fn act_on_files(&mut self) {
        let (dir, locks) = (self.warden.dir().to_owned(), self.warden.lock_dir());
        fs::remove_file(self.lock(ENDS)).unwrap();
        let mut ends = self.ends.take().expect("once");
        assert!(ends.signal(rustix::process::Signal::TERM));
        assert!(ends.wait_exit(SOON).await.success(), "it ends well");
        Lock::new(COMES_DEAD, job::dead_pid(&dir)).ago(9000).write(&locks);
        let comes = Program::sleeper(&dir);
        let path = Lock::new(COMES, comes.pid()).started_ago(9000).write(&locks);
        self.kept.push(Kept::of(path));
        self.comes = Some(comes);
    }

    /// Nobody touched a lock of a job that lives, has just died, or is nobody's.
    pub fn untouched(&self) {
        self.kept.iter().for_each(Kept::is_untouched);
    }

    /// Without the database: the nodes are told as they are, nothing is written, no lock goes.
    pub async fn goes_without_database(&self) {
        self.told(&[("falls", "down"), ("rises", "up"), ("stays", "up")]).await;
        let away = |answer: &Answer| (answer.status == 503).then_some(());
        self.warden.until("/readyz?require=database", SOON, away).await;
        let looks_dead = |answer: &Answer| {
            (answer.json["data"]["process"]["running"] == json!(false)).then_some(())
        };
        self.warden.until(&format!("/migrations/{DIES}/process"), SOON, looks_dead).await;
        // A connection that was there before the fault may have written once more.
        let is_told = || {
            let rows = db::migrations(self.warden.database());
            rows.iter().any(|row| row["brz_project_id"] == DIES && row["status"] == "error")
        };
        assert!(self.lock(DIES).exists() || is_told(), "no lock goes without the database's word");
        // A full disk takes a small write now and then.
        let degraded = |answer: &Answer| {
            (answer.status == 200 && answer.json["status"] == "degraded").then_some(())
        };
        self.warden.until("/readyz?verbose", SOON, degraded).await;
        assert_eq!(self.warden.get("/livez").await.status, 200);
        self.untouched();
    }

    /// After the fault, without a hand: everything is as it has to be, everything was told once, and it goes on.
    pub async fn all_is_well(&mut self) {
        let ready = |answer: &Answer| (answer.status == 200).then_some(());
        self.warden.until("/readyz?require=database", SOON, ready).await;
        let warden = &self.warden;
        wait(warden, DIES, &format!("error finished {KILLED} run1")).await;
        wait(warden, COMES_DEAD, "error finished process_gone run1").await;
        wait(warden, ENDS, "completed finished -|exited run1").await;
        wait(warden, COMES, "in_progress alive - run1").await;
        for id in [DIES, COMES_DEAD] {
            gone(&self.lock(id)).await;
        }
        let nodes = [("stays", "up"), ("down", "down"), ("falls", "down"), ("rises", "up")];
        self.told(&nodes).await;
        self.recorded(&nodes).await;
        ticks_pass(warden).await;
        wait(warden, LIVES, "in_progress alive - run1").await;
        wait(warden, REPORTED, "success finished reported run1").await;
        wait(warden, DEAD, "error finished process_gone run1").await;
        wait(warden, IN_GRACE, "in_progress waiting process_gone run1").await;
        self.untouched();
        for id in [LIVES, IN_GRACE, COMES] {
            assert!(
                events(warden, id).is_empty(),
                "{id}: {:?}; {}",
                events(warden, id),
                warden.log()
            );
        }
        for (id, event) in [(DIES, "1:error"), (COMES_DEAD, "1:error"), (DEAD, "1:error")] {
            assert_eq!(
                (events(warden, id), source(warden, id)),
                (vec![event.to_owned()], "monitor".to_owned())
            );
        }
        assert_eq!(events(warden, ENDS), ["1:completed"]);
        assert_eq!(events(warden, REPORTED), ["1:success"]);
        self.recorded_flips(&[("falls", &["down"]), ("rises", &["up"])]);
        self.goes_on().await;
        assert!(job::asides(&self.warden.lock_dir()).is_empty());
        let log = self.warden.log();
        assert!(!log.contains("panicked"), "{log}");
    }

    /// The next turn of each kind is told as ever.
    async fn goes_on(&mut self) {
        self.falls.set(Does::Answers);
        self.recorded(&[("falls", "up")]).await;
        self.recorded_flips(&[("falls", &["down", "up"]), ("rises", &["up"])]);
        self.lives.kill();
        wait(&self.warden, LIVES, &format!("error finished {KILLED} run1")).await;
        gone(&self.lock(LIVES)).await;
        assert_eq!(events(&self.warden, LIVES), ["1:error"]);
    }

    /// `/nodes/status` says this.
    pub async fn told(&self, wanted: &[(&str, &str)]) {
        let stand = |answer: &Answer| {
            let nodes = answer.json["nodes"].as_array()?;
            let stands = |(name, state): &(&str, &str)| {
                nodes.iter().any(|it| it["name"] == *name && it["state"] == *state)
            };
            wanted.iter().all(stands).then_some(())
        };
        self.warden.until("/nodes/status", SOON, stand).await;
    }

    /// The rows say this.
    pub async fn recorded(&self, wanted: &[(&str, &str)]) {
        eventually(SOON, || async {
            let rows =
                db::try_query(self.warden.database(), "SELECT name, state FROM procwarden_nodes")
                    .map_err(|error| error.to_string())?;
            let stands = |(name, state): &(&str, &str)| {
                rows.iter().any(|row| row["name"] == *name && row["state"] == *state)
            };
            let all = wanted.iter().all(stands);
            if all { Ok(()) } else { Err(format!("{rows:?}; {}", self.warden.log())) }
        })
        .await;
    }

    /// The nodes turned like this and not otherwise. That one could not be looked at for a while is no turn, and may be on
    /// record only where that was so.
    fn recorded_flips(&self, wanted: &[(&str, &[&str])]) {
        let began = |name: &str| if matches!(name, "down" | "rises") { "down" } else { "up" };
        // By name: its turns, and whether it is unknown now.
        let mut seen: BTreeMap<String, (Vec<String>, bool)> = BTreeMap::new();
        for event in db::events_of(self.warden.database(), "node") {
            let text = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
            let (name, state) = (text("name"), text("state"));
            let (turns, is_unknown) = seen.entry(name.clone()).or_default();
            let last = turns.last().map_or(began(&name), String::as_str).to_owned();
            if state == "unknown" {
                assert!(self.blind && !*is_unknown, "{event}; {}", self.warden.log());
                *is_unknown = true;
                continue;
            }
            assert!(state != last || *is_unknown, "doubled: {event}; {}", self.warden.log());
            *is_unknown = false;
            if state != last {
                turns.push(state);
            }
        }
        let turned = seen.into_iter().filter(|(_, (turns, _))| !turns.is_empty());
        let seen: BTreeMap<String, Vec<String>> =
            turned.map(|(name, (turns, _))| (name, turns)).collect();
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let scene = wanted.iter().map(|(name, states)| ((*name).to_owned(), states.to_vec()));
        for (name, states) in scene.chain(self.also.clone()) {
            all.insert(name, states.iter().map(|it| (*it).to_owned()).collect());
        }
        assert_eq!(seen, all, "{}", self.warden.log());
    }

    pub fn lock(&self, id: i64) -> PathBuf {
        self.warden.lock_dir().join(job::file_name(id))
    }

    /// The lock of the job that dies.
    pub fn lock_of_the_dead(&self) -> PathBuf {
        self.lock(DIES)
    }

    /// The job that dies is known to have died, though its lock cannot go.
    pub async fn death_is_told(&self) {
        wait(&self.warden, DIES, &format!("error finished {KILLED} run1")).await;
    }
}

/// A job that knows what to do when it is asked to end.
async fn graceful(warden: &Warden) -> Program {
    let log = warden.dir().join("graceful.log");
    let job =
        Program::start("perl", ["-e", &format!("$| = 1; {GRACEFUL}")], warden.dir(), &log, &[]);
    eventually(SOON, || async { if job.log().contains("on") { Ok(()) } else { Err("it starts") } })
        .await;
    job
}
