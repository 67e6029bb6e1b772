//! Which program a process is: its executable, its arguments, its name.

use rustix::fs::readlinkat;

use super::Processes;
use crate::mask::{mask_arguments, printable};

/// As much of a command line as is read; the rest only loses its place in a text for people.
const READ_LIMIT: usize = 64 * 1024;

/// As much of a command line as is told, in bytes.
const TOLD_LIMIT: usize = 4096;

/// The kernel keeps 15 bytes of a name (`TASK_COMM_LEN` is 16 with the final zero; `proc_pid_comm(5)`).
const COMM_LENGTH: usize = 15;

/// What is known of the program behind a PID.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Program {
    /// File name of the executable; `None` where its link may not be read, and of zombies.
    pub executable: Option<String>,
    /// File name of the first argument.
    pub arg0: Option<String>,
    /// The name that the kernel keeps, at most 15 bytes; a process may choose it.
    pub comm: Option<String>,
    /// The command line with secrets masked and control characters escaped, at most 4 KiB.
    pub cmdline: Option<String>,
}

impl Program {
    /// Is it this program? `None` if nothing about it can be read, or any will do: the name is empty.
    ///
    /// The executable or the first argument must have exactly this file name. Only where neither can be read
    /// is the kernel's name compared, and then only as far as the kernel keeps it.
    #[must_use]
    pub fn is(&self, name: &str) -> Option<bool> {
        if name.is_empty() {
            return None;
        }
        if self.executable.is_some() || self.arg0.is_some() {
            return Some([&self.executable, &self.arg0].into_iter().flatten().any(|it| it == name));
        }
        let comm = self.comm.as_ref()?;
        let kept = name.as_bytes().get(..COMM_LENGTH).unwrap_or(name.as_bytes());
        Some(comm.as_bytes() == kept)
    }

    /// What to call it: its executable, else its first argument, else the kernel's name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.executable.as_deref().or(self.arg0.as_deref()).or(self.comm.as_deref())
    }
}

impl Processes {
    /// Which program stands under this PID; every part that cannot be read is `None`.
    #[must_use]
    pub fn program(&self, pid: i32) -> Program {
        let arguments = self.arguments(pid);
        Program {
            executable: self.executable(pid),
            arg0: arguments.as_deref().and_then(<[String]>::first).and_then(|arg| file_name(arg)),
            comm: self
                .read_proc(&format!("{pid}/comm"), COMM_LENGTH + 1)
                .ok()
                .map(|comm| String::from_utf8_lossy(comm.trim_ascii_end()).into_owned()),
            cmdline: arguments.as_deref().map(command_line),
        }
    }

    /// Is it this program, by the same rule as [`Program::is`]? Where the executable answers, nothing else is read: arguments
    /// are memory of the process, and reading them waits while its memory map is held.
    #[must_use]
    pub fn is_program(&self, pid: i32, name: &str) -> Option<bool> {
        let answers = !name.is_empty() && self.executable(pid).is_some_and(|it| it == name);
        if answers { Some(true) } else { self.program(pid).is(name) }
    }

    fn executable(&self, pid: i32) -> Option<String> {
        let proc = self.inner.proc.as_ref()?;
        let link = readlinkat(proc, format!("{pid}/exe"), Vec::new()).ok()?;
        let path = link.to_string_lossy();
        // What the kernel appends when the file was replaced by an update (`proc_pid_exe(5)`).
        file_name(path.strip_suffix(" (deleted)").unwrap_or(&path))
    }

    /// The arguments; `None` if they cannot be read or there are none (zombies, kernel threads).
    pub(super) fn arguments(&self, pid: i32) -> Option<Vec<String>> {
        let mut bytes = self.read_proc(&format!("{pid}/cmdline"), READ_LIMIT).ok()?;
        if bytes.len() == READ_LIMIT {
            // An argument that was cut could be a secret that is no longer recognised as one.
            bytes.truncate(bytes.iter().rposition(|byte| *byte == 0).unwrap_or(0));
        }
        let end = bytes.iter().rposition(|byte| *byte != 0)? + 1;
        bytes.truncate(end);
        Some(
            bytes.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into()).collect(),
        )
    }
}

fn command_line(arguments: &[String]) -> String {
    let mut line = printable(&mask_arguments(arguments));
    line.truncate(line.floor_char_boundary(TOLD_LIMIT));
    line
}

fn file_name(path: &str) -> Option<String> {
    path.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(executable: Option<&str>, arg0: Option<&str>, comm: &str) -> Program {
        Program {
            executable: executable.map(str::to_owned),
            arg0: arg0.map(str::to_owned),
            comm: Some(comm.to_owned()),
            cmdline: None,
        }
    }

    #[test]
    fn a_program_is_named_by_its_executable_or_first_argument() {
        let name = "monero-wallet-rpc";
        assert_eq!(program(Some(name), Some("x"), "x").is(name), Some(true));
        assert_eq!(program(Some("ld.so"), Some(name), "x").is(name), Some(true));
        assert_eq!(program(Some("bash"), Some("-bash"), "monero-wallet-r").is(name), Some(false));
        assert_eq!(program(Some("monero-wallet-rp"), None, "x").is(name), Some(false));
    }

    #[test]
    fn the_kernels_name_counts_only_when_nothing_else_is_known() {
        assert_eq!(program(None, None, "monero-wallet-r").is("monero-wallet-rpc"), Some(true));
        assert_eq!(program(None, None, "monero-wallet-r").is("monero"), Some(false));
        assert_eq!(program(None, None, "monero").is("monero-wallet-rpc"), Some(false));
        assert_eq!(Program::default().is("monero"), None);
        assert_eq!(program(Some("monero"), None, "monero").is(""), None, "any will do");
    }

    #[test]
    fn a_command_line_is_cut_between_characters() {
        let told = command_line(&["я".repeat(5000)]);
        assert_eq!(told.len(), TOLD_LIMIT);
        assert_eq!(command_line(&["a\nb\u{1b}[0m".to_owned()]), "a\\nb\\u{1b}[0m");
    }
}
