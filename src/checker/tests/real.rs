//! Against the real `monero-wallet-rpc`.

use std::process::{Child, Command, Stdio};

use super::*;
use crate::domain::observation::PidSeen;
use crate::domain::observation::PortSeen;

/// A real server in a directory of its own; killed when dropped.
struct Real {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Real {
    /// Started with this `--rpc-ssl` and this login; returns when it listens.
    async fn start(ssl: &str, login: Option<&str>) -> Self {
        let processes = Processes::new().unwrap();
        // Somebody may take the free port before it does: then it ends, and another port is tried.
        for _ in 0..5 {
            let mut server = Self::spawn(ssl, login);
            let address = "127.0.0.1".parse().unwrap();
            let owner = ListenerSight::Owner { pid: i32::try_from(server.pid()).unwrap() };
            while server.child.try_wait().unwrap().is_none() {
                if processes.listener(address, server.port, None) == owner {
                    return server;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        panic!("it does not start");
    }

    fn spawn(ssl: &str, login: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("w")).unwrap();
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let mut command = Command::new("monero-wallet-rpc");
        command
            .args(["--rpc-bind-ip", "127.0.0.1", "--rpc-bind-port", &port.to_string()])
            .arg("--wallet-dir")
            .arg(dir.path().join("w"))
            .args(["--non-interactive", "--offline", "--rpc-ssl", ssl, "--log-file"])
            .arg(dir.path().join("log"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match login {
            Some(login) => command.env("RPC_LOGIN", login),
            None => command.arg("--disable-rpc-login"),
        };
        let child = command.spawn().expect("monero-wallet-rpc is needed (Debian package monero)");
        Self { child, port, _dir: dir }
    }

    fn pid(&self) -> i64 {
        self.child.id().into()
    }
}

/// A proxy that counts connections and keeps what the client said.
async fn proxy(target: u16) -> Fake {
    Fake::start(move |mut client| async move {
        let mut server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
        while let Some(request) = client.request().await {
            server.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !is_whole(&answer) {
                let mut buffer = [0; 4096];
                let n = server.read(&mut buffer).await.unwrap();
                assert!(n > 0, "the server closed");
                answer.extend_from_slice(&buffer[..n]);
            }
            client.send(&answer).await;
        }
    })
    .await
}

fn is_whole(answer: &[u8]) -> bool {
    std::str::from_utf8(answer)
        .unwrap()
        .split_once("\r\n\r\n")
        .is_some_and(|(head, body)| body.len() >= length_of(head))
}

#[tokio::test]
async fn a_login_counts_on_over_one_connection() {
    let real = Real::start("disabled", Some("user:pa:ss")).await;
    let proxy = proxy(real.port).await;
    let (checker, node) = (checker(LIMITS), with_login(proxy.port, "user", "pa:ss"));
    for _ in 0..4 {
        let seen = api(&checker, &node).await;
        assert!(matches!(seen, ApiSeen::Version(version) if version >> 16 == 1), "{seen:?}");
    }
    let counts: Vec<_> = proxy.requests().iter().map(|r| param(r, "nc")).collect();
    let expected: Vec<_> =
        [None, Some(1), Some(2), Some(3), Some(4)].map(|n| n.map(|n| format!("{n:08}"))).into();
    assert_eq!(counts, expected);
    assert_eq!(proxy.connections(), 1);

    let wrong = with_login(proxy.port, "user", "pass");
    let seen = api(&checker, &wrong).await;
    let refusal = "the server refuses the user name or the password";
    assert_eq!(seen, ApiSeen::Unauthorized(refusal.into()));
    let anonymous = super::node(proxy.port);
    assert!(matches!(api(&checker, &anonymous).await, ApiSeen::Unauthorized(_)));
    assert!(matches!(api(&checker, &node).await, ApiSeen::Version(_)));
}

#[tokio::test]
async fn its_own_certificate_is_taken_only_when_told_so() {
    let real = Real::start("enabled", None).await;
    let checker = checker(LIMITS);
    let insecure = Node { tls: Tls::Insecure, ..node(real.port) };
    for _ in 0..2 {
        let seen = api(&checker, &insecure).await;
        assert!(matches!(seen, ApiSeen::Version(_)), "{seen:?}");
    }
    let verify = Node { tls: Tls::Verify, ..insecure.clone() };
    let seen = api(&checker, &verify).await;
    assert!(
        matches!(&seen, ApiSeen::Tls(text) if text.starts_with("the certificate is refused: ")),
        "{seen:?}"
    );
    let plain = Node { tls: Tls::Off, ..insecure };
    let seen = api(&checker, &plain).await;
    assert_eq!(seen, ApiSeen::Io("closed without an answer".into()));
}

#[tokio::test]
async fn tls_is_agreed_on_once() {
    let real = Real::start("enabled", Some("user:pass")).await;
    let target = real.port;
    let proxy = Fake::start(move |mut client| async move {
        let mut server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client.stream, &mut server).await;
    })
    .await;
    let node = Node { tls: Tls::Insecure, ..with_login(proxy.port, "user", "pass") };
    let checker = checker(LIMITS);
    for _ in 0..4 {
        let seen = api(&checker, &node).await;
        assert!(matches!(seen, ApiSeen::Version(_)), "{seen:?}");
        assert_eq!(proxy.connections(), 1);
    }
}

#[tokio::test]
async fn all_three_at_once_and_then_stopped_and_dead() {
    let mut real = Real::start("disabled", None).await;
    let (checker, mut node) = (checker(SHORT), node(real.port));
    // Generous while it lives: the machine may be busy.
    let patient = super::checker(LIMITS);
    let Observation::Full(pid, port, api) =
        patient.check(&shared(&node), Method::Full).await.observation
    else {
        panic!()
    };
    assert!(matches!(api.seen, ApiSeen::Version(_)), "{api:?}");
    assert!(api.latency.is_some());
    assert_eq!((pid.seen, pid.pid), (PidSeen::Running, Some(real.pid())), "{pid:?}");
    assert!(pid.cmdline.unwrap().contains("--rpc-bind-port"));
    assert_eq!(port.seen, PortSeen::Open);
    assert_eq!(i64::from(port.listener.unwrap().pid), real.pid());
    node.identity = pid.identity;

    let stranger = Node { process_name: "something-else".into(), ..node.clone() };
    let seen = patient.check(&shared(&stranger), Method::Port).await.observation;
    assert!(matches!(&seen, Observation::Port(it) if it.seen == PortSeen::Taken), "{seen:?}");

    let process = rustix::process::Pid::from_child(&real.child);
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    // A signal is sent before it takes effect.
    until_seen(&checker, &node, PidSeen::Stopped).await;
    let Observation::Full(pid, port, api) =
        checker.check(&shared(&node), Method::Full).await.observation
    else {
        panic!()
    };
    assert_eq!(pid.seen, PidSeen::Stopped);
    assert_eq!(port.seen, PortSeen::Open, "the kernel accepts for it");
    assert_eq!(api.seen, ApiSeen::Timeout(SHORT.api_timeout));

    real.child.kill().unwrap();
    // Not reaped: its parent is this test.
    until_seen(&checker, &node, PidSeen::Zombie).await;
    real.child.wait().unwrap();
    let Observation::Full(pid, port, api) =
        patient.check(&shared(&node), Method::Full).await.observation
    else {
        panic!()
    };
    assert_eq!(pid.seen, PidSeen::Gone);
    assert_eq!(port.seen, PortSeen::Closed("111: Connection refused".into()));
    assert_eq!(api.seen, ApiSeen::Refused("Connection refused".into()));
}

async fn until_seen(checker: &Checker, node: &Node, expected: PidSeen) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let Observation::Pid(pid) = checker.check(&shared(node), Method::Pid).await.observation
        else {
            panic!()
        };
        if pid.seen == expected {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{pid:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
