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
}

impl Passes {
    pub(super) const fn new(now: Now) -> Self {
        Self { current: 1, left: 0, began: now.up, last: Duration::ZERO, swept: None }
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
        self.last = now.up.since(self.began);
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
