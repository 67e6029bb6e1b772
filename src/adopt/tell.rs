//! What is written back of each node, and when: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::domain::time::Uptime;
use crate::domain::verdict::State;
use crate::snapshot::NodesPart;
use crate::store::Told;

/// After this what stands there is written anew: within a minute, though it takes a moment to come to it.
const EVERY: Duration = Duration::from_secs(55);

/// What was written last.
#[derive(Debug, Clone, Default)]
pub struct Tellings(BTreeMap<i64, Telling>);

#[derive(Debug, Clone)]
struct Telling {
    worked: bool,
    said: String,
    at: Uptime,
}

impl Tellings {
    /// What is to be written now of the nodes with these ids, each as it is written there.
    ///
    /// Only of nodes that this instance answers for, that are available and were looked at.
    #[must_use]
    pub fn due(
        &self,
        keys: &BTreeMap<i64, String>,
        part: &NodesPart,
        now: Uptime,
    ) -> Vec<(i64, Told)> {
        let mut due = Vec::new();
        for view in part.nodes.iter().filter(|view| view.is_mine() && view.node.available) {
            let (id, verdict) = (view.node.id, &view.verdict);
            let (Some(key), Some(data)) = (keys.get(&id), &verdict.data) else { continue };
            if verdict.checked_at.is_none() {
                continue;
            }
            let worked = view.state(now, part.window) == State::Up;
            let is_new = self.0.get(&id).is_none_or(|last| {
                last.worked != worked || now.since(last.at) >= EVERY || last.said != said(data)
            });
            if is_new {
                due.push((id, Told { key: key.clone(), worked, data: data.clone() }));
            }
        }
        due
    }

    /// This stands there now.
    pub fn stands(&mut self, told: Vec<(i64, Told)>, now: Uptime) {
        let telling = |told: Told| Telling { worked: told.worked, said: said(&told.data), at: now };
        self.0.extend(told.into_iter().map(|(id, told)| (id, telling(told))));
    }

    /// Rows that are there no more are forgotten.
    pub fn keep(&mut self, keys: &BTreeMap<i64, String>) {
        self.0.retain(|id, _| keys.contains_key(id));
    }
}

/// What a look says apart from its time.
fn said(data: &str) -> String {
    let Ok(mut object) = serde_json::from_str::<Map<String, Value>>(data) else {
        return data.to_owned();
    };
    object.retain(|name, _| name != "last_check" && name != "timestamp");
    Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::node::{Node, Tls};
    use crate::domain::time::Timestamp;
    use crate::domain::verdict::Verdict;
    use crate::snapshot::{NodeView, Standing};

    fn part(state: State, data: &str, change: impl Fn(&mut NodeView)) -> NodesPart {
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
            available: true,
            instance: "here".into(),
            placement: None,
            identity: None,
        };
        let verdict = Verdict {
            state,
            data: Some(data.to_owned()),
            checked_at: Some(Timestamp(1)),
            checked_up: Some(Uptime(0)),
            ..Verdict::default()
        };
        let mut view = NodeView { node, verdict, standing: Standing::Mine };
        change(&mut view);
        let nodes = vec![Arc::new(view)];
        NodesPart { nodes, window: Duration::from_secs(600), ..NodesPart::default() }
    }

    fn keys() -> BTreeMap<i64, String> {
        BTreeMap::from([(1, "1".to_owned())])
    }

    #[test]
    fn a_change_is_told_at_once_and_the_rest_each_minute() {
        let mut tellings = Tellings::default();
        let first = part(State::Up, r#"{"a":1,"last_check":"t1"}"#, |_| {});
        let told = tellings.due(&keys(), &first, Uptime(0));
        assert!(told[0].1.worked);
        tellings.stands(told, Uptime(0));
        let later = part(State::Up, r#"{"a":1,"last_check":"t2"}"#, |_| {});
        assert!(tellings.due(&keys(), &later, Uptime(30_000)).is_empty(), "only its time differs");
        assert_eq!(tellings.due(&keys(), &later, Uptime(59_000)).len(), 1, "within a minute");
        let other = part(State::Up, r#"{"a":2,"last_check":"t2"}"#, |_| {});
        assert_eq!(tellings.due(&keys(), &other, Uptime(1)).len(), 1);
        let down = part(State::Down, r#"{"a":1,"last_check":"t2"}"#, |_| {});
        assert!(!tellings.due(&keys(), &down, Uptime(1))[0].1.worked);
        // Nobody has looked for longer than a verdict counts.
        assert!(!tellings.due(&keys(), &first, Uptime(601_000))[0].1.worked);
        tellings.keep(&BTreeMap::new());
        assert_eq!(tellings.due(&keys(), &later, Uptime(1)).len(), 1, "it is another row now");
    }

    #[test]
    fn nothing_is_told_of_what_is_not_ours_to_tell() {
        let tellings = Tellings::default();
        let due = |change: fn(&mut NodeView)| {
            tellings.due(&keys(), &part(State::Up, "{}", change), Uptime(0)).len()
        };
        assert_eq!(due(|_| {}), 1);
        assert_eq!(due(|view| view.node.available = false), 0);
        assert_eq!(due(|view| view.standing = Standing::Released), 0);
        assert_eq!(due(|view| view.verdict.checked_at = None), 0);
        assert_eq!(due(|view| view.node.id = 2), 0, "no row of theirs");
    }
}
