//! What is true of one subject since when, and the comparisons of that with what is told.

use std::time::{Duration, Instant};

/// The longest time after which what has changed is told, and after which a fault of ours leaves no trace: an interval,
/// the longest check, the wait for the record, and as much again for a machine that does other things.
pub const DELAY: Duration = Duration::from_secs(12);

/// Since when a subject is what it is.
#[derive(Debug)]
pub struct Since {
    at: Instant,
    /// It was told as it is.
    pub told: bool,
    /// A fault of ours stands between the change and its being told.
    disturbed: bool,
}

impl Since {
    /// It changed now.
    pub fn now() -> Self {
        Self { at: Instant::now(), told: false, disturbed: false }
    }
}

/// All comparisons.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Of what has stood for [`DELAY`], with no fault of ours in that time.
    pub compared: u64,
    /// How long it took until a change was told, where no fault was in between, as it was seen once a second.
    pub delays: Vec<Duration>,
    /// What was told otherwise although it had stood that long.
    pub drifts: Vec<String>,
}

impl Ledger {
    /// One comparison. `calm`: how long there was no fault of ours; none during one.
    pub fn compare(
        &mut self,
        since: &mut Since,
        calm: Option<Duration>,
        is_told: bool,
        otherwise: impl FnOnce() -> String,
    ) {
        let stands = since.at.elapsed();
        since.disturbed |= !since.told && calm.is_none_or(|calm| calm < stands);
        let settled = stands > DELAY && calm.is_some_and(|calm| calm > DELAY);
        self.compared += u64::from(settled);
        if !is_told && settled {
            self.drifts.push(otherwise());
        }
        if is_told && !since.told {
            since.told = true;
            if !since.disturbed {
                self.delays.push(stands);
            }
        }
    }

    /// Takes over another one's.
    pub fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.delays.extend(other.delays);
        self.drifts.extend(other.drifts);
    }

    /// The delay that this share of all changes did not exceed.
    pub fn delay(&mut self, percent: usize) -> Duration {
        self.delays.sort_unstable();
        let at = (self.delays.len() * percent / 100).min(self.delays.len().saturating_sub(1));
        self.delays.get(at).copied().unwrap_or_default()
    }
}
