//! From files, `.env`, the environment and flags to raw values, each with its place. The last wins.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ::config::{File, FileFormat, Source as _, ValueKind};

use super::fault::Fault;
use super::key::Kind;
use super::keys;
use super::node_entry::RawNode;
use super::overrides::Overrides;
use super::raw::{Raw, Source, Value};
use super::their_env;

/// What our variables begin with.
const PREFIX: &str = "PROCWARDEN__";
/// The earlier monitor's name of `migrations.interval`, in seconds.
const SEED_INTERVAL: &str = "MIGRATION_MONITOR_INTERVAL";
/// The earlier monitor's name of `migrations.lock_dir`.
const SEED_LOCK_DIR: &str = "CACHE_PATH";
/// The file of the working directory, when none is named.
const FILE_NAME: &str = "procwarden.toml";
/// The file of the system, when there is no other.
pub(super) const SYSTEM_FILE: &str = "/etc/procwarden/procwarden.toml";

/// Is this variable one that we read?
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || matches!(name, SEED_INTERVAL | SEED_LOCK_DIR)
}

/// Everything that was found.
#[derive(Default)]
pub(super) struct Gathered {
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
    /// The winning value of each setting.
    pub(super) values: BTreeMap<&'static str, Raw>,
    /// `[[node]]`, in the order of the files.
    pub(super) nodes: Vec<RawNode>,
    /// Files that hold secrets.
    pub(super) secret_files: BTreeSet<PathBuf>,
    /// What cannot be read or is not known.
    pub(super) faults: Vec<Fault>,
    /// What its author may not have meant.
    pub(super) warnings: Vec<String>,
}

/// Reads all sources; `system_file` is tried where no other is.
pub(super) fn gather(args: &Overrides, system_file: &Path) -> Gathered {
    let mut found = Gathered::default();
    if let Some((path, text)) = found.main_file(args, system_file) {
        found.toml(&path, &text, true);
        found.node_files(&path.with_file_name("nodes.d"));
        found.file = Some(path);
    }
    found.dot_env(&args.working_dir);
    found.environment(args);
    for (key, value) in &args.flags {
        found.give(key, loose(Value::Text(value.clone()), Source::Flag, &args.working_dir));
    }
    their_env::gather(&mut found, args);
    found
}

fn loose(value: Value, source: Source, base: &Path) -> Raw {
    Raw { value, source, base: base.to_path_buf() }
}

impl Gathered {
    fn fault(&mut self, key: &str, source: &Source, problem: impl Into<String>) {
        self.faults.push(Fault::new(key.escape_debug().to_string(), source, problem));
    }

    /// The first file there is. A file that is named must be there.
    fn main_file(&mut self, args: &Overrides, system_file: &Path) -> Option<(PathBuf, String)> {
        if let Some(named) = &args.config_file {
            let path = args.working_dir.join(named);
            return match std::fs::read_to_string(&path) {
                Ok(text) => Some((path, text)),
                Err(error) => {
                    let problem = format!("{} cannot be read: {error}", path.display());
                    self.fault("--config", &Source::Flag, problem);
                    None
                }
            };
        }
        for path in [args.working_dir.join(FILE_NAME), system_file.to_path_buf()] {
            if let Some(text) = self.read_if_there(&path) {
                return Some((path, text));
            }
            if self.faults.iter().any(|fault| fault.key == name_of(&path)) {
                return None;
            }
        }
        None
    }

    /// The text of a file; none if there is no such file, and a fault if it cannot be read.
    fn read_if_there(&mut self, path: &Path) -> Option<String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                None
            }
            Err(error) => {
                let source = Source::File(path.to_path_buf());
                self.fault(&name_of(path), &source, format!("cannot be read: {error}"));
                None
            }
        }
    }

    /// `nodes.d/*.toml`, by name.
    fn node_files(&mut self, dir: &Path) {
        let listed = std::fs::read_dir(dir)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut paths: Vec<PathBuf> = match listed {
            Ok(paths) => paths,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                let source = Source::File(dir.to_path_buf());
                return self.fault("nodes.d", &source, format!("cannot be listed: {error}"));
            }
        };
        paths.retain(|path| {
            path.extension().is_some_and(|extension| extension == "toml")
                && !name_of(path).starts_with('.')
        });
        paths.sort();
        for path in paths {
            if let Some(text) = self.read_if_there(&path) {
                self.toml(&path, &text, false);
            }
        }
    }

    /// A TOML file: sections (only in the main one) and `[[node]]`.
    pub(super) fn toml(&mut self, path: &Path, text: &str, is_main: bool) {
        let source = Source::File(path.to_path_buf());
        let tables = match File::from_str(text, FileFormat::Toml).collect() {
            Ok(tables) => tables,
            Err(error) => return self.fault(&name_of(path), &source, syntax_problem(&error)),
        };
        let base = path.parent().unwrap_or(Path::new("/"));
        let raw = |value: ::config::Value| Raw {
            value: value.into(),
            source: source.clone(),
            base: base.to_path_buf(),
        };
        // Sorted, so that faults come in the same order each time.
        for (section, content) in tables.into_iter().collect::<BTreeMap<_, _>>() {
            match content.kind {
                ValueKind::Array(items) if section == "node" => {
                    self.toml_nodes(items, &source, &raw);
                }
                _ if section == "node" => {
                    self.fault("node", &source, "must be written as [[node]]");
                }
                _ if !is_main => {
                    self.fault(&section, &source, "only [[node]] may stand in nodes.d");
                }
                _ if section.contains('.') => {
                    self.fault(&section, &source, "must stand in its [section], not in quotes");
                }
                _ if keys::names_in(&section).is_empty() => {
                    self.fault(&section, &source, keys::unknown(&section));
                }
                ValueKind::Table(entries) => {
                    for (name, value) in entries.into_iter().collect::<BTreeMap<_, _>>() {
                        self.give(&format!("{section}.{name}"), raw(value));
                    }
                }
                _ => self.fault(&section, &source, format!("must be a section, [{section}]")),
            }
        }
    }

    fn toml_nodes(
        &mut self,
        items: Vec<::config::Value>,
        source: &Source,
        raw: &impl Fn(::config::Value) -> Raw,
    ) {
        for (at, item) in items.into_iter().enumerate() {
            let ValueKind::Table(entries) = item.kind else {
                self.fault("node", source, "must be written as [[node]]");
                continue;
            };
            let keys: BTreeMap<String, Raw> =
                entries.into_iter().map(|(name, value)| (name, raw(value))).collect();
            if keys.contains_key("password") {
                self.secret_files.extend(source.path().map(Path::to_path_buf));
            }
            self.nodes.push(RawNode { keys, source: source.clone(), place: at + 1 });
        }
    }

    /// `.env`: our lines; foreign ones do no harm.
    fn dot_env(&mut self, working_dir: &Path) {
        let path = working_dir.join(".env");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                // It may be another program's, and not meant for us to read.
                self.warnings.push(format!("{} is not read: {error}", path.display()));
                return;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let (good, bad) = env_lines(&text);
        for (line, text) in bad {
            let name = leading_name(text).to_owned();
            if is_ours(&name) {
                let key = key_of(&name);
                let source = Source::DotEnv { path: path.clone(), line, name };
                self.fault(&key, &source, "is not a line NAME=VALUE; quote it");
            }
        }
        let given = good.into_iter().map(|(line, name, value)| {
            (Source::DotEnv { path: path.clone(), line, name: name.clone() }, name, value)
        });
        self.variables(given.collect(), working_dir);
    }

    fn environment(&mut self, args: &Overrides) {
        for name in args.environment.keys() {
            self.warn_of_single_underscores(name);
        }
        let given = args
            .environment
            .iter()
            .map(|(name, value)| (Source::Environment(name.clone()), name.clone(), value.clone()));
        self.variables(given.collect(), &args.working_dir);
    }

    /// Variables of one source; ours beat the earlier monitor's names. An empty one counts as not given, as compose files
    /// pass `${TOKEN:-}`.
    fn variables(&mut self, mut given: Vec<(Source, String, String)>, working_dir: &Path) {
        given.retain(|(_, name, value)| is_ours(name) && !value.is_empty());
        given.sort_by_key(|(_, name, _)| name.starts_with(PREFIX));
        for (source, name, value) in given {
            let value =
                if name == SEED_INTERVAL { Value::Seconds(value) } else { Value::Text(value) };
            self.give(&key_of(&name), loose(value, source, working_dir));
        }
    }

    /// Takes a value for a key, if the key is known.
    pub(super) fn give(&mut self, key: &str, raw: Raw) {
        let Some(info) = keys::setting(key) else {
            let source = raw.source;
            return self.fault(key, &source, keys::unknown(key));
        };
        if is_secret(info.kind, &raw.value) {
            self.secret_files.extend(raw.source.path().map(Path::to_path_buf));
        }
        self.values.insert(info.key, raw);
    }

    /// `PROCWARDEN_SERVER_TOKEN` is not ours (Kubernetes makes such names), but its author may think so.
    fn warn_of_single_underscores(&mut self, name: &str) {
        if name.starts_with(PREFIX) {
            return;
        }
        let Some(rest) = name.strip_prefix("PROCWARDEN_") else { return };
        let key = rest.to_lowercase().replacen('_', ".", 1);
        if keys::setting(&key).is_some() {
            let right = format!("{PREFIX}{}", key.to_uppercase().replacen('.', "__", 1));
            self.warnings
                .push(format!("the environment variable {name} is not read: write {right}"));
        }
    }
}

/// The key that a variable of ours gives.
fn key_of(name: &str) -> String {
    match name {
        SEED_INTERVAL => "migrations.interval".to_owned(),
        SEED_LOCK_DIR => "migrations.lock_dir".to_owned(),
        _ => name.strip_prefix(PREFIX).unwrap_or(name).to_lowercase().replace("__", "."),
    }
}

/// Number, name and value of a line of `.env`.
pub(super) type EnvLine = (usize, String, String);

/// The lines of a `.env` with their numbers, each parsed by itself, so that nothing in a foreign one can hide the others;
/// and those that are none.
pub(super) fn env_lines(text: &str) -> (Vec<EnvLine>, Vec<(usize, &str)>) {
    let (mut lines, mut bad) = (Vec::new(), Vec::new());
    let mut good = String::new();
    for (at, line) in text.trim_start_matches('\u{FEFF}').lines().enumerate() {
        match parse_env(line).as_deref() {
            Ok([]) => {}
            Ok(_) => {
                lines.push(at + 1);
                good.push_str(line);
                good.push('\n');
            }
            Err(()) => bad.push((at + 1, line)),
        }
    }
    // Together, since one line may use another's variable: CACHE_PATH=${ROOT}/cache. The crate asks the process's
    // environment for it first.
    let pairs = parse_env(&good).unwrap_or_default();
    let good = lines.into_iter().zip(pairs).map(|(line, (name, value))| (line, name, value));
    (good.collect(), bad)
}

/// The name that a line of `.env` begins with, be the rest what it may.
pub(super) fn leading_name(line: &str) -> &str {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(line.len());
    &line[..end]
}

/// Lines as the crate reads them. Its error repeats the line, so it is not shown to anyone.
fn parse_env(text: &str) -> Result<Vec<(String, String)>, ()> {
    // A last line without its end is an error to the crate if blanks follow the value.
    let text = format!("{text}\n");
    dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|_| ())
}

fn is_secret(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::DatabaseUrl => {
            matches!(value, Value::Text(url) if url.contains('@') || url.contains("password="))
        }
        Kind::Secrets => !matches!(value, Value::List(keys) if keys.is_empty()),
        kind => kind.is_secret(),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Where and why a file is not TOML, without the line itself: it may hold a secret.
fn syntax_problem(error: &::config::ConfigError) -> String {
    let ::config::ConfigError::FileParse { cause, .. } = error else {
        return "is not TOML".to_owned();
    };
    let text = cause.to_string();
    let place = text.lines().next().and_then(|first| first.strip_prefix("TOML parse error at "));
    let reason = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("unknown reason");
    match place {
        Some(place) => format!("is not TOML at {place}: {reason}"),
        None => format!("is not TOML: {reason}"),
    }
}
