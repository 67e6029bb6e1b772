//! From raw values to settings; every fault is collected.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::fault::{Fault, Faults};
use super::keys::{Set, known_keys};
use super::node_entry;
use super::overrides::Overrides;
use super::parse::sqlite_url;
use super::settings::{NodeEntry, Settings};
use super::sources::{self, Gathered, SYSTEM_FILE};

/// The file of the default database.
const DATABASE_FILE: &str = "procwarden.db";

/// Settings, and what is to be said about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What is allowed and yet may not be meant; one line each.
    pub warnings: Vec<String>,
    /// Each key with the place of its value, for `check-config`; `default` where nobody gave it.
    pub origins: BTreeMap<String, String>,
}

/// Reads everything.
///
/// # Errors
/// All faults of all sources.
pub fn load(args: &Overrides) -> Result<Loaded, Faults> {
    load_with(args, Path::new(SYSTEM_FILE))
}

/// The `[[node]]` list as it is now, for SIGHUP.
///
/// # Errors
/// All faults, those of other keys too: a faulty file changes nothing.
pub fn reread_nodes(args: &Overrides) -> Result<Vec<NodeEntry>, Faults> {
    load(args).map(|loaded| loaded.settings.node)
}

pub(super) fn load_with(args: &Overrides, system_file: &Path) -> Result<Loaded, Faults> {
    let mut found = sources::gather(args, system_file);
    let mut faults = std::mem::take(&mut found.faults);
    let mut settings = Settings { file: found.file.clone(), ..Settings::default() };
    let origins = read_settings(&found, &mut settings, &mut faults);
    settings.node = node_entry::read(&found.nodes, &mut faults);
    if !found.values.contains_key("database.url") {
        let dir = found.file.as_deref().and_then(Path::parent).unwrap_or(&args.working_dir);
        match sqlite_url(&dir.join(DATABASE_FILE)) {
            Ok(url) => settings.database.url = url,
            Err(problem) => faults.push(Fault::new("database.url", &"default", problem)),
        }
    }
    if !found.values.contains_key("instance.name") {
        settings.instance.name = host_name();
    }
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    let warnings = warnings(&found, &settings);
    Ok(Loaded { settings, warnings, origins })
}

fn read_settings(
    found: &Gathered,
    settings: &mut Settings,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, String> {
    let mut origins = BTreeMap::new();
    for info in known_keys() {
        let Set::Setting(set) = info.set else { continue };
        let raw = found.values.get(info.key);
        let origin = raw.map_or_else(|| "default".to_owned(), |raw| raw.source.to_string());
        if let Some(raw) = raw
            && let Err(problem) = set(settings, raw)
        {
            faults.push(Fault::new(info.key, &raw.source, problem));
        }
        origins.insert(info.key.to_owned(), origin);
    }
    origins
}

fn warnings(found: &Gathered, settings: &Settings) -> Vec<String> {
    let mut warnings = found.warnings.clone();
    if settings.migrations.lock_dir.is_none() {
        warnings.push(
            "migrations are off: no lock directory given (migrations.lock_dir or CACHE_PATH)"
                .to_owned(),
        );
    }
    let readable = |path: &&PathBuf| path.metadata().is_ok_and(|meta| meta.mode() & 0o004 != 0);
    for path in found.secret_files.iter().filter(readable) {
        warnings.push(format!("{} holds secrets and everybody may read it", path.display()));
    }
    warnings
}

/// The host name (`uname -n`), as far as it can be a name.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().trim().to_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
