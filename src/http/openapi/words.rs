//! The closed lists of words, taken from the domain itself.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::config::AdoptMode;
use crate::domain::adopt::Code;
use crate::domain::node::Tls;
use crate::domain::verdict::State as Node;
use crate::domain::{Kind, Method, migration, observation};
use crate::http::health::NO_NODES_HERE;
use crate::http::instances::STATES;
use crate::http::migration_writes::ENDS;

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident = $words:expr;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug)]
            pub struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let words: Vec<&'static str> = $words;
                    ObjectBuilder::new()
                        .schema_type(Type::String)
                        .description(Some(concat!($($doc),+).trim()))
                        .enum_values(Some(words))
                        .build()
                        .into()
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    Cow::Borrowed(stringify!($name))
                }
            }
        )+
    };
}

words! {
    /// How a node is checked.
    NodeMethod = Method::ALL.iter().map(|it| it.as_str()).collect();
    /// What a node is.
    NodeState = [Node::Up, Node::Down, Node::Unknown, Node::Stale, Node::Disabled]
        .iter().map(|it| it.as_str()).collect();
    /// Why a node is what it is; may stand beside one that works.
    NodeReason = observation::Reason::ALL.iter().map(|it| it.as_str()).collect();
    /// What a node serves.
    NodeKind = Kind::ALL.iter().map(|it| it.as_str()).collect();
    /// Whether and how TLS is spoken with a node.
    NodeTls = [Tls::Off, Tls::Verify, Tls::Insecure].iter().map(|it| it.as_str()).collect();
    /// What the dashboard shows of a migration.
    MigrationStatusWord = migration::Status::ALL.iter().map(|it| it.as_str()).collect();
    /// What is seen of a migration.
    MigrationState = migration::State::ALL.iter().map(|it| it.as_str()).collect();
    /// Why.
    MigrationReason = migration::Reason::ALL.iter().map(|it| it.as_str()).collect();
    /// Who said a status.
    StatusSource = migration::Source::ALL.iter().map(|it| it.as_str()).collect();
    /// How a run may end, in its runner's word.
    End = ENDS.iter().map(|it| it.as_str()).collect();
    /// Whether enough nodes work.
    HealthStatus = vec!["healthy", "degraded", "stale", "draining"];
    /// Why nothing is counted.
    HealthNote = vec![NO_NODES_HERE];
    /// Whether an instance's last heartbeat holds.
    InstanceState = STATES.to_vec();
    /// Whether the loops turn.
    LiveStatus = vec!["ok", "stale"];
    /// Whether requests may be sent here.
    ReadyStatus = vec!["ready", "degraded", "not_ready", "draining"];
    /// How a component is.
    ComponentStatus = vec!["ok", "unpublished", "stale", "degraded", "draining", "off"];
    /// Whether the kernel tells us of processes and locks.
    EventsStatus = vec!["ok", "polling", "off"];
    /// Whether alerts get through.
    AlertsStatus = vec!["ok", "failing", "off"];
    /// Whether an event is on record.
    EventKind = vec!["observed", "flip"];
    /// Why what a client missed cannot be told.
    ResetWhy = vec!["too_old", "unknown", "unavailable"];
    /// Why a file could not be judged.
    UnreadableReason = vec![
        "not_json", "empty", "too_large", "not_a_file", "permission", "not_utf8", "id_mismatch", "duplicate",
        "bad_pid",
    ];
    /// What is done with what is adopted.
    AdoptModeWord = AdoptMode::ALL.iter().map(|it| it.as_str()).collect();
    /// Another judgement, or something to be mended.
    FindingKind = vec!["difference", "fault"];
    /// What adoption found.
    FindingCode = Code::ALL.iter().map(|it| it.as_str()).collect();
    /// What the judgement comes to.
    VerdictWord = vec!["none", "wait", "error", "completed"];
    /// What the monitor would do.
    WouldWord = vec!["set_error", "set_completed", "remove_lock"];
}
