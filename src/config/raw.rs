//! A value as it was found, with the place where it was found.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A TOML file.
    File(PathBuf),
    /// A line of `.env`.
    DotEnv { path: PathBuf, line: usize, name: String },
    /// A variable of the environment.
    Environment(String),
    /// Several variables of theirs together; without a file all of the environment.
    Several { names: &'static str, file: Option<PathBuf> },
    /// A flag.
    Flag,
}

impl Source {
    /// The file that holds the value, if one does.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::DotEnv { path, .. } => Some(path),
            Self::Several { file, .. } => file.as_deref(),
            Self::Environment(_) | Self::Flag => None,
        }
    }

    /// The key as its author wrote it, and where, for messages about what it names.
    pub(super) fn describe(&self, key: &str) -> String {
        match self {
            Self::File(_) | Self::Flag => format!("{key} in {self}"),
            Self::DotEnv { .. } | Self::Environment(_) | Self::Several { .. } => self.to_string(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::DotEnv { path, line, name } => {
                write!(f, "{name} in line {line} of {}", path.display())
            }
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Several { names, file: Some(path) } => {
                write!(f, "{names} in {}", path.display())
            }
            Self::Several { names, file: None } => write!(f, "environment variables {names}"),
            Self::Flag => f.write_str("the command line"),
        }
    }
}

/// A value before it is understood.
#[derive(Clone)]
pub(super) enum Value {
    /// A string.
    Text(String),
    /// The earlier monitor's plain number of seconds.
    Seconds(String),
    /// An integer of a file.
    Integer(i64),
    /// A boolean of a file.
    Bool(bool),
    /// An array of a file.
    List(Vec<Self>),
    /// Something that no key of ours takes, by its name.
    Other(&'static str),
}

impl Value {
    /// What it is, for "must be text, not ...".
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Seconds(_) => "text",
            Self::Integer(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Other(what) => what,
        }
    }
}

impl From<::config::Value> for Value {
    fn from(value: ::config::Value) -> Self {
        use ::config::ValueKind;
        match value.kind {
            ValueKind::String(text) => Self::Text(text),
            ValueKind::Boolean(flag) => Self::Bool(flag),
            ValueKind::I64(number) => Self::Integer(number),
            ValueKind::Array(values) => Self::List(values.into_iter().map(Self::from).collect()),
            ValueKind::Table(_) => Self::Other("a table"),
            ValueKind::Float(_) => Self::Other("a number with a fraction"),
            ValueKind::Nil | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
                Self::Other("a number out of range")
            }
        }
    }
}

/// A value with its place. Not `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) struct Raw {
    /// What was found.
    pub(super) value: Value,
    /// Where.
    pub(super) source: Source,
    /// Relative paths in it start here.
    pub(super) base: PathBuf,
}

impl Raw {
    /// Outside a file everything is text: numbers, booleans and lists are read from it.
    pub(super) const fn is_loose(&self) -> bool {
        !matches!(self.source, Source::File(_))
    }
}
