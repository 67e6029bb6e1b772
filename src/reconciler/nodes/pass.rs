//! Passes: when every node has been looked at, and how long that took.

use std::time::Duration;

use crate::domain::{Now, Uptime};

/// The bookkeeping of passes. Nodes have their own times; a pass ends when each was looked at once since it began.
#[derive(Debug)]
pub(super) struct Passes {
    /// Number of the pass under way, from 1.
    pub(super) current: u64,
    /// Nodes that this pass still waits for.
    left: usize,
    began: Uptime,
    /// How long the last whole pass took.
    pub(super) last: Duration,
    /// When the last whole pass ended.
    pub(super) swept: Option<Now>,
    /// When the loop turned last.
    turned: Uptime,
    /// How long of this pass we stood still.
    still: Duration,
}

/// The loop turns every second at least. Longer than this it was stopped, or the machine slept: that is no part of what a
/// pass takes, else the verdicts of after would be believed for as long as the sleep was, and the sleep itself would pass
/// for watching.
const STILL: Duration = Duration::from_secs(3);

impl Passes {
    pub(super) const fn new(now: Now) -> Self {
        Self {
            current: 1,
            left: 0,
            began: now.up,
            last: Duration::ZERO,
            swept: None,
            turned: now.up,
            still: Duration::ZERO,
        }
    }

    /// The loop turns.
    pub(super) fn turn(&mut self, now: Uptime) {
        let gap = now.since(self.turned);
        if gap > STILL {
            self.still += gap;
        }
        self.turned = now;
    }

    /// The nodes that are waited for changed.
    pub(super) const fn expect(&mut self, left: usize) {
        self.left = left;
    }

    /// One of them was looked at.
    pub(super) const fn done(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Has every node been looked at? A pass over no node lasts `interval`.
    pub(super) fn is_over(&self, nodes: usize, interval: Duration, now: Now) -> bool {
        if nodes == 0 {
            self.swept.is_none() || now.up.since(self.began) >= interval
        } else {
            self.left == 0
        }
    }

    /// Ends the pass and begins the next, which waits for `nodes` nodes.
    pub(super) fn end(&mut self, nodes: usize, now: Now) {
        self.last = now.up.since(self.began).saturating_sub(self.still);
        self.still = Duration::ZERO;
        self.swept = Some(now);
        self.began = now.up;
        self.current += 1;
        self.left = nodes;
    }

    /// After this moment no verdict may be believed: W after the end of the last pass, or after the start.
    pub(super) fn valid_until(&self, window: Duration) -> Uptime {
        self.swept.map_or(self.began, |now| now.up).plus(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn at(ms: i64) -> Now {
        Now { wall: Timestamp(1_800_000_000_000 + ms), up: Uptime(ms) }
    }

    #[test]
    fn a_pass_in_which_we_stood_still_took_no_longer_for_it() {
        let mut passes = Passes::new(at(0));
        passes.turn(Uptime(1000));
        passes.end(2, at(1000));
        assert_eq!(passes.last, Duration::from_secs(1));
        // Stopped for ten minutes in the middle of a pass of three seconds.
        for ms in [2000, 602_000, 603_000] {
            passes.turn(Uptime(ms));
        }
        passes.end(2, at(604_000));
        assert_eq!(passes.last, Duration::from_secs(3));
        passes.turn(Uptime(605_000));
        passes.end(2, at(606_000));
        assert_eq!(passes.last, Duration::from_secs(2), "the next is measured anew");
    }

    #[test]
    fn a_loop_that_is_only_slow_is_counted() {
        let mut passes = Passes::new(at(0));
        for ms in [2900, 5800, 8700] {
            passes.turn(Uptime(ms));
        }
        passes.end(1, at(9000));
        assert_eq!(passes.last, Duration::from_secs(9));
    }
}
