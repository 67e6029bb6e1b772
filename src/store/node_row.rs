//! A node's row: its columns, and what they are as a node.

use super::StoreError;
use super::identity::IdentityColumns;
use super::origin::Origin;
use crate::domain::node::{Method, Node, Password, Tls};
use crate::domain::observation::Reason;
use crate::domain::verdict::{State, Verdict};
use crate::domain::{Service, Timestamp, Uptime};

/// A node's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNode {
    /// What its operator says, and the identity last observed.
    pub node: Node,
    /// Grows with each write of the registry, so that a verdict on what it was before is not recorded.
    pub version: i64,
    /// Where it came from.
    pub origin: Origin,
    /// The instance that answers for it now; none for a node that was released.
    pub owner: Option<String>,
    /// Grows each time that it is taken over, so that a verdict of its former owner is not recorded.
    pub owner_epoch: i64,
    /// The last recorded verdict; its age on the boot clock is not known here.
    pub verdict: Verdict,
}

/// The columns of [`NodeRow`]; every statement is spelled out by the compiler, none at run time.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, version, origin, instance, placement, maintenance_until, owner, owner_epoch, name, title, host, port, tls, username, \
             password, daemon, pid, pid_file, process_name, kind, params, available, state, reason, message, method, worked_data, \
             checked_at, since, latency_ms, streak, boot_id, pid_ns, identity_pid, start_ticks, pidfd_inode \
             FROM procwarden_nodes ",
            $rest
        )
    };
}
pub(super) use select;

/// A row as it stands; the same type for every engine.
#[derive(sqlx::FromRow)]
pub(super) struct NodeRow {
    id: i64,
    version: i64,
    origin: String,
    instance: String,
    placement: Option<String>,
    maintenance_until: Option<i64>,
    owner: Option<String>,
    owner_epoch: i64,
    name: String,
    title: Option<String>,
    host: String,
    port: i64,
    tls: String,
    username: Option<String>,
    password: Option<String>,
    daemon: Option<String>,
    pid: Option<i64>,
    pid_file: Option<String>,
    process_name: String,
    kind: String,
    params: Option<String>,
    available: i64,
    state: String,
    reason: Option<String>,
    message: String,
    method: Option<String>,
    worked_data: Option<String>,
    checked_at: Option<i64>,
    since: Option<i64>,
    latency_ms: Option<i64>,
    streak: i64,
    #[sqlx(flatten)]
    identity: IdentityColumns,
}

impl TryFrom<NodeRow> for StoredNode {
    type Error = StoreError;

    fn try_from(row: NodeRow) -> Result<Self, StoreError> {
        let corrupt = |problem: String| StoreError::Corrupt { table: "procwarden_nodes", problem };
        let identity = row.identity.into_identity();
        let verdict = Verdict {
            state: State::parse(&row.state),
            reason: row.reason.as_deref().and_then(Reason::parse),
            message: row.message,
            method: row.method.and_then(|word| word.parse::<Method>().ok()),
            data: row.worked_data,
            checked_at: row.checked_at.map(Timestamp),
            checked_up: None::<Uptime>,
            since: row.since.map(Timestamp),
            latency_ms: row.latency_ms.and_then(|ms| u32::try_from(ms).ok()),
            identity: identity.clone(),
            streak: u32::try_from(row.streak).unwrap_or(0),
            busy_since: None,
        };
        let origin = Origin::parse(&row.origin);
        let password = row.password.map(match origin {
            // As it stands in their table.
            Origin::Adopted => Password::laravel,
            Origin::User | Origin::Config => Password::stored,
        });
        let service = Service::stored(&row.kind, row.params.as_deref())
            .map_err(|why| corrupt(format!("node {}: {why}", row.id)))?;
        let node = Node {
            id: row.id,
            name: row.name,
            title: row.title,
            host: row.host,
            port: u16::try_from(row.port)
                .map_err(|_| corrupt(format!("node {}: port {}", row.id, row.port)))?,
            service,
            tls: row
                .tls
                .parse::<Tls>()
                .map_err(|why| corrupt(format!("node {}: {why}", row.id)))?,
            username: row.username,
            password,
            daemon: row.daemon,
            pid: row.pid,
            pid_file: row.pid_file,
            process_name: row.process_name,
            available: row.available != 0,
            instance: row.instance,
            placement: row.placement,
            maintenance_until: row.maintenance_until.map(Timestamp),
            identity,
        };
        Ok(Self {
            node,
            version: row.version,
            origin,
            owner: row.owner,
            owner_epoch: row.owner_epoch,
            verdict,
        })
    }
}
