//! What the service takes: memory, descriptors, processor time, read from /proc apart from its own code.

use std::fs;
use std::time::Duration;

/// A run that is shorter proves nothing of memory: the first minutes fill what is kept.
pub const JUDGED_FROM: Duration = Duration::from_mins(10);

/// One look.
#[derive(Debug, Clone, Copy)]
struct Sample {
    resident_kib: u64,
    descriptors: u64,
}

/// All looks at one life of a process.
#[derive(Debug, Default)]
pub struct Usage(Vec<Sample>);

/// The medians of the first, the middle and the last third.
pub type Thirds = [u64; 3];

impl Usage {
    /// Looks at it.
    pub fn look(&mut self, pid: i32) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident_kib =
            resident.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.0.push(Sample { resident_kib, descriptors: descriptors as u64 });
    }

    /// KiB.
    pub fn resident(&self) -> Thirds {
        self.thirds(|sample| sample.resident_kib)
    }

    /// How many.
    pub fn descriptors(&self) -> Thirds {
        self.thirds(|sample| sample.descriptors)
    }

    fn thirds(&self, of: impl Fn(&Sample) -> u64) -> Thirds {
        let all: Vec<u64> = self.0.iter().map(of).collect();
        let part = (all.len() / 3).max(1);
        [0, 1, 2].map(|third| {
            let mut some: Vec<u64> = all.iter().skip(third * part).take(part).copied().collect();
            some.sort_unstable();
            some.get(some.len() / 2).copied().unwrap_or(0)
        })
    }
}

/// Does the last third take no more than a twentieth more than the middle one?
pub const fn is_flat([_, middle, last]: Thirds) -> bool {
    last * 20 <= middle * 21
}

/// Processor time of a process so far.
pub fn cpu(pid: i32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        text.rsplit_once(')').map_or("", |it| it.1).split_whitespace().collect();
    // From the letter of the state on; utime and stime, in ticks of 10 ms.
    let ticks = |at: usize| fields.get(at).and_then(|it| it.parse().ok()).unwrap_or(0_u64);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
