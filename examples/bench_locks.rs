//! What `scripts/bench` measures of the lock directory through the library; `bench_locks --help` says how to call it.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use procwarden::domain::migration::LockPid;
use procwarden::locks::{LockDir, Scan};
use procwarden::process::Processes;

type Failure = Box<dyn Error>;

const HELP: &str = "\
bench_locks make DIR COUNT [PID]   write COUNT locks of some 340 bytes, which name PID (default: the caller)
bench_locks cold DIR TIMES         scan, typed, each time with nothing remembered
bench_locks cold-pids DIR TIMES    the same, and look at each lock's process
bench_locks warm DIR TIMES         scan again; nothing changed
bench_locks warm-pids DIR TIMES    the same, and look at each lock's process
bench_locks look DIR TIMES         a partial look at one key, while nothing else is done

Each but `make` prints one line of JSON: {\"what\",\"locks\",\"median_ns\",\"min_ns\",\"times\"}. `warm` waits for the files to be
old enough to be trusted, before it measures.";

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["make", dir, count] => {
            let parent = rustix::process::getppid().ok_or("no parent")?;
            make(Path::new(dir), count.parse()?, parent.as_raw_nonzero().get())
        }
        ["make", dir, count, pid] => make(Path::new(dir), count.parse()?, pid.parse()?),
        [what @ ("cold" | "cold-pids" | "warm" | "warm-pids" | "look"), dir, times] => {
            measure(what, Path::new(dir), times.parse()?)
        }
        _ => {
            println!("{HELP}");
            Ok(())
        }
    }
}

fn make(dir: &Path, count: u64, pid: i32) -> Result<(), Failure> {
    fs::create_dir_all(dir)?;
    for nth in 0..count {
        // Spread as random ones are, and the same each time.
        let bits = u128::from(nth + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        let hex = format!("{bits:032x}");
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]);
        let (uuid, id) = (parts.join("-"), 23_000_000 + nth);
        let lock = format!(
            "{{\n    \"mb_project_uuid\": \"{uuid}\",\n    \"brz_project_id\": {id},\n    \"pid\": {pid},\n    \
             \"started_at\": \"2025-01-15 10:30:45\",\n    \"started_timestamp\": 1736937045,\n    \"current_stage\": \
             \"\\u0418\\u043d\\u0438\\u0446 pages\",\n    \"stage_updated_at\": 1736937046,\n    \"total_pages\": 42,\n    \
             \"progress_percent\": 12.5\n}}"
        );
        fs::write(dir.join(format!("{uuid}-{id}.lock")), lock)?;
    }
    Ok(())
}

fn measure(what: &str, dir: &Path, times: usize) -> Result<(), Failure> {
    let processes = Processes::new()?;
    let locks = LockDir::new(dir.to_owned());
    let first = locks.scan()?;
    if !what.starts_with("cold") {
        // What was written within the last seconds is read once more.
        std::thread::sleep(std::time::Duration::from_secs(3));
        locks.scan()?;
    }
    let key = first.locks.first().ok_or("no locks")?.key.clone();
    let mut spans = Vec::with_capacity(times);
    for _ in 0..times {
        let fresh = LockDir::new(dir.to_owned());
        let began = Instant::now();
        match what {
            "look" => {
                black_box(locks.look(&BTreeSet::from([key.clone()]), &BTreeSet::new())?);
            }
            "cold" => {
                let scan = fresh.scan()?;
                spans.push(began.elapsed().as_nanos());
                drop(scan);
                continue;
            }
            "cold-pids" => look_at_pids(&fresh.scan()?, &processes),
            "warm-pids" => look_at_pids(&locks.scan()?, &processes),
            _ => {
                black_box(locks.scan()?);
            }
        }
        spans.push(began.elapsed().as_nanos());
    }
    spans.sort_unstable();
    let (median, min) = (spans.get(times / 2).ok_or("no times")?, spans[0]);
    println!(
        "{{\"what\":\"{what}\",\"locks\":{},\"median_ns\":{median},\"min_ns\":{min},\"times\":{times}}}",
        first.locks.len()
    );
    Ok(())
}

/// Each lock's process is asked for; locks share them, since there are fewer PIDs than locks.
fn look_at_pids(scan: &Scan, processes: &Processes) {
    let pids: BTreeSet<i64> = scan
        .locks
        .iter()
        .filter_map(|found| match found.lock.pid {
            LockPid::Number(pid) => Some(pid),
            LockPid::Missing => None,
        })
        .collect();
    for pid in pids {
        black_box(processes.look(pid));
    }
}
