//! Method `pid`: which process a node is, and whether it lives.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;

use super::table::{Program, Table, hint};
use super::{Limits, reach};
use crate::domain::Node;
use crate::domain::observation::{PidFacts, PidSeen};
use crate::domain::process::{Alive, DeathProof, Identity, Presence, Unknowable};

/// Longest PID file that is read, in bytes; a PID and a line end have at most 8.
const PID_FILE_LIMIT: u64 = 64;

/// Looks at the process that the node is said to be, and at the one that listens on its port.
pub async fn look<T: Table>(node: &Node, limits: Limits, table: &T) -> PidFacts {
    let addresses = reach::addresses(&node.host, limits.connect_timeout).await;
    if addresses.is_empty() || !addresses.iter().all(|address| table.is_local(*address)) {
        return unseen(node.pid, PidSeen::NotApplicable);
    }
    let given = node.pid;
    let (node, table) = (node.clone(), table.clone());
    // The PID file may lie on a slow disk, and finding a listener may read every process's descriptors.
    let looking = tokio::task::spawn_blocking(move || judge(&node, &addresses, &table));
    match tokio::time::timeout(limits.api_timeout, looking).await {
        Ok(Ok(facts)) => facts,
        _ => unseen(given, PidSeen::Unknown(Unknowable::Refused)),
    }
}

/// A process that could be the node.
struct Candidate {
    pid: i32,
    alive: Alive,
    program: Program,
}

impl Candidate {
    fn of<T: Table>(table: &T, pid: i32, name: &str) -> Option<Self> {
        match table.look(i64::from(pid)) {
            Presence::Alive(alive) => Some(Self { pid, alive, program: table.program(pid, name) }),
            Presence::Dead(_) | Presence::Unknown(_) => None,
        }
    }

    fn into_facts(self, seen: PidSeen) -> PidFacts {
        let is_node = !matches!(seen, PidSeen::WrongProgram);
        PidFacts {
            pid: Some(i64::from(self.pid)),
            seen,
            cmdline: self.program.cmdline,
            identity: is_node.then_some(self.alive.identity),
        }
    }

    /// As the process that the node is, beside what was recorded.
    fn into_node(self, recorded: Option<&Identity>, as_before: PidSeen) -> PidFacts {
        let seen = if self.alive.stopped {
            PidSeen::Stopped
        } else if recorded.is_some_and(|before| is_another(before, &self.alive.identity)) {
            PidSeen::Restarted
        } else {
            as_before
        };
        self.into_facts(seen)
    }
}

fn judge<T: Table>(node: &Node, addresses: &[IpAddr], table: &T) -> PidFacts {
    let name = node.process_name.as_str();
    let recorded = node.identity.as_ref();
    let listener = addresses
        .iter()
        .find_map(|address| table.listener(*address, node.port, hint(node)))
        .and_then(|pid| Candidate::of(table, pid, name));
    match node.pid.or_else(|| read_pid_file(node.pid_file.as_deref()?)) {
        Some(pid) => match listener {
            Some(listener)
                if listener.program.fits == Some(true) && i64::from(listener.pid) != pid =>
            {
                listener.into_node(recorded, PidSeen::Adopted)
            }
            _ => judge_given(pid, name, recorded, table),
        },
        None => match listener {
            Some(listener) if listener.program.fits != Some(false) => {
                listener.into_node(recorded, PidSeen::Running)
            }
            stranger => judge_recorded(recorded, name, table)
                .or_else(|| stranger.map(|found| found.into_facts(PidSeen::WrongProgram)))
                .unwrap_or_else(|| unseen(None, PidSeen::NotSet)),
        },
    }
}

/// The PID that the user gave, for itself.
fn judge_given<T: Table>(pid: i64, name: &str, recorded: Option<&Identity>, table: &T) -> PidFacts {
    match table.look(pid) {
        Presence::Dead(proof) => unseen(Some(pid), dead(proof)),
        Presence::Unknown(why) => unseen(Some(pid), PidSeen::Unknown(why)),
        Presence::Alive(alive) => {
            let found = Candidate {
                pid: alive.identity.pid,
                program: table.program(alive.identity.pid, name),
                alive,
            };
            if found.program.fits == Some(false) {
                found.into_facts(PidSeen::WrongProgram)
            } else {
                found.into_node(recorded, PidSeen::Running)
            }
        }
    }
}

/// Nothing is given and nobody of ours listens: what became of the process that was the node before?
fn judge_recorded<T: Table>(
    recorded: Option<&Identity>,
    name: &str,
    table: &T,
) -> Option<PidFacts> {
    let recorded = recorded?;
    let pid = i64::from(recorded.pid);
    if recorded.boot_id != table.here().boot_id {
        return Some(unseen(Some(pid), dead(DeathProof::Rebooted)));
    }
    if !recorded.is_of(table.here()) {
        // Its number belongs to another PID namespace: nothing that we see here is about it.
        return None;
    }
    Some(match table.look(pid) {
        Presence::Alive(alive) if recorded.differs_from(&alive.identity) => {
            unseen(Some(pid), dead(DeathProof::Reused))
        }
        Presence::Alive(alive) => {
            let program = table.program(recorded.pid, name);
            Candidate { pid: recorded.pid, alive, program }.into_node(None, PidSeen::Running)
        }
        Presence::Dead(proof) => unseen(Some(pid), dead(proof)),
        Presence::Unknown(why) => unseen(Some(pid), PidSeen::Unknown(why)),
    })
}

const fn dead(proof: DeathProof) -> PidSeen {
    match proof {
        DeathProof::Zombie => PidSeen::Zombie,
        _ => PidSeen::Gone,
    }
}

const fn unseen(pid: Option<i64>, seen: PidSeen) -> PidFacts {
    PidFacts { pid, seen, cmdline: None, identity: None }
}

/// Is the process now seen certainly not the recorded one? Two PID namespaces cannot be compared.
fn is_another(recorded: &Identity, now: &Identity) -> bool {
    recorded.boot_id != now.boot_id || (recorded.pid_ns == now.pid_ns && recorded.differs_from(now))
}

/// The number in a PID file; none where there is no such file or it holds something else.
fn read_pid_file(path: &str) -> Option<i64> {
    // Opening a FIFO would wait for its writer.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(PID_FILE_LIMIT).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::checker::tests::node;
    use crate::domain::Here;

    const NAME: &str = "monero-wallet-rpc";
    const GIVEN: i32 = 100;
    const LISTENING: i32 = 200;

    /// A made-up process table.
    #[derive(Clone, Default)]
    struct Fake {
        here: Here,
        processes: HashMap<i64, (Presence, Program)>,
        listener: Option<i32>,
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

    fn seen(
        table: &Fake,
        given: Option<i32>,
        recorded: Option<Identity>,
    ) -> (PidSeen, Option<i64>) {
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
            (
                here().with_presence(GIVEN, hidden),
                None,
                PidSeen::Unknown(Unknowable::ThreadId),
                GIVEN,
            ),
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

    #[test]
    fn a_pid_file_is_a_short_regular_file_with_one_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid").to_str().unwrap().to_owned();
        assert_eq!(read_pid_file(&path), None);
        let long = format!("1{}", " ".repeat(200));
        for (text, pid) in [
            ("4711\n", Some(4711)),
            ("  4711", Some(4711)),
            ("-1", Some(-1)),
            ("", None),
            ("4711 4712", None),
            ("99999999999999999999", None),
            (long.as_str(), Some(1)),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_pid_file(&path), pid, "{text}");
        }
        assert_eq!(read_pid_file(dir.path().to_str().unwrap()), None);
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(read_pid_file(fifo.to_str().unwrap()), None);
    }

    #[tokio::test]
    async fn a_node_elsewhere_has_no_process_here() {
        let limits = Limits {
            connect_timeout: std::time::Duration::from_secs(10),
            ..crate::checker::tests::LIMITS
        };
        let table = Fake::here().with(GIVEN, Some(true), false);
        for (host, seen) in [
            ("127.0.0.1", PidSeen::Running),
            ("localhost", PidSeen::Running),
            ("192.0.2.1", PidSeen::NotApplicable),
            ("no such host", PidSeen::NotApplicable),
        ] {
            let node = Node { pid: Some(GIVEN.into()), host: host.into(), ..node(18082) };
            let facts = look(&node, limits, &table).await;
            assert_eq!((facts.seen, facts.pid), (seen, Some(GIVEN.into())), "{host}");
        }
    }
}
