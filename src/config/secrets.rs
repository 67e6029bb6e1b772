//! `[secrets]`: what seals the passwords of nodes in the database; and the environment, where some of them stand.

use std::path::PathBuf;

use super::database::Engine;
use super::fault::Fault;
use super::parse::Problem;
use super::raw::Raw;
use super::settings::Settings;
use crate::domain::node::Password;

/// The keys of passwords. None: of SQLite, one is made beside the database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    /// The current key, in base64.
    pub key: Option<Password>,
    /// The file with the current key, if it is not given.
    pub file: Option<PathBuf>,
    /// Those of before, in base64.
    pub previous: Vec<Password>,
}

impl Keys {
    /// Is there a current one?
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.key.is_some() || self.file.is_some()
    }
}

/// A variable of the environment as it is now, for passwords that are named by it.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// `secrets.key`
pub(super) fn key(raw: &Raw) -> Result<Password, Problem> {
    one(raw.as_text("text")?)
}

/// `secrets.previous_keys`
pub(super) fn keys(raw: &Raw) -> Result<Vec<Password>, Problem> {
    raw.items()?.iter().map(|text| one(text)).collect()
}

/// 32 bytes are 43 digits.
fn one(text: &str) -> Result<Password, Problem> {
    let digits = text.trim().trim_end_matches('=');
    let is_digit = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/');
    if digits.len() == 43 && digits.bytes().all(is_digit) {
        Ok(Password::new(digits.to_owned()))
    } else {
        Err("must be 32 random bytes in base64, as `openssl rand -base64 32` makes them".to_owned())
    }
}

/// A password of the configuration needs a key where others read it.
pub(super) fn finish(settings: &Settings, faults: &mut Vec<Fault>) {
    let keys = &settings.database.keys;
    // Others write into the same table: none of them may make a key for all.
    let is_shared =
        Engine::of(settings.database.url.expose()).is_some_and(|it| it != Engine::Sqlite);
    if !is_shared || keys.is_given() {
        return;
    }
    let is_clear = |password: &Password| !password.is_sealed();
    let in_clear = settings.node.iter().find(|it| it.password.as_ref().is_some_and(is_clear));
    if let Some(node) = in_clear {
        let problem = format!(
            "must be given (or secrets.key): the database is shared, and the password of node '{}' would stand there in \
             clear; or name the password, as env:NAME or file:/PATH",
            node.name.escape_debug()
        );
        faults.push(Fault::new("secrets.key_file", &"default", problem));
    }
}
