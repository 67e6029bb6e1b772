//! `/proc/PID/stat` as text: a pure parser (`proc_pid_stat(5)`).

use std::str::FromStr;

/// Set in the flags of a kernel thread (`PF_KTHREAD` of the kernel's `include/linux/sched.h`).
const PF_KTHREAD: u64 = 0x0020_0000;

/// The fields that the judgement needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Stat {
    /// Field 3.
    pub(super) state: u8,
    /// Field 9.
    flags: u64,
    /// Fields 14 and 15: clock ticks of all threads, in the program and in the kernel.
    pub(super) cpu_ticks: u64,
    /// Field 20.
    pub(super) threads: i64,
    /// Field 22: clock ticks after boot.
    pub(super) start_ticks: u64,
}

impl Stat {
    /// Reads the line; `None` if it is not one.
    ///
    /// The name of the program stands in parentheses and may itself hold any byte, parentheses and
    /// newlines too, so the fields are counted from the last `)`.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let end = line.iter().rposition(|byte| *byte == b')')?;
        let rest = line.get(end + 1..)?;
        let mut fields = rest.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        let Some([state]) = fields.next() else { return None };
        // Fields 4 to 8 come before the flags, 10 to 13 before the times, 16 to 19 before the threads, 21 before the start.
        let flags = number(fields.nth(5)?)?;
        let user: u64 = number(fields.nth(4)?)?;
        let system: u64 = number(fields.next()?)?;
        let threads = number(fields.nth(4)?)?;
        let start_ticks = number(fields.nth(1)?)?;
        Some(Self {
            state: *state,
            flags,
            cpu_ticks: user.saturating_add(system),
            threads,
            start_ticks,
        })
    }

    /// A zombie; of a main thread it may be true while other threads of the process run.
    pub(super) const fn is_zombie(&self) -> bool {
        self.state == b'Z'
    }

    /// Running, or waiting for a processor.
    pub(super) const fn is_runnable(&self) -> bool {
        self.state == b'R'
    }

    /// Stopped by a signal or by a tracer.
    pub(super) const fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// A thread of the kernel.
    pub(super) const fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }
}

/// A field as a number.
fn number<T: FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REAL: &[u8] = b"4711 (php) S 1 4711 4711 0 -1 4194560 1051 0 0 0 3 1 0 0 20 0 1 0 8675309 14512128 1200 18446744073709551615\n";

    #[test]
    fn a_line_of_a_real_process() {
        let stat = Stat::parse(REAL).unwrap();
        assert_eq!(stat.state, b'S');
        assert_eq!((stat.threads, stat.start_ticks, stat.cpu_ticks), (1, 8_675_309, 4));
        assert!(!stat.is_kernel_thread() && !stat.is_zombie() && !stat.is_stopped());
    }

    #[test]
    fn a_name_that_imitates_the_fields() {
        let line = b"7 (a) Z 1 (b) R\n) T 1 1 1 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 3 0 99 0";
        let stat = Stat::parse(line).unwrap();
        assert!(stat.is_stopped() && stat.is_kernel_thread());
        assert_eq!((stat.threads, stat.start_ticks), (3, 99));
    }

    #[test]
    fn a_cut_line_is_none() {
        assert_eq!(Stat::parse(b"7 (a) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 3 0"), None);
        assert_eq!(Stat::parse(b"7 (a"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Stat::parse(&bytes);
        }

        #[test]
        fn any_name_leaves_the_fields_alone(name in proptest::collection::vec(any::<u8>(), 0..16)) {
            let mut line = b"4711 (".to_vec();
            line.extend(&name);
            line.extend(&REAL[9..]);
            prop_assert_eq!(Stat::parse(&line), Stat::parse(REAL));
        }
    }
}
