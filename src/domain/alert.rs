//! What is worth an alert, and what an alert says. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::migration::{Migration, State, Status as Recorded};
use super::plain::plain;
use super::reconcile::Basis;

/// Most characters of a text of somebody else in an alert.
const LONGEST: usize = 1000;

/// The first pause after a failure; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause: so long a receiver that is back may wait.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Where alerts are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// An HTTP request.
    Webhook,
    /// An e-mail.
    Mail,
}

impl Channel {
    /// Both, in the order of their declaration.
    pub const ALL: [Self; 2] = [Self::Webhook, Self::Mail];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Mail => "mail",
        }
    }
}

/// What is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A node does not work.
    NodeDown,
    /// A migration ended badly.
    MigrationError,
    /// A migration lives and makes no progress.
    MigrationStalled,
    /// An instance gives no sign of life.
    InstanceLost,
    /// Nothing happened: somebody tries the way.
    Test,
}

impl Kind {
    /// Those that can be chosen.
    pub const ALL: [Self; 4] =
        [Self::NodeDown, Self::MigrationError, Self::MigrationStalled, Self::InstanceLost];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeDown => "node_down",
            Self::MigrationError => "migration_error",
            Self::MigrationStalled => "migration_stalled",
            Self::InstanceLost => "instance_lost",
            Self::Test => "test",
        }
    }
}

/// Does it begin or end?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is so now.
    Firing,
    /// It is over.
    Resolved,
}

/// What it is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Subject {
    /// A node.
    Node {
        /// Its id.
        id: i64,
        /// Its name.
        name: String,
        /// What people call it.
        title: Option<String>,
        /// Host and port.
        address: String,
    },
    /// A migration.
    Migration {
        /// `brz_project_id`.
        id: i64,
        /// `mb_project_uuid`.
        mb_project_uuid: String,
        /// The attempt.
        run: i64,
    },
    /// An instance.
    Instance {
        /// `instance.name`.
        name: String,
    },
}

/// One thing that is told: what is sent of it, and kept until it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Alert {
    /// The same each time that it is sent; no other has it.
    pub id: String,
    /// What is told of.
    pub kind: Kind,
    /// Does it begin or end?
    pub status: Status,
    /// When, RFC 3339.
    pub at: String,
    /// What it is about.
    pub subject: Subject,
    /// The state after it, in the words of the HTTP interface.
    pub state: String,
    /// Why, in the same words.
    pub reason: Option<String>,
    /// For people.
    pub message: Option<String>,
    /// The instance that saw it.
    pub instance: String,
}

/// What of it is not the same for all that are told together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct News {
    /// What is told of.
    pub kind: Kind,
    /// Does it begin or end?
    pub status: Status,
    /// What it is about.
    pub subject: Subject,
    /// The state after it.
    pub state: &'static str,
    /// Why.
    pub reason: Option<String>,
    /// For people; somebody else's text.
    pub message: Option<String>,
}

impl News {
    /// The alert; whatever text of others is in it is harmless and short.
    #[must_use]
    pub fn at(self, at: Timestamp, id: String, instance: &str) -> Alert {
        let short = |text: String| plain(&text, LONGEST);
        let subject = match self.subject {
            Subject::Node { id, name, title, address } => Subject::Node {
                id,
                name: short(name),
                title: title.map(short),
                address: short(address),
            },
            Subject::Migration { id, mb_project_uuid, run } => {
                Subject::Migration { id, mb_project_uuid: short(mb_project_uuid), run }
            }
            Subject::Instance { name } => Subject::Instance { name: short(name) },
        };
        Alert {
            id,
            kind: self.kind,
            status: self.status,
            at: at.rfc3339(),
            subject,
            state: self.state.to_owned(),
            reason: self.reason,
            message: self.message.filter(|text| !text.is_empty()).map(short),
            instance: plain(instance, LONGEST),
        }
    }
}

/// Which alerts are made, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Rules {
    /// Where they are sent; nowhere: none is made.
    pub channels: BTreeSet<Channel>,
    /// What is told of.
    pub on: BTreeSet<Kind>,
    /// How long the first one waits for others, so that they go together.
    pub group_wait: Duration,
}

impl Rules {
    /// Is this told to anybody?
    #[must_use]
    pub fn wants(&self, kind: Kind) -> bool {
        !self.channels.is_empty() && self.on.contains(&kind)
    }

    /// Is anything?
    #[must_use]
    pub fn wants_any(&self) -> bool {
        Kind::ALL.into_iter().any(|kind| self.wants(kind))
    }
}

/// What the write of a migration's row is worth telling: the row as it was judged, none for one that is new, and as it
/// is now.
#[must_use]
pub fn of_migration(was: Option<&Basis>, row: &Migration) -> Vec<News> {
    let failed = row.status == Recorded::Error;
    let failed_before = was.is_some_and(|was| was.status == Recorded::Error);
    let another = was.is_some_and(|was| was.run != row.run);
    let stalled = row.state == State::Stalled;
    let stalled_before = was.is_some_and(|was| was.state == State::Stalled);
    let mut news = Vec::new();
    let mut tell = |kind, status, message| {
        news.push(News {
            kind,
            status,
            subject: Subject::Migration {
                id: row.key.brz_project_id,
                mb_project_uuid: row.key.mb_project_uuid.clone(),
                run: row.run,
            },
            state: row.state.as_str(),
            reason: row.reason.map(|reason| reason.as_str().to_owned()),
            message,
        });
    };
    if stalled_before && (!stalled || another) {
        let message = format!("It is {} now", row.state);
        tell(Kind::MigrationStalled, Status::Resolved, Some(message));
    }
    if failed_before && (!failed || another) {
        let message = format!("Run {} is {}", row.run, row.status);
        tell(Kind::MigrationError, Status::Resolved, Some(message));
    }
    if stalled && (!stalled_before || another) {
        let message = "Its process lives and makes no progress".to_owned();
        tell(Kind::MigrationStalled, Status::Firing, Some(message));
    }
    if failed && (!failed_before || another) {
        tell(Kind::MigrationError, Status::Firing, row.error.clone());
    }
    news
}

/// How long to wait after so many failures in a row, at least one: 1 s, 2 s, 4 s, and so on, 5 min at most.
#[must_use]
pub fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}
