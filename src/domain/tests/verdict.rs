//! Thresholds both ways, and when a node's verdict grows stale.

use std::time::Duration;

use crate::domain::node::Node;
use crate::domain::observation::{
    ApiFacts, ApiSeen, Observation, PidFacts, PidSeen, PortFacts, PortSeen, Reason,
};
use crate::domain::process::{Identity, Unknowable};
use crate::domain::service::Kind;
use crate::domain::time::{Now, Timestamp, Uptime};
use crate::domain::verdict::{State, Thresholds, Verdict, evaluate, window};

pub fn node() -> Node {
    Node { id: 1, pid: Some(100), ..Node::new("main", "127.0.0.1", 18_082, "here") }
}

fn api(seen: ApiSeen) -> Observation {
    let latency = matches!(seen, ApiSeen::Version(_)).then_some(Duration::from_millis(3));
    Observation::Api(ApiFacts {
        url: "http://127.0.0.1:18082/json_rpc".into(),
        seen,
        latency,
        unreadable: None,
        silence: None,
    })
}

fn up() -> Observation {
    api(ApiSeen::Version(65_561))
}

fn refused() -> Observation {
    api(ApiSeen::Refused("Connection refused".into()))
}

fn pid(seen: PidSeen) -> Observation {
    Observation::Pid(PidFacts {
        kind: Kind::default(),
        pid: Some(100),
        seen,
        cmdline: None,
        identity: None,
        exit: None,
    })
}

fn at(secs: i64) -> Now {
    Now { wall: Timestamp::from_secs(1_800_000_000 + secs), up: Uptime(secs * 1000) }
}

/// The states after each look, from a node never checked.
fn states(thresholds: Thresholds, looks: &[Observation]) -> Vec<&'static str> {
    let mut verdict = Verdict::default();
    looks
        .iter()
        .zip(0..)
        .map(|(look, secs)| {
            verdict = evaluate(&node(), &verdict, look, thresholds, at(secs));
            verdict.state.as_str()
        })
        .collect()
}

#[test]
fn a_turn_needs_as_many_looks_in_a_row_as_the_threshold_says() {
    let thresholds = |failure, success| Thresholds { failure, success, ..Thresholds::default() };
    for (failure, success, looks, expected) in [
        (1, 1, "+-+-", "+-+-"),
        (3, 1, "+--+---", "++++++-"),
        (2, 2, "+--++", "++--+"),
        (3, 3, "-++-+++", "------+"),
        (3, 3, "+", "+"),
        (3, 3, "-", "-"),
        (0, 0, "+-", "+-"),
    ] {
        let looks: Vec<_> =
            looks.chars().map(|c| if c == '+' { up() } else { refused() }).collect();
        let seen: String = states(thresholds(failure, success), &looks)
            .into_iter()
            .map(|state| if state == "up" { '+' } else { '-' })
            .collect();
        assert_eq!(seen, expected, "failure {failure}, success {success}");
    }
}

#[test]
fn a_proof_of_death_passes_the_failure_threshold() {
    let thresholds = Thresholds { failure: 5, ..Thresholds::default() };
    for (seen, expected) in [
        (PidSeen::Gone, "down"),
        (PidSeen::Zombie, "down"),
        (PidSeen::Stopped, "up"),
        (PidSeen::WrongProgram, "up"),
        (PidSeen::Unknown(Unknowable::Refused), "up"),
    ] {
        assert_eq!(states(thresholds, &[up(), pid(seen)]), ["up", expected], "{seen:?}");
    }
}

#[test]
fn a_process_that_is_dead_with_its_port_closed_is_proven_dead_by_a_full_look_too() {
    let thresholds = Thresholds { failure: 5, ..Thresholds::default() };
    let look = |seen, at_port, answer| {
        let process = PidFacts {
            kind: Kind::default(),
            pid: Some(100),
            seen,
            cmdline: None,
            identity: None,
            exit: None,
        };
        let at_port = PortFacts {
            host: "127.0.0.1".into(),
            port: 18_082,
            seen: at_port,
            listener: None,
            latency: None,
        };
        let answer = ApiFacts {
            url: "http://127.0.0.1:18082/json_rpc".into(),
            seen: answer,
            latency: None,
            unreadable: None,
            silence: None,
        };
        Observation::Full(process, at_port, answer)
    };
    let closed = || PortSeen::Closed("111: Connection refused".into());
    let refused = || ApiSeen::Refused("Connection refused".into());
    let silent = || ApiSeen::Timeout(Duration::from_secs(3));
    for (look, expected) in [
        (look(PidSeen::Gone, closed(), refused()), "down"),
        (look(PidSeen::Zombie, closed(), refused()), "down"),
        (look(PidSeen::Running, closed(), refused()), "up"),
        // The PID given may be an old one: somebody who cannot be seen has the port.
        (look(PidSeen::Gone, PortSeen::Open, silent()), "up"),
    ] {
        assert_eq!(states(thresholds, &[up(), look]), ["up", expected]);
    }
}

#[test]
fn the_last_look_is_told_even_where_it_does_not_turn_the_state() {
    let thresholds = Thresholds { failure: 2, ..Thresholds::default() };
    let first = evaluate(&node(), &Verdict::default(), &up(), thresholds, at(0));
    let second = evaluate(&node(), &first, &refused(), thresholds, at(30));
    assert_eq!((second.state, second.reason), (State::Up, Some(Reason::PortClosed)));
    assert_eq!(second.message, "API check failed");
    assert_eq!((second.checked_at, second.since), (Some(at(30).wall), Some(at(0).wall)));
    assert_eq!(second.streak, 1);
    assert!(second.changed_from(&first) && !second.flipped_from(&first));
    let third = evaluate(&node(), &second, &refused(), thresholds, at(60));
    assert!(third.flipped_from(&second));
    assert_eq!((third.since, third.streak, third.latency_ms), (Some(at(60).wall), 0, None));
}

#[test]
fn the_first_verdict_is_no_turn_and_a_quiet_look_no_change() {
    let never = Verdict::default();
    let first = evaluate(&node(), &never, &refused(), Thresholds::default(), at(0));
    assert!(first.changed_from(&never) && !first.flipped_from(&never));
    let second = evaluate(&node(), &first, &refused(), Thresholds::default(), at(30));
    assert!(!second.changed_from(&first) && !second.flipped_from(&first));
}

#[test]
fn the_observed_identity_is_kept_by_looks_that_do_not_see_the_process() {
    let identity =
        Identity { boot_id: "boot".into(), pid_ns: 1, pid: 100, start_ticks: Some(5), inode: None };
    let seen = |seen| {
        Observation::Pid(PidFacts {
            kind: Kind::default(),
            pid: Some(100),
            seen,
            cmdline: None,
            identity: Some(identity.clone()),
            exit: None,
        })
    };
    let known = Node { identity: Some(Identity { pid: 7, ..identity.clone() }), ..node() };
    for (look, expected) in [
        (seen(PidSeen::Running), 100),
        (seen(PidSeen::Adopted), 100),
        (seen(PidSeen::Restarted), 100),
        (seen(PidSeen::Stopped), 100),
        (seen(PidSeen::WrongProgram), 7),
        (seen(PidSeen::Gone), 7),
        (up(), 7),
    ] {
        let verdict = evaluate(&known, &Verdict::default(), &look, Thresholds::default(), at(0));
        assert_eq!(verdict.identity.unwrap().pid, expected, "{look:?}");
    }
}

#[test]
fn older_than_the_window_is_stale_whatever_the_wall_clock_says() {
    let verdict = evaluate(&node(), &Verdict::default(), &up(), Thresholds::default(), at(100));
    let window = Duration::from_secs(94);
    assert_eq!(verdict.state_at(at(194).up, window), State::Up);
    assert_eq!(verdict.state_at(Uptime(194_001), window), State::Stale);
    assert_eq!(Verdict::default().state_at(at(0).up, window), State::Unknown);
}

#[test]
fn the_window_is_three_times_the_longer_of_interval_and_pass_and_one_check() {
    let secs = Duration::from_secs;
    assert_eq!(window(secs(30), secs(2), secs(1), secs(3)), secs(94));
    assert_eq!(window(secs(30), secs(50), secs(1), secs(3)), secs(154));
}

#[test]
fn a_full_look_is_up_exactly_when_its_api_is() {
    let port = |seen| PortFacts {
        host: "127.0.0.1".into(),
        port: 18_082,
        seen,
        listener: None,
        latency: None,
    };
    let process = |seen| PidFacts {
        kind: Kind::default(),
        pid: Some(100),
        seen,
        cmdline: None,
        identity: None,
        exit: None,
    };
    let answer =
        |seen| ApiFacts { url: "".into(), seen, latency: None, unreadable: None, silence: None };
    let closed = || PortSeen::Closed("111: Connection refused".into());
    let refused = || ApiSeen::Refused("Connection refused".into());
    let version = || ApiSeen::Version(1);
    let timeout = || ApiSeen::Timeout(Duration::from_secs(3));
    let operational = "Process is fully operational";
    for (pid, at_port, api, state, reason, message) in [
        (PidSeen::Running, PortSeen::Open, version(), State::Up, None, operational),
        (PidSeen::NotSet, PortSeen::Open, version(), State::Up, None, operational),
        (PidSeen::Gone, PortSeen::Open, version(), State::Up, None, operational),
        (
            PidSeen::Adopted,
            PortSeen::Open,
            version(),
            State::Up,
            Some(Reason::PidAdopted),
            operational,
        ),
        (
            PidSeen::Restarted,
            PortSeen::Open,
            version(),
            State::Up,
            Some(Reason::Restarted),
            operational,
        ),
        (
            PidSeen::Running,
            PortSeen::Open,
            timeout(),
            State::Down,
            Some(Reason::ApiTimeout),
            "Port is occupied but API is not responding",
        ),
        (
            PidSeen::Stopped,
            PortSeen::Open,
            timeout(),
            State::Down,
            Some(Reason::ProcessStopped),
            "Port is occupied but API is not responding",
        ),
        (
            PidSeen::Running,
            closed(),
            refused(),
            State::Down,
            Some(Reason::PortClosed),
            "Process exists but port is not in use",
        ),
    ] {
        let look = Observation::Full(process(pid), port(at_port), answer(api));
        let verdict = evaluate(&node(), &Verdict::default(), &look, Thresholds::default(), at(0));
        assert_eq!(
            (verdict.state, verdict.reason, verdict.message.as_str()),
            (state, reason, message)
        );
    }
}
