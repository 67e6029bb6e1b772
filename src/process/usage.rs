//! What this process itself takes of the machine.

use std::fs;
use std::time::Duration;

use super::descriptors::descriptor_limit;

/// What it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Processor time of all its threads, in user and kernel mode.
    pub cpu: Duration,
    /// Memory that is resident, bytes.
    pub resident: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// How many it may have.
    pub descriptor_limit: u64,
}

impl Usage {
    /// As it is now; `None` where `/proc` does not tell.
    #[must_use]
    pub fn now() -> Option<Self> {
        let stat = fs::read("/proc/self/stat").ok()?;
        let (ticks, pages) = parse(&stat)?;
        let a_second = rustix::param::clock_ticks_per_second().max(1);
        Some(Self {
            cpu: Duration::from_millis(ticks.saturating_mul(1000) / a_second),
            resident: pages.saturating_mul(rustix::param::page_size() as u64),
            descriptors: descriptors()?,
            descriptor_limit: descriptor_limit(),
        })
    }
}

/// Linux from 6.2 on gives the number as the directory's size; before, they are counted.
fn descriptors() -> Option<u64> {
    let dir = "/proc/self/fd";
    let size = fs::metadata(dir).ok()?.len();
    if size > 0 {
        return Some(size);
    }
    // One of them is the directory's own.
    let count = u64::try_from(fs::read_dir(dir).ok()?.count()).ok()?;
    Some(count.saturating_sub(1))
}

/// Processor time in clock ticks (fields 14 and 15) and resident pages (field 24), `proc_pid_stat(5)`.
fn parse(line: &[u8]) -> Option<(u64, u64)> {
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(end + 1..)?).ok()?;
    // The first of them is field 3.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)?.checked_add(field(15)?)?, field(24)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_real_process() {
        let line = b"4711 (a) b) S 1 4711 4711 0 -1 4194560 1051 0 0 0 31 11 0 0 20 0 1 0 8675309 14512128 1200 1844\n";
        assert_eq!(parse(line), Some((42, 1200)));
        assert_eq!(parse(b"4711 (a) S 1 2"), None);
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let before = Usage::now().unwrap();
        let files: Vec<_> = (0..5).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        let after = Usage::now().unwrap();
        assert!(before.resident > 100_000, "{before:?}");
        assert!(after.descriptors >= 5 && after.descriptors <= after.descriptor_limit, "{after:?}");
        assert!(after.cpu >= before.cpu);
        drop(files);
    }
}
