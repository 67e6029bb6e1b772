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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::node::{Node, Tls};
    use crate::domain::verdict::Verdict;
    use crate::snapshot::{NodeView, Standing};

    fn row(worked: bool) -> TheirNode {
        TheirNode {
            id: 1,
            key: "1".into(),
            name: "a".into(),
            title: None,
            host: "h".into(),
            port: 1,
            username: None,
            password: None,
            daemon: None,
            pid: None,
            available: true,
            worked: Some(worked),
            worked_data: Some(r#"{"message":"Process is running"}"#.into()),
        }
    }

    fn part(state: State, available: bool) -> NodesPart {
        let node = Node {
            id: 1,
            name: "a".into(),
            title: None,
            host: "h".into(),
            port: 1,
            tls: Tls::Off,
            username: None,
            password: None,
            daemon: None,
            pid: None,
            pid_file: None,
            process_name: "x".into(),
            available,
            instance: "here".into(),
            placement: None,
            identity: None,
        };
        let verdict = Verdict {
            state,
            reason: Some(Reason::PortClosed),
            checked_at: Some(Timestamp(1)),
            checked_up: Some(Uptime(0)),
            ..Verdict::default()
        };
        let view = NodeView { node, verdict, standing: Standing::Mine };
        let window = Duration::from_secs(600);
        NodesPart { nodes: vec![Arc::new(view)], window, ..NodesPart::default() }
    }

    fn at(secs: i64) -> Now {
        Now { wall: Timestamp(secs * 1000), up: Uptime(secs * 1000) }
    }

    #[test]
    fn a_difference_is_one_once_it_lasts() {
        let patience = Duration::from_secs(60);
        let down = part(State::Down, true);
        let (seen, told) = Compared::default().after(&[row(true)], &down, patience, at(10));
        assert!(told.is_empty(), "they had no time to look");
        let (seen, told) = seen.after(&[row(true)], &down, patience, at(70));
        assert!(told.is_empty(), "not longer yet");
        let (seen, told) = seen.after(&[row(true)], &down, patience, at(71));
        let [it] = &told[..] else { panic!("{told:?}") };
        assert_eq!((it.theirs, it.ours, it.since), (true, State::Down, Timestamp(10_000)));
        assert_eq!(it.theirs_message.as_deref(), Some("Process is running"));
        assert_eq!(it.reason, Some(Reason::PortClosed));
        // They came to agree, then not: it begins anew.
        let (seen, told) = seen.after(&[row(false)], &down, patience, at(80));
        assert!(told.is_empty());
        let (_, told) = seen.after(&[row(true)], &down, patience, at(90));
        assert!(told.is_empty());
    }

    #[test]
    fn the_other_way_round_is_another_difference() {
        let patience = Duration::from_secs(60);
        let (seen, _) =
            Compared::default().after(&[row(true)], &part(State::Down, true), patience, at(0));
        let (_, told) = seen.after(&[row(false)], &part(State::Up, true), patience, at(100));
        assert!(told.is_empty(), "{told:?}");
    }

    #[test]
    fn what_is_not_looked_at_differs_from_nothing() {
        let compared = Compared::default();
        for (rows, part) in [
            (vec![row(true)], part(State::Down, false)),
            (vec![], part(State::Down, true)),
            (vec![row(false)], part(State::Unknown, true)),
        ] {
            let (seen, told) = compared.after(&rows, &part, Duration::ZERO, at(1));
            assert!(told.is_empty() && seen.0.is_empty());
        }
    }
}
