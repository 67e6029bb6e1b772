//! A real HAProxy asks a real procwarden: a backend leaves when its node dies, and comes back with it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use super::{SOON, changed, shipped};
use crate::nodes::{becomes, node};
use crate::support::ports::HeldPort;
use crate::support::program::Program;
use crate::support::wallet::WalletOptions;
use crate::support::{Wallet, Warden, WardenConfig, eventually};

/// What HAProxy says of the one server: its status, and how many checks failed while it was up; by HAProxy's manual, "CSV
/// format".
fn seen(dir: &Path) -> Result<(String, u32), String> {
    let mut socket = UnixStream::connect(dir.join("admin")).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let asked = socket.write_all(b"show stat\n").and_then(|()| socket.read_to_string(&mut text));
    asked.map_err(|error| error.to_string())?;
    let row = text.lines().find(|line| line.starts_with("hosts,one,")).ok_or(text.clone())?;
    let field = |at| row.split(',').nth(at).unwrap_or_default();
    Ok((field(17).to_owned(), field(21).parse().map_err(|_| row.to_owned())?))
}

async fn becomes_in(dir: &Path, haproxy: &Program, wanted: &str) {
    eventually(SOON, || async {
        let (status, _) = seen(dir)?;
        if status == wanted {
            Ok(())
        } else {
            Err(format!("{status}, its log:\n{}", haproxy.log()))
        }
    })
    .await;
}

async fn a_backend_leaves_and_returns(check: &str) {
    let mut wallet = Wallet::start().await;
    let port = wallet.port();
    let warden = Warden::start(WardenConfig::default().node(node("n", port))).await;
    becomes(&warden, "n", "up", None).await;
    let dir = tempfile::TempDir::new().unwrap();
    let front = HeldPort::take().hand_over();
    let socket = format!("global\n    stats socket {}/admin\n\ndefaults", dir.path().display());
    let configuration = changed(
        "haproxy-nodes.cfg",
        &[
            ("\ndefaults", &format!("\n{socket}")),
            ("127.0.0.1:18080", &format!("127.0.0.1:{front}")),
            (
                "port 8686\n    server one 10.0.0.1:18082",
                &format!("port {}\n    server one 127.0.0.1:{port}", warden.port()),
            ),
            ("    server two 10.0.0.2:18082\n", ""),
            ("    option httpchk GET /health\n    http-check expect status 200\n", check),
            ("inter 1s", "inter 200ms"),
        ],
    );
    let file = dir.path().join("haproxy.cfg");
    std::fs::write(&file, configuration).unwrap();
    let words = ["-db", "-f", file.to_str().unwrap()];
    let haproxy = Program::start("haproxy", words, dir.path(), &dir.path().join("log"), &[]);
    becomes_in(dir.path(), &haproxy, "UP").await;
    let (_, before) = seen(dir.path()).unwrap();
    wallet.kill();
    becomes_in(dir.path(), &haproxy, "DOWN").await;
    let (_, after) = seen(dir.path()).unwrap();
    assert!(
        (1..=2).contains(&(after - before)),
        "two probes: {before}, {after}: {}",
        haproxy.log()
    );
    let _wallet =
        Wallet::start_with(WalletOptions { port: Some(port), ..Default::default() }).await;
    becomes_in(dir.path(), &haproxy, "UP").await;
    // One that ends sends its clients elsewhere first.
    assert!(warden.get("/health").await.status == 200);
}

#[tokio::test]
async fn as_it_is_shipped() {
    let check = "    option httpchk GET /health\n    http-check expect status 200\n";
    a_backend_leaves_and_returns(check).await;
}

#[tokio::test]
async fn with_the_bare_check() {
    a_backend_leaves_and_returns("    option httpchk\n").await;
}

#[test]
fn nginx_takes_what_is_shipped_for_it() {
    let dir = tempfile::TempDir::new().unwrap();
    let port = HeldPort::take().hand_over();
    let site = changed("nginx.conf", &[("127.0.0.1:8080", &format!("127.0.0.1:{port}"))]);
    std::fs::write(dir.path().join("site.conf"), site).unwrap();
    let path = dir.path().display();
    let whole = format!(
        "pid {path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n    access_log off;\n    include {path}/site.conf;\n}}\n"
    );
    let file = dir.path().join("nginx.conf");
    std::fs::write(&file, whole).unwrap();
    let nginx = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    let output =
        Command::new(nginx).args(["-t", "-p"]).arg(dir.path()).arg("-c").arg(&file).output();
    let output = output.expect("nginx starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(shipped("nginx-adopt.conf").exists());
}
