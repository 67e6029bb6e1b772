//! How many nodes there are and work: counted once for a publication, and again only if a verdict gets too old before the
//! next.

use super::{NodesPart, Standing};
use crate::domain::Uptime;
use crate::domain::verdict::State;

/// Some nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that are up.
    pub working: u64,
    /// All that count: neither disabled nor nobody's.
    pub total: u64,
}

/// The nodes of a part, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Those that this instance answers for.
    pub mine: Count,
    /// All.
    pub fleet: Count,
    /// Until when every state reads as it did, unless another part is published.
    pub until: Uptime,
}

impl NodesPart {
    /// The nodes as they are at `now`.
    #[must_use]
    pub fn tally(&self, now: Uptime) -> Tally {
        self.counted.filter(|counted| now <= counted.until).unwrap_or_else(|| self.count(now))
    }

    /// The same, counted.
    pub(super) fn count(&self, now: Uptime) -> Tally {
        let (mut mine, mut fleet) = (Count::default(), Count::default());
        let mut until = self.valid_until;
        for view in &self.nodes {
            let window = match &view.standing {
                Standing::Mine => Some(self.window),
                Standing::Of { window, .. } => Some(*window),
                Standing::Lost { .. } | Standing::Released => None,
            };
            let end = view.verdict.checked_up.zip(window).map(|(at, window)| at.plus(window));
            until = end.filter(|end| *end >= now).map_or(until, |end| until.min(end));
            if view.is_counted() {
                let working = u64::from(self.state_of(view, now) == State::Up);
                fleet.working += working;
                fleet.total += 1;
                if view.is_mine() {
                    mine.working += working;
                    mine.total += 1;
                }
            }
        }
        // Past its time nothing of it is believed, and that stays so.
        let until = if now > self.valid_until { Uptime(i64::MAX) } else { until };
        Tally { mine, fleet, until }
    }
}

#[cfg(test)]
mod tests {
    use crate::snapshot::{NodesPart, Published};

    #[test]
    fn what_is_published_is_counted() {
        let published = Published::default();
        published.publish_nodes(NodesPart::default());
        let part = published.load().nodes.clone();
        let counted = part.counted.expect("at its publication");
        assert_eq!(part.tally(counted.until), counted);
    }
}
