//! Passwords that are named instead of stored: `env:NAME`, `file:PATH`. Looked up for each exchange, so that a new one in
//! the file counts at once.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use secrecy::zeroize::Zeroizing;

use crate::config::variable;
use crate::domain::node::{Password, is_variable};

/// Longest file that is read, in bytes: 255 characters and a line end.
const LIMIT: u64 = 1024;

/// Why a name leads to no password. What it leads to is never told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// There is no such variable, or it is empty.
    #[error("the environment of procwarden has no {0}")]
    Variable(String),
    /// The file cannot be read.
    #[error("{path}: {problem}")]
    File {
        /// Which.
        path: String,
        /// Why.
        problem: String,
    },
    /// Nothing came in time.
    #[error("{0} cannot be read in time")]
    Hangs(String),
    /// It is no name at all.
    #[error("it is neither env:NAME nor file:/PATH")]
    NoName,
}

/// The password that a name leads to.
///
/// # Errors
/// [`Missing`]
pub fn look_up(name: &str) -> Result<Password, Missing> {
    if let Some(name) = name.strip_prefix("env:").filter(|name| is_variable(name)) {
        let found = variable(name).filter(|text| !text.is_empty());
        return found.map(Password::new).ok_or_else(|| Missing::Variable(name.to_owned()));
    }
    let path = name.strip_prefix("file:").ok_or(Missing::NoName)?;
    let problem = |problem: String| Missing::File { path: path.to_owned(), problem };
    let text = read(Path::new(path)).map_err(|error| problem(plain(&error)))?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(problem("is empty".to_owned()));
    }
    if text.chars().count() > 255 || text.chars().any(char::is_control) {
        return Err(problem("is not one line of at most 255 characters".to_owned()));
    }
    Ok(Password::new(text.to_owned()))
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    // A FIFO in its place would be waited for.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    let mut text = Zeroizing::new(String::new());
    // One more than may be in it, so that what is too long is seen to be.
    file.take(LIMIT + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error ").map_or(text.clone(), |(text, _)| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str) -> String {
        look_up(name).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_read_anew_each_time_without_its_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let name = format!("file:{}", path.display());
        for (text, password) in [("one\n", "one"), (" two ", " two "), ("три\r\n", "три")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(look_up(&name), Ok(Password::new(password.to_owned())));
        }
        let long = "hunter2".repeat(40);
        for (text, why) in [("\n", "is empty"), (&*long, "255"), ("hunter2\nb", "one line")] {
            std::fs::write(&path, text).unwrap();
            assert!(told(&name).contains(why) && !told(&name).contains("hunter2"));
        }
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(told(&name).contains("UTF-8"), "{}", told(&name));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(told(&name), format!("{}: No such file or directory", path.display()));
        assert!(told(&format!("file:{}", dir.path().display())).contains("no regular file"));
    }

    #[test]
    fn a_variable_of_ours_and_what_is_none() {
        assert_eq!(look_up("env:PATH").ok().map(|it| it.expose().to_owned()), variable("PATH"));
        assert_eq!(
            told("env:PROCWARDEN_NONE"),
            "the environment of procwarden has no PROCWARDEN_NONE"
        );
        for name in ["env:", "env:A=B", "PATH", "text:env:PATH"] {
            assert!(look_up(name).is_err(), "{name}");
        }
    }
}
