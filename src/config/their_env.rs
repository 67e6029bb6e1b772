//! `adopt.env`: what the `.env` of the earlier systems says, as the weakest source of all.
//!
//! A variable of the process is stronger than their file, and every value of ours is stronger than both. Nothing of a
//! value stands in a fault: people write passwords behind the wrong names.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::adopt::TheirEnv;
use super::fault::Fault;
use super::overrides::Overrides;
use super::php_env;
use super::raw::{Raw, Source, Value};
use super::sources::{Gathered, env_lines, leading_name};
use super::their_database;

/// What their database becomes.
pub(super) const URL_KEY: &str = "database.url";

/// Variables of the migration dashboard.
const OF_MB: [&str; 7] = [
    "CACHE_PATH",
    "MIGRATION_MONITOR_INTERVAL",
    "MG_DB_HOST",
    "MG_DB_NAME",
    "MG_DB_USER",
    "MG_DB_PASS",
    "MG_DB_PORT",
];

/// Variables of Laravel. Which of the two URLs counts depends on its version (`DB_URL` from 11 on).
const OF_LARAVEL: [&str; 12] = [
    "DB_CONNECTION",
    "DB_HOST",
    "DB_PORT",
    "DB_DATABASE",
    "DB_USERNAME",
    "DB_PASSWORD",
    "DB_SOCKET",
    "DB_SSLMODE",
    "DB_URL",
    "DATABASE_URL",
    "APP_KEY",
    "APP_PREVIOUS_KEYS",
];

/// May this variable of the process be wanted?
pub(super) fn is_theirs(name: &str) -> bool {
    OF_MB.contains(&name) || OF_LARAVEL.contains(&name)
}

/// Reads their `.env` if one is asked for, and gives what nobody gave.
pub(super) fn gather(found: &mut Gathered, args: &Overrides) {
    let words = TheirEnv::ALL.map(|env| (env.as_str(), env));
    let whose = found.values.get("adopt.env").and_then(|raw| raw.word(&words).ok());
    let path = found.values.get("adopt.env_file").map(Raw::path);
    // What is wrong with these two is told where they are read.
    let (Some(whose), None | Some(Ok(_))) = (whose, &path) else { return };
    let named = path.is_some();
    let path = path.and_then(Result::ok).unwrap_or_else(|| args.working_dir.join(".env"));
    let Some(theirs) = Theirs::read(found, args, whose, path, named) else { return };
    match whose {
        TheirEnv::Mb => theirs.mb(found),
        TheirEnv::Laravel => theirs.laravel(found),
    }
}

/// A variable of theirs.
pub(super) struct Given {
    pub(super) value: String,
    pub(super) source: Source,
}

/// Why there is no value.
pub(super) enum Without {
    /// Nobody gives it.
    Missing,
    /// It was told.
    Faulty,
}

/// Everything of theirs that may be wanted.
pub(super) struct Theirs {
    pub(super) whose: TheirEnv,
    pub(super) path: PathBuf,
    /// Is there such a file?
    pub(super) there: bool,
    /// By name; none: the line cannot be read.
    pub(super) given: BTreeMap<String, (Option<String>, Source)>,
}

impl Theirs {
    /// None if the file cannot be read.
    fn read(
        found: &mut Gathered,
        args: &Overrides,
        whose: TheirEnv,
        path: PathBuf,
        named: bool,
    ) -> Option<Self> {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            // The environment may give everything.
            Err(error) if !named && error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                let problem = format!("{} cannot be read: {error}", path.display());
                let key = if named { "adopt.env_file" } else { "adopt.env" };
                let source = found.values.get(key).map(|raw| raw.source.to_string());
                found.faults.push(Fault::new(key, &source.unwrap_or_default(), problem));
                return None;
            }
        };
        let text = bytes.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let wanted = match whose {
            TheirEnv::Mb => &OF_MB[..],
            TheirEnv::Laravel => &OF_LARAVEL[..],
        };
        let outer = |name: &str| args.environment.get(name).filter(|v| !v.is_empty()).cloned();
        let mut given = BTreeMap::new();
        for (line, name, value) in lines(whose, &text, outer) {
            if wanted.contains(&name.as_str()) {
                let source = Source::DotEnv { path: path.clone(), line, name: name.clone() };
                given.insert(name, (value, source));
            }
        }
        for name in wanted {
            if let Some(value) = outer(name) {
                let name = (*name).to_owned();
                given.insert(name.clone(), (Some(value), Source::Environment(name)));
            }
        }
        Some(Self { whose, path, there: bytes.is_some(), given })
    }

    /// `CACHE_PATH`, `MIGRATION_MONITOR_INTERVAL` and `MG_DB_*`.
    fn mb(&self, found: &mut Gathered) {
        self.hand_over(found, "migrations.lock_dir", "CACHE_PATH", Value::Text);
        self.hand_over(found, "migrations.interval", "MIGRATION_MONITOR_INTERVAL", Value::Seconds);
        if !found.values.contains_key(URL_KEY) {
            their_database::mb(self, found);
        }
    }

    /// `APP_KEY`, `APP_PREVIOUS_KEYS` and `DB_*`.
    fn laravel(&self, found: &mut Gathered) {
        self.hand_over(found, "adopt.laravel_key", "APP_KEY", Value::Text);
        self.hand_over(found, "adopt.laravel_previous_keys", "APP_PREVIOUS_KEYS", Value::Text);
        if !found.values.contains_key(URL_KEY) {
            their_database::laravel(self, found);
        }
    }

    /// Gives one variable to the key of ours that means the same.
    fn hand_over(
        &self,
        found: &mut Gathered,
        key: &'static str,
        name: &str,
        value: fn(String) -> Value,
    ) {
        if found.values.contains_key(key) {
            return;
        }
        match self.look(name) {
            Ok(given) => {
                let raw = self.raw(value(given.value), given.source);
                found.give(key, raw);
            }
            Err((Without::Faulty, fault)) => {
                found.faults.extend(fault.map(|fault| Fault { key: key.to_owned(), ..fault }));
            }
            Err((Without::Missing, _)) => {}
        }
    }

    /// A value whose relative paths start where their file is; the process's variables stand in for its lines.
    pub(super) fn raw(&self, value: Value, source: Source) -> Raw {
        let base = self.path.parent().unwrap_or(Path::new("/")).to_path_buf();
        Raw { value, source, base }
    }

    /// The value of a variable. An empty one counts as not given.
    pub(super) fn look(&self, name: &str) -> Result<Given, (Without, Option<Fault>)> {
        let missing = || (Without::Missing, None);
        let (value, source) = self.given.get(name).ok_or_else(missing)?;
        let faulty = |problem: &str| (Without::Faulty, Some(Fault::new(URL_KEY, source, problem)));
        let value = value.as_deref().ok_or_else(|| faulty("is not a line NAME=VALUE; quote it"))?;
        if value.contains('\u{FFFD}') {
            return Err(faulty("must be UTF-8"));
        }
        let value = match self.whose {
            TheirEnv::Mb => Some(value),
            TheirEnv::Laravel => php_env::meaning(value),
        };
        let value = value.filter(|value| !value.is_empty()).ok_or_else(missing)?;
        Ok(Given { value: value.to_owned(), source: source.clone() })
    }
}

/// The entries of a file, each by the rules of its program's own reader; a line without a value cannot be read.
fn lines(
    whose: TheirEnv,
    text: &str,
    outer: impl Fn(&str) -> Option<String>,
) -> Vec<(usize, String, Option<String>)> {
    match whose {
        // The dashboard's reader follows the shell, as ours does.
        TheirEnv::Mb => {
            let (good, bad) = env_lines(text);
            let bad = bad.into_iter().map(|(at, line)| (at, leading_name(line).to_owned(), None));
            let good = good.into_iter().map(|(at, name, value)| (at, name, Some(value)));
            let mut lines: Vec<_> = good.chain(bad).collect();
            // The last of a name counts.
            lines.sort_by_key(|(at, _, _)| *at);
            lines
        }
        TheirEnv::Laravel => php_env::parse(text, outer)
            .into_iter()
            .map(|entry| (entry.line, entry.name, entry.value))
            .collect(),
    }
}
