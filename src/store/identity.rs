//! Columns of a recorded identity, the same in every table that has one.

use serde::Serialize;

use crate::domain::Identity;

/// The five columns.
#[derive(Debug, Clone, Default, Serialize, sqlx::FromRow)]
pub(super) struct IdentityColumns {
    pub(super) boot_id: Option<String>,
    pub(super) pid_ns: Option<i64>,
    pub(super) identity_pid: Option<i64>,
    pub(super) start_ticks: Option<i64>,
    pub(super) pidfd_inode: Option<i64>,
}

impl IdentityColumns {
    /// The values in the order `boot_id, pid_ns, identity_pid, start_ticks, pidfd_inode`.
    pub(super) fn of(identity: Option<&Identity>) -> Self {
        identity.map_or_else(Self::default, |id| Self {
            boot_id: Some(id.boot_id.clone()),
            pid_ns: Some(id.pid_ns.cast_signed()),
            identity_pid: Some(i64::from(id.pid)),
            start_ticks: id.start_ticks.map(u64::cast_signed),
            pidfd_inode: id.inode.map(u64::cast_signed),
        })
    }

    /// The identity, if one is recorded.
    pub(super) fn into_identity(self) -> Option<Identity> {
        Some(Identity {
            boot_id: self.boot_id?,
            pid_ns: self.pid_ns?.cast_unsigned(),
            pid: i32::try_from(self.identity_pid?).ok()?,
            start_ticks: self.start_ticks.map(i64::cast_unsigned),
            inode: self.pidfd_inode.map(i64::cast_unsigned),
        })
    }
}
