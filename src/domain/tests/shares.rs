//! Who owns which node: tables of placements, and what must hold of every plan.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::verdict::node;
use crate::domain::Node;
use crate::domain::fleet::{Placement, Share, plan, to_claim};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[test]
fn a_node_that_means_something_on_one_host_only_stays_there() {
    type Edit = fn(&mut Node);
    let cases: &[(&str, Edit, Placement<'static>)] = &[
        ("an address", |n| n.host = "10.0.0.7".into(), Placement::Any),
        ("a name", |n| n.host = "node.example".into(), Placement::Any),
        ("a PID", |n| n.pid = Some(7), Placement::On("here")),
        ("a PID file", |n| n.pid_file = Some("/run/n.pid".into()), Placement::On("here")),
        ("loopback", |n| n.host = "127.8.9.10".into(), Placement::On("here")),
        ("IPv6 loopback", |n| n.host = "::1".into(), Placement::On("here")),
        ("in brackets", |n| n.host = "[::1]".into(), Placement::On("here")),
        ("IPv4 loopback in IPv6", |n| n.host = "::ffff:127.0.0.1".into(), Placement::On("here")),
        ("every address of this machine", |n| n.host = "0.0.0.0".into(), Placement::On("here")),
        ("localhost", |n| n.host = "LocalHost".into(), Placement::On("here")),
        ("with the root's dot", |n| n.host = "localhost.".into(), Placement::On("here")),
        ("under localhost", |n| n.host = "x.localhost".into(), Placement::On("here")),
        ("not under it", |n| n.host = "xlocalhost".into(), Placement::Any),
        ("not it", |n| n.host = "localhost.example".into(), Placement::Any),
        ("128.0.0.1", |n| n.host = "128.0.0.1".into(), Placement::Any),
        (
            "the operator says any",
            |n| (n.pid, n.placement) = (Some(7), Some("any".into())),
            Placement::Any,
        ),
        ("the operator says who", |n| n.placement = Some("b".into()), Placement::On("b")),
        (
            "the operator's word comes first",
            |n| (n.pid, n.placement) = (Some(7), Some("b".into())),
            Placement::On("b"),
        ),
    ];
    for (name, edit, expected) in cases {
        let mut node = Node { host: "10.0.0.7".into(), pid: None, pid_file: None, ..node() };
        edit(&mut node);
        assert_eq!(Placement::of(&node), *expected, "{name}");
    }
    assert!(Placement::Any.allows("a") && Placement::On("a").allows("a"));
    assert!(!Placement::On("a").allows("b"));
}

/// A node of the tests; owned by its own string, so that histories can change it.
#[derive(Debug, Clone, PartialEq)]
struct Held {
    id: i64,
    on: Option<&'static str>,
    owner: Option<&'static str>,
    available: bool,
}

fn shares(nodes: &[Held]) -> Vec<Share<'static>> {
    let share = |it: &Held| Share {
        id: it.id,
        placement: it.on.map_or(Placement::Any, Placement::On),
        owner: it.owner,
        available: it.available,
    };
    nodes.iter().map(share).collect()
}

fn carry_out(live: &[&'static str], nodes: &mut [Held]) {
    let plan = plan(live, &shares(nodes));
    for (node, (id, owner)) in nodes.iter_mut().zip(plan) {
        assert_eq!(node.id, id);
        node.owner = owner;
    }
}

fn moved(before: &[Held], after: &[Held]) -> Vec<i64> {
    let differs = |(a, b): &(&Held, &Held)| a.owner != b.owner;
    before.iter().zip(after).filter(differs).map(|(it, _)| it.id).collect()
}

/// How many available nodes on any instance each live one has.
fn counts(live: &[&'static str], nodes: &[Held]) -> BTreeMap<&'static str, usize> {
    let mut counts: BTreeMap<_, _> = live.iter().map(|name| (*name, 0)).collect();
    for node in nodes.iter().filter(|node| node.on.is_none() && node.available) {
        let owner = node.owner.expect("a shared node has an owner");
        *counts.get_mut(owner).expect("its owner lives") += 1;
    }
    counts
}

fn spread(live: &[&'static str], nodes: &[Held]) -> usize {
    let counts = counts(live, nodes);
    counts.values().max().unwrap() - counts.values().min().unwrap()
}

#[test]
fn a_node_on_a_named_instance_is_claimed_by_that_one_alone() {
    let on = |name, owner| Held { id: 7, on: Some(name), owner, available: true };
    let cases: &[(Held, &str, &[i64])] = &[
        (on("a", None), "a", &[7]),
        (on("a", Some("b")), "a", &[7]),
        (on("a", Some("a")), "a", &[]),
        (on("a", None), "b", &[]),
        (on("z", None), "a", &[]),
        (on("z", Some("z")), "a", &[]),
        (on("z", Some("b")), "a", &[]),
    ];
    for (held, me, claims) in cases {
        let nodes = [held.clone()];
        assert_eq!(to_claim(me, &["a", "b"], &shares(&nodes)), *claims, "{me}: {held:?}");
    }
}

#[test]
fn nobody_claims_while_the_fleet_does_not_see_it_alive() {
    let free = [Held { id: 1, on: None, owner: None, available: true }];
    assert_eq!(to_claim("c", &["a", "b"], &shares(&free)), [0; 0]);
    assert_eq!(to_claim("a", &[], &shares(&free)), [0; 0]);
    assert_eq!(plan(&[], &shares(&free)), [(1, None)]);
}

#[test]
fn a_disabled_node_has_an_owner_and_no_weight() {
    let node = |id, owner, available| Held { id, on: None, owner, available };
    let mut nodes = vec![
        node(1, Some("a"), true),
        node(2, Some("a"), false),
        node(3, Some("a"), false),
        node(4, Some("z"), false),
        node(5, None, false),
        node(6, None, true),
    ];
    carry_out(&["a", "b"], &mut nodes);
    let owners: Vec<_> = nodes.iter().map(|it| it.owner.unwrap()).collect();
    assert_eq!(owners, ["a", "a", "a", "a", "b", "b"]);
}

#[test]
fn a_large_fleet_is_shared_out_evenly_and_takes_a_newcomer_in() {
    let names: Vec<String> = (0..51).map(|at| format!("i{at:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut nodes: Vec<Share> = (0..100_000)
        .map(|id| Share { id, placement: Placement::Any, owner: None, available: true })
        .collect();
    for (live, moves) in [(&names[..50], 100_000), (&names[..], 1960)] {
        let last = live[live.len() - 1];
        assert_eq!(to_claim(last, live, &nodes).len(), 100_000 / live.len());
        let plan = plan(live, &nodes);
        let mut moved = 0;
        for (node, (_, owner)) in nodes.iter_mut().zip(plan) {
            moved += usize::from(node.owner != owner);
            node.owner = owner;
        }
        assert_eq!(moved, moves);
    }
}

fn held(any_only: bool) -> impl Strategy<Value = Vec<Held>> {
    let name = proptest::sample::select(&NAMES[..]);
    let on = if any_only {
        Just(None).boxed()
    } else {
        proptest::option::weighted(0.2, name.clone()).boxed()
    };
    let node = (on, proptest::option::of(name), proptest::bool::weighted(0.8));
    vec(node, 0..60).prop_map(|list| {
        let node = |(at, (on, owner, available))| Held { id: 3 * at, on, owner, available };
        (0_i64..).zip(list).map(node).collect()
    })
}

fn live() -> impl Strategy<Value = Vec<&'static str>> {
    btree_set(proptest::sample::select(&NAMES[..]), 1..=NAMES.len())
        .prop_map(|names| names.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_is_even_moves_as_few_as_possible_and_stands(before in held(false), live in live()) {
        let mut nodes = before.clone();
        carry_out(&live, &mut nodes);
        prop_assert!(spread(&live, &nodes) <= 1);
        for (was, is) in before.iter().zip(&nodes) {
            match is.on {
                Some(name) if live.contains(&name) => prop_assert_eq!(is.owner, Some(name)),
                Some(_) => prop_assert_eq!(is.owner, was.owner),
                None => prop_assert!(is.owner.is_some_and(|owner| live.contains(&owner))),
            }
        }
        // Fewest moves: what nobody alive owns must move, and so must what is over the largest allowed counts.
        let shared = |it: &&Held| it.on.is_none() && it.available;
        let alive = |it: &&Held| it.owner.is_some_and(|owner| live.contains(&owner));
        let count = before.iter().filter(shared).count();
        let (base, extra) = (count / live.len(), count % live.len());
        let mut has: Vec<usize> = live
            .iter()
            .map(|name| before.iter().filter(shared).filter(|it| it.owner == Some(name)).count())
            .collect();
        has.sort_unstable_by(|a, b| b.cmp(a));
        let over: usize = has
            .iter()
            .enumerate()
            .map(|(at, has)| has.saturating_sub(base + usize::from(at < extra)))
            .sum();
        let orphans = before.iter().filter(shared).filter(|it| !alive(it)).count();
        let ids: BTreeSet<i64> = before.iter().filter(shared).map(|it| it.id).collect();
        let moves = moved(&before, &nodes).into_iter().filter(|id| ids.contains(id)).count();
        prop_assert_eq!(moves, over + orphans);
        // Disabled ones stay where their owner lives.
        for (was, is) in before.iter().zip(&nodes).filter(|(it, _)| it.on.is_none() && !it.available) {
            prop_assert!(!alive(&was) || was.owner == is.owner);
        }

        let once = nodes.clone();
        carry_out(&live, &mut nodes);
        prop_assert_eq!(moved(&once, &nodes), vec![0; 0]);
    }

    #[test]
    fn a_newcomer_gets_its_part_and_nothing_else_moves(before in held(true), live in live(), at in 0..6_usize) {
        let newcomer = NAMES[at];
        let others: Vec<&str> = live.iter().copied().filter(|name| *name != newcomer).collect();
        prop_assume!(!others.is_empty());
        let mut nodes = before;
        carry_out(&others, &mut nodes);
        let settled = nodes.clone();
        let mut all = others.clone();
        all.push(newcomer);
        all.sort_unstable();
        carry_out(&all, &mut nodes);
        let moved = moved(&settled, &nodes);
        prop_assert!(moved.len() <= nodes.len().div_ceil(all.len()));
        for node in nodes.iter().filter(|it| moved.contains(&it.id)) {
            prop_assert_eq!(node.owner, Some(newcomer));
        }
    }

    #[test]
    fn a_loss_moves_the_lost_ones_nodes_alone(before in held(true), live in live(), at in 0..6_usize) {
        prop_assume!(live.len() > 1);
        let lost = live[at % live.len()];
        let mut nodes = before;
        carry_out(&live, &mut nodes);
        let settled = nodes.clone();
        let left: Vec<&str> = live.iter().copied().filter(|name| *name != lost).collect();
        carry_out(&left, &mut nodes);
        let its: Vec<i64> = settled.iter().filter(|it| it.owner == Some(lost)).map(|it| it.id).collect();
        prop_assert_eq!(moved(&settled, &nodes), its);
    }

    /// Each computes its claims from what it last read, and carries out one at a time, by compare-and-set on the owner.
    #[test]
    fn claims_in_any_order_come_to_the_plan(
        before in held(false),
        live in live(),
        steps in vec((0..6_usize, any::<bool>()), 0..200),
    ) {
        let mut goal = before.clone();
        carry_out(&live, &mut goal);
        let mut truth = before.clone();
        let mut read: Vec<Vec<Held>> = live.iter().map(|_| before.clone()).collect();
        let everybody = (0..live.len()).flat_map(|who| std::iter::repeat_n((who, true), 61));
        let steps = steps.into_iter().map(|(who, reads)| (who % live.len(), reads));
        for (who, reads) in steps.chain(everybody) {
            if reads {
                read[who].clone_from(&truth);
            }
            let Some(id) = to_claim(live[who], &live, &shares(&read[who])).into_iter().next() else {
                continue;
            };
            let at = truth.iter().position(|it| it.id == id).unwrap();
            // Whether it was ours to change or not, the answer shows what stands there now.
            if truth[at].owner == read[who][at].owner {
                truth[at].owner = Some(live[who]);
            }
            read[who][at].owner = truth[at].owner;
        }
        prop_assert_eq!(truth, goal);
    }
}
