//! Two instances, one row: whose it is, what nobody concludes, and what is shown.

use std::collections::BTreeSet;

use super::world::{DIR, World, key};
use crate::domain::migration::{LockPid, Migration, Reason, State, Status};
use crate::domain::process::OtherNamespaces;
use crate::domain::reconcile::{
    LockSight, Memory, Rules, Scope, Sight, Standing, first_row, is_ours, needs_namespace_scan,
    shown, standing,
};

/// Two hosts over one database. A case plays with both and looks at `b` last unless it says otherwise.
pub struct Pair {
    pub a: World,
    pub b: World,
    pub row: Option<Migration>,
}

/// A host in a shared directory, with an instance of its own name.
fn host(name: &str) -> World {
    let mut world = World::new();
    world.rules.here.host_id = name.into();
    world.rules.here.boot_id = format!("boot-{name}");
    world.rules.instance = name.into();
    world.rules.sole = false;
    world.rules.live = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    world.rules.scope = Scope::Shared;
    world
}

impl Pair {
    pub fn new() -> Self {
        Self { a: host("a"), b: host("b"), row: None }
    }

    /// Each with a directory of its own.
    pub fn local() -> Self {
        let mut pair = Self::new();
        pair.a.rules.scope = Scope::Local;
        pair.b.rules.scope = Scope::Local;
        pair
    }

    pub fn pass(&mut self, secs: i64) {
        self.a.pass(secs);
        self.b.pass(secs);
    }

    /// The lock that `a` sees is seen by `b` as well; its device has another number there.
    pub fn share(&mut self) {
        self.b.lock = self.a.lock.clone();
        if let LockSight::Present(lock) = &mut self.b.lock {
            lock.mark.dev = 9;
        }
    }

    /// A lock in the shared directory, written now.
    pub fn lock(&mut self, pid: i64) {
        self.a.lock(pid, 0);
        self.share();
    }

    /// One look of one of them at the row as it stands; `name: line, whose row`.
    pub fn look(&mut self, name: &str) -> String {
        let world = if name == "a" { &mut self.a } else { &mut self.b };
        world.row.clone_from(&self.row);
        let line = world.look();
        self.row.clone_from(&world.row);
        let owner = self.row.as_ref().map_or("-", |row| &row.instance);
        format!("{line}, {owner}")
    }

    pub fn row(&mut self) -> &mut Migration {
        self.row.as_mut().unwrap()
    }
}

/// A job on `a`, seen alive by it; the lock is in a shared directory.
pub fn running() -> Pair {
    let mut pair = Pair::new();
    pair.a.spawn(100);
    pair.lock(100);
    assert_eq!(pair.look("a"), "in_progress alive - - run1 keep - insert, a");
    pair
}

pub const UNTOUCHED: &str = "in_progress alive - - run1 keep - quiet, a";

pub fn lose_a(pair: &mut Pair) {
    pair.b.rules.live.remove("a");
}

/// Is its instance lost, as the one with these rules sees it?
fn is_lost(row: &Migration, rules: &Rules) -> bool {
    !is_ours(row, rules) && !rules.live.contains(&row.instance)
}

#[test]
fn whose_a_row_is() {
    type Edit = fn(&mut Rules, &mut Migration);
    let cases: &[(&str, Edit, bool)] = &[
        ("another's", |_, _| (), false),
        ("no other instance", |rules, _| rules.sole = true, true),
        ("our name", |_, row| row.instance = "b".into(), true),
        ("our name, though another host's process", |_, row| row.instance = "b".into(), true),
        ("a lost one's on another host", |r, _| r.live = ["b".into()].into(), false),
        (
            "a live one's in this PID table",
            |rules, row| row.identity.as_mut().unwrap().boot_id = rules.here.boot_id.clone(),
            false,
        ),
        (
            "a lost one's in this PID table",
            |rules, row| {
                rules.live = ["b".into()].into();
                row.identity.as_mut().unwrap().boot_id = rules.here.boot_id.clone();
            },
            true,
        ),
        (
            "a lost one's in another namespace of this boot",
            |rules, row| {
                rules.live = ["b".into()].into();
                row.identity.as_mut().unwrap().boot_id = rules.here.boot_id.clone();
                row.identity.as_mut().unwrap().pid_ns = 7;
            },
            false,
        ),
        (
            "a lost one's with our machine id and another boot",
            |rules, row| {
                rules.live = ["b".into()].into();
                row.host_id = rules.here.host_id.clone();
            },
            false,
        ),
        (
            "a lost one's that nobody saw alive",
            |rules, row| {
                rules.live = ["b".into()].into();
                row.identity = None;
            },
            false,
        ),
    ];
    for (name, edit, expected) in cases {
        let mut pair = running();
        let (mut rules, mut row) = (pair.b.rules.clone(), pair.row().clone());
        edit(&mut rules, &mut row);
        assert_eq!(is_ours(&row, &rules), *expected, "{name}");
    }
}

#[test]
fn without_a_lock_nothing_follows_for_another_ones_row() {
    for lock in [LockSight::Absent, LockSight::Blocked, LockSight::Blind] {
        for scope in [Scope::Local, Scope::Shared] {
            for lost in [false, true] {
                let mut pair = running();
                pair.b.rules.scope = scope;
                // Cloned machines: the same machine id, directory and names of processes.
                pair.b.rules.here.host_id = "a".into();
                pair.b.lock = lock.clone();
                pair.b.dir = Some(DIR);
                if lost {
                    lose_a(&mut pair);
                }
                for _ in 0..3 {
                    assert_eq!(pair.look("b"), UNTOUCHED, "{lock:?} {scope:?} {lost}");
                    assert_eq!(pair.b.memory, Memory::default());
                    pair.pass(700);
                }
            }
        }
    }
}

#[test]
fn machines_with_the_same_id_prove_nothing_about_each_other() {
    for scope in [Scope::Local, Scope::Shared] {
        for pid in [LockPid::Number(100), LockPid::Missing] {
            let mut pair = running();
            pair.b.rules.here.host_id = "a".into();
            pair.b.rules.scope = scope;
            pair.b.elsewhere = OtherNamespaces::Hidden;
            lose_a(&mut pair);
            if pid == LockPid::Missing {
                pair.a.lock_of(pid, None, 9000);
                pair.share();
            }
            pair.b.row.clone_from(&pair.row);
            let sight = Sight { elsewhere: Some(OtherNamespaces::Hidden), ..pair.b.sight() };
            let seen = standing(pair.b.row.as_ref(), &sight, &pair.b.rules, pair.b.now.wall);
            assert!(
                matches!(seen, Standing::Foreign | Standing::Unknown(_)),
                "{scope:?} {pid:?}: {seen:?}"
            );
        }
    }
}

#[test]
fn the_explanation_names_the_owner() {
    let mut pair = running();
    pair.b.row.clone_from(&pair.row);
    let explain = pair.b.decide().explain;
    let [owner] = explain.as_slice() else { panic!("{explain:?}") };
    assert_eq!(
        (owner.name, owner.value.as_str(), owner.threshold.as_deref(), owner.holds),
        ("instance", "a", Some("b"), false)
    );
}

#[test]
fn other_namespaces_are_searched_only_for_a_death_that_would_count() {
    let mut pair = Pair::local();
    pair.b.lock(200, 0);
    let asks = |pair: &Pair| {
        let sight = Sight { elsewhere: None, ..pair.b.sight() };
        needs_namespace_scan(pair.row.as_ref(), &sight, &pair.b.rules)
    };
    assert!(asks(&pair), "nobody's yet");
    pair.a.lock(100, 0);
    pair.look("a");
    pair.b.row.clone_from(&pair.row);
    assert!(!asks(&pair), "an unfinished row of another");
    pair.row().status = Status::Success;
    assert!(asks(&pair), "the next attempt of it");
}

#[test]
fn what_a_lost_instance_alone_could_tell_is_shown_as_unknown() {
    let b = host("b").rules;
    let row = |instance: &str, status, state, reason| {
        let rules = Rules { instance: instance.into(), ..b.clone() };
        let now = World::new().now;
        Migration { status, state, reason, ..first_row(&key(), &rules, now) }
    };
    let ended = Some(Reason::ProcessGone);
    let lost = (State::Unknown, Some(Reason::InstanceLost));
    let cases = [
        ("a", Status::InProgress, State::Alive, None, (State::Alive, None)),
        ("b", Status::InProgress, State::Waiting, ended, (State::Waiting, ended)),
        ("z", Status::InProgress, State::Alive, None, lost),
        ("z", Status::InProgress, State::Waiting, ended, lost),
        ("z", Status::Pending, State::Foreign, None, lost),
        ("z", Status::Error, State::Finished, ended, (State::Finished, ended)),
        ("z", Status::Completed, State::Finished, None, (State::Finished, None)),
    ];
    for (instance, status, state, reason, expected) in cases {
        let row = row(instance, status, state, reason);
        assert_eq!(shown(&row, is_lost(&row, &b)), expected, "{instance} {status} {state}");
        let sole = Rules { sole: true, live: BTreeSet::new(), ..b.clone() };
        assert_eq!(shown(&row, is_lost(&row, &sole)), (state, reason));
    }
    assert_eq!(Reason::parse("instance_lost"), Some(Reason::InstanceLost));
    let node = crate::domain::observation::Reason::InstanceLost;
    assert_eq!(crate::domain::observation::Reason::parse(node.as_str()), Some(node));
}
