//! A real `monero-wallet-rpc`.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::kernel;
use super::poll::eventually;
use super::ports::HeldPort;
use super::program::Program;

/// It takes 1 s with TLS off; with it, up to 6 s for its RSA key, more on a busy machine.
const READY: Duration = Duration::from_secs(90);

/// How it is started.
#[derive(Debug, Clone)]
pub struct WalletOptions {
    /// `user:password`; none: no login.
    pub login: Option<String>,
    /// `--rpc-ssl`: `disabled`, `enabled` (with its own certificate) or `autodetect`.
    pub ssl: &'static str,
    /// Private key and certificate of the server; none: it makes its own.
    pub pair: Option<(PathBuf, PathBuf)>,
    /// The daemon's port; none: `--offline`.
    pub daemon: Option<u16>,
    /// A given port; none: any free one.
    pub port: Option<u16>,
}

impl Default for WalletOptions {
    fn default() -> Self {
        Self { login: None, ssl: "disabled", pair: None, daemon: None, port: None }
    }
}

/// A running wallet server.
#[derive(Debug)]
pub struct Wallet {
    program: Program,
    port: u16,
    dir: TempDir,
}

impl Wallet {
    /// One without login and without daemon.
    pub async fn start() -> Self {
        Self::start_with(WalletOptions::default()).await
    }

    /// One with this login.
    pub async fn start_login(login: &str) -> Self {
        Self::start_with(WalletOptions { login: Some(login.to_owned()), ..Default::default() })
            .await
    }

    /// Starts it and waits until it listens; another port is tried if somebody was quicker.
    pub async fn start_with(options: WalletOptions) -> Self {
        for _ in 0..5 {
            let mut wallet = Self::launch(&options);
            if wallet.listening().await {
                return wallet;
            }
            assert!(options.port.is_none(), "wallet-rpc did not start: {}", wallet.program.log());
        }
        panic!("monero-wallet-rpc does not start");
    }

    /// Starts it without waiting for anything.
    pub fn launch(options: &WalletOptions) -> Self {
        let dir = TempDir::new().unwrap();
        let port = options.port.unwrap_or_else(|| HeldPort::take().hand_over());
        let program = Program::start(
            "monero-wallet-rpc",
            arguments(options, port, dir.path()),
            dir.path(),
            &dir.path().join("out"),
            &[],
        );
        Self { program, port, dir }
    }

    /// True as soon as **this** process owns the listening socket; false if it ended instead.
    async fn listening(&mut self) -> bool {
        let (pid, port) = (self.pid(), self.port);
        eventually(READY, || {
            let ended = self.program.exited().is_some();
            async move {
                if ended {
                    Ok(false)
                } else if kernel::listens(pid, port) {
                    Ok(true)
                } else {
                    Err(format!("wallet-rpc {pid} does not listen on {port}"))
                }
            }
        })
        .await
    }

    /// Its PID.
    pub fn pid(&self) -> i32 {
        self.program.pid()
    }

    /// Its RPC port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// SIGSTOP; returns when the kernel shows it as stopped.
    pub async fn stop(&self) {
        assert!(self.program.signal(Signal::STOP));
        self.becomes('T').await;
    }

    /// SIGCONT.
    pub fn cont(&self) {
        assert!(self.program.signal(Signal::CONT));
    }

    /// SIGKILL without reaping; returns when it is a zombie.
    pub async fn kill_unreaped(&self) {
        self.program.kill_unreaped();
        self.becomes('Z').await;
    }

    /// SIGKILL and reaped.
    pub fn kill(&mut self) -> ExitStatus {
        self.program.kill()
    }

    /// Asks for the exit status of a zombie.
    pub fn reap(&mut self) -> ExitStatus {
        self.program.reap()
    }

    /// Waits for its end.
    pub async fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        self.program.wait_exit(deadline).await
    }

    async fn becomes(&self, state: char) {
        let pid = self.pid();
        eventually(Duration::from_secs(10), || async move {
            match kernel::state(pid) {
                Some(seen) if seen == state => Ok(()),
                seen => Err(format!("{pid} is {seen:?}, not {state}")),
            }
        })
        .await;
    }

    /// One JSON-RPC call without login; the whole answer.
    pub async fn call(&self, method: &str, params: Value, limit: Duration) -> Value {
        let client = reqwest::Client::builder().no_proxy().timeout(limit).build().unwrap();
        let body = json!({"jsonrpc": "2.0", "id": "test", "method": method, "params": params});
        let url = format!("http://127.0.0.1:{}/json_rpc", self.port);
        client.post(url).json(&body).send().await.unwrap().json().await.unwrap()
    }
}

fn arguments(options: &WalletOptions, port: u16, dir: &Path) -> Vec<String> {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(dir.join("wallets")).unwrap();
    let mut args: Vec<String> = [
        "--rpc-bind-ip",
        "127.0.0.1",
        "--rpc-bind-port",
        &port.to_string(),
        "--wallet-dir",
        &path("wallets"),
        "--log-file",
        &path("rpc.log"),
        "--shared-ringdb-dir",
        &path("ringdb"),
        "--non-interactive",
        "--rpc-ssl",
        options.ssl,
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some((key, certificate)) = &options.pair {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        args.extend(["--rpc-ssl-private-key".to_owned(), text(key)]);
        args.extend(["--rpc-ssl-certificate".to_owned(), text(certificate)]);
    }
    match &options.login {
        Some(login) => args.extend(["--rpc-login".to_owned(), login.clone()]),
        None => args.push("--disable-rpc-login".to_owned()),
    }
    match options.daemon {
        Some(daemon) => args.extend([
            "--daemon-address".to_owned(),
            format!("127.0.0.1:{daemon}"),
            "--trusted-daemon".to_owned(),
        ]),
        None => args.push("--offline".to_owned()),
    }
    args
}
