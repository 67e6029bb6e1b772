//! Where their word on a node and ours differ: pure, for the report.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::adopt::{Code, Difference};
use crate::domain::time::Uptime;
use crate::domain::verdict::State;
use crate::snapshot::{NodeView, NodesPart};
use crate::store::TheirNode;

/// By which rule.
const RULE: &str = "a node works if the method of this program says so now: a PID may be another process, a port another \
                    program, and an old answer is no answer";

/// A node of which they say one thing and we another; see [`differences`].
pub type OfNode = (i64, Difference);

/// Compares what was read with what we publish.
///
/// Only nodes that this instance answers for, that are available and were looked at. One that we know nothing of
/// (`unknown`, `stale`) is not working, here as there.
#[must_use]
pub fn differences(rows: &[TheirNode], part: &NodesPart, now: Uptime) -> Vec<OfNode> {
    let rows: BTreeMap<i64, &TheirNode> = rows.iter().map(|row| (row.id, row)).collect();
    let mine = part.nodes.iter().filter(|view| view.is_mine() && view.node.available);
    let looked_at = mine.filter(|view| view.verdict.checked_at.is_some());
    looked_at
        .filter_map(|view| {
            let row = rows.get(&view.node.id)?;
            let (ours, theirs) = (view.state(now, part.window), row.worked.unwrap_or(false));
            (theirs != (ours == State::Up))
                .then(|| (view.node.id, difference(row, view, ours, theirs)))
        })
        .collect()
}

fn difference(row: &TheirNode, view: &NodeView, ours: State, theirs: bool) -> Difference {
    let word = if theirs { "worked" } else { "not worked" };
    let said = row.worked_data.as_deref().and_then(message);
    let why = view.reason().map_or("", crate::domain::observation::Reason::as_str);
    Difference {
        code: Code::NodeState,
        theirs: said.map_or_else(|| word.to_owned(), |said| format!("{word}: {said}")),
        ours: if why.is_empty() { ours.to_string() } else { format!("{ours} ({why})") },
        rule: RULE,
    }
}

fn message(data: &str) -> Option<String> {
    let object: Map<String, Value> = serde_json::from_str(data).ok()?;
    object.get("message")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::node::Node;
    use crate::domain::observation::Reason;
    use crate::domain::time::Timestamp;
    use crate::domain::verdict::Verdict;
    use crate::snapshot::Standing;

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
        let node = Node { id: 1, available, ..Node::new("a", "h", 1, "here") };
        let verdict = Verdict {
            state,
            reason: Some(Reason::PortClosed),
            checked_at: Some(Timestamp(1)),
            checked_up: Some(Uptime(0)),
            ..Verdict::default()
        };
        let view = NodeView { node: node.into(), verdict, standing: Standing::Mine };
        let window = Duration::from_secs(600);
        NodesPart { nodes: vec![Arc::new(view)], window, ..NodesPart::default() }
    }

    #[test]
    fn a_node_that_works_for_one_alone() {
        let down = part(State::Down, true);
        let told = differences(&[row(true)], &down, Uptime(1));
        let [(1, it)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(
            (it.theirs.as_str(), it.ours.as_str()),
            ("worked: Process is running", "down (port_closed)")
        );
        assert!(differences(&[row(false)], &down, Uptime(1)).is_empty());
        let up = part(State::Up, true);
        assert!(differences(&[row(true)], &up, Uptime(1)).is_empty());
        assert_eq!(differences(&[row(false)], &up, Uptime(1)).len(), 1);
    }

    #[test]
    fn what_is_not_looked_at_differs_from_nothing() {
        for (rows, part) in [
            (vec![row(true)], part(State::Down, false)),
            (vec![], part(State::Down, true)),
            (vec![row(false)], part(State::Unknown, true)),
        ] {
            assert!(differences(&rows, &part, Uptime(1)).is_empty());
        }
    }
}
