//! How a process ended: `PIDFD_GET_INFO`, which Linux answers for exits since 6.15.
//!
//! The one module with `unsafe`: no safe wrapper of this ioctl exists in the crates that we use.
#![allow(unsafe_code)] // One ioctl, whose kernel structure is spelled out below.

use rustix::fd::BorrowedFd;
use rustix::ioctl::{Opcode, Updater, ioctl};

use crate::domain::Exit;

/// `_IOWR(0xFF, 11, struct pidfd_info)` with the structure's first published size of 64 bytes
/// (`PIDFD_INFO_SIZE_VER0` of the kernel's `include/uapi/linux/pidfd.h`; measured on 6.18).
const PIDFD_GET_INFO: Opcode = 0xC040_FF0B;

/// `PIDFD_INFO_EXIT`: asked for with it, and set in the answer if `exit_code` is valid.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `struct pidfd_info`, version 0: 64 bytes; the kernel writes no more than the opcode's size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    /// pid, tgid, ppid and eight user and group ids.
    ids: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// How the process behind `pidfd` ended; `None` while it lives, before it was reaped by its parent
/// (no exit status is published before that) and on kernels that do not tell.
pub(super) fn exit(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the opcode is that of PIDFD_GET_INFO for a structure of 64 bytes, which `PidfdInfo` is: `repr(C)`,
    // without padding, made of integers, so every byte pattern that the kernel leaves in it is valid. On a
    // descriptor that is no pidfd the kernel answers ENOTTY and writes nothing.
    unsafe { ioctl(pidfd, Updater::<PIDFD_GET_INFO, PidfdInfo>::new(&mut info)) }.ok()?;
    if info.mask & PIDFD_INFO_EXIT == 0 {
        return None;
    }
    Exit::of_wait_status(info.exit_code.into())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_descriptor_that_is_no_pidfd_tells_nothing() {
        assert_eq!(exit(File::open("/proc/self/stat").unwrap().as_fd()), None);
    }
}
