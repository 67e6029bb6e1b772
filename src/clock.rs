//! The two clocks of the judgement, read from the kernel.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::domain::Now;
use crate::domain::time::{Timestamp, Uptime};

/// Both clocks: `CLOCK_REALTIME` for what people and files say, `CLOCK_BOOTTIME` for how long it has been.
#[must_use]
pub fn now() -> Now {
    Now { wall: Timestamp(wall()), up: Uptime(millis(clock_gettime(ClockId::Boottime))) }
}

/// By the C library, where the tests put other times in its place.
fn wall() -> i64 {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    }
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
