//! The result of a run: as a table for people, and judged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::jobs::Done;
use super::ledger::{DELAY, Ledger};
use super::usage::{JUDGED_FROM, Thirds, is_flat};
use super::world::{Fault, World};
use crate::support::engine::Engine;

/// What a run showed.
#[derive(Debug)]
pub struct Facts {
    seed: u64,
    took: Duration,
    nodes: usize,
    changes: usize,
    jobs: Done,
    faults: BTreeMap<Fault, usize>,
    ledger: Ledger,
    resident: Thirds,
    descriptors: Thirds,
    cpu: Duration,
}

impl Facts {
    /// Of the one that was not killed, and the one that was.
    pub fn of(seed: u64, took: Duration, steady: World, struck: World) -> Self {
        let (one, two) = (steady.jobs(), struck.jobs());
        let mut faults = steady.happened.clone();
        for (fault, count) in &struck.happened {
            *faults.entry(*fault).or_default() += count;
        }
        let mut facts = Self {
            seed,
            took,
            nodes: steady.nodes() + struck.nodes(),
            changes: steady.node_changes() + struck.node_changes(),
            jobs: Done {
                begun: one.begun + two.begun,
                crashed: one.crashed + two.crashed,
                released: one.released + two.released,
                taken_over: one.taken_over + two.taken_over,
            },
            faults,
            resident: steady.usage.resident(),
            descriptors: steady.usage.descriptors(),
            cpu: steady.cpu() + struck.cpu(),
            ledger: Ledger::default(),
        };
        facts.ledger.add(steady.ledger);
        facts.ledger.add(struck.ledger);
        facts.ledger.delay(50);
        facts
    }

    /// Panics with what is wrong.
    pub fn judge(&self) {
        let drifts = &self.ledger.drifts;
        assert!(drifts.is_empty(), "seed {}: {} drifts: {drifts:#?}", self.seed, drifts.len());
        let happened: usize = self.faults.values().sum();
        assert!(happened > 0 && self.ledger.compared > 0, "seed {}: nothing happened", self.seed);
        if self.took >= JUDGED_FROM {
            let (memory, descriptors) = (self.resident, self.descriptors);
            assert!(is_flat(memory), "seed {}: memory in KiB: {memory:?}", self.seed);
            assert!(is_flat(descriptors), "seed {}: descriptors: {descriptors:?}", self.seed);
        }
    }

    /// The last result, as `docs/soak.md` has it.
    pub fn table(&self) -> String {
        let mut text = String::from(HEAD);
        let mut row = |what: &str, value: String| writeln!(text, "| {what} | {value} |").unwrap();
        row("seed", self.seed.to_string());
        row("time", format!("{} min", self.took.as_secs() / 60));
        row("database", format!("{:?}", Engine::current()));
        row("machine", machine());
        row("program", std::env::var("PROCWARDEN_SOAK_PROGRAM").unwrap_or_else(|_| "-".to_owned()));
        row("nodes", format!("{}, which changed {} times", self.nodes, self.changes));
        let jobs = self.jobs;
        row(
            "jobs",
            format!(
                "{} begun, {} taken over from a launcher, {} ended well, {} killed",
                jobs.begun, jobs.taken_over, jobs.released, jobs.crashed
            ),
        );
        for (fault, count) in &self.faults {
            row(fault.as_str(), format!("{count} times"));
        }
        row("comparisons", self.ledger.compared.to_string());
        row("**drifts**", format!("**{}**", self.ledger.drifts.len()));
        let delay = |percent: usize| {
            let at = self.ledger.delays.len() * percent / 100;
            let at = at.min(self.ledger.delays.len().saturating_sub(1));
            self.ledger.delays.get(at).map_or(0.0, Duration::as_secs_f64)
        };
        row(
            "a change was told after",
            format!(
                "{:.1} s (median), {:.1} s (99 %), {:.1} s (longest)",
                delay(50),
                delay(99),
                delay(100)
            ),
        );
        row("resident memory, KiB", thirds(self.resident));
        row("descriptors", thirds(self.descriptors));
        let share = 100.0 * self.cpu.as_secs_f64() / self.took.as_secs_f64();
        row("processor time of both services", format!("{share:.1} % of one core"));
        text
    }
}

fn thirds([first, middle, last]: Thirds) -> String {
    format!("{first}, {middle}, {last}")
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let of = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map_or("", |it| it.1).trim().to_owned()
    };
    let kib: u64 = of(&memory, "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{}, {cores} cores, {} GiB, Linux {}", of(&cpu, "model name"), kib >> 20, kernel.trim())
}

const HEAD: &str = concat!(
    "# The soak\n\n",
    "Written by `scripts/soak` at the end of a run; `scripts/soak --seed N` lets chance fall the same way again.\n\n",
    "Two services, each over its own nodes (light ones and real `monero-wallet-rpc`), real jobs with real lock files, and\n",
    "its own database. Nodes hang, answer one byte a second, say 500, close, die, are stopped, and come back; jobs begin,\n",
    "are taken over, write, end, and are killed. Meanwhile one service is killed and started again and again; both are\n",
    "stopped for seconds, lose their database, and find another lock directory under the path. Once a second what\n",
    "`/nodes/status` and `/migrations` tell is compared with the truth. A difference that stands for longer than 12 s, with\n",
    "no fault in that time, is a drift; so are a lost or doubled error and a live job's lock that was touched, which end the\n",
    "run at once. Memory and descriptors are those of the service that lives through all of it, as medians of the three\n",
    "thirds of the run: the last may be 5 % above the middle one at most.\n\n",
    "| | |\n|---|---|\n",
);

#[allow(dead_code, reason = "the number stands in the text above")]
const _: () = assert!(DELAY.as_secs() == 12);
