//! For the micro-benchmarks: the parser of `/proc/PID/stat`.

/// Reads the line; the start in clock ticks after boot.
#[must_use]
pub fn start_ticks(line: &[u8]) -> Option<u64> {
    super::stat::Stat::parse(line).map(|stat| stat.start_ticks)
}
