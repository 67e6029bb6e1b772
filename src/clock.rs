//! The two clocks of the judgement, read from the kernel.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::domain::Now;
use crate::domain::time::{Timestamp, Uptime};

/// Both clocks: `CLOCK_REALTIME` for what people and files say, `CLOCK_BOOTTIME` for how long it has been.
#[must_use]
pub fn now() -> Now {
    Now { wall: Timestamp(wall()), up: Uptime(millis(clock_gettime(ClockId::Boottime))) }
}

/// `CLOCK_BOOTTIME` alone: how long it has been.
#[must_use]
pub fn uptime() -> Uptime {
    Uptime(millis(clock_gettime(ClockId::Boottime)))
}

/// The processor time of this thread so far: what a step costs, however busy the machine is.
#[must_use]
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (s, ns) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(s.unwrap_or(0), ns.unwrap_or(0))
}

/// `CLOCK_REALTIME` as the C library tells it, so that a test can set it (libfaketime).
fn wall() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

fn millis(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_a_date_and_the_boot_clock_is_not() {
        let first = now();
        let second = now();
        // 2020-01-01; the boot clock counts from the start of this machine.
        assert!(first.wall.0 > 1_577_836_800_000);
        assert!(first.up.0 > 0 && first.up.0 < first.wall.0);
        assert!(second.up >= first.up);
    }
}
