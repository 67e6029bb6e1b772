//! Makes `BENCHMARKS.md` of what `scripts/bench` measured: `bench_report RESULTS FACTS` prints it; with `--measured` only
//! the rows that were measured, without the page around them.
//!
//! RESULTS has a JSON object a line, `{"name", "value"}`, a name as often as it was measured; FACTS a key and a value a
//! line, with a tab between them. A row that nobody measured is shown as that.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use serde_json::Value;

/// Rounds that differ by more than this, from the lowest ratio to the highest, are said to vary.
const VARIES: f64 = 1.3;

/// What stands in the column of whether a target is reached.
const REACHED: &str = "yes";
const MISSED: &str = "**no**";
const OPEN: &str = "not measured";

/// What a row compares.
#[derive(Debug, Clone, Copy)]
enum Compare {
    /// More is better for both: ours over theirs.
    More(&'static str, &'static str),
    /// Both are times: theirs over ours.
    Faster(&'static str, &'static str),
    /// Both are times or sizes: ours over theirs.
    Cost(&'static str, &'static str),
    /// A number of its own, divided by this to be in its unit.
    Value(&'static str, f64, &'static str),
    /// What each of so many adds: the first, less the second, by the third; KiB.
    Each(&'static str, &'static str, &'static str),
}

use Compare::{Cost, Each, Faster, More, Value as Plain};

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing: for the record.
    None,
}

use Target::{AtLeast, AtMost};

type Row = (&'static str, &'static str, Compare, Target);

const HEALTH: &str = "http.health.procwarden.rps";
const OWN: &str = "checks.checker.rps";

#[rustfmt::skip] // A table.
const ROWS: &[(&str, &[Row])] = &[
    ("Answers from memory", &[
        ("`/health`, 32 kept connections, one core: requests/s", "nginx, `return 200` of the same body", More(HEALTH, "http.health.nginx.rps"), AtLeast(1.0)),
        ("the same: p99", "nginx", Cost("http.health.procwarden.p99", "http.health.nginx.p99"), AtMost(3.0)),
        ("the same: requests/s", "HAProxy, `http-request return`", More(HEALTH, "http.health.haproxy.rps"), Target::None),
        ("the same: requests/s", "vigil `/status/text`", More(HEALTH, "http.health.vigil.rps"), AtLeast(1.0)),
        ("the same: requests/s", "blackbox_exporter `/-/healthy`", More(HEALTH, "http.health.blackbox.rps"), AtLeast(1.6)),
        ("the same: requests/s", "monit `/_ping`", More(HEALTH, "http.health.monit.rps"), AtLeast(11.0)),
        ("what nginx has of it: requests/s", "the same monit", More("http.health.nginx.rps", "http.health.monit.rps"), Target::None),
        ("`/nodes/status` of 10,000 nodes, gzip: requests/s", "its plain body", More("http.bodies.gzip.rps", "http.bodies.plain.rps"), AtLeast(8.0)),
        ("the same, zstd: requests/s", "its plain body", More("http.bodies.zstd.rps", "http.bodies.plain.rps"), AtLeast(14.0)),
        ("the same, 304: requests/s", "own `/health`, beside it", More("http.bodies.known.rps", "http.bodies.health.rps"), AtLeast(0.7)),
    ]),
    ("Looks at nodes: 1,000 wallets, one core", &[
        ("by API, kept connections: checks/s", "blackbox_exporter `/probe`", More(OWN, "checks.blackbox.rps"), AtLeast(25.0)),
        ("the same: checks/s", "monit, one pass", More(OWN, "checks.monit.rps"), AtLeast(8.0)),
        ("the same: checks/s", "a bare loop over tokio's TCP", More("checks.beside.rps", "checks.raw.rps"), AtLeast(0.75)),
        ("the same with digest: checks/s", "own without", More("checks.digest.rps", "checks.plain.rps"), AtLeast(0.85)),
        ("a new connection for each: checks/s", "vigil's first pass, no sleeps, 4 at once", More("checks.new.rps", "checks.vigil.4.rps"), AtLeast(1.5)),
        ("the same: checks/s", "vigil, 64 at once", More("checks.new.rps", "checks.vigil.64.rps"), AtLeast(1.5)),
    ]),
    ("Deaths: 10,000 processes watched, one lock each", &[
        ("`kill()` to its line on `/events`: p50", "", Plain("events.p50", 1000.0, "ms"), AtMost(1.0)),
        ("the same: p99, with the time that the kernel takes to end a process", "", Plain("events.p99", 1000.0, "ms"), AtMost(10.0)),
        ("the same: the longest", "", Plain("events.max", 1000.0, "ms"), Target::None),
        ("its end, as its parent is told, to its line on `/events`: p50", "", Plain("events.told.p50", 1000.0, "ms"), AtMost(1.0)),
        ("the same: p99", "", Plain("events.told.p99", 1000.0, "ms"), AtMost(10.0)),
        ("the same: the longest", "", Plain("events.told.max", 1000.0, "ms"), Target::None),
        ("`kill()` to its line: p50", "looking every 10 s: half of it on average", Faster("events.p50", "events.polling"), Target::None),
    ]),
    ("Processes and locks", &[
        ("10,000 processes by their PIDs, identity and zombies: time", "bare openat, read, close of `stat`", Cost("processes.look_at_all", "processes.bare_stat"), AtMost(1.25)),
        ("the same, seen for the first time, once for each: time", "the same", Cost("processes.look", "processes.bare_stat"), Target::None),
        ("one held process: has it ended?", "", Plain("processes.held_set", 1.0, "ns"), AtMost(100.0)),
        ("100,000 locks, all read, PIDs looked at: time", "getdents, openat, read, close in C", Cost("locks.100000.cold-pids", "locks.100000.c"), AtMost(1.4)),
        ("the same, nothing changed: time", "the same C", Cost("locks.100000.warm-pids", "locks.100000.c"), AtMost(0.6)),
        ("10,000 locks, all read, PIDs looked at: times as fast", "PHP: glob, json_decode, posix_kill", Faster("locks.10000.cold-pids", "locks.10000.php"), AtLeast(3.0)),
        ("the same, nothing changed: times as fast", "the same PHP", Faster("locks.10000.warm-pids", "locks.10000.php"), AtLeast(7.0)),
        ("what the kernel alone allows: the C above reads 10,000, times as fast", "the same PHP", Faster("locks.10000.c", "locks.10000.php"), Target::None),
        ("what it allows where nothing changed: getdents, fstatat in C, times as fast", "the same PHP", Faster("locks.10000.stat", "locks.10000.php"), Target::None),
    ]),
    ("The database: 10,000 verdicts in one tick", &[
        ("SQLite, without events: time", "one bare batched UPDATE, `sqlite3`", Cost("database.sqlite.quiet.ours", "database.sqlite.quiet.bare"), AtMost(1.3)),
        ("SQLite, an event each: time", "the same", Cost("database.sqlite.flip.ours", "database.sqlite.flip.bare"), AtMost(1.3)),
        ("the same", "the bare UPDATE and a bare INSERT of the events", Cost("database.sqlite.both.ours", "database.sqlite.both.bare"), AtMost(1.3)),
        ("PostgreSQL, without events: time", "the same, `psql`", Cost("database.postgres.quiet.ours", "database.postgres.quiet.bare"), AtMost(1.3)),
        ("PostgreSQL, an event each: time", "the same", Cost("database.postgres.flip.ours", "database.postgres.flip.bare"), AtMost(1.3)),
        ("the same", "the bare UPDATE and a bare INSERT of the events", Cost("database.postgres.both.ours", "database.postgres.both.bare"), AtMost(1.3)),
        ("MariaDB, without events: time", "the same, `mariadb`", Cost("database.mysql.quiet.ours", "database.mysql.quiet.bare"), AtMost(1.3)),
        ("MariaDB, an event each: time", "the same", Cost("database.mysql.flip.ours", "database.mysql.flip.bare"), AtMost(1.3)),
        ("the same", "the bare UPDATE and a bare INSERT of the events", Cost("database.mysql.both.ours", "database.mysql.both.bare"), AtMost(1.3)),
    ]),
    ("Memory, size, start", &[
        ("resident, nothing to do", "", Plain("memory.idle", 1024.0, "MiB"), AtMost(12.0)),
        ("resident, 10,000 nodes, a kept connection to each", "", Plain("memory.kept", 1024.0, "MiB"), AtMost(150.0)),
        ("resident, 100,000 nodes", "", Plain("memory.nodes100k", 1024.0, "MiB"), AtMost(700.0)),
        ("resident, 100,000 locks", "", Plain("memory.locks100k", 1024.0, "MiB"), Target::None),
        ("each watched PID", "10,000 locks that share 100 processes", Each("memory.watched.on", "memory.watched.off", "memory.watched.count"), AtMost(2.0)),
        ("the program, three databases, stripped (`dist`)", "", Plain("size.procwarden", 1e6, "MB"), AtMost(12.0)),
        ("the same", "vigil, stripped", Cost("size.procwarden", "size.vigil"), Target::None),
        ("the same", "blackbox_exporter, stripped", Cost("size.procwarden", "size.blackbox"), Target::None),
        ("`exec` to the first `/readyz` 200, 10,000 nodes in SQLite", "", Plain("start.ready", 1.0, "s"), AtMost(0.5)),
    ]),
    ("Scale: two cores, which the wallets use as well", &[
        ("100,000 nodes each 30 s: a look begins late by, at most", "", Plain("scale.nodes.late_ms", 1000.0, "s"), AtMost(1.0)),
        ("the same: a pass: 30 s, and the timeout of 3 s of the last that hang", "", Plain("scale.nodes.tick_ms", 1000.0, "s"), Target::None),
        ("the same: those that work", "", Plain("scale.nodes.up_share", 1.0, "%"), AtLeast(80.0)),
        ("the same: of one core", "", Plain("scale.nodes.cpu_share", 1.0, "%"), Target::None),
        ("the same: p99 of `/health`, a request a millisecond", "own with nothing to do, on the same machine at the same time", Cost("scale.nodes.p99", "scale.nodes.beside.p99"), AtMost(3.0)),
        ("the same", "own with nothing to do, on a machine with nothing to do", Cost("scale.nodes.p99", "scale.quiet.p99"), Target::None),
        ("100,000 locks each 10 s: fresh", "", Plain("scale.locks.fresh", 1.0, "%"), AtLeast(100.0)),
        ("the same: of one core", "", Plain("scale.locks.cpu_share", 1.0, "%"), Target::None),
        ("the same: p99 of `/health`, a request a millisecond", "own with nothing to do, on the same machine at the same time", Cost("scale.locks.p99", "scale.locks.beside.p99"), AtMost(3.0)),
        ("the same", "own with nothing to do, on a machine with nothing to do", Cost("scale.locks.p99", "scale.quiet.p99"), Target::None),
    ]),
];

/// The values of each name, in the order of the rounds.
type Measured = BTreeMap<String, Vec<f64>>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (results, facts, brief) = match &arguments[..] {
        [results, facts] => (results, facts, false),
        [results, facts, flag] if flag == "--measured" => (results, facts, true),
        _ => return Err("usage: bench_report RESULTS FACTS [--measured]".into()),
    };
    let measured = read(&std::fs::read_to_string(results)?)?;
    let facts = std::fs::read_to_string(facts)?;
    let facts: Vec<(&str, &str)> = facts.lines().filter_map(|it| it.split_once('\t')).collect();
    print!("{}", report(&measured, &facts, brief)?);
    Ok(())
}

fn read(text: &str) -> Result<Measured, Box<dyn Error>> {
    let mut measured = Measured::new();
    for line in text.lines() {
        let value: Value =
            serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        let name = value["name"].as_str().ok_or_else(|| format!("no name: {line}"))?;
        if let Some(number) = value["value"].as_f64() {
            measured.entry(name.to_owned()).or_default().push(number);
        }
    }
    Ok(measured)
}

const HEAD: &str = "# Benchmarks

Written by `scripts/bench`, which runs procwarden and its peers side by side on one machine; everything is on loopback.
Whoever is measured has core 0, whoever asks it or is asked by it has core 1, where nothing else is said. They take turns,
round by round; a ratio is the median of the ratios of the rounds, a number the median of its own.

**Read the ratios.** They are of one run on one machine, so what disturbed one side disturbed the other. The absolute
numbers beside them are for the record and say nothing about another machine. *varies* stands where the ratios of the
rounds, from the lowest to the highest, are more than 30 % apart. Rows that lose are here as well. `docs/benchmarks.md` has
the database in more detail; `cargo bench --features bench` has the small parts: a judgement, the parsers, a digest, a body.

```sh
scripts/bench                  # all of it, and this page; installs the peers where they are missing
scripts/bench http checks      # some groups, to the terminal
scripts/bench --quick          # does it run? Its numbers mean nothing
```
";

fn report(
    measured: &Measured,
    facts: &[(&str, &str)],
    brief: bool,
) -> Result<String, std::fmt::Error> {
    let (tables, [reached, missed, open]) = tables(measured, brief)?;
    let mut text = String::new();
    if !brief {
        writeln!(text, "{HEAD}\n## This run\n\n| | |\n|---|---|")?;
        for (key, value) in facts {
            writeln!(text, "| {key} | {value} |")?;
        }
        writeln!(
            text,
            "\n{reached} targets are reached, {missed} are missed, {open} rows were not measured."
        )?;
    }
    text += &tables;
    writeln!(
        text,
        "\n## All medians\n\n| what | median | lowest | highest | times |\n|---|---:|---:|---:|---:|"
    )?;
    for (name, values) in measured {
        let (low, high) = bounds(values);
        let cells = [median(values), low, high].map(number).join(" | ");
        writeln!(text, "| {name} | {cells} | {} |", values.len())?;
    }
    Ok(text)
}

/// The tables, and how many rows reach their target, miss it, were not measured.
fn tables(measured: &Measured, brief: bool) -> Result<(String, [usize; 3]), std::fmt::Error> {
    let mut counts = [0; 3];
    let mut text = String::new();
    for (title, rows) in ROWS {
        let lines = rows.iter().map(|row| Line::of(measured, row));
        let lines: Vec<Line> = lines.filter(|line| !brief || line.reached != OPEN).collect();
        if lines.is_empty() {
            continue;
        }
        writeln!(
            text,
            "\n## {title}\n\n| what | against | result | target | reached | ours | theirs |\n\
             |---|---|---:|---:|---|---:|---:|"
        )?;
        for line in lines {
            if let Some(at) = [REACHED, MISSED, OPEN].iter().position(|it| *it == line.reached) {
                counts[at] += 1;
            }
            writeln!(text, "{line}")?;
        }
    }
    Ok((text, counts))
}

/// A row as it is shown.
struct Line {
    what: &'static str,
    against: &'static str,
    result: String,
    target: String,
    reached: &'static str,
    ours: String,
    theirs: String,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, against, result, target, reached, ours, theirs } = self;
        write!(f, "| {what} | {against} | {result} | {target} | {reached} | {ours} | {theirs} |")
    }
}

impl Line {
    fn of(measured: &Measured, (what, against, compare, target): &Row) -> Self {
        let unit = match compare {
            Plain(_, _, unit) => unit,
            Each(..) => "KiB",
            _ => "",
        };
        let found = Found::of(measured, *compare);
        let suffix = if unit.is_empty() { "x".to_owned() } else { format!(" {unit}") };
        let (target, reached) = match (target, &found) {
            (AtLeast(goal), found) => {
                (format!(">= {goal}{suffix}"), found.as_ref().map(|it| it.value >= *goal))
            }
            (AtMost(goal), found) => {
                (format!("<= {goal}{suffix}"), found.as_ref().map(|it| it.value <= *goal))
            }
            (Target::None, found) => (String::new(), found.as_ref().map(|_| true)),
        };
        let reached = match reached {
            None => OPEN,
            Some(_) if target.is_empty() => "",
            Some(true) => REACHED,
            Some(false) => MISSED,
        };
        let (result, ours, theirs) = found.map_or_else(Default::default, |it| {
            let varies = if it.varies { ", *varies*" } else { "" };
            (
                format!("{}{suffix}{varies}", number(it.value)),
                number(it.ours),
                it.theirs.map(number).unwrap_or_default(),
            )
        });
        Self { what, against, result, target, reached, ours, theirs }
    }
}

/// What a comparison came to.
struct Found {
    value: f64,
    ours: f64,
    theirs: Option<f64>,
    varies: bool,
}

impl Found {
    fn of(measured: &Measured, compare: Compare) -> Option<Self> {
        let get = |name: &str| measured.get(name);
        match compare {
            More(ours, theirs) | Cost(ours, theirs) => {
                Some(Self::ratio(get(ours)?, get(theirs)?, false))
            }
            Faster(ours, theirs) => Some(Self::ratio(get(ours)?, get(theirs)?, true)),
            Plain(name, unit, _) => {
                let values = get(name)?;
                let value = median(values) / unit;
                Some(Self { value, ours: median(values), theirs: None, varies: spread(values) })
            }
            Each(on, off, count) => {
                let (on, off) = (median(get(on)?), median(get(off)?));
                let value = (on - off) / median(get(count)?);
                Some(Self { value, ours: on, theirs: Some(off), varies: false })
            }
        }
    }

    fn ratio(ours: &[f64], theirs: &[f64], inverse: bool) -> Self {
        let divide = |a: f64, b: f64| if inverse { b / a } else { a / b };
        let rounds: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| divide(*a, *b)).collect();
        let (a, b) = (median(ours), median(theirs));
        // Side by side in each round: what disturbs a round disturbs both, and their medians may be of two rounds.
        let value = median(&rounds);
        Self { value, ours: a, theirs: Some(b), varies: spread(&rounds) }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn bounds(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    (low, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

fn spread(values: &[f64]) -> bool {
    let (low, high) = bounds(values);
    high > low * VARIES
}

/// Three digits of what is small, none after the point of what is large.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => grouped(&format!("{value:.0}")),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
