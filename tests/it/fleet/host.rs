//! A host of its own: another PID namespace with a `/proc` of its own, in which jobs and an instance run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::program::Program;
use crate::support::{eventually, job};

/// It lasts until this is dropped.
pub struct Host {
    /// Its first process, by its number outside.
    init: i32,
    _unshare: Program,
}

impl Host {
    /// Starts it; nothing runs in it yet.
    pub async fn start(dir: &Path) -> Self {
        let mut words = job::unshare(&["--pid", "--mount", "--fork", "--kill-child"]);
        words.extend(["--mount-proc", "sleep", "3600"]);
        let unshare = Program::start(words[0], &words[1..], dir, &dir.join("host.log"), &[]);
        let parent = unshare.pid();
        let init = eventually(Duration::from_secs(10), || {
            let log = unshare.log();
            async move {
                let children = format!("/proc/{parent}/task/{parent}/children");
                let children = fs::read_to_string(children).unwrap_or_default();
                let init: Option<i32> =
                    children.split_whitespace().next().and_then(|it| it.parse().ok());
                let init = init.ok_or_else(|| format!("no child; {log}"))?;
                // Its `/proc` is mounted before it becomes what it is told to be.
                let name = fs::read_to_string(format!("/proc/{init}/comm")).unwrap_or_default();
                if name.trim() == "sleep" { Ok(init) } else { Err(format!("{name}; {log}")) }
            }
        })
        .await;
        Self { init, _unshare: unshare }
    }

    /// The words before a command that make it run there; it ends with the process that is started by them.
    pub fn words(&self) -> Vec<String> {
        let init = self.init.to_string();
        // With its root and directory: in a chroot they are others than its mount namespace's.
        let mut words: Vec<&str> = vec!["nsenter", "--target", &init, "--pid", "--mount"];
        words.extend(["--root", "--wd"]);
        if !rustix::process::geteuid().is_root() {
            words.extend(["--user", "--preserve-credentials"]);
        }
        words.extend(["setpriv", "--pdeathsig", "KILL"]);
        words.into_iter().map(str::to_owned).collect()
    }

    /// A process there that does nothing, and its PID as it is counted there.
    pub async fn job(&self, dir: &Path) -> (Program, i32) {
        let out = dir.join(format!("job-{}", self.init));
        let script = format!("echo $$ > {}; exec sleep 600", out.display());
        let mut words = self.words();
        words.extend(["sh".to_owned(), "-c".to_owned(), script]);
        let program = Program::start(&words[0], &words[1..], dir, &dir.join("job.log"), &[]);
        let inner = eventually(Duration::from_secs(10), || {
            let text = fs::read_to_string(&out).unwrap_or_default();
            let log = program.log();
            async move { text.trim().parse().map_err(|_| format!("no PID yet; {log}")) }
        })
        .await;
        (program, inner)
    }
}
