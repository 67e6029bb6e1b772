//! `[adopt]` as a whole: what its keys say together, and what contradicts itself.

use super::adopt::{AdoptMode, MigrationsTable, StatusPlace, TableName};
use super::database::Engine;
use super::fault::Fault;
use super::settings::Settings;
use super::sources::Gathered;

/// The dashboard's table, which keeps the status in a JSON column.
const MAPPING: &str = "migrations_mapping";
/// That column.
const MAPPING_JSON: &str = "changes_json";
/// The table that keeps it in columns.
const PLAIN: &str = "migrations";

/// Keys that we set in their JSON beside the status and the error.
const SET_BESIDE: [&str; 2] = ["status_updated_at", "monitor_updated"];

const NODES: &str = "adopt.nodes";
const MIGRATIONS: &str = "adopt.migrations";
const PROJECT_ID: &str = "adopt.migrations_project_id";
const UUID: &str = "adopt.migrations_uuid";
const JSON: &str = "adopt.migrations_json";
const STATUS: &str = "adopt.migrations_status";
const ERROR: &str = "adopt.migrations_error";

/// Puts together what is in several keys, and checks all of it. A key that is faulty by itself was told before.
pub(super) fn finish(found: &Gathered, settings: &mut Settings, faults: &mut Vec<Fault>) {
    settings.adopt.migrations = migrations(found, settings, faults);
    if settings.adopt.mode != AdoptMode::Off {
        faults.extend(in_force(found, settings));
    }
}

/// Rules that count only while something is watched.
fn in_force(found: &Gathered, settings: &Settings) -> Vec<Fault> {
    let adopt = &settings.adopt;
    let mut faults = Vec::new();
    if !is_given(found, NODES) && !is_given(found, MIGRATIONS) {
        let problem = format!(
            "is {}, but no table of theirs is named: give {NODES} or {MIGRATIONS}, or set it to off",
            adopt.mode.as_str()
        );
        faults.push(fault(found, "adopt.mode", problem));
    }
    if is_given(found, MIGRATIONS) && !is_given(found, "migrations.lock_dir") {
        let problem =
            "needs the directory of the lock files: give migrations.lock_dir (CACHE_PATH)";
        faults.push(fault(found, MIGRATIONS, problem));
    }
    if let (Some(nodes), Some(migrations)) = (&adopt.nodes, &adopt.migrations)
        && same_table(nodes, &migrations.name)
    {
        faults.push(fault(found, MIGRATIONS, format!("is the same table as {NODES}")));
    }
    if let (Some(nodes), Some(node)) = (&adopt.nodes, found.nodes.first()) {
        let problem = format!(
            "cannot stand beside {NODES}: the nodes are those of {nodes}; remove every [[node]], or \
             remove {NODES}, or set adopt.mode to off"
        );
        faults.push(Fault::new("node", &node.source, problem));
    }
    if adopt.nodes().is_some() && settings.nodes.discover {
        let problem = format!("cannot stand beside {NODES}: no node is made here");
        faults.push(fault(found, "nodes.discover", problem));
    }
    faults
}

/// What is allowed and yet may not be meant.
pub(super) fn warnings(found: &Gathered, settings: &Settings) -> Vec<String> {
    let adopt = &settings.adopt;
    let mut warnings = Vec::new();
    if adopt.nodes().is_some() && adopt.laravel_key.is_none() {
        warnings.push(format!(
            "{NODES} is given and no adopt.laravel_key (their APP_KEY): encrypted passwords cannot be read"
        ));
    }
    let idle = [
        (&[PROJECT_ID, UUID, JSON, STATUS, ERROR][..], MIGRATIONS),
        (&["adopt.env_file"], "adopt.env"),
    ];
    for (keys, needed) in idle {
        for key in keys.iter().filter(|key| is_given(found, key) && !is_given(found, needed)) {
            warnings.push(format!("{key} counts only together with {needed}"));
        }
    }
    warnings
}

/// Their table of migrations; none where it is not named, or not well.
fn migrations(
    found: &Gathered,
    settings: &Settings,
    faults: &mut Vec<Fault>,
) -> Option<MigrationsTable> {
    let name = found.values.get(MIGRATIONS)?.table().ok()?;
    let text = |key: &str, default: &str| {
        found.values.get(key).map_or_else(|| Some(default.to_owned()), |raw| raw.name().ok())
    };
    let (project_id, uuid) = (text(PROJECT_ID, "brz_project_id"), text(UUID, "mb_project_uuid"));
    let (status, error) = (text(STATUS, "status"), text(ERROR, "error"));
    let json = match (found.values.get(JSON), name.table.as_str()) {
        (Some(raw), _) => raw.name_or_none().ok()?,
        (None, MAPPING) => Some(MAPPING_JSON.to_owned()),
        (None, PLAIN) => None,
        (None, _) => {
            let problem = format!(
                "must be given, since {name} is neither {MAPPING} nor {PLAIN}: the JSON column with \
                 the status, or \"\" if the status has a column of its own"
            );
            faults.push(Fault::new(JSON, &found.values.get(MIGRATIONS)?.source, problem));
            return None;
        }
    };
    let (project_id, uuid, status, error) = (project_id?, uuid?, status?, error?);
    let mut columns = vec![(PROJECT_ID, project_id.as_str()), (UUID, uuid.as_str())];
    if let Some(json) = &json {
        columns.push((JSON, json));
        faults.extend(json_keys(found, &status, &error));
    } else {
        columns.extend([(STATUS, status.as_str()), (ERROR, error.as_str())]);
    }
    faults.extend(twice(found, &columns, "column", ignores_case(settings)));
    let status = match json {
        Some(column) => StatusPlace::Json { column, status, error },
        None => StatusPlace::Columns { status, error },
    };
    Some(MigrationsTable { name, project_id, uuid, status })
}

/// Keys of the JSON are not columns: they may be called like one.
fn json_keys(found: &Gathered, status: &str, error: &str) -> Vec<Fault> {
    let keys = [(STATUS, status), (ERROR, error)];
    let mut faults = twice(found, &keys, "key", false);
    for (key, _) in keys.iter().filter(|(_, name)| SET_BESIDE.contains(name)) {
        let problem = format!("must not be {}, which are set beside it", SET_BESIDE.join(" or "));
        faults.push(fault(found, key, problem));
    }
    faults
}

/// A fault for each name that one before it has as well.
fn twice(found: &Gathered, names: &[(&str, &str)], what: &str, ignores_case: bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (at, (key, name)) in names.iter().enumerate() {
        let same = |(_, other): &&(&str, &str)| {
            other == name || (ignores_case && other.to_lowercase() == name.to_lowercase())
        };
        if let Some((first, _)) = names[..at].iter().find(same) {
            // The key that somebody wrote is the one to change.
            let (key, first) = if is_given(found, key) { (key, first) } else { (first, key) };
            faults.push(fault(found, key, format!("is the same {what} as {first}")));
        }
    }
    faults
}

/// Names of columns differ by case in PostgreSQL alone.
fn ignores_case(settings: &Settings) -> bool {
    Engine::of(settings.database.url.expose()) != Some(Engine::Postgres)
}

/// The same as far as the names tell: one without a schema may be in any.
fn same_table(one: &TableName, other: &TableName) -> bool {
    one.table == other.table
        && (one.schema.is_none() || other.schema.is_none() || one.schema == other.schema)
}

fn is_given(found: &Gathered, key: &str) -> bool {
    found.values.contains_key(key)
}

fn fault(found: &Gathered, key: &str, problem: impl Into<String>) -> Fault {
    match found.values.get(key) {
        Some(raw) => Fault::new(key, &raw.source, problem),
        None => Fault::new(key, &"default", problem),
    }
}
