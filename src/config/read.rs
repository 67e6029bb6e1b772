//! From raw values to settings; every fault is collected.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::adopt_rules;
use super::alerts;
use super::database::{self, DatabaseTls, Engine};
use super::fault::{Fault, Faults};
use super::key::Set;
use super::keys::known_keys;
use super::node_entry;
use super::overrides::Overrides;
use super::parse::check_instance;
use super::secrets;
use super::settings::{Database, NodeEntry, Settings};
use super::sources::{self, Gathered, SYSTEM_FILE};
use super::token;

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
    settings.migrations.container.clone_from(&args.container);
    if !found.values.contains_key("database.url") {
        let dir = found.file.as_deref().and_then(Path::parent).unwrap_or(&args.working_dir);
        match database::sqlite_url(&dir.join(DATABASE_FILE)) {
            Ok(url) => settings.database.url = url,
            Err(problem) => faults.push(Fault::new("database.url", &"default", problem)),
        }
    }
    if !found.values.contains_key("instance.name") {
        settings.instance.name = host_name();
        faults.extend(check_default_name(&settings, args.container.as_deref()));
    }
    faults.extend(check_forgetting(&found, &settings));
    token::finish(&mut found, args, &mut settings, &mut faults);
    faults.extend(check_open_reads(&found, &settings));
    alerts::finish(&found, &mut faults);
    adopt_rules::finish(&found, &mut settings, &mut faults);
    secrets::finish(&settings, &mut faults);
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    let warnings = warnings(&found, &settings);
    Ok(Loaded { settings, warnings, origins })
}

pub(super) fn read_settings(
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

/// A shared database knows its instances by their names: the host name must be one, and stay the same.
fn check_default_name(settings: &Settings, container: Option<&str>) -> Option<Fault> {
    if Engine::of(settings.database.url.expose())? == Engine::Sqlite {
        return None;
    }
    let problem = if let Some(mark) = container {
        format!(
            "must be given: the database is shared, and this is a container ({mark}), whose host \
             name does not last; set PROCWARDEN__INSTANCE__NAME, in Kubernetes from spec.nodeName"
        )
    } else {
        let problem = check_instance(&settings.instance.name).err()?;
        format!("must be given, since the host name cannot be one: it {problem}")
    };
    Some(Fault::new("instance.name", &"default", problem))
}

/// Who is forgotten must be lost before.
fn check_forgetting(found: &Gathered, settings: &Settings) -> Option<Fault> {
    let lease = settings.instance.lease();
    if settings.instances.forget_after > lease {
        return None;
    }
    let key = "instances.forget_after";
    let lease = humantime::format_duration(lease);
    let problem = format!("must be longer than two and a half instance.heartbeat, {lease}");
    let given = found.values.get(key).or_else(|| found.values.get("instance.heartbeat"));
    Some(Fault::new(
        key,
        &given.map_or_else(|| "default".into(), |raw| raw.source.to_string()),
        problem,
    ))
}

/// Who wants a token of readers does not want all to read.
fn check_open_reads(found: &Gathered, settings: &Settings) -> Option<Fault> {
    let (key, server) = ("server.open_reads", &settings.server);
    let given =
        found.values.get(key).filter(|_| server.open_reads && !server.read_token.is_empty())?;
    let problem = "is true, and server.read_token is set as well: take one of them out";
    Some(Fault::new(key, &given.source, problem))
}

/// Where reads are asked for that nobody could make, or everybody can.
fn warnings_of_access(settings: &Settings) -> Vec<String> {
    let server = &settings.server;
    let mut warnings = Vec::new();
    let is_decided =
        server.open_reads || !server.read_token.is_empty() || !server.trusted_proxies.is_empty();
    let who =
        if server.token.is_empty() { "nobody can show one" } else { "only server.token counts" };
    let what = "set server.read_token, server.trusted_proxies or server.open_reads";
    if !is_decided && !server.listen.ip().to_canonical().is_loopback() {
        warnings.push(format!(
            "reads need a token, since server.listen is {}, no loopback address, and {who}: {what}",
            server.listen
        ));
    } else if !is_decided && !server.base_paths.is_empty() {
        warnings.push(format!(
            "server.base_paths are a proxy's; reads that come through one (X-Forwarded-*) need a token, and {who}: {what}"
        ));
    }
    if server.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
        warnings.push("server.trusted_proxies trusts every address: everybody may read".to_owned());
    }
    warnings
}

fn warnings(found: &Gathered, settings: &Settings) -> Vec<String> {
    let mut warnings = found.warnings.clone();
    if settings.migrations.lock_dir.is_none() {
        warnings.push(
            "migrations are off: no lock directory given (migrations.lock_dir or CACHE_PATH)"
                .to_owned(),
        );
    }
    if settings.database.tls_ca.is_some() && !verifies(&settings.database) {
        warnings.push(
            "database.tls_ca counts only where certificates are verified: set database.tls to \
             verify-full or verify-ca"
                .to_owned(),
        );
    }
    warnings.extend(warnings_of_access(settings));
    warnings.extend(alerts::warnings(settings));
    warnings.extend(adopt_rules::warnings(found, settings));
    let readable = |path: &&PathBuf| path.metadata().is_ok_and(|meta| meta.mode() & 0o004 != 0);
    for path in found.secret_files.iter().filter(readable) {
        warnings.push(format!("{} holds secrets and everybody may read it", path.display()));
    }
    warnings
}

/// Is the certificate of the server looked at, by the key or else by a parameter of the URL?
fn verifies(database: &Database) -> bool {
    let parameters = || database.url.expose().split_once('?').map(|(_, rest)| rest.to_lowercase());
    database.tls.map_or_else(
        || parameters().is_some_and(|it| it.contains("mode=verify")),
        DatabaseTls::verifies,
    )
}

/// The host name (`uname -n`), as far as it can be a name.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().trim().to_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
