//! For `fuzz/`: the parser of `/proc/PID/stat`.

#![allow(clippy::missing_panics_doc)] // A panic is how a target tells what it found.

use super::stat::Stat;

/// Reads bytes as such a line.
pub fn stat(bytes: &[u8]) {
    if let Some(stat) = Stat::parse(bytes) {
        assert!(!(stat.is_zombie() && stat.is_stopped()), "one state at a time");
        let _ = stat.is_kernel_thread();
    }
}
