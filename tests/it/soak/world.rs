//! One service with its nodes and its jobs, what happens to them, what happens to it, and what it tells of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::Signal;
use serde_json::Value;

use super::dice::Dice;
use super::jobs::Jobs;
use super::ledger::{DELAY, Ledger};
use super::nodes::{API_TIMEOUT, Nodes};
use super::usage::{self, Usage};
use crate::failover::proxy::Proxy;
use crate::support::database::Database;
use crate::support::sql::Held;
use crate::support::{Warden, WardenConfig, db, job};

/// What is done to a service or its surroundings, and undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL, a while without it, and a start.
    Killed,
    /// SIGSTOP and SIGCONT.
    Frozen,
    /// The network to the database passes nothing on.
    Cut,
    /// Somebody else keeps every table.
    Held,
    /// Another lock directory with the same locks stands under the path.
    Replaced,
}

impl Fault {
    /// For the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Killed => "kill -9 and a start",
            Self::Frozen => "SIGSTOP of the service",
            Self::Cut => "the network to the database cut",
            Self::Held => "the database held by another",
            Self::Replaced => "the lock directory replaced",
        }
    }
}

/// How large it is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub light: usize,
    pub real: usize,
    pub jobs: i64,
}

/// The service and all around it.
pub struct World {
    warden: Warden,
    /// Past the network that is cut.
    database: Database,
    proxy: Option<Proxy>,
    nodes: Nodes,
    jobs: Jobs,
    dice: Dice,
    seed: u64,
    /// Those that may happen here, in the order in which they come next.
    faults: Vec<Fault>,
    deck: Vec<Fault>,
    every: Duration,
    next_fault: Instant,
    under: Option<(Fault, Instant, Option<Held>)>,
    fault_ended: Instant,
    /// When another directory was put under the path.
    replaced: Option<Instant>,
    looked: Instant,
    pub ledger: Ledger,
    pub usage: Usage,
    pub happened: BTreeMap<Fault, usize>,
    cpu: Duration,
}

impl World {
    /// All are up.
    pub async fn begin(
        database: Database,
        proxy: Option<Proxy>,
        url: &str,
        size: Size,
        faults: Vec<Fault>,
        (seed, every): (u64, Duration),
    ) -> Self {
        let nodes = Nodes::start(size.light, size.real).await;
        let config = WardenConfig::default()
            .set("database.url", url)
            .set("database.connect_timeout", "1s")
            .set("database.statement_timeout", "1s")
            .set("database.retry_after", "500ms")
            .set("database.wait", "30s")
            .set("nodes.interval", "2s")
            .set("nodes.connect_timeout", "1s")
            .set("nodes.api_timeout", format!("{}s", API_TIMEOUT.as_secs()))
            .set("migrations.interval", "500ms")
            .set("migrations.grace", "1s")
            .set("log.level", "info");
        let warden = Warden::start(nodes.configured(config)).await;
        let now = Instant::now();
        let mut dice = Dice::new(seed);
        let next_fault = now + dice.about(every);
        Self {
            warden,
            database,
            proxy,
            nodes,
            jobs: Jobs::new(size.jobs),
            dice,
            seed,
            faults,
            deck: Vec::new(),
            every,
            next_fault,
            under: None,
            fault_ended: now,
            replaced: None,
            looked: now,
            ledger: Ledger::default(),
            usage: Usage::default(),
            happened: BTreeMap::new(),
            cpu: Duration::ZERO,
        }
    }

    /// Lets things happen until then, and then lets them settle.
    pub async fn run(&mut self, until: Instant) {
        while Instant::now() < until {
            self.fault().await;
            if self.dice.below(2) == 0 {
                let replaced = self.replaced.is_some_and(|at| at.elapsed() < DELAY);
                self.jobs.step(&mut self.dice, &self.warden, replaced).await;
            } else {
                self.nodes.step(&mut self.dice).await;
            }
            self.jobs.locks_stand(&self.warden, self.seed);
            self.look_in_time().await;
            let pause = Duration::from_millis(200 + self.dice.below(600));
            tokio::time::sleep(pause).await;
        }
        self.settle().await;
    }

    /// No more faults and changes: all of it is told as it is in the end.
    async fn settle(&mut self) {
        self.undo().await;
        let (began, before) = (Instant::now(), self.ledger.compared);
        while began.elapsed() < DELAY + Duration::from_secs(3) {
            self.look_in_time().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(self.ledger.compared > before, "seed {}: nothing was compared", self.seed);
        self.jobs.end(&self.warden, &self.database, self.seed).await;
        self.flips_alternate();
        assert!(job::asides(&self.warden.lock_dir()).is_empty(), "seed {}", self.seed);
        let log = self.warden.log();
        assert!(!log.contains("panicked"), "seed {}: {log}", self.seed);
        self.cpu += usage::cpu(self.warden.pid());
    }

    /// No flip is doubled.
    fn flips_alternate(&self) {
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        for event in db::events_of(&self.database, "node") {
            let text = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
            let before = last.insert(text("name"), text("state"));
            let now = text("state");
            assert!(before.as_ref() != Some(&now), "seed {}: doubled: {event}", self.seed);
        }
    }

    async fn look_in_time(&mut self) {
        if self.looked.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.looked = Instant::now();
        if self.is_mute() {
            return;
        }
        self.usage.look(self.warden.pid());
        let nodes = self.told("/nodes/status", "nodes").await;
        self.nodes.compare(&nodes, self.calm(), &mut self.ledger);
        let rows = self.told("/migrations", "data").await;
        // Without the database no status turns, and that is as it should be.
        let calm = self.calm().filter(|_| !self.is_without_database());
        self.jobs.compare(&rows, calm, &self.warden, &mut self.ledger);
    }

    async fn told(&self, path: &str, list: &str) -> Vec<Value> {
        let answer = self.warden.get(path).await;
        assert_eq!(answer.status, 200, "seed {}: {path}: {:#}", self.seed, answer.json);
        answer.json[list].as_array().cloned().unwrap_or_default()
    }

    /// How long there has been no fault that could be seen in what is told of nodes.
    fn calm(&self) -> Option<Duration> {
        (self.under.is_none() || self.is_without_database()).then(|| self.fault_ended.elapsed())
    }

    fn is_mute(&self) -> bool {
        matches!(self.under, Some((Fault::Killed | Fault::Frozen, ..)))
    }

    const fn is_without_database(&self) -> bool {
        matches!(self.under, Some((Fault::Cut | Fault::Held, ..)))
    }

    /// Ends the fault that is over, or begins the next when its time has come.
    async fn fault(&mut self) {
        let now = Instant::now();
        match &self.under {
            Some((_, until, _)) if *until <= now => self.undo().await,
            None if self.next_fault <= now => self.begin_fault(),
            _ => {}
        }
    }

    fn begin_fault(&mut self) {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.faults);
        }
        let at = self.dice.index(self.deck.len());
        let fault = self.deck.swap_remove(at);
        let seconds = Duration::from_millis(1000 + self.dice.below(7000));
        let mut held = None;
        match fault {
            Fault::Killed => {
                self.cpu += usage::cpu(self.warden.pid());
                self.warden.kill9();
            }
            Fault::Frozen => self.warden.signal(Signal::STOP),
            Fault::Cut => self.proxy.as_ref().expect("a server").cut(),
            Fault::Held => held = Some(db::hold(&self.database)),
            Fault::Replaced => {
                replace(&self.warden.lock_dir());
                self.replaced = Some(Instant::now());
            }
        }
        *self.happened.entry(fault).or_default() += 1;
        println!("{} {fault:?} for {seconds:?}", self.seed);
        let lasts = if fault == Fault::Replaced { Duration::ZERO } else { seconds };
        self.under = Some((fault, Instant::now() + lasts, held));
    }

    async fn undo(&mut self) {
        let Some((fault, _, held)) = self.under.take() else { return };
        match fault {
            Fault::Killed => {
                self.warden.launch();
                self.warden.ready().await;
            }
            Fault::Frozen => self.warden.signal(Signal::CONT),
            Fault::Cut => self.proxy.as_ref().expect("a server").mend(),
            Fault::Held => drop(held),
            Fault::Replaced => {}
        }
        self.fault_ended = Instant::now();
        self.next_fault = self.fault_ended + self.dice.about(self.every);
    }

    /// What its processes used.
    pub const fn cpu(&self) -> Duration {
        self.cpu
    }

    pub const fn jobs(&self) -> super::jobs::Done {
        self.jobs.done
    }

    pub const fn node_changes(&self) -> usize {
        self.nodes.changes
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }
}

/// Another directory with copies of the same files, their times too, put in place in one step.
fn replace(dir: &Path) {
    let new = dir.with_extension("new");
    fs::create_dir(&new).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        // What is being removed is on record, and is not in the new one.
        if entry.file_name().to_string_lossy().starts_with(".procwarden.") {
            continue;
        }
        let to = new.join(entry.file_name());
        // It may be removed meanwhile: then nobody misses it.
        let Ok(was) = entry.metadata() else { continue };
        if fs::copy(entry.path(), &to).is_ok() {
            let file = fs::OpenOptions::new().write(true).open(&to).unwrap();
            file.set_modified(was.modified().unwrap()).unwrap();
            assert_ne!(file.metadata().unwrap().ino(), was.ino());
        }
    }
    renameat_with(CWD, dir, CWD, &new, RenameFlags::EXCHANGE).unwrap();
    fs::remove_dir_all(new).unwrap();
}
