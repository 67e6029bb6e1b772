//! What `scripts/bench` measures of deaths and of a busy service.
//!
//! `bench_events hold DIR LOCKS PROCESSES` starts so many sleeping processes and tells their process group, writes so many
//! locks in which they take turns, and says `ready`. Then it reads commands, one a line, and answers each with one line; at the end of its input
//! it ends the processes:
//!
//! - `deaths ADDRESS COUNT` listens on `/events` there, kills one process after another with SIGKILL, and tells the
//!   microseconds from before `kill()` to the first line that names its migration, and those from its end, as its parent is
//!   told: `P50 P99 MAX P50 P99 MAX`. The kernel takes its time to end a process, now and then tens of milliseconds.
//!
//! `bench_events latency ADDRESS PATH COUNT` sends a request each millisecond over one connection, waits for its answer,
//! and tells the microseconds of it: `P50 P99 MAX`.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

type Failure = Box<dyn Error>;

/// How long a death may take to be told before the run is given up.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a process sleeps that nobody ends, seconds: should this program be killed, they end by themselves.
const SLEEP: &str = "1800";

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["hold", dir, locks, processes] => hold(Path::new(dir), locks.parse()?, processes.parse()?),
        ["latency", address, path, count] => {
            println!("{}", latency(address, path, count.parse()?)?);
            Ok(())
        }
        _ => {
            Err("usage: bench_events hold DIR LOCKS PROCESSES | latency ADDRESS PATH COUNT".into())
        }
    }
}

/// Sleeping processes in a group of their own.
struct Sleepers {
    children: Vec<Child>,
}

impl Sleepers {
    fn start(count: usize) -> Result<Self, Failure> {
        let mut sleepers = Self { children: Vec::with_capacity(count) };
        let mut group = 0;
        for _ in 0..count {
            let mut command = Command::new("sleep");
            command.arg(SLEEP).process_group(group).stdin(Stdio::null()).stdout(Stdio::null());
            let child = command.spawn()?;
            if group == 0 {
                group = i32::try_from(child.id())?;
                println!("{group}");
            }
            sleepers.children.push(child);
        }
        Ok(sleepers)
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        // The first is never killed before: the number of the group stays ours.
        let group = self.children.first().and_then(|first| Pid::from_raw(first.id().cast_signed()));
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

/// Of the lock with this number: spread as random ones are, and the same each time.
fn uuid(lock: usize) -> String {
    let bits = (lock as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let hex = format!("{bits:032x}");
    [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]).join("-")
}

fn hold(dir: &Path, locks: usize, processes: usize) -> Result<(), Failure> {
    let mut sleepers = Sleepers::start(processes)?;
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    for lock in 0..locks {
        let pid = sleepers.children[lock % processes].id();
        let uuid = uuid(lock);
        // Some 340 bytes, as PHP writes them.
        let text = format!(
            "{{\n    \"mb_project_uuid\": \"{uuid}\",\n    \"brz_project_id\": {},\n    \"pid\": {pid},\n    \
             \"started_at\": \"2025-01-15 10:30:45\",\n    \"started_timestamp\": {started},\n    \
             \"current_stage\": \"\\u0418\\u043d\\u0438\\u0446 pages\",\n    \"stage_updated_at\": {started},\n    \
             \"total_pages\": 42,\n    \"processed_pages\": 17,\n    \"progress_percent\": 40.48\n}}",
            lock + 1
        );
        std::fs::write(dir.join(format!("{uuid}-{}.lock", lock + 1)), text)?;
    }
    println!("ready");
    let mut next = 1;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["deaths", address, count] => {
                println!("{}", deaths(&mut sleepers, &mut next, address, count.parse()?)?);
            }
            _ => return Err(format!("not understood: {line}").into()),
        }
    }
    Ok(())
}

fn deaths(
    sleepers: &mut Sleepers,
    next: &mut usize,
    address: &str,
    count: usize,
) -> Result<String, Failure> {
    let lines = listen(address)?;
    let (mut took, mut told) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        let child = sleepers.children.get_mut(*next).ok_or("no process is left")?;
        let pid = Pid::from_raw(child.id().cast_signed()).ok_or("no PID")?;
        let uuid = uuid(*next);
        *next += 1;
        let began = Instant::now();
        kill_process(pid, Signal::KILL)?;
        child.wait()?;
        let ended = Instant::now();
        loop {
            let (at, line) = lines.recv_timeout(LIMIT)?;
            if line.contains(&uuid) {
                took.push(at.duration_since(began));
                // Its parent may be told later than we are.
                told.push(at.saturating_duration_since(ended));
                break;
            }
        }
        // Not in step with any timer of the service.
        std::thread::sleep(Duration::from_micros(
            5_000 + u64::from(began.elapsed().subsec_nanos() % 7_000),
        ));
    }
    Ok(format!("{} {}", quantiles(took), quantiles(told)))
}

/// The lines of `/events` with the moment of each, from once the head has come.
fn listen(address: &str) -> Result<Receiver<(Instant, String)>, Failure> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next().ok_or("no answer")??;
    if !status.contains(" 200 ") {
        return Err(format!("/events: {status}").into());
    }
    for line in lines.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _ = sender.send((Instant::now(), line));
        }
    });
    // The listener is known to the service once its first line is here.
    receiver.recv_timeout(LIMIT)?;
    Ok(receiver)
}

fn latency(address: &str, path: &str, count: usize) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut took = Vec::with_capacity(count);
    let mut answer = [0; 4096];
    let started = Instant::now();
    for at in 0..count {
        let due = started + Duration::from_millis(at as u64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let began = Instant::now();
        stream.write_all(request.as_bytes())?;
        let size = stream.read(&mut answer)?;
        if !answer[..size].starts_with(b"HTTP/1.1 ") {
            return Err("the connection was closed".into());
        }
        took.push(began.elapsed());
    }
    Ok(quantiles(took))
}

fn quantiles(mut took: Vec<Duration>) -> String {
    took.sort_unstable();
    let at = |share: usize| {
        took.get(took.len() * share / 100).or(took.last()).map_or(0, Duration::as_micros)
    };
    format!("{} {} {}", at(50), at(99), at(100))
}
