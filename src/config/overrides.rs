//! What the process was started with. The only place that reads the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::container;
use super::fault::{Fault, Faults};
use super::sources::is_ours;
use super::their_env::is_theirs;

/// Switches colours off where it is set and not empty (<https://no-color.org>).
const NO_COLOR: &str = "NO_COLOR";

/// Where a service manager listens, for how long it may hear nothing, and from whom (`sd_notify(3)`).
pub const SERVICE_MANAGER: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// What the process was started with, beside its files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config`; without it the usual places are tried.
    pub config_file: Option<PathBuf>,
    /// Absolute; relative paths from the environment and from flags start here.
    pub working_dir: PathBuf,
    /// The variables of the environment that may be ours, or those that `adopt.env` asks for.
    pub environment: BTreeMap<String, String>,
    /// All other variables, for those that the configuration names (`env:NAME`).
    pub others: BTreeMap<String, String>,
    /// Dotted key and value, in the order given; the last of a key wins.
    pub flags: Vec<(String, String)>,
    /// What shows that this process runs in a container, for people; none outside of one.
    pub container: Option<String>,
}

impl Overrides {
    /// What this process was started with.
    ///
    /// # Errors
    /// One fault if there is no working directory (it was removed).
    pub fn from_process(
        config_file: Option<PathBuf>,
        flags: Vec<(String, String)>,
    ) -> Result<Self, Faults> {
        let working_dir = std::env::current_dir().map_err(|error| {
            Faults(vec![Fault::new("working directory", &"the process", error.to_string())])
        })?;
        // Text that is not UTF-8 keeps a U+FFFD, and the reading of the key makes a fault of that.
        let (environment, others) = std::env::vars_os()
            .map(|(name, value)| {
                (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
            })
            .partition(|(name, _)| {
                name.starts_with("PROCWARDEN")
                    || is_ours(name)
                    || is_theirs(name)
                    || name == NO_COLOR
                    || SERVICE_MANAGER.contains(&name.as_str())
            });
        let container = container::mark(|name| std::env::var_os(name), &container::FILES);
        Ok(Self { config_file, working_dir, environment, others, flags, container })
    }

    /// The variable of this name, be it whose it may.
    pub(super) fn named(&self, name: &str) -> Option<String> {
        self.environment.get(name).or_else(|| self.others.get(name)).cloned()
    }

    /// Whether the user has not switched colours off (`NO_COLOR`).
    #[must_use]
    pub fn colours_wanted(&self) -> bool {
        self.environment.get(NO_COLOR).is_none_or(String::is_empty)
    }
}

/// Without values: tokens are among them.
impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overrides")
            .field("config_file", &self.config_file)
            .field("working_dir", &self.working_dir)
            .field("environment", &self.environment.keys().collect::<Vec<_>>())
            .field("others", &self.others.keys().collect::<Vec<_>>())
            .field("flags", &self.flags.iter().map(|(key, _)| key).collect::<Vec<_>>())
            .field("container", &self.container)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_names_and_no_values() {
        let overrides = Overrides {
            environment: BTreeMap::from([("PROCWARDEN__SERVER__TOKEN".into(), "hunter2".into())]),
            flags: vec![("server.read_token".into(), "hunter3".into())],
            ..Overrides::default()
        };
        let shown = format!("{overrides:?}");
        assert!(shown.contains("PROCWARDEN__SERVER__TOKEN") && shown.contains("server.read_token"));
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn no_color_counts_unless_it_is_empty() {
        let with = |value: &str| Overrides {
            environment: BTreeMap::from([(NO_COLOR.to_owned(), value.to_owned())]),
            ..Overrides::default()
        };
        assert!(Overrides::default().colours_wanted());
        assert!(with("").colours_wanted());
        assert!(!with("1").colours_wanted());
    }
}
