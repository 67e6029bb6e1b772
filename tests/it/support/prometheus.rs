//! A real Prometheus and a real Alertmanager, with what the repository ships for them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::poll::eventually;
use super::ports::HeldPort;
use super::program::Program;

/// Longest wait for one of them to answer, on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// Either of them, running.
#[derive(Debug)]
pub struct Watcher {
    program: Program,
    port: u16,
    dir: TempDir,
}

impl Watcher {
    /// Alertmanager, which shows its alerts and sends nobody anything.
    pub async fn alertmanager() -> Self {
        let dir = TempDir::new().unwrap();
        let config = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";
        fs::write(dir.path().join("config.yml"), config).unwrap();
        let words =
            ["--config.file=config.yml", "--storage.path=data", "--cluster.listen-address="];
        Self::start("prometheus-alertmanager", dir, &words).await
    }

    /// Prometheus with the shipped configuration and rules, but for the addresses and a pace for tests.
    pub async fn prometheus(shipped: &Path, procwarden: u16, alertmanager: u16) -> Self {
        let dir = TempDir::new().unwrap();
        let rules = "procwarden.rules.yml";
        fs::copy(shipped.join(rules), dir.path().join(rules)).unwrap();
        let mut config = fs::read_to_string(shipped.join("prometheus.yml")).unwrap();
        for (was, is) in [
            ("127.0.0.1:8686", format!("127.0.0.1:{procwarden}")),
            ("127.0.0.1:9093", format!("127.0.0.1:{alertmanager}")),
            ("scrape_interval: 15s", "scrape_interval: 500ms".to_owned()),
            ("evaluation_interval: 15s", "evaluation_interval: 500ms".to_owned()),
        ] {
            assert!(config.contains(was), "{was}");
            config = config.replace(was, &is);
        }
        fs::write(dir.path().join("config.yml"), config).unwrap();
        let words = ["--config.file=config.yml", "--storage.tsdb.path=data"];
        Self::start("prometheus", dir, &words).await
    }

    async fn start(program: &str, dir: TempDir, words: &[&str]) -> Self {
        let port = HeldPort::take().hand_over();
        let listen = format!("--web.listen-address=127.0.0.1:{port}");
        let words = words.iter().copied().chain([listen.as_str()]);
        let program = Program::start(program, words, dir.path(), &dir.path().join("log"), &[]);
        let watcher = Self { program, port, dir };
        eventually(READY, || async { watcher.try_get("/-/ready").await.map(drop) }).await;
        watcher
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The body of its answer to GET as JSON; null if it is none.
    ///
    /// # Errors
    /// What it said instead of 200, with its log.
    pub async fn try_get(&self, path: &str) -> Result<Value, String> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = client.get(url).send().await;
        let answer =
            answer.map_err(|error| format!("{error}; its log:\n{}", self.program.log()))?;
        let status = answer.status();
        let body = answer.text().await.unwrap_or_default();
        if status != 200 {
            return Err(format!("{path}: {status} {body}"));
        }
        Ok(serde_json::from_str(&body).unwrap_or(Value::Null))
    }
}
