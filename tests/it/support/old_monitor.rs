//! The earlier monitor's rules as a program of their own, in PHP: glob, `json_decode`, `posix_kill`, a grace, a rewrite.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::database::Database;
use super::poll::eventually;
use super::program::Program;

/// Longest wait for a round.
const SOON: Duration = Duration::from_mins(1);

/// The running monitor; ends with this handle.
#[derive(Debug)]
pub struct OldMonitor {
    program: Program,
    dir: TempDir,
}

impl OldMonitor {
    /// Starts it on a directory of locks. `grace` is in seconds, by the mtime of a lock; with a database it also sets the
    /// status in `migrations_mapping`, see [`super::theirs`].
    pub fn start(
        locks: &Path,
        interval: Duration,
        grace: u32,
        database: Option<&Database>,
    ) -> Self {
        let dir = TempDir::new().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/adopt/old_monitor.php");
        let mut words: Vec<String> = vec![
            // What goes wrong in it stands in its output, which then is no act.
            "-ddisplay_errors=stderr".to_owned(),
            script.to_str().unwrap().to_owned(),
            locks.to_str().unwrap().to_owned(),
            interval.as_millis().to_string(),
            grace.to_string(),
        ];
        words.extend(database.into_iter().flat_map(data_source));
        let program = Program::start("php", words, dir.path(), &dir.path().join("log"), &[]);
        Self { program, dir }
    }

    /// The same as a user who may send no signal to the jobs; everybody must be allowed to write to the directory.
    pub fn start_as_nobody(locks: &Path, grace: u32, database: &Database) -> Self {
        let dir = TempDir::new().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/adopt/old_monitor.php");
        // That user need not be allowed to see the sources.
        let script = dir.path().join("old_monitor.php");
        fs::copy(from, &script).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
        let mut words: Vec<String> =
            ["--reuid=65534", "--regid=65534", "--clear-groups", "php"].map(str::to_owned).into();
        words.push("-ddisplay_errors=stderr".to_owned());
        words.extend([script.as_path(), locks].map(|path| path.to_str().unwrap().to_owned()));
        words.extend(["100".to_owned(), grace.to_string()]);
        words.extend(data_source(database));
        let log = dir.path().join("log");
        let program = Program::start("setpriv", words, Path::new("/"), &log, &[]);
        Self { program, dir }
    }

    /// All that it did until now, in order: `act` (`alive`, `waits`, `error`, `removed`, `denied`, `unreadable`, `round`),
    /// `file`, and what belongs to the act.
    pub fn acts(&self) -> Vec<Value> {
        let log = self.program.log();
        // The last line may be half written.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no act: {log}")))
            .collect()
    }

    /// What it did with one file, as words; an act that follows the same one is left out.
    pub fn acts_on(&self, file: &str) -> Vec<String> {
        let acts = self.acts();
        let its = acts.iter().filter(|act| act["file"] == file);
        let mut words: Vec<String> =
            its.map(|act| act["act"].as_str().unwrap().to_owned()).collect();
        words.dedup();
        words
    }

    /// Waits until a round has ended that began after this call.
    pub async fn round(&self) {
        let rounds = || self.acts().iter().filter(|act| act["act"] == "round").count();
        let before = rounds();
        eventually(SOON, || async {
            let now = rounds();
            if now >= before + 2 { Ok(()) } else { Err(format!("{now} rounds, {before} before")) }
        })
        .await;
    }

    /// Ends it; what it did stays known.
    pub fn stop(&mut self) {
        self.program.kill();
        assert!(self.dir.path().exists());
    }
}

/// Data source, user and password as PHP's PDO takes them.
fn data_source(database: &Database) -> [String; 3] {
    if let Some(file) = database.url().strip_prefix("sqlite://") {
        return [format!("sqlite:{file}"), String::new(), String::new()];
    }
    let url = reqwest::Url::parse(database.url()).unwrap();
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
    let name = url.path().trim_start_matches('/');
    let source = match url.scheme() {
        "mysql" => format!("mysql:host={host};port={port};dbname={name};charset=utf8mb4"),
        _ => format!("pgsql:host={host};port={port};dbname={name}"),
    };
    [source, url.username().to_owned(), url.password().unwrap_or_default().to_owned()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::engine::Engine;
    use super::super::job::{self, Lock};
    use super::super::theirs::Table;
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(50);

    fn change(id: i64) -> Value {
        json!({"brz_project_id": id, "mb_project_uuid": job::uuid(id),
               "changes_json": {"keep": "é / me", "status": "in_progress"}})
    }

    fn kept(row: &Value) -> Value {
        serde_json::from_str(row["changes_json"].as_str().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_living_are_rewritten_and_the_dead_become_errors_after_the_grace() {
        let (dir, database) = (TempDir::new().unwrap(), Engine::current().fresh());
        Table::Mapping.create(&database);
        for id in 1..=3 {
            Table::Mapping.insert(&database, &change(id));
        }
        let before = Table::Mapping.rows(&database);
        let locks = dir.path().join("locks");
        fs::create_dir(&locks).unwrap();
        let mut live = Program::sleeper(dir.path());
        let dead = job::dead_pid(dir.path());
        let alive = Lock::new(1, live.pid()).ago(900).write(&locks);
        let gone = Lock::new(2, dead).ago(900).write(&locks);
        let young = Lock::new(3, dead).write(&locks);
        for (name, text) in [("half.lock", "{\"pid\":"), ("nopid.lock", "{\"a\":1}"), ("b", "{}")] {
            fs::write(locks.join(name), text).unwrap();
            job::backdate(&locks.join(name), Duration::from_secs(900));
        }
        fs::write(locks.join("new.lock"), "").unwrap();

        let mut monitor = OldMonitor::start(&locks, INTERVAL, 600, Some(&database));
        monitor.round().await;
        let text = fs::read_to_string(&alive).unwrap();
        assert!(text.contains("\"last_check_timestamp\": "), "{text}");
        assert!(text.contains("\\u0418") && text.contains("\\/srv\\/app"), "as PHP: {text}");
        assert_eq!(monitor.acts_on(&job::file_name(1)), ["alive"]);
        assert_eq!(monitor.acts_on(&job::file_name(2)), ["error", "removed"]);
        assert_eq!(monitor.acts_on(&job::file_name(3)), ["waits"]);
        assert_eq!(monitor.acts_on("half.lock"), ["removed"]);
        assert_eq!(monitor.acts_on("nopid.lock"), ["removed"]);
        assert_eq!(monitor.acts_on("new.lock"), ["waits"]);
        assert!(!gone.exists() && young.exists() && locks.join("b").exists());
        let rows = Table::Mapping.rows(&database);
        assert_eq!(super::super::theirs::changed(&before, &rows), ["1.changes_json"]);
        let now = kept(&rows[1]);
        assert_eq!((&now["status"], &now["keep"]), (&json!("error"), &json!("é / me")));
        assert_eq!(now["monitor_updated"], true);

        // What lived is dead now; its rewrites have made its lock young.
        live.kill();
        monitor.round().await;
        assert_eq!(monitor.acts_on(&job::file_name(1)), ["alive", "waits"]);
        job::backdate(&alive, Duration::from_secs(900));
        monitor.round().await;
        assert_eq!(monitor.acts_on(&job::file_name(1)), ["alive", "waits", "error", "removed"]);
        assert_eq!(kept(&Table::Mapping.rows(&database)[0])["status"], "error");
        monitor.stop();
        let acts = monitor.acts().len();
        assert!(!monitor.program.signal(rustix::process::Signal::TERM));
        assert_eq!(monitor.acts().len(), acts);
    }
}
