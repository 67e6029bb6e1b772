//! A server that outlives the test that started it, but not the test process, however that ends.
//!
//! `setpriv --pdeathsig` alone ties a child to the thread that spawned it, and a test's thread ends with its test. So a
//! shell stands in between: it starts the server when told, and at the end of its input, which is the end of the test
//! process or of the handle, it ends the server and removes the directory. The server dies with the shell as well.

use std::fmt::Display;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::kernel;
use super::poll::eventually_sync;
use super::program::clean_command;

/// `dir signal command...`: each line of input starts the command and is answered with its PID.
///
/// A zombie keeps its number until the next line or the end, so a signal never meets a stranger. The server leads a
/// process group, for what it starts itself; PostgreSQL's own children leave it, and end when their parent has ended.
const SCRIPT: &str = r#"
dir=$1 end=$2 pid=
shift 2
while read -r _; do
    [ -z "$pid" ] || wait "$pid"
    setsid setpriv --pdeathsig KILL "$@" </dev/null >>"$dir/log" 2>&1 &
    pid=$!
    echo "$pid"
done
if [ -n "$pid" ]; then
    { kill -CONT "$pid" $(cat "/proc/$pid/task/"*/children); kill -s "$end" "$pid"; } 2>/dev/null
    tries=100
    # The shell may have reaped it by itself.
    while [ "$tries" -gt 0 ] && [ -e "/proc/$pid" ] && ! grep -q ') Z ' "/proc/$pid/stat"; do
        tries=$((tries - 1))
        sleep 0.05
    done
    kill -KILL -- "-$pid" 2>/dev/null
    wait "$pid"
fi
# A PostgreSQL that was killed leaves a segment of shared memory, whose number stands here.
left=$dir/data/postmaster.pid
[ ! -r "$left" ] || ipcrm -m "$(awk 'NR == 7 { print $2 }' "$left")" 2>/dev/null
rm -rf -- "$dir" || { sleep 1; rm -rf -- "$dir"; }
"#;

/// How long a server may take to end, or to be killed and swept away.
const END: Duration = Duration::from_mins(1);

/// A server and its directory.
#[derive(Debug)]
pub struct Guarded {
    shell: Child,
    /// Nothing but this handle holds it open: Rust's pipes are closed in every other child.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pid: Option<i32>,
    dir: PathBuf,
}

impl Guarded {
    /// `command` is not started yet; its output goes to the file `log` in `dir`. `end` is the signal by which it ends
    /// at the end of the tests; after five seconds it is killed.
    pub fn new(dir: TempDir, command: &[String], end: &str) -> Self {
        let dir = dir.keep();
        let mut shell = clean_command("sh", Path::new("/"), &[])
            .args(["-c", SCRIPT, "guardian"])
            .arg(&dir)
            .arg(end)
            .args(command)
            // A terminal's Ctrl-C ends the tests, and by that the server, not the guardian itself.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let (orders, answers) = (shell.stdin.take(), shell.stdout.take().unwrap());
        Self { shell, orders, answers: BufReader::new(answers), pid: None, dir }
    }

    /// Starts the server. The one before has ended, or is about to.
    pub fn start(&mut self) {
        self.orders.as_mut().unwrap().write_all(b"start\n").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        self.pid = Some(line.trim().parse().expect("the guardian tells a PID"));
    }

    /// The server's PID; of the one that ended if it is not started again.
    pub fn pid(&self) -> i32 {
        self.pid.expect("it was started")
    }

    /// Whether it has ended; before its first start as well.
    pub fn has_ended(&self) -> bool {
        self.pid.is_none_or(|pid| matches!(kernel::state(pid), None | Some('Z' | 'X')))
    }

    /// Sends a signal; false if it is gone.
    pub fn signal(&self, signal: Signal) -> bool {
        !self.has_ended() && send(self.pid(), signal)
    }

    /// SIGKILL, and its end awaited.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.wait_end();
    }

    /// Waits for its end.
    pub fn wait_end(&self) {
        eventually_sync(END, || if self.has_ended() { Ok(()) } else { Err(self.log()) });
    }

    /// SIGSTOP for it and its children: connections stand and are accepted, nothing is answered.
    pub fn freeze(&self) {
        self.all(Signal::STOP);
    }

    /// SIGCONT for it and its children.
    pub fn thaw(&self) {
        self.all(Signal::CONT);
    }

    fn all(&self, signal: Signal) {
        assert!(self.signal(signal), "it is gone: {}", self.log());
        // The parent first: once it stands still there are no new children.
        for child in children(self.pid()) {
            send(child, signal);
        }
    }

    /// The directory; removed at the end.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it wrote, over all its lives.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Panics with the log; to be called where the server is not as it should be.
    pub fn fail(&self, why: impl Display) -> ! {
        panic!("{why}; its log:\n{}", self.log())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.shell.wait();
    }
}

fn send(pid: i32, signal: Signal) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        tasks.flatten().filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    lists
        .collect::<Vec<_>>()
        .join(" ")
        .split_whitespace()
        .filter_map(|it| it.parse().ok())
        .collect()
}
