//! Canaries: words that stand in the secrets of the tests, and must stand in nothing that the service makes.
//!
//! Every [`super::Warden`] is looked through for them when it ends: its log, its database, the files that it left, its
//! command line; and each answer that it gave, when it was given.

use std::fs;
use std::path::Path;

use super::database::Database;
use super::db;
use super::engine::Engine;
use super::warden_config::TOKEN;

/// One of them is in every secret that a test makes up.
pub const CANARIES: [&str; 4] = ["cAnArY", "hunter2", "s3cret", TOKEN];

/// A secret of this name, with a canary in it.
pub fn secret(name: &str) -> String {
    format!("cAnArY-{name}")
}

/// The canary in there, if there is one.
pub fn find(bytes: &[u8]) -> Option<&'static str> {
    CANARIES.into_iter().find(|it| memchr::memmem::find(bytes, it.as_bytes()).is_some())
}

/// No canary is in there; `what` says what it is.
pub fn assert_none(what: &str, bytes: &[u8]) {
    if let Some(canary) = find(bytes) {
        let text = String::from_utf8_lossy(bytes);
        let at = text.find(canary).unwrap_or_default();
        let (from, to) =
            (text.floor_char_boundary(at.saturating_sub(200)), text.floor_char_boundary(at + 200));
        panic!("{what} holds a secret ({canary}): {}", &text[from..to]);
    }
}

/// What the tests themselves put into a service's directory.
fn is_input(name: &str) -> bool {
    let is_one = |end: &&str| name.ends_with(*end);
    name.starts_with(".env") || [".toml", ".json", ".input"].iter().any(is_one)
}

/// The files in a directory that the service made: not those that configure it, and not those of `locks`.
pub fn leaks_of(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut leaks = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_input(&name) || !entry.file_type().is_ok_and(|it| it.is_file()) {
            continue;
        }
        if let Some(canary) = find(&fs::read(entry.path()).unwrap_or_default()) {
            leaks.push(format!("{name} holds a secret ({canary})"));
        }
    }
    leaks
}

/// The same of all our tables on a server; of SQLite the file is all there is.
pub fn leaks_in(database: &Database) -> Vec<String> {
    let Some(engine) = database.known_engine() else { return Vec::new() };
    if engine == Engine::Sqlite {
        let Some(dir) = database.file().parent().map(Path::to_owned) else { return Vec::new() };
        return leaks_of(&dir);
    }
    // The server may be gone, by the test's own doing.
    if db::try_query(database, "SELECT 1").is_err() {
        return Vec::new();
    }
    let leak = |table: String| {
        let rows = db::try_query(database, &format!("SELECT * FROM {table}")).unwrap_or_default();
        let text = serde_json::to_vec(&rows).unwrap_or_default();
        find(&text).map(|canary| format!("{table} holds a secret ({canary})"))
    };
    db::tables(database).into_iter().filter_map(leak).collect()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn one_that_is_planted_is_found() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("procwarden.toml"), "password = \"cAnArY\"").unwrap();
        fs::create_dir(dir.path().join("locks")).unwrap();
        fs::write(dir.path().join("locks/a.lock"), "hunter2").unwrap();
        fs::write(dir.path().join("procwarden.log"), "nothing in here").unwrap();
        assert_eq!(leaks_of(dir.path()), [""; 0], "what was put in is no leak");
        for canary in CANARIES {
            fs::write(dir.path().join("procwarden.log"), format!("a b{canary}c d")).unwrap();
            let found = format!("procwarden.log holds a secret ({canary})");
            assert_eq!(leaks_of(dir.path()), [found]);
        }
        fs::write(dir.path().join("procwarden.log"), "").unwrap();
        fs::write(dir.path().join("procwarden.db-wal"), [b"\xff\0", &b"hunter2"[..]].concat())
            .unwrap();
        assert_eq!(leaks_of(dir.path()).len(), 1);
        assert!(find(secret("x").as_bytes()).is_some());
    }

    #[test]
    fn one_in_an_answer_fails_the_test_that_gets_it() {
        let planted = std::panic::catch_unwind(|| assert_none("an answer", b"{\"p\":\"hunter2\"}"));
        let told = planted.unwrap_err();
        let told = told.downcast_ref::<String>().unwrap();
        assert!(told.contains("an answer holds a secret (hunter2)"), "{told}");
        assert_none("an answer", b"{\"has_password\":true}");
    }
}
