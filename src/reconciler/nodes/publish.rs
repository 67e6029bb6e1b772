//! From what is held of the nodes to what readers see.

use std::sync::Arc;

use tokio::time::Instant;

use super::{FLIP_SHARE, PUBLISH_EVERY, RECORD_WAIT, Reconciler};
use crate::clock;
use crate::domain::Exit;
use crate::domain::details::end_text;
use crate::domain::node::Node;
use crate::domain::observation::Reason;
use crate::domain::verdict::{State, Verdict};
use crate::events::{Hub, News, Subject};
use crate::snapshot::NodesPart;

impl Reconciler {
    /// When there is something to publish: a flip once it is recorded, or cannot be; anything else once a second. What
    /// readers see is on record, unless the database fails or keeps us waiting.
    pub(super) fn publish_due(&self) -> Option<Instant> {
        let pace = &self.pace;
        // Before the database was read once there is nothing to say.
        self.known.revision?;
        // The record is worth something at once: nobody waits for the first looks to be told what was true a moment ago.
        if !self.waiting.published.is_empty() || !pace.published {
            return Some(pace.published_at);
        }
        let changed_at = pace.changed?;
        let pause = if pace.flipped {
            // With a hundred thousand nodes it takes tens of milliseconds, and nodes turn by the hundred.
            (pace.publish_cost * FLIP_SHARE).min(PUBLISH_EVERY)
        } else {
            PUBLISH_EVERY
        };
        let due = pace.published_at + pause;
        let on_record = self.dirty.is_empty() || pace.recorded || self.database_fails();
        Some(if on_record { due } else { due.max(changed_at + RECORD_WAIT) })
    }

    pub(super) fn publish(&mut self) {
        crate::failpoint::at("nodes-before-publish");
        let (window, began) = (self.window(), Instant::now());
        self.parts.published.publish_nodes(NodesPart {
            generation: 0,
            window,
            valid_until: self.passes.valid_until(window),
            persisted: self.dirty.is_empty(),
            passed: self.passes.swept.is_some(),
            last_pass: self.passes.last,
            counted: None,
            nodes: self.entries.values().map(|it| Arc::clone(&it.view)).collect(),
        });
        crate::failpoint::at("nodes-published");
        self.pace.published = true;
        self.pace.published_at = Instant::now();
        self.pace.publish_cost = began.elapsed();
        self.pace.changed = None;
        self.pace.flipped = false;
        self.pace.recorded = false;
        for done in self.waiting.published.drain(..) {
            // The caller may have stopped waiting.
            let _ = done.send(());
        }
    }
}

/// One line for a flip, and how the process ended if that was witnessed.
pub(super) fn announce(
    node: &Node,
    previous: &Verdict,
    verdict: &Verdict,
    end: Option<(i64, Exit)>,
) {
    let reason = verdict.reason.map_or("-", Reason::as_str);
    let (name, from, to) = (&node.name, previous.state, verdict.state);
    let end = end.map(|(pid, exit)| format!(": {}", end_text(pid, exit)));
    let text = format!("{}{}", verdict.message, end.unwrap_or_default());
    if to == State::Down {
        tracing::warn!(node = %name, %from, %to, reason, "{text}");
    } else {
        tracing::info!(node = %name, %from, %to, reason, "{text}");
    }
}

/// Tells the listeners what was seen, before it is on record.
pub(super) fn observed(events: &Hub, node: &Node, verdict: &Verdict) {
    if !events.has_listeners() {
        return;
    }
    events.tell(News {
        subject: Subject::Node { id: node.id, name: node.name.clone() },
        state: verdict.state.as_str().to_owned(),
        reason: verdict.reason.map(|it| it.as_str().to_owned()),
        at: verdict.checked_at.unwrap_or_else(|| clock::now().wall),
        committed: None,
    });
}
