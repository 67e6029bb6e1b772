//! A real `monerod` on a chain of its own.

use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::kernel;
use super::poll::eventually;
use super::ports::HeldPort;
use super::program::Program;

/// A running daemon; answers RPC on its port.
#[derive(Debug)]
pub struct Monerod {
    program: Program,
    port: u16,
    _dir: TempDir,
}

impl Monerod {
    /// Starts it on a free port and waits until it listens.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more arguments, such as `--rpc-login user:password`.
    pub async fn start_with(more: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        // Two ports: with one --p2p-bind-port for all, two of them could not run side by side.
        let (port, p2p) = (HeldPort::take(), HeldPort::take());
        let (port, p2p) = (port.hand_over(), p2p.hand_over());
        let args = [
            "--regtest",
            "--offline",
            "--fixed-difficulty",
            "1",
            "--data-dir",
            dir.path().to_str().unwrap(),
            "--rpc-bind-ip",
            "127.0.0.1",
            "--rpc-bind-port",
            &port.to_string(),
            "--p2p-bind-ip",
            "127.0.0.1",
            "--p2p-bind-port",
            &p2p.to_string(),
            "--rpc-ssl",
            "disabled",
            "--no-zmq",
            "--non-interactive",
            "--disable-rpc-ban",
            "--no-igd",
        ];
        let args = args.iter().chain(more);
        let mut program = Program::start("monerod", args, dir.path(), &dir.path().join("out"), &[]);
        let pid = program.pid();
        eventually(Duration::from_secs(90), || {
            let ended = program.exited();
            let log = if ended.is_some() { program.log() } else { String::new() };
            async move {
                assert!(ended.is_none(), "monerod ended: {log}");
                if kernel::listens(pid, port) { Ok(()) } else { Err("monerod does not listen") }
            }
        })
        .await;
        Self { program, port, _dir: dir }
    }

    /// Its PID.
    pub fn pid(&self) -> i32 {
        self.program.pid()
    }

    /// Its RPC port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGSTOP.
    pub fn stop(&self) {
        assert!(self.program.signal(Signal::STOP));
    }

    /// SIGCONT.
    pub fn cont(&self) {
        assert!(self.program.signal(Signal::CONT));
    }
}
