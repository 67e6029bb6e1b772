//! From their rows and what we hold of them to what is written: pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::Service;
use crate::domain::fleet::Placement;
use crate::domain::node::{DEFAULT_PROCESS_NAME, Node, Tls, check_name};
use crate::registry::check;
use crate::store::{NewNode, NodeWrite, Origin, StoredNode, TheirFault, TheirNode};

/// Longest title and daemon, in characters.
const LONGEST: usize = 255;

/// Their nodes, as far as they can be ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// By id, with their ids; what they have no column for is as in any new node.
    pub nodes: Vec<Node>,
    /// Rows that are not taken.
    pub left_out: Vec<LeftOut>,
    /// Rows that are taken under another name.
    pub renamed: Vec<LeftOut>,
}

/// A row, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// As it is written there.
    pub id: String,
    /// What is wrong.
    pub problem: String,
}

/// What of their rows can be nodes of ours.
///
/// A name that breaks our rules, or that another row has too, becomes `node-<id>`; a port or a host that cannot be
/// leaves the row out.
#[must_use]
pub fn take(rows: &[Result<TheirNode, TheirFault>]) -> Taken {
    let mut taken = Taken::default();
    let mut good: BTreeMap<i64, (&TheirNode, Node)> = BTreeMap::new();
    for row in rows {
        let theirs = match row {
            Ok(theirs) => theirs,
            Err(TheirFault { id, problem }) => {
                let (id, problem) = (id.clone(), problem.clone());
                taken.left_out.push(LeftOut { id, problem });
                continue;
            }
        };
        let fault = |problem| LeftOut { id: theirs.key.clone(), problem };
        match node(theirs) {
            Ok(_) if good.contains_key(&theirs.id) => {
                taken.left_out.push(fault("another row has this id".to_owned()));
            }
            Ok(node) => {
                good.insert(theirs.id, (theirs, node));
            }
            Err(problem) => taken.left_out.push(fault(problem)),
        }
    }
    name_all(good, &mut taken);
    taken
}

/// Names that may be come first; then the others are given theirs.
fn name_all(good: BTreeMap<i64, (&TheirNode, Node)>, taken: &mut Taken) {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut nameless = Vec::new();
    for (theirs, node) in good.into_values() {
        let problem = match check_name(&theirs.name) {
            Ok(()) if names.insert(theirs.name.clone()) => {
                taken.nodes.push(Node { name: theirs.name.clone(), ..node });
                continue;
            }
            Ok(()) => format!("another row is named '{}' too", theirs.name),
            Err(problem) => format!("its name {problem}"),
        };
        nameless.push((theirs, node, problem));
    }
    for (theirs, mut node, problem) in nameless {
        node.name = format!("node-{}", theirs.id);
        let id = theirs.key.clone();
        if names.insert(node.name.clone()) {
            let problem = format!("{problem}; it is '{}' here", node.name);
            taken.renamed.push(LeftOut { id, problem });
            if node.title.as_deref().is_none_or(str::is_empty) {
                node.title = shown(Some(&theirs.name));
            }
            taken.nodes.push(node);
        } else {
            let problem = format!("{problem}, and another is named '{}'", node.name);
            taken.left_out.push(LeftOut { id, problem });
        }
    }
    taken.nodes.sort_by_key(|node| node.id);
}

/// A row as a node without a name.
fn node(theirs: &TheirNode) -> Result<Node, String> {
    let port = u16::try_from(theirs.port).ok().filter(|port| *port > 0);
    let node = Node {
        id: theirs.id,
        name: String::new(),
        title: shown(theirs.title.as_deref()),
        host: theirs.host.trim_matches(['[', ']']).to_owned(),
        port: port.ok_or_else(|| format!("port {} is none of 1 to 65535", theirs.port))?,
        // Their table knows wallets alone.
        service: Service::default(),
        tls: Tls::Off,
        username: theirs.username.clone(),
        password: theirs.password.clone(),
        daemon: shown(theirs.daemon.as_deref()),
        pid: theirs.pid.filter(|pid| (1..=i64::from(i32::MAX)).contains(pid)),
        pid_file: None,
        process_name: DEFAULT_PROCESS_NAME.to_owned(),
        available: theirs.available,
        instance: String::new(),
        placement: None,
        maintenance_until: None,
        identity: None,
    };
    check(&node).map_err(|error| error.to_string())?;
    Ok(node)
}

/// What is only shown, within our bounds.
fn shown(text: Option<&str>) -> Option<String> {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.map(|text| text.chars().take(LONGEST).map(plain).collect())
}

/// What has to be written so that what we hold (`ours`, all of it mirrored) is what they have. What is new is registered
/// with `instance`, and so is what was registered with one that is `lost`: what only that one could see nobody would look
/// at.
#[must_use]
pub fn plan(
    taken: &[Node],
    ours: &[StoredNode],
    instance: &str,
    lost: &BTreeSet<String>,
) -> Vec<NodeWrite> {
    let held: BTreeMap<i64, &StoredNode> = ours.iter().map(|it| (it.node.id, it)).collect();
    let wanted: BTreeSet<i64> = taken.iter().map(|node| node.id).collect();
    let gone = held.keys().filter(|id| !wanted.contains(id));
    let mut writes: Vec<NodeWrite> = gone.map(|id| NodeWrite::Delete(*id)).collect();
    let (mut edits, mut inserts) = (BTreeMap::new(), Vec::new());
    for theirs in taken {
        match held.get(&theirs.id) {
            Some(it) => {
                let of = &it.node.instance;
                let instance = if lost.contains(of) { instance } else { of };
                edits.extend(edit(theirs, it, instance).map(|edit| (theirs.id, edit)));
            }
            None => inserts.push(NodeWrite::Insert(new(theirs, instance))),
        }
    }
    writes.extend(out_of_the_way(&mut edits, &held));
    let update = |edit: Edit| NodeWrite::Update {
        node: edit.node,
        version: edit.version,
        reset: edit.reset,
    };
    writes.extend(edits.into_values().map(update));
    writes.extend(inserts);
    writes
}

struct Edit {
    node: Node,
    version: i64,
    reset: bool,
}

fn edit(theirs: &Node, ours: &StoredNode, instance: &str) -> Option<Edit> {
    let now = &ours.node;
    let node = Node {
        name: theirs.name.clone(),
        title: theirs.title.clone(),
        host: theirs.host.clone(),
        port: theirs.port,
        username: theirs.username.clone(),
        password: theirs.password.clone(),
        daemon: theirs.daemon.clone(),
        // A file with the PID was given here: it is the later word.
        pid: theirs.pid.filter(|_| now.pid_file.is_none()),
        available: theirs.available,
        // The owner follows: whom a node is registered with claims it.
        instance: instance.to_owned(),
        ..now.clone()
    };
    // Another PID is the same server, started again: what is held of it stands until the next look.
    let reset = !Node { pid: now.pid, ..node.clone() }.same_target(now);
    (node != *now).then_some(Edit { node, version: ours.version, reset })
}

fn new(theirs: &Node, instance: &str) -> NewNode {
    let node = Node { instance: instance.to_owned(), ..theirs.clone() };
    let owner = match Placement::of(&node) {
        Placement::On(name) => name.to_owned(),
        Placement::Any => instance.to_owned(),
    };
    NewNode { node, origin: Origin::Adopted, owner }
}

/// Two nodes may have changed names, and no name may stand twice at any moment: a name that another one takes is given
/// up first, for one that no node can have.
fn out_of_the_way(
    edits: &mut BTreeMap<i64, Edit>,
    held: &BTreeMap<i64, &StoredNode>,
) -> Vec<NodeWrite> {
    let holders: BTreeMap<&str, i64> =
        held.iter().map(|(id, it)| (it.node.name.as_str(), *id)).collect();
    let in_the_way: BTreeSet<i64> = edits
        .iter()
        .filter_map(|(id, edit)| holders.get(edit.node.name.as_str()).filter(|it| *it != id))
        .copied()
        .collect();
    let mut writes = Vec::new();
    for id in in_the_way {
        // One that is removed is out of the way already.
        let (Some(edit), Some(it)) = (edits.get_mut(&id), held.get(&id)) else { continue };
        let node = Node { name: format!("/{id}"), ..it.node.clone() };
        writes.push(NodeWrite::Update { node, version: it.version, reset: false });
        edit.version += 1;
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::node::Password;
    use crate::domain::verdict::Verdict;

    fn theirs(id: i64, name: &str) -> TheirNode {
        TheirNode {
            id,
            key: id.to_string(),
            name: name.to_owned(),
            title: None,
            host: "127.0.0.1".to_owned(),
            port: 18_082,
            username: None,
            password: None,
            daemon: None,
            pid: Some(7),
            available: true,
            worked: None,
            worked_data: None,
        }
    }

    fn taken(rows: &[TheirNode]) -> Taken {
        take(&rows.iter().cloned().map(Ok).collect::<Vec<_>>())
    }

    fn stored(node: &Node, version: i64) -> StoredNode {
        StoredNode {
            node: Node { instance: "here".to_owned(), ..node.clone() },
            version,
            origin: Origin::Adopted,
            owner: Some("here".to_owned()),
            owner_epoch: 0,
            verdict: Verdict::default(),
        }
    }

    fn nobody() -> BTreeSet<String> {
        BTreeSet::new()
    }

    #[test]
    fn what_was_registered_with_a_lost_one_moves_and_nothing_else() {
        let nodes = taken(&[theirs(1, "a"), theirs(2, "b"), theirs(3, "c")]).nodes;
        let mut ours: Vec<_> = nodes.iter().map(|node| stored(node, 4)).collect();
        ours[0].node.instance = "lost".to_owned();
        ours[1].node.instance = "live".to_owned();
        ours[0].owner = None;
        assert!(
            plan(&nodes, &ours, "here", &nobody()).is_empty(),
            "two that live leave all as it is"
        );
        let lost = BTreeSet::from(["lost".to_owned()]);
        let writes = plan(&nodes, &ours, "here", &lost);
        let [NodeWrite::Update { node, version: 4, reset: false }] = &writes[..] else {
            panic!("{writes:?}")
        };
        assert_eq!((node.id, node.instance.as_str()), (1, "here"));
        assert_eq!(Placement::of(node), Placement::On("here"));
        let moved = Node { instance: "lost".to_owned(), ..node.clone() };
        assert_eq!(moved, ours[0].node, "nothing but whom it is registered with");
    }

    #[test]
    fn names_that_cannot_be_ours_are_replaced() {
        let long = "x".repeat(200);
        let rows = [
            theirs(1, "a"),
            theirs(2, "a/b"),
            TheirNode { title: Some("T".into()), ..theirs(3, "42") },
            theirs(4, &long),
            theirs(5, "a"),
            theirs(6, "7/"),
            theirs(7, "node-6"),
        ];
        let taken = taken(&rows);
        let names: Vec<_> = taken.nodes.iter().map(|it| (it.id, it.name.as_str())).collect();
        assert_eq!(
            names,
            [(1, "a"), (2, "node-2"), (3, "node-3"), (4, "node-4"), (5, "node-5"), (7, "node-6")]
        );
        let titles: Vec<_> = taken.nodes[1..4].iter().map(|it| it.title.as_deref()).collect();
        assert_eq!(titles, [Some("a/b"), Some("T"), Some(long.as_str())]);
        assert_eq!(taken.renamed.len(), 4);
        assert_eq!(taken.left_out[0].id, "6", "its name is another's");
    }

    #[test]
    fn rows_that_cannot_be_looked_at_are_left_out() {
        let rows = [
            TheirNode { port: 0, ..theirs(1, "a") },
            TheirNode { port: 65_536, ..theirs(2, "b") },
            TheirNode { host: String::new(), ..theirs(3, "c") },
            TheirNode { host: "http://h".to_owned(), ..theirs(4, "d") },
            TheirNode { username: Some("x".repeat(300)), ..theirs(5, "e") },
            TheirNode { pid: Some(-1), title: Some("a\n".repeat(300)), ..theirs(6, "f") },
        ];
        let taken = taken(&rows);
        assert_eq!(taken.left_out.len(), 5);
        let [node] = &taken.nodes[..] else { panic!("{taken:?}") };
        assert_eq!((node.pid, node.title.as_ref().unwrap().chars().count()), (None, 255));
    }

    #[test]
    fn what_is_the_same_is_not_written() {
        let sealed = Some(Password::laravel("x".repeat(400)));
        let taken = taken(&[TheirNode { password: sealed, ..theirs(1, "a") }]);
        assert_eq!(taken.nodes.len(), 1, "{taken:?}");
        let ours = [stored(&taken.nodes[0], 3)];
        assert!(plan(&taken.nodes, &ours, "here", &nobody()).is_empty());
        let [NodeWrite::Insert(new)] = &plan(&taken.nodes, &[], "here", &nobody())[..] else {
            panic!()
        };
        assert_eq!((new.node.id, new.origin, new.owner.as_str()), (1, Origin::Adopted, "here"));
        assert!(matches!(plan(&[], &ours, "here", &nobody())[..], [NodeWrite::Delete(1)]));
    }

    #[test]
    fn another_pid_resets_nothing_and_another_host_does() {
        let before = taken(&[theirs(1, "a")]).nodes.remove(0);
        for (changed, forgets) in [
            (TheirNode { pid: Some(8), ..theirs(1, "a") }, false),
            (TheirNode { title: Some("t".into()), ..theirs(1, "b") }, false),
            (TheirNode { daemon: Some("d".into()), ..theirs(1, "a") }, false),
            (TheirNode { host: "h".into(), pid: Some(8), ..theirs(1, "a") }, true),
            (TheirNode { port: 1, ..theirs(1, "a") }, true),
            (TheirNode { username: Some("u".into()), ..theirs(1, "a") }, true),
            (TheirNode { available: false, ..theirs(1, "a") }, true),
        ] {
            let writes = plan(&taken(&[changed]).nodes, &[stored(&before, 3)], "here", &nobody());
            let [NodeWrite::Update { version: 3, reset, node }] = &writes[..] else { panic!() };
            assert_eq!(*reset, forgets, "{node:?}");
            assert_eq!(node.instance, "here");
        }
    }

    #[test]
    fn what_they_have_no_column_for_is_kept() {
        let mut ours = stored(&taken(&[theirs(1, "a")]).nodes[0], 1);
        ours.node.tls = Tls::Insecure;
        ours.node.placement = Some("any".to_owned());
        ours.node.pid_file = Some("/run/a.pid".to_owned());
        ours.node.pid = None;
        let same = taken(&[theirs(1, "a")]);
        assert!(
            plan(&same.nodes, &[ours.clone()], "here", &nobody()).is_empty(),
            "the file counts"
        );
        ours.node.pid_file = None;
        let [NodeWrite::Update { node, .. }] = &plan(&same.nodes, &[ours], "here", &nobody())[..]
        else {
            panic!()
        };
        assert_eq!((node.pid, node.tls), (Some(7), Tls::Insecure), "theirs counts again");
    }

    #[test]
    fn two_that_change_names_are_never_named_alike() {
        let before = taken(&[theirs(1, "a"), theirs(2, "b"), theirs(3, "c")]).nodes;
        let ours: Vec<_> = before.iter().map(|node| stored(node, 1)).collect();
        let after = taken(&[theirs(1, "b"), theirs(2, "a"), theirs(4, "c")]).nodes;
        let mut names: BTreeMap<i64, (String, i64)> =
            before.iter().map(|it| (it.id, (it.name.clone(), 1))).collect();
        for write in plan(&after, &ours, "here", &nobody()) {
            match write {
                NodeWrite::Delete(id) => drop(names.remove(&id)),
                NodeWrite::Insert(new) => drop(names.insert(new.node.id, (new.node.name, 1))),
                NodeWrite::Update { node, version, .. } => {
                    assert_eq!(names[&node.id].1, version);
                    names.insert(node.id, (node.name, version + 1));
                }
            }
            let distinct: BTreeSet<_> = names.values().map(|(name, _)| name).collect();
            assert_eq!(distinct.len(), names.len(), "{names:?}");
        }
        let names: Vec<_> = names.into_iter().map(|(id, (name, _))| (id, name)).collect();
        assert_eq!(names, [(1, "b".into()), (2, "a".into()), (4, "c".into())]);
    }
}
