//! How many descriptors processes may take, and why one could not be had.

use std::io;
use std::os::fd::RawFd;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

/// What is left to connections, files and the database: a part of the limit, and at least so many.
const RESERVE: (u64, u64) = (8, 128);

/// How many descriptors this process may have now.
#[must_use]
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises that as far as it goes: each watched process and each kept connection is a descriptor, and the soft limit is often
/// 1024.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays");
        }
    }
}

/// Of so many, the first number that is not for handles on processes.
#[must_use]
pub fn ceiling(limit: u64) -> RawFd {
    let ours = limit.saturating_sub(reserve(limit).max(RESERVE.1));
    RawFd::try_from(ours).unwrap_or(RawFd::MAX)
}

/// The part of so many that is left to others, and that processes have at least.
#[must_use]
pub const fn reserve(limit: u64) -> u64 {
    limit / RESERVE.0
}

/// Why a process cannot be held, for people.
#[must_use]
pub fn why_not_held(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => "too many open files",
        Some(Errno::NOSYS) => "the kernel, or a filter, has no pidfd_open",
        Some(Errno::PERM) => "a filter forbids pidfd_open",
        Some(Errno::NOSPC) => "fs.epoll.max_user_watches is reached",
        _ => "the kernel refuses",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_left_to_others_whatever_the_limit() {
        let table =
            [(0, 0), (64, 0), (256, 128), (1024, 896), (20_000, 17_500), (u64::MAX, RawFd::MAX)];
        for (limit, expected) in table {
            assert_eq!(ceiling(limit), expected, "{limit}");
        }
    }
}
