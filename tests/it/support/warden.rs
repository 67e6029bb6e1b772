//! A real `procwarden` in a directory of its own, with a configuration written by the test.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::canary;
use super::database::Database;
use super::engine::Engine;
use super::poll::eventually;
use super::ports::HeldPort;
use super::program::{Program, clean_command};
use super::warden_config::{KEY, TOKEN, WardenConfig};

/// The program: the one that was built with the tests, unless `PROCWARDEN_TEST_BINARY` names another.
fn binary() -> &'static str {
    static BINARY: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    BINARY.get_or_init(|| {
        let given = std::env::var("PROCWARDEN_TEST_BINARY").ok();
        given.unwrap_or_else(|| env!("CARGO_BIN_EXE_procwarden").to_owned())
    })
}

/// Longest wait for it.
const READY: Duration = Duration::from_mins(1);

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// The body as JSON; null if it is none.
    pub json: Value,
}

impl Answer {
    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The service, running or ended, and its directory.
#[derive(Debug)]
pub struct Warden {
    config: WardenConfig,
    program: Option<Program>,
    port: u16,
    client: reqwest::Client,
    database: Database,
    dir: TempDir,
}

impl Warden {
    /// Starts `procwarden serve` and waits until `/readyz` is 200; panics with its log if it ends instead.
    pub async fn start(config: WardenConfig) -> Self {
        Self::prepare(config).started().await
    }

    /// The same on a database that others use as well; give each a name (`instance.name`) of its own.
    pub async fn start_on(database: &Database, config: WardenConfig) -> Self {
        Self::prepare_on(database, config).started().await
    }

    async fn started(mut self) -> Self {
        for _ in 0..5 {
            self.launch();
            match self.try_ready().await {
                Ok(()) => return self,
                Err(log) if log.contains("in use") => self.take_another_port(),
                Err(log) => panic!("procwarden ended before it was ready; its log:\n{log}"),
            }
        }
        panic!("no port could be had; the log:\n{}", self.log());
    }

    /// The directory, the configuration file and a database of its own, nothing running: for command lines and for
    /// starts that shall fail. A `database.url` in the configuration is taken as it is.
    pub fn prepare(config: WardenConfig) -> Self {
        let dir = TempDir::new().unwrap();
        let database = match (config.get("database.url"), Engine::current()) {
            (Some(url), _) => Database::at(url.as_str().unwrap_or_default().to_owned()),
            (None, Engine::Sqlite) => Database::file_at(&dir.path().join("procwarden.db")),
            (None, engine) => engine.fresh(),
        };
        Self::assemble(dir, database, config)
    }

    /// The same on a database that others use as well.
    pub fn prepare_on(database: &Database, config: WardenConfig) -> Self {
        Self::assemble(TempDir::new().unwrap(), database.clone(), config)
    }

    fn assemble(dir: TempDir, database: Database, config: WardenConfig) -> Self {
        fs::create_dir(dir.path().join("locks")).unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            // The service ends a connection that rests for eleven; a request may meet that end.
            .pool_idle_timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let port = HeldPort::take().hand_over();
        let warden = Self { config, program: None, port, client, database, dir };
        warden.write_config();
        warden
    }

    /// Starts it without waiting.
    pub fn launch(&mut self) {
        self.launch_under(&[]);
    }

    /// The same through a command that becomes the service in the end, such as `unshare`.
    pub fn launch_under(&mut self, wrapper: &[&str]) {
        assert!(self.program.is_none(), "it runs already");
        let (config, log) = (self.config_path(), self.log_path());
        let service = [binary(), "--config", config.to_str().unwrap(), "serve"];
        let mut words = wrapper.iter().chain(&service);
        let program = words.next().expect("never empty");
        self.program =
            Some(Program::start(program, words, self.dir.path(), &log, self.config.environment()));
    }

    /// Waits until `/readyz` is 200.
    pub async fn ready(&mut self) {
        if let Err(log) = self.try_ready().await {
            panic!("procwarden ended before it was ready; its log:\n{log}");
        }
    }

    async fn try_ready(&mut self) -> Result<(), String> {
        let url = self.url("/readyz");
        let client = self.client.clone();
        let ready = eventually(READY, || {
            let ended = self.program.as_mut().is_none_or(|program| program.exited().is_some());
            let (log, request) = (self.log_path(), client.get(&url));
            async move {
                if ended {
                    return Ok(false);
                }
                match request.send().await {
                    Ok(answer) if answer.status() == 200 => Ok(true),
                    Ok(answer) => Err(format!("/readyz is {}", answer.status())),
                    Err(error) => Err(format!(
                        "{error}; its log:\n{}",
                        fs::read_to_string(log).unwrap_or_default()
                    )),
                }
            }
        })
        .await;
        if ready {
            return Ok(());
        }
        self.program = None;
        Err(self.log())
    }

    fn take_another_port(&mut self) {
        self.port = HeldPort::take().hand_over();
        self.write_config();
    }

    fn write_config(&self) {
        let mut config = self.config.clone();
        // Where else than on 127.0.0.1 it listens is the test's word, its port is ours.
        if let Some(Value::String(listen)) = config.get("server.listen")
            && let Some(address) = listen.strip_suffix(":0")
        {
            let listen = format!("{address}:{}", self.port);
            config = config.set("server.listen", listen);
        }
        let config = config
            .or("server.listen", format!("127.0.0.1:{}", self.port))
            .or("database.url", self.database.url())
            .or("events.enabled", std::env::var("PROCWARDEN_TEST_EVENTS").as_deref() != Ok("off"))
            .or("migrations.lock_dir", self.lock_dir().to_str().unwrap());
        // Passwords are stored on a server sealed only, and all instances need the same key.
        let config = match self.database.known_engine() {
            Some(Engine::Sqlite) => config,
            _ => config.or("secrets.key", KEY),
        };
        fs::write(self.config_path(), config.to_toml()).unwrap();
    }

    /// Changes the configuration; the next start reads it.
    pub fn reconfigure(&mut self, change: impl FnOnce(WardenConfig) -> WardenConfig) {
        self.config = change(self.config.clone());
        self.write_config();
    }

    /// Ends it with SIGKILL if it runs, and starts it again in the same directory on the same port.
    pub async fn restart(&mut self) {
        self.program = None;
        self.launch();
        self.ready().await;
    }

    /// SIGTERM.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// Any signal.
    pub fn signal(&self, signal: Signal) {
        assert!(self.program().signal(signal), "procwarden is gone; its log:\n{}", self.log());
    }

    /// SIGKILL, and its end awaited.
    pub fn kill9(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill();
        }
    }

    /// SIGTERM, and its end awaited.
    pub async fn stop(&mut self) -> ExitStatus {
        self.sigterm();
        self.wait_exit().await
    }

    /// Waits for its end.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        let mut program = self.program.take().expect("it runs");
        program.wait_exit(Duration::from_secs(30)).await
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.program.as_mut().is_some_and(|program| program.exited().is_none())
    }

    fn program(&self) -> &Program {
        self.program.as_ref().expect("procwarden runs")
    }

    /// Its PID.
    pub fn pid(&self) -> i32 {
        self.program().pid()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its directory: configuration, SQLite's database, log, `locks`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The lock directory of the default configuration.
    pub fn lock_dir(&self) -> PathBuf {
        self.dir.path().join("locks")
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The SQLite file; panics on other engines.
    pub fn db_file(&self) -> PathBuf {
        self.database.file()
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("procwarden.toml")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("procwarden.log")
    }

    /// What it logged, over all its lives.
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    /// `http://127.0.0.1:PORT` and the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A request to be shaped by the test; no token in it.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// Sends a request and takes the whole answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        match try_send(request).await {
            Ok(answer) => answer,
            Err(error) => panic!("{error:?}; the log:\n{}", self.log()),
        }
    }

    /// GET without a token.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// GET where the server may be gone.
    pub async fn try_get(&self, path: &str) -> Result<Answer, reqwest::Error> {
        try_send(self.request(Method::GET, path)).await
    }

    /// POST with the token.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).bearer_auth(TOKEN).json(body)).await
    }

    /// PATCH with the token.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).bearer_auth(TOKEN).json(body)).await
    }

    /// DELETE with the token.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).bearer_auth(TOKEN)).await
    }

    /// Polls GET until `wanted` says `Some`; at most `deadline`.
    pub async fn until<T>(
        &self,
        path: &str,
        deadline: Duration,
        wanted: impl Fn(&Answer) -> Option<T>,
    ) -> T {
        eventually(deadline, || async {
            let answer = self.get(path).await;
            wanted(&answer).ok_or_else(|| {
                format!("{path}: {} {:#}; the log:\n{}", answer.status, answer.json, self.log())
            })
        })
        .await
    }

    /// Runs the command line in its directory with its configuration; ended after 60 s with exit code 124.
    pub fn cli(&self, args: &[&str]) -> Output {
        self.cli_reading(args, "")
    }

    /// The same with this on standard input.
    pub fn cli_reading(&self, args: &[&str], input: &str) -> Output {
        let mut child = clean_command("timeout", self.dir.path(), self.config.environment())
            .args(["60", binary(), "--config"])
            .arg(self.config_path())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }
}

impl Drop for Warden {
    /// Ended, it must have left no secret anywhere.
    fn drop(&mut self) {
        let cmdline = self.program.as_ref().map(|it| format!("/proc/{}/cmdline", it.pid()));
        let cmdline = cmdline.and_then(|path| fs::read(path).ok()).unwrap_or_default();
        self.program = None;
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.dir().display(), self.log());
            return;
        }
        canary::assert_none("the command line", &cmdline);
        let mut leaks = canary::leaks_of(self.dir());
        leaks.extend(canary::leaks_in(&self.database));
        leaks.dedup();
        assert!(leaks.is_empty(), "{leaks:?}; the log:\n{}", self.log());
    }
}

async fn try_send(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let answer = request.send().await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.bytes().await?.to_vec();
    canary::assert_none("an answer", &body);
    canary::assert_none("an answer's head", format!("{headers:?}").as_bytes());
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Answer { status, headers, body, json })
}
