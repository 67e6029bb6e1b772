//! Background jobs: real processes, and lock files as PHP's `json_encode` with `JSON_PRETTY_PRINT` leaves them.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

use super::program::Program;

/// A uuid of the form that runners use, one for each project id.
pub fn uuid(id: i64) -> String {
    format!("{id:08x}-0000-4000-8000-{id:012x}")
}

/// Name of the lock of a project.
pub fn file_name(id: i64) -> String {
    format!("{}-{id}.lock", uuid(id))
}

/// A lock to be written.
#[derive(Debug, Clone)]
pub struct Lock {
    id: i64,
    fields: Map<String, Value>,
    age: Duration,
}

impl Lock {
    /// Begun and written now by the process `pid`.
    pub fn new(id: i64, pid: i32) -> Self {
        let lock = Self { id, fields: Map::new(), age: Duration::ZERO };
        lock.set("mb_project_uuid", uuid(id))
            .set("brz_project_id", id)
            .set("pid", pid)
            .set("started_at", "2026-01-15 10:30:45")
            .started_ago(0)
            .set("current_stage", "Инициализация миграции")
            .set("log_file", "/srv/app/var/log/migration.log")
    }

    /// Sets a field; null removes it.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        match value.into() {
            Value::Null => drop(self.fields.remove(key)),
            value => drop(self.fields.insert(key.to_owned(), value)),
        }
        self
    }

    /// Sets `started_timestamp` only: the job looks old and its lock is fresh.
    #[must_use]
    pub fn started_ago(self, secs: i64) -> Self {
        self.set("started_timestamp", unix_now() - secs)
    }

    /// Begun and last written then.
    #[must_use]
    pub fn ago(mut self, secs: u32) -> Self {
        self.age = Duration::from_secs(secs.into());
        self.started_ago(secs.into())
    }

    /// The whole file as PHP writes it: four spaces, `\/` and `\u....`.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        let pretty = PrettyFormatter::with_indent(b"    ");
        self.fields.serialize(&mut Serializer::with_formatter(&mut out, pretty)).unwrap();
        let mut text = String::new();
        for unit in String::from_utf8(out).unwrap().encode_utf16() {
            match u8::try_from(unit) {
                Ok(b'/') => text.push_str("\\/"),
                Ok(byte) if byte.is_ascii() => text.push(char::from(byte)),
                // Outside the basic plane these are two escapes, as in PHP.
                _ => write!(text, "\\u{unit:04x}").unwrap(),
            }
        }
        text
    }

    /// Writes it: a new one appears whole, so that nobody has seen it half-written; one that exists keeps its inode, as
    /// where a runner writes it again.
    pub fn write(&self, dir: &Path) -> PathBuf {
        let path = dir.join(file_name(self.id));
        if path.exists() { self.write_in_place(dir) } else { self.replace(dir) }
    }

    /// Writes it as the runner does: a new one is empty for a moment.
    pub fn write_in_place(&self, dir: &Path) -> PathBuf {
        let path = dir.join(file_name(self.id));
        fs::write(&path, self.text()).unwrap();
        self.backdate(&path);
        path
    }

    /// Writes another file and renames it over the name.
    pub fn replace(&self, dir: &Path) -> PathBuf {
        let path = dir.join(file_name(self.id));
        let new = dir.join(format!(".new-{}", self.id));
        fs::write(&new, self.text()).unwrap();
        self.backdate(&new);
        fs::rename(new, &path).unwrap();
        path
    }

    fn backdate(&self, path: &Path) {
        if !self.age.is_zero() {
            backdate(path, self.age);
        }
    }
}

/// Sets the mtime of a file to `age` ago.
pub fn backdate(path: &Path, age: Duration) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

/// Seconds since the epoch.
pub fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap()
}

/// A PID whose process has ended and was reaped; nobody gets it while the test's thread lives.
pub fn dead_pid(dir: &Path) -> i32 {
    let mut program = Program::sleeper(dir);
    program.kill();
    program.pid()
}

/// A process that gets this PID: the kernel is told to give it next (root), or numbers are used up until it comes.
///
/// The kernel goes on then where it was before: else other tests' processes would get numbers that were given back just now.
pub fn spawn_as(pid: i32, dir: &Path) -> Program {
    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Twice around the table of PIDs; others fork as well, so one attempt is not enough with the shortcut either.
    for _ in 0..80_000 {
        let before = fs::read_to_string(LAST).unwrap_or_default();
        let _ = fs::write(LAST, (pid - 1).to_string());
        let program = Program::passing(dir);
        let _ = fs::write(LAST, before.trim());
        if program.pid() == pid {
            return program;
        }
    }
    panic!("no process got PID {pid}")
}

/// `unshare`, with a user namespace as well where the tests are not run by root.
pub fn unshare(namespaces: &[&'static str]) -> Vec<&'static str> {
    let mut words = vec!["unshare"];
    if !rustix::process::geteuid().is_root() {
        words.push("--map-root-user");
    }
    words.extend(namespaces);
    words
}

/// A job in a PID namespace of its own.
#[derive(Debug)]
pub struct Elsewhere {
    _unshare: Program,
    inner: i32,
    /// Its first process, by its number here: with it the namespace ends.
    init: i32,
}

impl Elsewhere {
    /// Starts it; the number that it sees of itself is nobody's here.
    pub async fn start(dir: &Path) -> Self {
        let inner = dead_pid(dir);
        let out = dir.join("elsewhere");
        // The counter is the namespace's own; `$!` is the number inside.
        let script = format!(
            "echo {} > /proc/sys/kernel/ns_last_pid; sleep 600 & echo $! > {}; wait",
            inner - 1,
            out.display()
        );
        let mut words = unshare(&["--pid", "--fork", "--kill-child", "sh", "-c"]);
        words.push(&script);
        let unshare = Program::start(words[0], &words[1..], dir, &dir.join("unshare.log"), &[]);
        let seen: i32 = super::eventually(Duration::from_secs(10), || {
            let text = fs::read_to_string(&out).unwrap_or_default();
            let log = unshare.log();
            async move { text.trim().parse().map_err(|_| format!("no PID yet; {log}")) }
        })
        .await;
        assert_eq!(seen, inner, "the namespace gave another number");
        let init = child_of(unshare.pid());
        Self { _unshare: unshare, inner, init }
    }

    /// Its PID in its own namespace.
    pub fn inner_pid(&self) -> i32 {
        self.inner
    }

    /// Ends every process of its namespace.
    pub fn kill(&self) {
        let init = rustix::process::Pid::from_raw(self.init).unwrap();
        rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    }
}

/// The first child of a process.
pub fn child_of(pid: i32) -> i32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().next().unwrap().parse().unwrap()
}

/// Everything in a directory that procwarden sets aside while it removes a lock.
pub fn asides(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name());
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with(".procwarden."))
        .collect()
}

/// Opens a lock as a writer that keeps it open.
pub fn hold_open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// The body of a runner's report.
pub fn report(status: &str) -> Value {
    json!({ "status": status })
}
