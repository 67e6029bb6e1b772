//! What `scripts/bench` measures of processes: what it costs to know that they live.
//!
//! `bench_processes [COUNT] [ROUNDS]` starts as many children that sleep (10,000; fewer where `RLIMIT_NOFILE` or
//! `pid_max` allow no more), looks at all of them in each way in turn, and prints a line of JSON for each way: the median
//! over the rounds of the time for one process in nanoseconds, and the least.

use std::error::Error;
use std::ffi::CString;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use procwarden::domain::Presence;
use procwarden::process::{Exits, Handle, Processes, descriptor_limit, raise_descriptor_limit};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::read;

type Failure = Box<dyn Error>;

/// Descriptors that are for others than the children's handles.
const RESERVE: u64 = 100;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["sleep", count] => sleep(count.parse()?),
        [] => measure(10_000, 7),
        [count] => measure(count.parse()?, 7),
        [count, rounds] => measure(count.parse()?, rounds.parse()?),
        _ => Err("usage: bench_processes [COUNT] [ROUNDS]".into()),
    }
}

/// The parent of all: its children are small, and end with its input.
fn sleep(count: usize) -> Result<(), Failure> {
    let mut children = Vec::with_capacity(count);
    for _ in 0..count {
        let child =
            Command::new("sleep").arg("3600").stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        println!("{}", child.id());
        children.push(child);
    }
    println!("all");
    let _ = std::io::stdin().lock().read_line(&mut String::new());
    for child in &mut children {
        let _ = child.kill();
    }
    for child in &mut children {
        let _ = child.wait();
    }
    Ok(())
}

/// The sleeping children, ended with the value.
struct Sleepers {
    parent: Child,
    pids: Vec<i32>,
}

impl Sleepers {
    fn start(count: u64) -> Result<Self, Failure> {
        let mut parent = Command::new(std::env::current_exe()?)
            .args(["sleep", &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = parent.stdout.take().ok_or("no output")?;
        let mut pids = Vec::new();
        for line in BufReader::new(out).lines() {
            match line?.parse() {
                Ok(pid) => pids.push(pid),
                Err(_) => return Ok(Self { parent, pids }),
            }
        }
        Err(format!("only {} children could be started", pids.len()).into())
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        // The end of its input is the end of all of them.
        drop(self.parent.stdin.take());
        let _ = self.parent.wait();
    }
}

fn measure(count: u64, rounds: usize) -> Result<(), Failure> {
    raise_descriptor_limit();
    let sleepers = Sleepers::start(count.min(descriptor_limit().saturating_sub(RESERVE)))?;
    let processes = Processes::new()?;
    let proc = openat(CWD, "/proc", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let pids = &sleepers.pids;
    let paths: Vec<CString> =
        pids.iter().map(|pid| CString::new(format!("{pid}/stat"))).collect::<Result<_, _>>()?;
    let held: Vec<Handle> =
        pids.iter().filter_map(|pid| processes.watch(i64::from(*pid)).1).collect();
    let held: Vec<&Handle> = held.iter().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let exits = runtime.block_on(async { Exits::new() })?;
    for (token, handle) in (0..).zip(&held) {
        exits.add(handle, token)?;
    }
    let ways: [(&str, &dyn Fn() -> usize); 5] = [
        ("bare_stat", &|| paths.iter().filter(|path| bare(&proc, path)).count()),
        ("look", &|| pids.iter().filter(|pid| alive(&processes.look(i64::from(**pid)))).count()),
        ("look_again", &|| held.iter().filter(|it| alive(&processes.look_again(it))).count()),
        ("look_at_all", &|| processes.look_at_all(&held).iter().filter(|it| alive(it)).count()),
        ("held_set", &|| held.len() - exits.ended().map_or(0, |ended| ended.len())),
    ];
    let mut times = vec![Vec::new(); ways.len()];
    for _ in 0..rounds.max(1) {
        for ((name, way), times) in ways.iter().zip(&mut times) {
            let begin = Instant::now();
            let living = black_box(way());
            let took = begin.elapsed();
            if living != pids.len() {
                return Err(format!("{name}: {living} of {} live", pids.len()).into());
            }
            times.push(took.as_nanos() / pids.len().max(1) as u128);
        }
    }
    for ((name, _), mut times) in ways.iter().zip(times) {
        times.sort_unstable();
        let (median, least) = (times[times.len() / 2], times[0]);
        let count = pids.len();
        println!(
            r#"{{"bench":"processes","way":"{name}","count":{count},"ns":{median},"least_ns":{least}}}"#
        );
    }
    Ok(())
}

/// What the kernel asks for it at least: open, read, close.
fn bare(proc: &OwnedFd, path: &CString) -> bool {
    let mut buffer = [0_u8; 512];
    openat(proc, path.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| read(&file, &mut buffer))
        .is_ok_and(|count| count > 0)
}

fn alive(presence: &Presence) -> bool {
    matches!(presence, Presence::Alive(_))
}
