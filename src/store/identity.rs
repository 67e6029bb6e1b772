//! Columns of a recorded identity, the same in every table that has one.

use crate::domain::Identity;

/// The five columns.
#[derive(Debug, Clone, Default, sqlx::FromRow)]
pub(super) struct IdentityColumns {
    boot_id: Option<String>,
    pid_ns: Option<i64>,
    identity_pid: Option<i64>,
    start_ticks: Option<i64>,
    pidfd_inode: Option<i64>,
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

    pub(super) fn boot_id(&self) -> Option<&str> {
        self.boot_id.as_deref()
    }

    pub(super) const fn numbers(&self) -> [Option<i64>; 4] {
        [self.pid_ns, self.identity_pid, self.start_ticks, self.pidfd_inode]
    }
}
