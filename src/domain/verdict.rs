//! From an observation to a node's verdict: thresholds both ways, and when a verdict grows stale.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::details::{details, find};
use super::node::{Method, Node};
use super::observation::{ApiSeen, Observation, PidSeen, PortSeen, Reason, Silence};
use super::process::Identity;
use super::time::{Now, Timestamp, Uptime};

/// What a node is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// It works.
    Up,
    /// It does not.
    Down,
    /// It was never checked, or it cannot be told.
    #[default]
    Unknown,
    /// Its last verdict is too old to count.
    Stale,
    /// Its operator took it out.
    Disabled,
}

impl State {
    /// The word for it everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Stale => "stale",
            Self::Disabled => "disabled",
        }
    }

    /// The state that a stored word stands for; anything else is unknown.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "up" => Self::Up,
            "down" => Self::Down,
            "stale" => Self::Stale,
            "disabled" => Self::Disabled,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many looks in a row it takes to change a verdict, and how long it takes of a busy node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// Failures in a row before a working node is down; at least 1.
    pub failure: u32,
    /// Successes in a row before a node that is down works again; at least 1.
    pub success: u32,
    /// How long a busy node counts as working.
    pub busy_grace: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { failure: 1, success: 1, busy_grace: Duration::from_secs(60) }
    }
}

/// What is held of a node: its state, and the last look that led to it or left it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Verdict {
    /// `up`, `down` or `unknown`; the rest depends on the clock and the registry.
    pub state: State,
    /// Of the last look.
    pub reason: Option<Reason>,
    /// Of the last look.
    pub message: String,
    /// Of the last look.
    pub method: Option<Method>,
    /// `worked_data`: the last look in the form of the earlier API, as JSON text.
    pub data: Option<String>,
    /// When the last look ended.
    pub checked_at: Option<Timestamp>,
    /// When the last look ended, for its age.
    pub checked_up: Option<Uptime>,
    /// The last change of `state`.
    pub since: Option<Timestamp>,
    /// Of the last look, in milliseconds; `None` if no answer came.
    pub latency_ms: Option<u32>,
    /// The process last observed to be the node.
    pub identity: Option<Identity>,
    /// Looks in a row that contradict `state`.
    pub streak: u32,
    /// The first of the looks that found it busy, without an answer since. Not recorded: see [`weigh`].
    pub busy_since: Option<Uptime>,
}

impl Verdict {
    /// Does it differ in what is recorded on change: state, reason, or the observed identity?
    #[must_use]
    pub fn changed_from(&self, previous: &Self) -> bool {
        (self.state, self.reason, &self.identity)
            != (previous.state, previous.reason, &previous.identity)
            || previous.checked_at.is_none()
    }

    /// Did the state turn? The first verdict of a node is no turn.
    #[must_use]
    pub fn flipped_from(&self, previous: &Self) -> bool {
        self.state != previous.state && previous.checked_at.is_some()
    }

    /// The state as readers see it at `now`, given the longest age `window` at which a verdict counts.
    #[must_use]
    pub fn state_at(&self, now: Uptime, window: Duration) -> State {
        match self.checked_up {
            Some(checked) if now.since(checked) > window => State::Stale,
            Some(_) => self.state,
            None => State::Unknown,
        }
    }
}

/// What a node is after one more look.
///
/// A first look decides at once; later ones need the thresholds, except that a proof of death needs none.
#[must_use]
pub fn evaluate(
    node: &Node,
    previous: &Verdict,
    observation: &Observation,
    thresholds: Thresholds,
    now: Now,
) -> Verdict {
    let observation = &*weigh(observation, previous, thresholds.busy_grace, now);
    let found = find(observation);
    let seen = match found.works {
        Some(true) => State::Up,
        Some(false) => State::Down,
        None => State::Unknown,
    };
    let proven = found.reason.is_some_and(Reason::proves_death) || is_dead_and_silent(observation);
    let needed = if seen == State::Up { thresholds.success } else { thresholds.failure };
    let streak = if seen == previous.state { 0 } else { previous.streak.saturating_add(1) };
    let turns = previous.state == State::Unknown || proven || streak >= needed;
    let state = if turns { seen } else { previous.state };
    let since = if state == previous.state { previous.since } else { None };
    Verdict {
        state,
        reason: found.reason,
        message: found.message.into_owned(),
        method: Some(observation.method()),
        data: Some(details(observation, now.wall).to_string()),
        checked_at: Some(now.wall),
        checked_up: Some(now.up),
        since: since.or(Some(now.wall)),
        latency_ms: observation.latency().map(|d| u32::try_from(d.as_millis()).unwrap_or(u32::MAX)),
        identity: identity_after(node, observation),
        streak: if turns { 0 } else { streak },
        busy_since: match found.reason {
            Some(Reason::Busy) => busy_since(previous, now).or(Some(now.up)),
            Some(reason) if reason.is_silence() => busy_since(previous, now),
            _ => None,
        },
    }
}

/// The observation with what the looks before say about it: whether a busy node has been so for longer than `grace`.
///
/// A node that is down because it did not answer stays down until it does, busy or not.
#[must_use]
pub fn weigh<'a>(
    observation: &'a Observation,
    previous: &Verdict,
    grace: Duration,
    now: Now,
) -> Cow<'a, Observation> {
    let is_busy = observation
        .api()
        .filter(|api| matches!(api.seen, ApiSeen::Timeout(_)))
        .and_then(|api| api.silence.as_deref())
        .is_some_and(Silence::is_busy);
    let fell_silent =
        previous.state == State::Down && previous.reason.is_some_and(Reason::is_silence);
    let is_over = busy_since(previous, now).is_some_and(|since| now.up.since(since) >= grace);
    if !is_busy || !(fell_silent || is_over || grace.is_zero()) {
        return Cow::Borrowed(observation);
    }
    let mut weighed = observation.clone();
    if let Observation::Api(api) | Observation::Full(_, _, api) = &mut weighed
        && let Some(silence) = api.silence.as_mut()
    {
        silence.spent = true;
    }
    Cow::Owned(weighed)
}

/// Since when a node is busy. A record of it was written when it became so, and says when that was by the wall clock; one
/// that says it will be so leaves no grace.
fn busy_since(previous: &Verdict, now: Now) -> Option<Uptime> {
    previous.busy_since.or_else(|| {
        let recorded = previous.checked_at.filter(|_| previous.reason == Some(Reason::Busy))?;
        Some(if recorded > now.wall {
            Uptime(i64::MIN)
        } else {
            now.up.minus(now.wall.since(recorded))
        })
    })
}

/// A full look names the API's reason; that the process is dead and nobody has its port proves as much.
fn is_dead_and_silent(observation: &Observation) -> bool {
    match observation {
        Observation::Full(pid, port, api) => {
            matches!(pid.seen, PidSeen::Gone | PidSeen::Zombie)
                && matches!(port.seen, PortSeen::Closed(_))
                && matches!(api.seen, ApiSeen::Refused(_))
        }
        _ => false,
    }
}

/// The observed identity: replaced by a look that found the node's process, kept by every other.
fn identity_after(node: &Node, observation: &Observation) -> Option<Identity> {
    let found = observation.pid().filter(|facts| {
        matches!(
            facts.seen,
            PidSeen::Running | PidSeen::Restarted | PidSeen::Adopted | PidSeen::Stopped
        )
    });
    found.and_then(|facts| facts.identity.clone()).or_else(|| node.identity.clone())
}

/// The window W: how old a verdict may be. Three times what a pass takes, plus one check's own limits.
#[must_use]
pub fn window(
    interval: Duration,
    last_pass: Duration,
    connect_timeout: Duration,
    api_timeout: Duration,
) -> Duration {
    interval.max(last_pass).saturating_mul(3) + connect_timeout + api_timeout
}
