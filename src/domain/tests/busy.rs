//! A node that does not answer: busy, hung or stopped, and for how long busy is good enough.

use std::time::Duration;

use super::verdict::node;
use crate::domain::details::{details, find};
use crate::domain::observation::{
    ApiFacts, ApiSeen, Observation, PidFacts, PidSeen, Reason, Silence,
};
use crate::domain::observation::{PortFacts, PortSeen};
use crate::domain::service::Kind;
use crate::domain::time::{Now, Timestamp, Uptime};
use crate::domain::verdict::{State, Thresholds, Verdict, evaluate};

const LIMIT: Duration = Duration::from_secs(3);

fn facts(seen: ApiSeen, silence: Option<Silence>) -> ApiFacts {
    ApiFacts {
        url: "".into(),
        seen,
        latency: None,
        unreadable: None,
        silence: silence.map(Box::new),
    }
}

/// No answer, and the process used so many milliseconds of 1500.
fn silent(cpu_ms: u64) -> ApiFacts {
    let silence = Silence {
        pid: 100,
        stopped: false,
        runnable: false,
        cpu: Duration::from_millis(cpu_ms),
        watched: Duration::from_millis(1500),
        spent: false,
    };
    facts(ApiSeen::Timeout(LIMIT), Some(silence))
}

fn stopped(cpu_ms: u64) -> ApiFacts {
    let silence = silent(cpu_ms).silence.map(|it| Silence { stopped: true, ..*it });
    facts(ApiSeen::Timeout(LIMIT), silence)
}

/// It would compute if there were a processor for it.
fn starved() -> ApiFacts {
    let silence = silent(0).silence.map(|it| Silence { runnable: true, ..*it });
    facts(ApiSeen::Timeout(LIMIT), silence)
}

fn busy() -> Observation {
    Observation::Api(silent(1500))
}

fn hung() -> Observation {
    Observation::Api(silent(0))
}

fn answer() -> Observation {
    Observation::Api(facts(ApiSeen::Version(65_561), None))
}

fn closed() -> Observation {
    Observation::Api(facts(ApiSeen::Refused("Connection refused".into()), None))
}

fn at(secs: i64) -> Now {
    Now { wall: Timestamp::from_secs(1_800_000_000 + secs), up: Uptime(secs * 1000) }
}

fn next(previous: &Verdict, look: &Observation, now: Now) -> Verdict {
    evaluate(&node(), previous, look, Thresholds::default(), now)
}

/// `state reason` after looks at these seconds.
fn told(looks: &[(i64, Observation)]) -> Vec<String> {
    let mut verdict = Verdict::default();
    let words = looks.iter().map(|(secs, look)| {
        verdict = next(&verdict, look, at(*secs));
        format!("{} {}", verdict.state, verdict.reason.map_or("-", Reason::as_str))
    });
    words.collect()
}

#[test]
fn what_the_process_did_meanwhile_tells_why_no_answer_came() {
    let cases = [
        (facts(ApiSeen::Timeout(LIMIT), None), Some(false), Reason::ApiTimeout),
        (silent(0), Some(false), Reason::Hung),
        (silent(29), Some(false), Reason::Hung),
        (silent(30), Some(true), Reason::Busy),
        (starved(), Some(true), Reason::Busy),
        (silent(6000), Some(true), Reason::Busy),
        (stopped(0), Some(false), Reason::ProcessStopped),
        (stopped(1500), Some(false), Reason::ProcessStopped),
    ];
    for (facts, works, reason) in cases {
        let found = find(&Observation::Api(facts.clone()));
        assert_eq!((found.works, found.reason), (works, Some(reason)), "{facts:?}");
    }
}

#[test]
fn the_grace_begins_with_the_first_busy_look_and_ends() {
    let looks =
        [(0, answer()), (30, busy()), (60, busy()), (89, busy()), (90, busy()), (120, busy())];
    assert_eq!(told(&looks), ["up -", "up busy", "up busy", "up busy", "down busy", "down busy"]);
}

#[test]
fn only_an_answer_gives_a_new_grace() {
    let looks = [(0, busy()), (50, answer()), (55, busy()), (114, busy()), (115, busy())];
    assert_eq!(told(&looks), ["up busy", "up -", "up busy", "up busy", "down busy"]);
    // Down for its silence: computing is no answer.
    let looks = [(0, answer()), (10, hung()), (20, busy()), (30, answer()), (40, busy())];
    assert_eq!(told(&looks), ["up -", "down hung", "down busy", "up -", "up busy"]);
    // Down for something else: it was started again.
    let looks = [(0, closed()), (10, busy())];
    assert_eq!(told(&looks), ["down port_closed", "up busy"]);
}

#[test]
fn a_failure_threshold_lets_a_hang_between_not_renew_the_grace() {
    let thresholds = Thresholds { failure: 3, ..Thresholds::default() };
    let mut verdict = Verdict::default();
    let looks = [(0, busy()), (30, hung()), (60, busy()), (61, busy()), (62, busy())];
    let states = looks.map(|(secs, look)| {
        verdict = evaluate(&node(), &verdict, &look, thresholds, at(secs));
        verdict.state
    });
    assert_eq!(states, [State::Up, State::Up, State::Up, State::Down, State::Down]);
}

#[test]
fn a_restart_in_the_middle_leaves_the_rest_of_the_grace_or_none() {
    let record = |secs| {
        let first = next(&Verdict::default(), &busy(), at(secs));
        // As it is read: neither clock of the boot is recorded.
        Verdict { busy_since: None, checked_up: None, ..first }
    };
    for (recorded, now, state) in
        [(0, 59, State::Up), (0, 60, State::Down), (100, 99, State::Down), (100, 101, State::Up)]
    {
        let after = next(&record(recorded), &busy(), at(now));
        assert_eq!((after.state, after.reason), (state, Some(Reason::Busy)), "{recorded} {now}");
    }
    // The boot clock begins anew, the wall clock goes on.
    let rebooted = Now { wall: at(59).wall, up: Uptime(2000) };
    let after = next(&record(0), &busy(), rebooted);
    assert_eq!(after.state, State::Up);
    let soon = Now { wall: at(61).wall, up: Uptime(4000) };
    assert_eq!(next(&after, &busy(), soon).state, State::Down);
}

#[test]
fn a_step_of_the_wall_clock_changes_no_grace() {
    let first = next(&Verdict::default(), &busy(), at(0));
    for step in [-1_000_000, 1_000_000] {
        let seen = |secs: i64| Now { wall: at(step).wall, up: at(secs).up };
        assert_eq!(next(&first, &busy(), seen(59)).state, State::Up, "{step}");
        assert_eq!(next(&first, &busy(), seen(60)).state, State::Down, "{step}");
    }
}

#[test]
fn a_full_look_says_what_is_busy_and_what_is_not() {
    let pid = PidFacts {
        kind: Kind::default(),
        pid: Some(100),
        seen: PidSeen::Running,
        cmdline: None,
        identity: None,
        exit: None,
    };
    let port = PortFacts {
        host: "127.0.0.1".into(),
        port: 18_082,
        seen: PortSeen::Open,
        listener: None,
        latency: None,
    };
    let full = Observation::Full(pid, port, silent(1480));
    let shown = details(&full, Timestamp::from_secs(0));
    assert_eq!((&shown["message"], &shown["reason"]), (&"Process is busy".into(), &"busy".into()));
    assert_eq!(shown["summary"]["api_responding"], false);
    let api = &shown["checks"]["api"];
    assert_eq!(api["status"], true);
    assert_eq!(
        api["details"]["error"],
        "timed out after 3 s, its process 100 used 1480 ms of CPU time in 1500 ms"
    );
}
