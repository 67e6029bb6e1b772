//! A child process that dies with the test: started, signalled and reaped by its PID.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::poll::eventually;

/// Copies a program that is run then. Had this process written it, a child that another thread starts meanwhile would hold it
/// open for writing until it is another program itself, and nobody could run it (`ETXTBSY`).
pub fn copy_program(from: impl AsRef<Path>, to: &Path) {
    let status = Command::new("cp").arg(from.as_ref()).arg(to).status().unwrap();
    assert!(status.success(), "cp {}: {status}", to.display());
}

/// A running child.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
    /// Once it is reaped nobody gets its number as long as the test's thread lives.
    keeps_number: bool,
}

thread_local! {
    /// The other members of groups whose leaders have ended; they end with the test.
    static MEMBERS: RefCell<Vec<Program>> = const { RefCell::new(Vec::new()) };
}

impl Program {
    /// Starts `program` with only PATH, HOME (its directory) and `env` in its environment, its output appended to `log`.
    ///
    /// `setpriv` ties it to the calling thread: when the test's thread ends, however it ends, the kernel kills it.
    pub fn start<S: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
        dir: &Path,
        log: &Path,
        env: &[(String, String)],
    ) -> Self {
        let mut command = clean_command("setpriv", dir, env);
        command.args(["--pdeathsig", "KILL"]).arg(program).args(args);
        Self::spawn(command, log)
    }

    fn spawn(mut command: Command, log: &Path) -> Self {
        let out = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let streams = (out.try_clone().unwrap(), out);
        let child = command.stdin(Stdio::null()).stdout(streams.0).stderr(streams.1).spawn();
        let child = child.expect("setpriv (util-linux) starts the program");
        Self { child, log: log.to_owned(), keeps_number: false }
    }

    /// A process that does nothing for ten minutes. After [`Self::kill`] and [`Self::reap`] nobody gets its number: where many
    /// programs start, and some ask for a certain one, it would be another's within moments.
    pub fn sleeper(dir: &Path) -> Self {
        let mut program = Self::sleeper_in(0, dir);
        program.keeps_number = true;
        program
    }

    /// The same, whose number is free after its end.
    pub fn passing(dir: &Path) -> Self {
        Self::sleeper_in(0, dir)
    }

    /// In this process group; 0: in one of its own.
    fn sleeper_in(group: i32, dir: &Path) -> Self {
        let mut command = clean_command("setpriv", dir, &[]);
        command.args(["--pdeathsig", "KILL", "sleep", "600"]).process_group(group);
        Self::spawn(command, &dir.join("sleep.log"))
    }

    /// The group of a process keeps its number (`free_pid` in the kernel's `kernel/pid.c`), so another member of it stays.
    fn keep_number(&mut self) {
        if std::mem::take(&mut self.keeps_number) {
            let member = Self::sleeper_in(self.pid(), self.log.parent().unwrap());
            MEMBERS.with_borrow_mut(|members| members.push(member));
        }
    }

    /// Its PID; of `setpriv` until that has become the program, which keeps the number.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Sends a signal; false if it is gone.
    pub fn signal(&self, signal: Signal) -> bool {
        Pid::from_raw(self.pid()).is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// SIGKILL without asking for the exit status: a zombie stays until [`Program::reap`].
    pub fn kill_unreaped(&self) {
        assert!(self.signal(Signal::KILL));
    }

    /// SIGKILL, then the exit status.
    pub fn kill(&mut self) -> ExitStatus {
        self.keep_number();
        self.child.kill().unwrap();
        self.reap()
    }

    /// Waits for its end.
    pub fn reap(&mut self) -> ExitStatus {
        self.keep_number();
        self.child.wait().unwrap()
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end, at most `deadline`.
    pub async fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let log = self.log.clone();
        eventually(deadline, || {
            let ended = self.child.try_wait().unwrap();
            let log = &log;
            async move { ended.ok_or_else(|| format!("still running; its log:\n{}", read_log(log))) }
        })
        .await
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        read_log(&self.log)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command with nothing of our environment but PATH, run in `dir` with HOME there.
pub fn clean_command(program: impl AsRef<OsStr>, dir: &Path, env: &[(String, String)]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(dir).env("HOME", dir);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.envs(env.iter().map(|(key, value)| (key, value)));
    command
}

fn read_log(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
