//! What is written back of each node, and when: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::domain::observation::Reason;
use crate::domain::time::Uptime;
use crate::domain::verdict::{State, Verdict};
use crate::snapshot::NodesPart;
use crate::store::Told;

/// After this what stands there is written anew: within a minute, though it takes a moment to come to it.
const EVERY: Duration = Duration::from_secs(55);

/// How long a row that was refused is left alone.
const REFUSED_PAUSE: Duration = Duration::from_mins(1);

/// Most characters of what the database says of a row.
const LONGEST: usize = 300;

/// What was written last, and what could not be.
#[derive(Debug, Clone, Default)]
pub struct Tellings {
    last: BTreeMap<i64, Telling>,
    refused: BTreeMap<i64, Refusal>,
}

#[derive(Debug, Clone)]
struct Telling {
    worked: bool,
    said: String,
    at: Uptime,
}

#[derive(Debug, Clone)]
struct Refusal {
    key: String,
    why: String,
    at: Uptime,
}

/// What is to be written now, each with the node's id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Many at once.
    pub together: Vec<(i64, Told)>,
    /// One by one: these were refused before, and would take others with them.
    pub alone: Vec<(i64, Told)>,
}

impl Tellings {
    /// What is to be written now of the nodes with these ids, each as it is written there.
    ///
    /// Only of nodes that this instance answers for, that are available and were looked at, and whose last look says what
    /// is told of them: otherwise what stands there stays.
    #[must_use]
    pub fn due(&self, keys: &BTreeMap<i64, String>, part: &NodesPart, now: Uptime) -> Due {
        let mut due = Due::default();
        for view in part.nodes.iter().filter(|view| view.is_mine() && view.node.available) {
            let (id, verdict) = (view.node.id, &view.verdict);
            let (Some(key), Some(data)) = (keys.get(&id), &verdict.data) else { continue };
            let state = view.state(now, part.window);
            if verdict.checked_at.is_none() || !is_of_its_look(verdict, state) {
                continue;
            }
            let worked = state == State::Up;
            let is_new = self.last.get(&id).is_none_or(|last| {
                last.worked != worked || now.since(last.at) >= EVERY || last.said != said(data)
            });
            let refused = self.refused.get(&id);
            let rests = refused.is_some_and(|it| now.since(it.at) < REFUSED_PAUSE);
            if is_new && !rests {
                let list = if refused.is_some() { &mut due.alone } else { &mut due.together };
                list.push((id, Told { key: key.clone(), worked, data: data.clone() }));
            }
        }
        due
    }

    /// This stands there now.
    pub fn stands(&mut self, told: &[(i64, Told)], now: Uptime) {
        for (id, told) in told {
            self.refused.remove(id);
            self.last.insert(*id, Telling { worked: told.worked, said: said(&told.data), at: now });
        }
    }

    /// This row alone could not be written; `why` in the database's words.
    pub fn refuse(&mut self, (id, told): &(i64, Told), why: &str, now: Uptime) {
        let why = why.chars().take(LONGEST).collect();
        self.refused.insert(*id, Refusal { key: told.key.clone(), why, at: now });
    }

    /// The rows that could not be written, as their ids are written there, and why.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &str)> {
        self.refused.values().map(|it| (it.key.as_str(), it.why.as_str()))
    }

    /// Rows that are there no more are forgotten, and refusals of those that are not ours to tell any more.
    pub fn keep(&mut self, keys: &BTreeMap<i64, String>, is_ours: impl Fn(i64) -> bool) {
        self.last.retain(|id, _| keys.contains_key(id));
        self.refused.retain(|id, _| keys.contains_key(id) && is_ours(*id));
    }
}

/// Does the last look say what is told of the node? Not if the verdict is too old to count, if the look did not turn it
/// yet (the thresholds), or if the look was that of an instance which was lost since.
fn is_of_its_look(verdict: &Verdict, state: State) -> bool {
    state == verdict.state && verdict.streak == 0 && verdict.reason != Some(Reason::InstanceLost)
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
    use crate::domain::node::Node;
    use crate::domain::time::Timestamp;
    use crate::snapshot::{NodeView, Standing};

    fn part(state: State, data: &str, change: impl Fn(&mut NodeView)) -> NodesPart {
        let node = Node { id: 1, ..Node::new("a", "h", 1, "here") };
        let verdict = Verdict {
            state,
            data: Some(data.to_owned()),
            checked_at: Some(Timestamp(1)),
            checked_up: Some(Uptime(0)),
            ..Verdict::default()
        };
        let mut view = NodeView { node: node.into(), verdict, standing: Standing::Mine };
        change(&mut view);
        let nodes = vec![Arc::new(view)];
        NodesPart { nodes, window: Duration::from_secs(600), ..NodesPart::default() }
    }

    fn keys() -> BTreeMap<i64, String> {
        BTreeMap::from([(1, "1".to_owned())])
    }

    /// What is due is written.
    fn tell(tellings: &mut Tellings, part: &NodesPart, now: Uptime) -> Vec<bool> {
        let due = tellings.due(&keys(), part, now).together;
        tellings.stands(&due, now);
        due.iter().map(|(_, told)| told.worked).collect()
    }

    #[test]
    fn a_change_is_told_at_once_and_the_rest_each_minute() {
        let mut tellings = Tellings::default();
        let first = part(State::Up, r#"{"a":1,"last_check":"t1"}"#, |_| {});
        assert_eq!(tell(&mut tellings, &first, Uptime(0)), [true]);
        let due = |tellings: &Tellings, part: &NodesPart, now| {
            tellings.due(&keys(), part, Uptime(now)).together
        };
        let later = part(State::Up, r#"{"a":1,"last_check":"t2"}"#, |_| {});
        assert!(due(&tellings, &later, 30_000).is_empty(), "only its time differs");
        assert_eq!(due(&tellings, &later, 59_000).len(), 1, "within a minute");
        let other = part(State::Up, r#"{"a":2,"last_check":"t2"}"#, |_| {});
        assert_eq!(due(&tellings, &other, 1).len(), 1);
        let down = part(State::Down, r#"{"a":1,"last_check":"t2"}"#, |_| {});
        assert!(!due(&tellings, &down, 1)[0].1.worked);
        tellings.keep(&BTreeMap::new(), |_| true);
        assert_eq!(due(&tellings, &later, 1).len(), 1, "it is another row now");
    }

    #[test]
    fn what_stands_there_stays_until_a_look_says_what_is_told() {
        let mut tellings = Tellings::default();
        let answers = r#"{"message":"API is responding"}"#;
        let up = part(State::Up, answers, |_| {});
        assert_eq!(tell(&mut tellings, &up, Uptime(0)), [true]);
        // Nobody has looked for longer than a verdict counts: nothing is told, each minute neither.
        for now in [601_000, 700_000, 7_000_000] {
            assert_eq!(up.nodes[0].state(Uptime(now), up.window), State::Stale);
            assert_eq!(tellings.due(&keys(), &up, Uptime(now)), Due::default());
        }
        let looked = Some(Uptime(7_000_000));
        let fresh = part(State::Up, answers, |view| view.verdict.checked_up = looked);
        assert_eq!(tell(&mut tellings, &fresh, Uptime(7_000_001)), [true], "a fresh look is told");
        for (state, why, change) in [
            (
                State::Down,
                "it answers, not often enough yet",
                (|it| it.streak = 1) as fn(&mut Verdict),
            ),
            (State::Up, "it does not, not often enough yet", |it| it.streak = 1),
            (State::Unknown, "a lost one looked", |it| it.reason = Some(Reason::InstanceLost)),
            (State::Up, "how old it is is not known", |it| it.checked_up = None),
        ] {
            let part = part(state, answers, |view| change(&mut view.verdict));
            assert_eq!(Tellings::default().due(&keys(), &part, Uptime(0)), Due::default(), "{why}");
        }
    }

    #[test]
    fn a_row_that_is_refused_rests_for_a_minute_and_is_then_told_alone() {
        let mut tellings = Tellings::default();
        let up = part(State::Up, "{}", |_| {});
        let due = tellings.due(&keys(), &up, Uptime(0)).together.remove(0);
        tellings.refuse(&due, &"ж".repeat(400), Uptime(0));
        assert_eq!(tellings.refused().collect::<Vec<_>>(), [("1", "ж".repeat(300).as_str())]);
        let down = part(State::Down, "{}", |_| {});
        assert_eq!(tellings.due(&keys(), &down, Uptime(59_999)), Due::default());
        let again = tellings.due(&keys(), &down, Uptime(60_000));
        assert_eq!((again.together.len(), again.alone.len()), (0, 1));
        tellings.stands(&again.alone, Uptime(60_000));
        assert_eq!(tellings.refused().count(), 0);
        assert_eq!(tellings.due(&keys(), &up, Uptime(60_001)).together.len(), 1);
        tellings.refuse(&due, "no", Uptime(0));
        tellings.keep(&keys(), |_| false);
        assert_eq!(tellings.refused().count(), 0, "another instance tells it");
    }

    #[test]
    fn nothing_is_told_of_what_is_not_ours_to_tell() {
        let tellings = Tellings::default();
        let due = |change: fn(&mut NodeView)| {
            tellings.due(&keys(), &part(State::Up, "{}", change), Uptime(0)).together.len()
        };
        assert_eq!(due(|_| {}), 1);
        assert_eq!(due(|view| Arc::make_mut(&mut view.node).available = false), 0);
        assert_eq!(due(|view| view.standing = Standing::Released), 0);
        assert_eq!(due(|view| view.verdict.checked_at = None), 0);
        assert_eq!(due(|view| Arc::make_mut(&mut view.node).id = 2), 0, "no row of theirs");
    }
}
