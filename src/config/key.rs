//! What a key of the configuration is: what it takes, its default, its help, and how it is read.

use std::fmt;

use super::parse::Problem;
use super::raw::Raw;
use super::settings::{NodeEntry, Settings};

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An IP address with a port.
    Address,
    /// Text that is never shown.
    Secret,
    /// The URL of a database; may hold a password.
    DatabaseUrl,
    /// Text.
    Text,
    /// A path.
    Path,
    /// A duration with its unit.
    Duration,
    /// A whole number.
    Integer,
    /// True or false.
    Bool,
    /// One of the words.
    Word(&'static [&'static str]),
    /// A list of texts.
    List,
    /// A list of texts that are never shown.
    Secrets,
    /// A percentage or a count.
    Share,
    /// A level or a filter of log lines.
    Filter,
}

impl Kind {
    /// Is a value of it never to be shown?
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Secrets | Self::DatabaseUrl)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::Address => f.write_str("address and port"),
            Self::Secret => f.write_str("secret text"),
            Self::DatabaseUrl => f.write_str("database URL"),
            Self::Text => f.write_str("text"),
            Self::Path => f.write_str("path"),
            Self::Duration => f.write_str("duration"),
            Self::Integer => f.write_str("whole number"),
            Self::Bool => f.write_str("true or false"),
            Self::List => f.write_str("list of texts"),
            Self::Secrets => f.write_str("list of secret texts"),
            Self::Share => f.write_str("percentage or count"),
            Self::Filter => f.write_str("level or filter"),
        }
    }
}

/// Reads a value into its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Set {
    Setting(fn(&mut Settings, &Raw) -> Result<(), Problem>),
    Node(fn(&mut NodeEntry, &Raw) -> Result<(), Problem>),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct KeyInfo {
    /// Dotted; `node.` begins those of `[[node]]`.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The default as TOML; empty where there is none.
    pub default: &'static str,
    /// One line for people.
    pub help: &'static str,
    /// Reads it.
    pub(super) set: Set,
}

/// Of a setting.
pub(super) const fn key(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
    set: fn(&mut Settings, &Raw) -> Result<(), Problem>,
) -> KeyInfo {
    KeyInfo { key, kind, default, help, set: Set::Setting(set) }
}

/// Of `[[node]]`.
pub(super) const fn node(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
    set: fn(&mut NodeEntry, &Raw) -> Result<(), Problem>,
) -> KeyInfo {
    KeyInfo { key, kind, default, help, set: Set::Node(set) }
}
