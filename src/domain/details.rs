//! Reading an observation: works or not, why, and the JSON that clients of the earlier API know.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::observation::{
    ApiFacts, ApiSeen, Observation, PidFacts, PidSeen, PortFacts, PortSeen, Reason, Silence,
};
use super::process::{Exit, signal_word};
use super::time::Timestamp;

/// What an observation means by itself, before thresholds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Finding {
    /// `Some(true)` works, `Some(false)` does not, `None` cannot be told.
    pub works: Option<bool>,
    /// Why; may stand beside a working node.
    pub reason: Option<Reason>,
    /// One of the earlier module's messages; what a node of another kind says of itself.
    pub message: Cow<'static, str>,
}

impl Finding {
    const fn up(message: &'static str) -> Self {
        Self { works: Some(true), reason: None, message: Cow::Borrowed(message) }
    }

    const fn up_but(message: &'static str, reason: Reason) -> Self {
        Self { works: Some(true), reason: Some(reason), message: Cow::Borrowed(message) }
    }

    const fn down(message: &'static str, reason: Reason) -> Self {
        Self { works: Some(false), reason: Some(reason), message: Cow::Borrowed(message) }
    }

    const fn unknown(message: &'static str, reason: Option<Reason>) -> Self {
        Self { works: None, reason, message: Cow::Borrowed(message) }
    }

    /// Nothing was learned of the node: what is missing is ours.
    const fn untold(message: &'static str) -> Self {
        Self { works: None, reason: Some(Reason::Io), message: Cow::Borrowed(message) }
    }

    /// Does it certainly work?
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.works, Some(true))
    }
}

/// What the observation means.
#[must_use]
pub fn find(observation: &Observation) -> Finding {
    match observation {
        Observation::Pid(pid) => find_pid(pid),
        Observation::Port(port) => find_port(port),
        Observation::Api(api) => find_api(api),
        Observation::Full(pid, port, api) => find_full(pid, port, api),
    }
}

fn find_pid(facts: &PidFacts) -> Finding {
    const RUNNING: &str = "Process is running";
    match facts.seen {
        PidSeen::NotSet => Finding::down("PID not set", Reason::PidMissing),
        PidSeen::NotApplicable => Finding::unknown("PID not set", Some(Reason::PidNotApplicable)),
        PidSeen::Gone => Finding::down("Process not found", Reason::ProcessGone),
        PidSeen::Zombie => Finding::down("Process not found", Reason::ProcessZombie),
        PidSeen::Stopped => Finding::down("Process is not running", Reason::ProcessStopped),
        PidSeen::WrongProgram => {
            Finding::down(facts.kind.preset().wrong_program, Reason::WrongProcess)
        }
        PidSeen::Running => Finding::up(RUNNING),
        PidSeen::Restarted => Finding::up_but(RUNNING, Reason::Restarted),
        PidSeen::Adopted => Finding::up_but(RUNNING, Reason::PidAdopted),
        PidSeen::Unknown(_) => Finding::unknown("Process not found", None),
    }
}

fn find_port(facts: &PortFacts) -> Finding {
    const FREE: &str = "Port is not in use";
    match facts.seen {
        PortSeen::Open => Finding::up("Port is in use"),
        PortSeen::Taken => Finding::down("Port is in use", Reason::PortTaken),
        PortSeen::Closed(_) => Finding::down(FREE, Reason::PortClosed),
        PortSeen::Timeout(_) => Finding::down(FREE, Reason::ConnectTimeout),
        PortSeen::Dns(_) => Finding::down(FREE, Reason::Dns),
        PortSeen::Io(_) => Finding::down(FREE, Reason::Io),
        PortSeen::Unable(_) => Finding::untold(FREE),
    }
}

fn find_api(facts: &ApiFacts) -> Finding {
    const FAILED: &str = "API check failed";
    const ERROR: &str = "API returned error";
    match &facts.seen {
        ApiSeen::Version(_)
        | ApiSeen::Synchronized { .. }
        | ApiSeen::Result
        | ApiSeen::Status(_) => {
            let reason = facts.unreadable.as_ref().map(|_| Reason::SecretUnreadable);
            Finding { reason, ..Finding::up("API is responding") }
        }
        ApiSeen::Unauthorized(_) if facts.unreadable.is_some() => {
            Finding::down(ERROR, Reason::SecretUnreadable)
        }
        ApiSeen::Unauthorized(_) => Finding::down(ERROR, Reason::Unauthorized),
        ApiSeen::HttpStatus(_) => Finding::down(ERROR, Reason::HttpStatus),
        ApiSeen::RpcError(..) => Finding::down(ERROR, Reason::RpcError),
        ApiSeen::Unfit(text) => {
            Finding { message: text.clone().into(), ..Finding::down(ERROR, Reason::RpcError) }
        }
        ApiSeen::NotJsonRpc(_) => Finding::down(FAILED, Reason::NotJsonRpc),
        ApiSeen::WrongService(_) => Finding::down(FAILED, Reason::WrongService),
        ApiSeen::ConnectTimeout(_) => Finding::down(FAILED, Reason::ConnectTimeout),
        ApiSeen::Timeout(_) => find_silent(facts.silence.as_deref(), FAILED),
        ApiSeen::Refused(_) => Finding::down(FAILED, Reason::PortClosed),
        ApiSeen::Tls(_) => Finding::down(FAILED, Reason::Tls),
        ApiSeen::Dns(_) => Finding::down(FAILED, Reason::Dns),
        ApiSeen::Io(_) => Finding::down(FAILED, Reason::Io),
        ApiSeen::Unable(_) => Finding::untold(FAILED),
    }
}

/// No answer in time: what its process did meanwhile tells a long call from a hang.
fn find_silent(silence: Option<&Silence>, failed: &'static str) -> Finding {
    match silence {
        None => Finding::down(failed, Reason::ApiTimeout),
        Some(it) if it.stopped => Finding::down(failed, Reason::ProcessStopped),
        Some(it) if !it.is_busy() => Finding::down(failed, Reason::Hung),
        Some(it) if it.spent => Finding::down(failed, Reason::Busy),
        Some(_) => Finding::up_but("API is busy", Reason::Busy),
    }
}

/// The verdict of `full` is the API's; the message tells which of the three failed, as the earlier module's does.
fn find_full(pid: &PidFacts, port: &PortFacts, api: &ApiFacts) -> Finding {
    let (pid_found, port_found, found) = (find_pid(pid), find_port(port), find_api(api));
    if found.is_up() && found.reason == Some(Reason::Busy) {
        return Finding { message: Cow::Borrowed("Process is busy"), ..found };
    }
    if found.is_up() {
        // What its operator must put right is told before what happened to the process.
        let reason = found.reason.or(pid_found.reason.filter(|_| pid_found.is_up()));
        return Finding { reason, message: "Process is fully operational".into(), ..found };
    }
    if matches!(api.seen, ApiSeen::Unfit(_)) {
        // It does respond; what it says is what its operator has to know.
        return found;
    }
    let message = if port_found.message == "Port is in use" {
        "Port is occupied but API is not responding"
    } else if pid_found.is_up() {
        "Process exists but port is not in use"
    } else {
        "Process is not running"
    };
    // A stopped process explains its own silence; everything else the API's reason tells best.
    let reason = if pid.seen == PidSeen::Stopped { pid_found.reason } else { found.reason };
    Finding { reason, message: message.into(), ..found }
}

/// `details` of an answer and `worked_data` of a row: the fields of the earlier API, then `reason` and `last_check`.
#[must_use]
pub fn details(observation: &Observation, checked_at: Timestamp) -> Value {
    let mut map = match observation {
        Observation::Pid(pid) => pid_details(pid),
        Observation::Port(port) => port_details(port),
        Observation::Api(api) => api_details(api),
        Observation::Full(pid, port, api) => full_details(pid, port, api, checked_at),
    };
    map.insert("last_check".into(), checked_at.rfc3339().into());
    Value::Object(map)
}

fn close(mut map: Map<String, Value>, finding: &Finding) -> Map<String, Value> {
    map.insert("message".into(), finding.message.clone().into());
    if let Some(reason) = finding.reason {
        map.insert("reason".into(), reason.as_str().into());
    }
    map
}

fn pid_details(facts: &PidFacts) -> Map<String, Value> {
    let ours = matches!(
        facts.seen,
        PidSeen::Running | PidSeen::Restarted | PidSeen::Adopted | PidSeen::Stopped
    );
    let mut map = Map::new();
    map.insert("method".into(), "pid".into());
    map.insert("pid".into(), facts.pid.into());
    map.insert("cmdline".into(), facts.cmdline.clone().into());
    if facts.kind.preset().is_monero {
        map.insert("is_monero_process".into(), ours.into());
    }
    if let PidSeen::Unknown(why) = facts.seen {
        map.insert("error".into(), why.as_str().into());
    }
    if let (Some(pid), Some(exit)) = (facts.pid, facts.exit) {
        map.insert("error".into(), end_text(pid, exit).into());
        map.insert("exit".into(), exit_value(exit));
    }
    close(map, &find_pid(facts))
}

/// `Process 4711 was killed by SIGKILL`
#[must_use]
pub fn end_text(pid: i64, exit: Exit) -> String {
    match exit {
        Exit::Code(_) => format!("Process {pid} {exit}"),
        Exit::Signal(_) => format!("Process {pid} was {exit}"),
    }
}

/// `{"code": 7}` or `{"signal": "SIGKILL"}`; a signal without a name is its number as text.
fn exit_value(exit: Exit) -> Value {
    match exit {
        Exit::Code(code) => json!({"code": code}),
        Exit::Signal(signal) => json!({"signal": signal_word(signal)}),
    }
}

/// Adds how the node's process ended to what a method says that looks at no process.
pub fn tell_end(details: &mut Value, pid: i64, exit: Exit) {
    if let Value::Object(map) = details {
        let text = end_text(pid, exit);
        map.insert(
            "process".into(),
            json!({"pid": pid, "exit": exit_value(exit), "message": text}),
        );
    }
}

fn port_details(facts: &PortFacts) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("method".into(), "port".into());
    map.insert("host".into(), facts.host.clone().into());
    map.insert("port".into(), facts.port.into());
    let error = match &facts.seen {
        PortSeen::Open | PortSeen::Taken => None,
        PortSeen::Timeout(limit) => Some(timed_out(*limit)),
        PortSeen::Closed(text)
        | PortSeen::Dns(text)
        | PortSeen::Io(text)
        | PortSeen::Unable(text) => Some(text.clone()),
    };
    if let Some(error) = error {
        map.insert("error".into(), error.into());
    }
    if let Some(listener) = &facts.listener {
        map.insert("listener".into(), json!({"pid": listener.pid, "program": listener.program}));
    }
    close(map, &find_port(facts))
}

fn api_details(facts: &ApiFacts) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("method".into(), "api".into());
    map.insert("url".into(), (*facts.url).into());
    match &facts.seen {
        ApiSeen::Version(version) => {
            map.insert("version".into(), (*version).into());
        }
        ApiSeen::Synchronized { height, target_height } => {
            map.insert("height".into(), (*height).into());
            map.insert("target_height".into(), (*target_height).into());
        }
        ApiSeen::Result => {}
        ApiSeen::Unauthorized(text) => {
            map.insert("status_code".into(), 401.into());
            map.insert("error".into(), facts.unreadable.as_deref().unwrap_or(text).into());
        }
        ApiSeen::Status(code) | ApiSeen::HttpStatus(code) => {
            map.insert("status_code".into(), (*code).into());
        }
        ApiSeen::RpcError(code, text) => {
            map.insert("status_code".into(), 200.into());
            map.insert("error".into(), format!("{code}: {text}").into());
        }
        ApiSeen::ConnectTimeout(limit) => {
            map.insert("error".into(), timed_out(*limit).into());
        }
        ApiSeen::Timeout(limit) => {
            let meanwhile = facts.silence.as_deref().map(silence_text).unwrap_or_default();
            map.insert("error".into(), format!("{}{meanwhile}", timed_out(*limit)).into());
        }
        ApiSeen::Unfit(text)
        | ApiSeen::NotJsonRpc(text)
        | ApiSeen::WrongService(text)
        | ApiSeen::Refused(text)
        | ApiSeen::Tls(text)
        | ApiSeen::Dns(text)
        | ApiSeen::Io(text)
        | ApiSeen::Unable(text) => {
            map.insert("error".into(), text.clone().into());
        }
    }
    let found = find_api(facts);
    // Not as `error`: it works.
    if let Some(why) = facts.unreadable.as_ref().filter(|_| found.is_up()) {
        map.insert("note".into(), (**why).into());
    }
    close(map, &found)
}

fn full_details(
    pid: &PidFacts,
    port: &PortFacts,
    api: &ApiFacts,
    checked_at: Timestamp,
) -> Map<String, Value> {
    let (pid_found, port_found, api_found) = (find_pid(pid), find_port(port), find_api(api));
    let mut map = Map::new();
    map.insert("method".into(), "full".into());
    map.insert(
        "checks".into(),
        json!({
            "pid": {"status": pid_found.is_up(), "details": pid_details(pid)},
            "port": {"status": port_found.is_up(), "details": port_details(port)},
            "api": {"status": api_found.is_up(), "details": api_details(api)},
        }),
    );
    map.insert(
        "summary".into(),
        json!({
            "pid_alive": pid_found.is_up(),
            "port_in_use": port_found.message == "Port is in use",
            "api_responding": matches!(api.seen, ApiSeen::Version(_)),
        }),
    );
    let mut map = close(map, &find_full(pid, port, api));
    map.insert("timestamp".into(), checked_at.rfc3339().into());
    map
}

/// `, its process 4711 used 1480 ms of CPU time in 1500 ms`
fn silence_text(silence: &Silence) -> String {
    let Silence { pid, stopped, cpu, watched, .. } = silence;
    if *stopped {
        return format!(", its process {pid} is stopped");
    }
    format!(
        ", its process {pid} used {} ms of CPU time in {} ms",
        cpu.as_millis(),
        watched.as_millis()
    )
}

/// `timed out after 3 s`: the limit is in the text, so that nobody has to guess which one it was.
fn timed_out(limit: Duration) -> String {
    if limit.subsec_nanos() == 0 {
        format!("timed out after {} s", limit.as_secs())
    } else {
        format!("timed out after {} ms", limit.as_millis())
    }
}
