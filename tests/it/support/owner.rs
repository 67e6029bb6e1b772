//! The user that a database server runs as: servers refuse root.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Who owns a server's files and runs it.
#[derive(Debug, Clone, Copy)]
pub struct Owner(Option<&'static str>);

impl Owner {
    /// The user of that name where we are root, else ourselves.
    pub fn of(user: &'static str) -> Self {
        Self(rustix::process::geteuid().is_root().then_some(user))
    }

    /// The words before a command that make it this user's.
    pub fn words(self) -> Vec<String> {
        self.0.map_or_else(Vec::new, |user| {
            let words = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"];
            // Changing the user clears the signal of the parent's death, so it is asked for once more.
            words.into_iter().chain(["--pdeathsig", "KILL"]).map(str::to_owned).collect()
        })
    }

    /// A new directory of this user's, with nothing in it.
    pub fn dir(self) -> TempDir {
        let dir = TempDir::new().unwrap();
        if let Some(user) = self.0 {
            run(Command::new("chown").arg(format!("{user}:")).arg(dir.path()));
            run(Command::new("chmod").arg("755").arg(dir.path()));
        }
        dir
    }

    /// Runs a command as this user to its end; panics with what it said if it fails.
    pub fn run(self, program: impl AsRef<Path>, args: &[&str]) {
        let mut words = self.words();
        words.push(program.as_ref().to_str().unwrap().to_owned());
        // The current directory may be closed to this user.
        run(Command::new(&words[0]).args(&words[1..]).args(args).current_dir("/"));
    }
}

/// Runs a command to its end; what it wrote. Panics with all that it said if it fails.
pub fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; scripts/test installs it"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out
}
