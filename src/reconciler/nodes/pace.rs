//! When what is due: what the reconciler has to remember between two turns of its loop.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Now;

/// When what is due.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Each is its own fact; none excludes another.
pub(super) struct Pace {
    /// There is something to publish, since then.
    pub(super) changed: Option<Instant>,
    /// Something turned since the last publication.
    pub(super) flipped: bool,
    /// The registry is to be read now.
    pub(super) reload: bool,
    /// Something was recorded since the last publication.
    pub(super) recorded: bool,
    pub(super) started: Instant,
    pub(super) published_at: Instant,
    /// How long that took.
    pub(super) publish_cost: Duration,
    /// Readers see something.
    pub(super) published: bool,
    pub(super) recorded_at: Instant,
    pub(super) record_cost: Duration,
    pub(super) synced_at: Option<Instant>,
    /// The last job was a read.
    pub(super) synced_last: bool,
    /// The last pass of which everything is on record.
    pub(super) vouched: Option<Now>,
    /// The same, once the record that is under way stands.
    pub(super) vouching: Option<Now>,
    pub(super) beat_at: Option<Instant>,
    /// A pass ended since the last heartbeat.
    pub(super) passed: bool,
    /// A heartbeat was written: one that is lost for long is found by time alone, so now it is looked for.
    pub(super) beaten: bool,
    /// When the database failed us last.
    pub(super) failed_at: Option<Instant>,
    /// When it was looked last for what is to be told.
    pub(super) told_at: Option<Instant>,
}

impl Pace {
    pub(super) const fn new(started: Instant) -> Self {
        Self {
            changed: None,
            flipped: false,
            reload: false,
            recorded: false,
            started,
            published_at: started,
            publish_cost: Duration::ZERO,
            published: false,
            recorded_at: started,
            record_cost: Duration::ZERO,
            synced_at: None,
            synced_last: false,
            vouched: None,
            vouching: None,
            beat_at: None,
            passed: false,
            beaten: false,
            failed_at: None,
            told_at: None,
        }
    }

    /// There is something to publish.
    pub(super) fn change(&mut self) {
        self.changed.get_or_insert_with(Instant::now);
    }
}
