//! The shapes of the earlier API: each example of the contract, field by field and in order, and the words beside them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::details::{details, find, tell_end};
use crate::domain::observation::{
    ApiFacts, ApiSeen, Listener, Observation, PidFacts, PidSeen, PortFacts, PortSeen, Reason,
};
use crate::domain::process::{Exit, Unknowable};
use crate::domain::service::Kind;
use crate::domain::time::Timestamp;

/// 2026-01-15T10:30:45+00:00, as in every example.
const AT: Timestamp = Timestamp::from_secs(1_768_473_045);

fn pid(seen: PidSeen) -> PidFacts {
    PidFacts {
        kind: Kind::MoneroWalletRpc,
        pid: Some(4711),
        seen,
        cmdline: Some("monero-wallet-rpc --rpc-bind-port 18082 --rpc-login user:***".into()),
        identity: None,
        exit: None,
    }
}

fn port(seen: PortSeen) -> PortFacts {
    PortFacts { host: "127.0.0.1".into(), port: 18_082, seen, listener: None, latency: None }
}

fn api(seen: ApiSeen) -> ApiFacts {
    ApiFacts {
        url: "http://127.0.0.1:18082/json_rpc".into(),
        seen,
        latency: None,
        unreadable: None,
        silence: None,
    }
}

/// Compact text compares the order of the fields as well.
fn assert_shape(observation: &Observation, status: bool, expected: &Value) {
    let answer = json!({
        "status": find(observation).is_up(),
        "details": details(observation, AT),
    });
    assert_eq!(answer["status"], status);
    assert_eq!(answer["details"].to_string(), expected.to_string());
}

#[test]
fn pid_as_the_example() {
    assert_shape(
        &Observation::Pid(pid(PidSeen::Running)),
        true,
        &json!({
            "method": "pid",
            "pid": 4711,
            "cmdline": "monero-wallet-rpc --rpc-bind-port 18082 --rpc-login user:***",
            "is_monero_process": true,
            "message": "Process is running",
            "last_check": "2026-01-15T10:30:45+00:00"
        }),
    );
}

#[test]
fn port_as_the_example() {
    let closed = PortSeen::Closed("111: Connection refused".into());
    assert_shape(
        &Observation::Port(port(closed)),
        false,
        &json!({
            "method": "port",
            "host": "127.0.0.1",
            "port": 18082,
            "error": "111: Connection refused",
            "message": "Port is not in use",
            "reason": "port_closed",
            "last_check": "2026-01-15T10:30:45+00:00"
        }),
    );
}

#[test]
fn api_as_the_examples() {
    assert_shape(
        &Observation::Api(api(ApiSeen::Version(65_561))),
        true,
        &json!({
            "method": "api",
            "url": "http://127.0.0.1:18082/json_rpc",
            "version": 65561,
            "message": "API is responding",
            "last_check": "2026-01-15T10:30:45+00:00"
        }),
    );
    let refused = ApiSeen::Refused("Connection refused".into());
    assert_shape(
        &Observation::Api(api(refused)),
        false,
        &json!({
            "method": "api",
            "url": "http://127.0.0.1:18082/json_rpc",
            "error": "Connection refused",
            "message": "API check failed",
            "reason": "port_closed",
            "last_check": "2026-01-15T10:30:45+00:00"
        }),
    );
}

#[test]
fn full_as_the_example() {
    let full = Observation::Full(
        pid(PidSeen::Running),
        port(PortSeen::Open),
        api(ApiSeen::Timeout(Duration::from_secs(3))),
    );
    assert_shape(
        &full,
        false,
        &json!({
            "method": "full",
            "checks": {
                "pid": {
                    "status": true,
                    "details": {
                        "method": "pid",
                        "pid": 4711,
                        "cmdline": "monero-wallet-rpc --rpc-bind-port 18082 --rpc-login user:***",
                        "is_monero_process": true,
                        "message": "Process is running"
                    }
                },
                "port": {
                    "status": true,
                    "details": {
                        "method": "port",
                        "host": "127.0.0.1",
                        "port": 18082,
                        "message": "Port is in use"
                    }
                },
                "api": {
                    "status": false,
                    "details": {
                        "method": "api",
                        "url": "http://127.0.0.1:18082/json_rpc",
                        "error": "timed out after 3 s",
                        "message": "API check failed",
                        "reason": "api_timeout"
                    }
                }
            },
            "summary": {"pid_alive": true, "port_in_use": true, "api_responding": false},
            "message": "Port is occupied but API is not responding",
            "reason": "api_timeout",
            "timestamp": "2026-01-15T10:30:45+00:00",
            "last_check": "2026-01-15T10:30:45+00:00"
        }),
    );
}

#[test]
fn a_missing_value_is_null_and_not_absent() {
    let facts = PidFacts { pid: None, cmdline: None, ..pid(PidSeen::NotSet) };
    let shown = details(&Observation::Pid(facts), AT);
    assert_eq!(shown.get("pid"), Some(&Value::Null));
    assert_eq!(shown.get("cmdline"), Some(&Value::Null));
    assert_eq!(shown["is_monero_process"], false);
}

#[test]
fn each_sight_of_a_process_has_its_words() {
    for (seen, works, reason, message, ours) in [
        (PidSeen::NotSet, Some(false), Some(Reason::PidMissing), "PID not set", false),
        (PidSeen::NotApplicable, None, Some(Reason::PidNotApplicable), "PID not set", false),
        (PidSeen::Gone, Some(false), Some(Reason::ProcessGone), "Process not found", false),
        (PidSeen::Zombie, Some(false), Some(Reason::ProcessZombie), "Process not found", false),
        (
            PidSeen::Stopped,
            Some(false),
            Some(Reason::ProcessStopped),
            "Process is not running",
            true,
        ),
        (
            PidSeen::WrongProgram,
            Some(false),
            Some(Reason::WrongProcess),
            "Process exists but not monero-wallet-rpc",
            false,
        ),
        (PidSeen::Running, Some(true), None, "Process is running", true),
        (PidSeen::Restarted, Some(true), Some(Reason::Restarted), "Process is running", true),
        (PidSeen::Adopted, Some(true), Some(Reason::PidAdopted), "Process is running", true),
        (PidSeen::Unknown(Unknowable::Refused), None, None, "Process not found", false),
    ] {
        let look = Observation::Pid(pid(seen));
        let found = find(&look);
        assert_eq!(
            (found.works, found.reason, &*found.message),
            (works, reason, message),
            "{seen:?}"
        );
        let shown = details(&look, AT);
        assert_eq!(shown["is_monero_process"], ours, "{seen:?}");
        assert_eq!(shown.get("reason").and_then(Value::as_str), reason.map(Reason::as_str));
    }
}

#[test]
fn each_answer_of_a_server_has_its_words() {
    let text = || "what happened".to_owned();
    let limit = Duration::from_millis(1500);
    let (failed, error) = ("API check failed", "API returned error");
    let cases: Vec<(ApiSeen, Reason, &str, Value, Value)> = vec![
        (ApiSeen::Unauthorized(text()), Reason::Unauthorized, error, json!(401), json!(text())),
        (ApiSeen::HttpStatus(404), Reason::HttpStatus, error, json!(404), Value::Null),
        (
            ApiSeen::RpcError(-32601, text()),
            Reason::RpcError,
            error,
            json!(200),
            json!("-32601: what happened"),
        ),
        (ApiSeen::NotJsonRpc(text()), Reason::NotJsonRpc, failed, Value::Null, json!(text())),
        (ApiSeen::WrongService(text()), Reason::WrongService, failed, Value::Null, json!(text())),
        (
            ApiSeen::ConnectTimeout(limit),
            Reason::ConnectTimeout,
            failed,
            Value::Null,
            json!("timed out after 1500 ms"),
        ),
        (
            ApiSeen::Timeout(limit),
            Reason::ApiTimeout,
            failed,
            Value::Null,
            json!("timed out after 1500 ms"),
        ),
        (ApiSeen::Refused(text()), Reason::PortClosed, failed, Value::Null, json!(text())),
        (ApiSeen::Tls(text()), Reason::Tls, failed, Value::Null, json!(text())),
        (ApiSeen::Dns(text()), Reason::Dns, failed, Value::Null, json!(text())),
        (ApiSeen::Io(text()), Reason::Io, failed, Value::Null, json!(text())),
    ];
    for (seen, reason, message, code, told) in cases {
        let look = Observation::Api(api(seen));
        let found = find(&look);
        assert_eq!(
            (found.works, found.reason, &*found.message),
            (Some(false), Some(reason), message)
        );
        let shown = details(&look, AT);
        assert_eq!(shown.get("status_code").unwrap_or(&Value::Null), &code, "{reason:?}");
        assert_eq!(shown.get("error").unwrap_or(&Value::Null), &told, "{reason:?}");
        assert_eq!(shown.get("version"), None);
    }
}

#[test]
fn an_unreadable_password_is_the_reason_for_a_refused_login_and_beside_a_working_node() {
    let why = "no key opens it";
    let sealed = |seen| ApiFacts { unreadable: Some(why.into()), ..api(seen) };
    let full = |process, seen| Observation::Full(pid(process), port(PortSeen::Open), sealed(seen));
    let told = Some(Reason::SecretUnreadable);

    let works = Observation::Api(sealed(ApiSeen::Version(65561)));
    let found = find(&works);
    assert_eq!(
        (found.works, found.reason, &*found.message),
        (Some(true), told, "API is responding")
    );
    let shown = details(&works, AT);
    assert_eq!(shown["version"], 65561);
    assert_eq!(shown["reason"], "secret_unreadable");
    assert_eq!((&shown["note"], shown.get("error")), (&json!(why), None));

    let refused = Observation::Api(sealed(ApiSeen::Unauthorized("a login is asked for".into())));
    let found = find(&refused);
    assert_eq!(
        (found.works, found.reason, &*found.message),
        (Some(false), told, "API returned error")
    );
    let shown = details(&refused, AT);
    assert_eq!(shown["reason"], "secret_unreadable");
    assert_eq!((&shown["status_code"], &shown["error"]), (&json!(401), &json!(why)));
    assert_eq!(shown.get("note"), None);

    // What has nothing to do with the login keeps its own reason.
    let timeout = find(&Observation::Api(sealed(ApiSeen::Timeout(Duration::from_secs(3)))));
    assert_eq!(timeout.reason, Some(Reason::ApiTimeout));

    let both = find(&full(PidSeen::Restarted, ApiSeen::Version(65561)));
    assert_eq!((both.works, both.reason), (Some(true), told));
    let both = find(&full(PidSeen::Running, ApiSeen::Unauthorized(String::new())));
    assert_eq!((both.works, both.reason), (Some(false), told));
}

#[test]
fn each_sight_of_a_port_has_its_words() {
    let text = || "what happened".to_owned();
    for (seen, reason, message) in [
        (PortSeen::Taken, Reason::PortTaken, "Port is in use"),
        (PortSeen::Closed(text()), Reason::PortClosed, "Port is not in use"),
        (PortSeen::Timeout(Duration::from_secs(1)), Reason::ConnectTimeout, "Port is not in use"),
        (PortSeen::Dns(text()), Reason::Dns, "Port is not in use"),
        (PortSeen::Io(text()), Reason::Io, "Port is not in use"),
    ] {
        let found = find(&Observation::Port(port(seen)));
        assert_eq!(
            (found.works, found.reason, &*found.message),
            (Some(false), Some(reason), message)
        );
    }
    let listener = Some(Listener { pid: 9, program: "nc".into() });
    let taken = Observation::Port(PortFacts { listener, ..port(PortSeen::Taken) });
    assert_eq!(details(&taken, AT)["listener"], json!({"pid": 9, "program": "nc"}));
}

#[test]
fn what_we_lack_says_nothing_of_a_node() {
    let text = || "Too many open files".to_owned();
    let looks = [
        Observation::Api(api(ApiSeen::Unable(text()))),
        Observation::Port(port(PortSeen::Unable(text()))),
        Observation::Full(
            pid(PidSeen::Running),
            port(PortSeen::Unable(text())),
            api(ApiSeen::Unable(text())),
        ),
    ];
    for look in looks {
        let found = find(&look);
        assert_eq!((found.works, found.reason), (None, Some(Reason::Io)), "{look:?}");
        assert!(details(&look, AT).to_string().contains("Too many open files"), "{look:?}");
    }
}

#[test]
fn every_reason_has_one_word_of_its_own() {
    for reason in Reason::ALL {
        assert_eq!(Reason::parse(reason.as_str()), Some(reason));
    }
    assert_eq!(Reason::parse("Busy"), None);
}

#[test]
fn how_a_process_ended_stands_beside_the_frozen_fields() {
    let exit = Some(Exit::Signal(9));
    let gone = PidFacts { cmdline: None, exit, ..pid(PidSeen::Gone) };
    let shape = json!({
        "method": "pid",
        "pid": 4711,
        "cmdline": null,
        "is_monero_process": false,
        "error": "Process 4711 was killed by SIGKILL",
        "exit": {"signal": "SIGKILL"},
        "message": "Process not found",
        "reason": "process_gone",
        "last_check": "2026-01-15T10:30:45+00:00"
    });
    assert_shape(&Observation::Pid(gone), false, &shape);
    let exited = PidFacts { exit: Some(Exit::Code(7)), ..pid(PidSeen::Gone) };
    let told = details(&Observation::Pid(exited), AT);
    assert_eq!(told["exit"], json!({"code": 7}));
    assert_eq!(told["error"], "Process 4711 exited with code 7");
    let real_time = PidFacts { exit: Some(Exit::Signal(40)), ..pid(PidSeen::Gone) };
    assert_eq!(details(&Observation::Pid(real_time), AT)["exit"], json!({"signal": "40"}));
}

#[test]
fn a_method_that_looks_at_no_process_tells_its_end_apart() {
    let refused = Observation::Api(api(ApiSeen::Refused("Connection refused".into())));
    let before = details(&refused, AT);
    let mut told = before.clone();
    tell_end(&mut told, 4711, Exit::Code(7));
    let process = json!({
        "pid": 4711, "exit": {"code": 7}, "message": "Process 4711 exited with code 7"
    });
    assert_eq!(told["process"], process);
    told.as_object_mut().unwrap().remove("process");
    assert_eq!(told, before);
}
