//! Which process a node is, against made-up process tables.

use std::collections::HashMap;

use super::*;
use crate::checker::tests::node;
use crate::domain::{Exit, Here};

const NAME: &str = "monero-wallet-rpc";
const GIVEN: i32 = 100;
const LISTENING: i32 = 200;

/// A made-up process table.
#[derive(Clone, Default)]
struct Fake {
    here: Here,
    processes: HashMap<i64, (Presence, Program)>,
    listener: Option<i32>,
    ends: HashMap<i64, Exit>,
}

impl Table for Fake {
    fn here(&self) -> &Here {
        &self.here
    }
    fn look(&self, pid: i64) -> Presence {
        let nobody = Presence::Dead(DeathProof::NoSuchProcess);
        self.processes.get(&pid).map_or(nobody, |(presence, _)| presence.clone())
    }
    fn program(&self, pid: i32, _name: &str) -> Program {
        self.processes.get(&i64::from(pid)).map(|(_, it)| it.clone()).unwrap_or_default()
    }
    fn listener(&self, _: IpAddr, port: u16, _: Option<i32>) -> Option<i32> {
        self.listener.filter(|_| port == 18082)
    }
    fn end(&self, pid: i64, recorded: Option<&Identity>) -> Option<Exit> {
        let told = self.ends.get(&pid).copied();
        told.filter(|_| recorded.is_none_or(|it| i64::from(it.pid) == pid))
    }
    fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback()
    }
}

impl Fake {
    fn here() -> Self {
        let here = Here { host_id: "h".into(), boot_id: "boot".into(), pid_ns: 1 };
        Self { here, ..Self::default() }
    }

    /// `program`: the right one, another, or one that cannot be told.
    fn with(mut self, pid: i32, fits: Option<bool>, stopped: bool) -> Self {
        let alive = Alive { identity: identity(pid, 1), started: None, stopped };
        let name = if fits == Some(false) { "nc" } else { NAME };
        let program = Program { name: name.into(), fits, cmdline: Some(format!("{name} -x")) };
        self.processes.insert(i64::from(pid), (Presence::Alive(alive), program));
        self
    }

    fn with_presence(mut self, pid: i32, presence: Presence) -> Self {
        self.processes.insert(i64::from(pid), (presence, Program::default()));
        self
    }

    fn listening(mut self, pid: i32) -> Self {
        self.listener = Some(pid);
        self
    }
}

fn identity(pid: i32, ticks: u64) -> Identity {
    let boot_id = "boot".to_owned();
    Identity { boot_id, pid_ns: 1, pid, start_ticks: Some(ticks), inode: None }
}

fn seen(table: &Fake, given: Option<i32>, recorded: Option<Identity>) -> (PidSeen, Option<i64>) {
    let node = Node {
        pid: given.map(i64::from),
        identity: recorded,
        process_name: NAME.into(),
        ..node(18082)
    };
    let facts = judge(&node, &["127.0.0.1".parse().unwrap()], table);
    let is_node = matches!(
        facts.seen,
        PidSeen::Running | PidSeen::Restarted | PidSeen::Adopted | PidSeen::Stopped
    );
    assert_eq!(facts.identity.is_some(), is_node, "{facts:?}");
    (facts.seen, facts.pid)
}

#[test]
fn a_given_pid_as_a_table() {
    let right = Some(true);
    let here = Fake::here;
    let was = |pid, ticks| Some(identity(pid, ticks));
    let zombie = Presence::Dead(DeathProof::Zombie);
    let hidden = Presence::Unknown(Unknowable::ThreadId);
    let table = [
        (here().with(GIVEN, right, false), None, PidSeen::Running, GIVEN),
        (here().with(GIVEN, None, false), None, PidSeen::Running, GIVEN),
        (here().with(GIVEN, right, true), None, PidSeen::Stopped, GIVEN),
        (here().with(GIVEN, Some(false), false), None, PidSeen::WrongProgram, GIVEN),
        (here().with(GIVEN, Some(false), true), None, PidSeen::WrongProgram, GIVEN),
        (here(), None, PidSeen::Gone, GIVEN),
        (here().with_presence(GIVEN, zombie), None, PidSeen::Zombie, GIVEN),
        (here().with_presence(GIVEN, hidden), None, PidSeen::Unknown(Unknowable::ThreadId), GIVEN),
        // Recorded before: the same, and the number given to another process of the same program.
        (here().with(GIVEN, right, false), was(GIVEN, 1), PidSeen::Running, GIVEN),
        (here().with(GIVEN, right, false), was(GIVEN, 2), PidSeen::Restarted, GIVEN),
        (here().with(GIVEN, right, false), was(LISTENING, 1), PidSeen::Restarted, GIVEN),
        // It listens itself, or cannot be seen to.
        (here().with(GIVEN, right, false).listening(GIVEN), None, PidSeen::Running, GIVEN),
    ];
    for (case, (table, recorded, expected, pid)) in table.into_iter().enumerate() {
        let found = seen(&table, Some(GIVEN), recorded);
        assert_eq!(found, (expected, Some(i64::from(pid))), "case {case}");
    }
}

#[test]
fn a_listener_is_adopted_only_when_it_is_the_program() {
    let (right, other) = (Some(true), Some(false));
    let ours = || Fake::here().with(LISTENING, right, false).listening(LISTENING);
    let was = |pid, ticks| Some(identity(pid, ticks));
    let table = [
        // Given: dead, a stranger's, a sibling that does not listen.
        (ours(), None, PidSeen::Adopted, LISTENING),
        (ours().with(GIVEN, other, false), None, PidSeen::Adopted, LISTENING),
        (ours().with(GIVEN, right, false), None, PidSeen::Adopted, LISTENING),
        (ours(), was(LISTENING, 1), PidSeen::Adopted, LISTENING),
        (ours(), was(LISTENING, 2), PidSeen::Restarted, LISTENING),
        (ours(), was(GIVEN, 1), PidSeen::Restarted, LISTENING),
        (
            Fake::here().with(LISTENING, right, true).listening(LISTENING),
            None,
            PidSeen::Stopped,
            LISTENING,
        ),
        (
            Fake::here().with(LISTENING, other, false).listening(LISTENING),
            None,
            PidSeen::Gone,
            GIVEN,
        ),
        (
            Fake::here().with(LISTENING, None, false).listening(LISTENING),
            None,
            PidSeen::Gone,
            GIVEN,
        ),
        // The listener ended between the two questions.
        (Fake::here().listening(LISTENING), None, PidSeen::Gone, GIVEN),
    ];
    for (case, (table, recorded, expected, pid)) in table.into_iter().enumerate() {
        let found = seen(&table, Some(GIVEN), recorded);
        assert_eq!(found, (expected, Some(i64::from(pid))), "case {case}");
    }
}

#[test]
fn without_a_given_pid_the_listener_or_the_record_speaks() {
    let (right, other) = (Some(true), Some(false));
    let here = Fake::here;
    let was = |pid, ticks| Some(identity(pid, ticks));
    let other_boot = Some(Identity { boot_id: "before".into(), ..identity(LISTENING, 1) });
    let other_table = Some(Identity { pid_ns: 9, ..identity(LISTENING, 1) });
    let ours = || here().with(LISTENING, right, false);
    let squatted = || here().with(300, other, false).listening(300);
    let it = Some(i64::from(LISTENING));
    let table = [
        (here(), None, PidSeen::NotSet, None),
        (ours(), None, PidSeen::NotSet, None),
        (ours().listening(LISTENING), None, PidSeen::Running, it),
        (ours().listening(LISTENING), was(LISTENING, 1), PidSeen::Running, it),
        (ours().listening(LISTENING), was(LISTENING, 7), PidSeen::Restarted, it),
        (ours().listening(LISTENING), other_boot.clone(), PidSeen::Restarted, it),
        (ours().listening(LISTENING), other_table.clone(), PidSeen::Running, it),
        (squatted(), None, PidSeen::WrongProgram, Some(300)),
        (squatted(), was(LISTENING, 1), PidSeen::Gone, it),
        (squatted().with(LISTENING, right, false), was(LISTENING, 1), PidSeen::Running, it),
        (here(), was(LISTENING, 1), PidSeen::Gone, it),
        (ours(), was(LISTENING, 1), PidSeen::Running, it),
        (ours(), was(LISTENING, 7), PidSeen::Gone, it),
        (here(), other_boot, PidSeen::Gone, it),
        (here(), other_table, PidSeen::NotSet, None),
    ];
    for (case, (table, recorded, expected, pid)) in table.into_iter().enumerate() {
        assert_eq!(seen(&table, None, recorded), (expected, pid), "case {case}");
    }
}

#[tokio::test]
async fn a_node_elsewhere_has_no_process_here() {
    let limits = crate::checker::Limits {
        connect_timeout: std::time::Duration::from_secs(10),
        ..crate::checker::tests::LIMITS
    };
    let ways = crate::checker::tests::ways(limits);
    let table = Fake::here().with(GIVEN, Some(true), false);
    for (host, seen) in [
        ("127.0.0.1", PidSeen::Running),
        ("localhost", PidSeen::Running),
        ("192.0.2.1", PidSeen::NotApplicable),
        ("no such host", PidSeen::NotApplicable),
    ] {
        let node = Node { pid: Some(GIVEN.into()), host: host.into(), ..node(18082) };
        let facts = look(&node, &ways, &table).await;
        assert_eq!((facts.seen, facts.pid), (seen, Some(GIVEN.into())), "{host}");
    }
}
