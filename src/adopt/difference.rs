//! Where their word on a node and ours stay different: pure, for the report.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::domain::observation::Reason;
use crate::domain::time::{Now, Timestamp, Uptime};
use crate::domain::verdict::State;
use crate::snapshot::NodesPart;
use crate::store::TheirNode;

/// A node of which they say one thing and we another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDifference {
    /// The node.
    pub id: i64,
    /// Its name here.
    pub name: String,
    /// What `worked` says in their table.
    pub theirs: bool,
    /// The message in their `worked_data`.
    pub theirs_message: Option<String>,
    /// What it is by us.
    pub ours: State,
    /// Why, by us.
    pub reason: Option<Reason>,
    /// When they were first seen to differ.
    pub since: Timestamp,
}

/// Since when each node is seen differently, from one reading of their table to the next.
#[derive(Debug, Clone, Default)]
pub struct Compared(BTreeMap<i64, (bool, Now)>);

impl Compared {
    /// Compares what was read with what we publish. Gives those that have differed for longer than `patience`.
    ///
    /// Only nodes that this instance answers for, that are available and were looked at. One that we know nothing of
    /// (`unknown`, `stale`) is not working, here as there.
    #[must_use]
    pub fn after(
        &self,
        rows: &[TheirNode],
        part: &NodesPart,
        patience: Duration,
        now: Now,
    ) -> (Self, Vec<NodeDifference>) {
        let (mut next, mut lasting) = (BTreeMap::new(), Vec::new());
        let rows: BTreeMap<i64, &TheirNode> = rows.iter().map(|row| (row.id, row)).collect();
        for view in part.nodes.iter().filter(|view| view.is_mine() && view.node.available) {
            let id = view.node.id;
            let Some(row) = rows.get(&id).filter(|_| view.verdict.checked_at.is_some()) else {
                continue;
            };
            let (ours, theirs) = (view.state(now.up, part.window), row.worked.unwrap_or(false));
            if theirs == (ours == State::Up) {
                continue;
            }
            // The other way round is another difference.
            let known = self.0.get(&id).filter(|(was, _)| *was == theirs);
            let since = known.map_or(now, |(_, since)| *since);
            next.insert(id, (theirs, since));
            if lasts(since.up, now.up, patience) {
                lasting.push(NodeDifference {
                    id,
                    name: view.node.name.clone(),
                    theirs,
                    theirs_message: row.worked_data.as_deref().and_then(message),
                    ours,
                    reason: view.reason(),
                    since: since.wall,
                });
            }
        }
        (Self(next), lasting)
    }
}

fn lasts(since: Uptime, now: Uptime, patience: Duration) -> bool {
    now.since(since) > patience
}

fn message(data: &str) -> Option<String> {
    let object: Map<String, Value> = serde_json::from_str(data).ok()?;
    object.get("message")?.as_str().map(str::to_owned)
}
