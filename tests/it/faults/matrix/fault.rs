//! The faults: how each is done, for real, and undone.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use super::disk::{Disk, writable};
use super::stage::{Stage, config};
use crate::failover::own::Own;
use crate::failover::proxy::Proxy;
use crate::support::engine;
use crate::support::light::Does;
use crate::support::owner::run;
use crate::support::{WardenConfig, db};

/// Where nobody listens.
const NOBODY: u16 = 1;

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// SIGKILL where the place of this name is passed for the n-th time after a start.
    Kill(&'static str, u32),
    /// SIGKILL at each of these places, one start after the other.
    KillAtEach(&'static [&'static str]),
    /// SIGSTOP for longer than a verdict is fresh.
    Frozen,
    /// No descriptor can be had (`RLIMIT_NOFILE`).
    NoDescriptors,
    /// The wall clock steps by so many seconds.
    ClockSteps(i64),
    /// Somebody else has every table.
    Held,
    /// SQLite's disk is full.
    DiskFull,
    /// SQLite's files may only be read.
    FilesReadOnly,
    /// The server ends, cleanly or killed, and is started again.
    ServerStopped,
    ServerKilled,
    /// The server stands still.
    ServerFrozen,
    /// The network to it passes nothing on; or takes that long.
    Cut,
    Slow(Duration),
    /// The file system of the lock directory becomes read-only.
    LocksReadOnly,
    /// The lock directory is away, another one stands in its place meanwhile.
    LocksAway,
    /// The resolver does not answer.
    DnsHangs,
    /// Nodes stop answering, one after each byte of its answer.
    NodesHang,
}

/// The surroundings that a fault needs before the service is started, and what undoes it.
#[derive(Default)]
pub struct Means {
    server: Option<Own>,
    proxy: Option<Proxy>,
    disk: Option<Disk>,
    dir: Option<TempDir>,
    silent: Option<UdpSocket>,
    held: Option<crate::support::sql::Held>,
    fill: Option<PathBuf>,
    wrapper: Vec<String>,
}

fn root(why: &str) -> bool {
    if !geteuid().is_root() {
        println!("nothing shown: only root can {why}");
    }
    geteuid().is_root()
}

/// The stage on which it happens; none where there is nothing to show.
pub async fn prepare(fault: Fault) -> Option<(Stage, Means)> {
    let mut means = Means::default();
    let mut keys = config();
    match fault {
        Fault::ServerStopped | Fault::ServerKilled | Fault::ServerFrozen => {
            let server = Own::start()?;
            keys = keys.set("database.url", server.url());
            means.server = Some(server);
        }
        Fault::Cut | Fault::Slow(_) => {
            let server = Own::start()?;
            let proxy = Proxy::to(server.port());
            keys = keys.set("database.url", server.url_through(proxy.port()));
            (means.server, means.proxy) = (Some(server), Some(proxy));
        }
        Fault::DiskFull => {
            let file = engine::only_sqlite("a server's disk is the server's concern");
            if !file || !root("mount a small disk") {
                return None;
            }
            let disk = Disk::mount("size=4M");
            let url = format!("sqlite://{}", disk.path().join("procwarden.db").display());
            keys = keys.set("database.url", url);
            means.disk = Some(disk);
        }
        Fault::FilesReadOnly => {
            if !engine::only_sqlite("a server's files are the server's concern") {
                return None;
            }
            let dir = TempDir::new().unwrap();
            let url = format!("sqlite://{}", dir.path().join("procwarden.db").display());
            keys = keys.set("database.url", url);
            means.dir = Some(dir);
            if geteuid().is_root() {
                // Root may write whatever the mode says, unless it gives that up.
                let words = ["setpriv", "--bounding-set", "-dac_override", "--"];
                means.wrapper = words.map(str::to_owned).to_vec();
            }
        }
        Fault::LocksReadOnly | Fault::LocksAway if !root("mount a disk") => return None,
        Fault::DnsHangs => {
            if !root("give a process another resolver") {
                return None;
            }
            keys = with_silent_resolver(keys, &mut means);
        }
        Fault::ClockSteps(_) => {
            let dir = TempDir::new().unwrap();
            let file = dir.path().join("time");
            fs::write(&file, "+0\n").unwrap();
            keys = keys
                .env("LD_PRELOAD", &libfaketime())
                .env("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
                .env("FAKETIME_NO_CACHE", "1")
                .env("DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
            means.dir = Some(dir);
        }
        _ => {}
    }
    let wrapper: Vec<&str> = means.wrapper.iter().map(String::as_str).collect();
    Some((Stage::begin(keys, &wrapper).await, means))
}

/// Where Debian has it.
fn libfaketime() -> String {
    let dirs = fs::read_dir("/usr/lib").unwrap().flatten();
    let path = dirs.map(|it| it.path().join("faketime/libfaketime.so.1")).find(|it| it.exists());
    path.expect("libfaketime").to_str().unwrap().to_owned()
}

/// A node by a name that nobody tells the address of.
fn with_silent_resolver(keys: WardenConfig, means: &mut Means) -> WardenConfig {
    let dir = TempDir::new().unwrap();
    let silent = UdpSocket::bind("127.53.53.53:53").unwrap();
    let resolv = "nameserver 127.53.53.53\noptions timeout:30 attempts:3\n";
    fs::write(dir.path().join("resolv.conf"), resolv).unwrap();
    fs::write(dir.path().join("hosts"), "127.0.0.1 localhost\n").unwrap();
    fs::write(dir.path().join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    let script = "for it in resolv.conf hosts nsswitch.conf; do [ -e /etc/$it ] || continue; mount --bind $0/$it /etc/$it || exit 1; done; exec \"$@\"";
    let at = dir.path().to_str().unwrap();
    let words = ["unshare", "--mount", "sh", "-c", script, at];
    means.wrapper = words.map(str::to_owned).to_vec();
    (means.dir, means.silent) = (Some(dir), Some(silent));
    keys.node(serde_json::json!({"name": "by-name", "host": "wallet.test", "port": NOBODY}))
}

/// Does it, lets the scene happen under it, and undoes it. A service that was killed is started again, as whoever
/// supervises it does; nothing else is done by hand.
pub async fn happens(fault: Fault, stage: &mut Stage, means: &mut Means) {
    match fault {
        Fault::Kill(place, times) => {
            stage.warden.kill9();
            stage.act().await;
            let action =
                if times > 1 { format!("{}*off->return", times - 1) } else { "return".into() };
            dies_at(stage, place, &action).await;
            start(stage).await;
        }
        Fault::KillAtEach(places) => {
            stage.warden.kill9();
            stage.act().await;
            for place in places {
                dies_at(stage, place, "return").await;
            }
            start(stage).await;
        }
        Fault::Frozen => {
            stage.warden.signal(Signal::STOP);
            stage.act().await;
            // W of these settings is 3.9 s.
            pass(Duration::from_secs(6)).await;
            stage.warden.signal(Signal::CONT);
        }
        Fault::NoDescriptors => {
            stage.blind = true;
            descriptors(stage.warden.pid(), 3);
            stage.act().await;
            pass(Duration::from_secs(5)).await;
            stage.untouched();
            descriptors(stage.warden.pid(), hard_limit(stage.warden.pid()));
        }
        Fault::ClockSteps(by) => {
            let file = means.dir.as_ref().unwrap().path().join("time");
            fs::write(file, format!("{by:+}\n")).unwrap();
            stage.act().await;
        }
        Fault::LocksReadOnly => locks_read_only(stage, means).await,
        Fault::LocksAway => {
            let dir = stage.warden.lock_dir();
            let away = dir.with_extension("away");
            fs::rename(&dir, &away).unwrap();
            fs::create_dir(&dir).unwrap();
            stage.act_without_files();
            pass(Duration::from_secs(3)).await;
            fs::remove_dir(&dir).unwrap();
            pass(Duration::from_secs(1)).await;
            fs::rename(&away, &dir).unwrap();
            stage.act_on_files().await;
        }
        Fault::DnsHangs => {
            stage.act().await;
            stage.told(&[("by-name", "down"), ("falls", "down"), ("rises", "up")]).await;
            stage.untouched();
            name_resolves(means);
        }
        Fault::NodesHang => {
            let bytes = crate::support::light::answer("\"procwarden-1\"").len();
            stage.add((0..bytes).map(|_| Does::Answers)).await;
            all_are(stage, "up").await;
            for (at, light) in stage.more.iter().enumerate() {
                light.set(Does::HangsAfter(at));
            }
            all_are(stage, "down").await;
            stage.act().await;
            stage.told(&[("falls", "down"), ("rises", "up"), ("stays", "up")]).await;
            stage.more.iter().for_each(|it| it.set(Does::Answers));
            all_are(stage, "up").await;
            for at in 0..bytes {
                stage.also.insert(format!("more-{at}"), vec!["down", "up"]);
            }
        }
        Fault::Slow(delay) => {
            means.proxy.as_ref().unwrap().slow(delay);
            stage.act().await;
        }
        _ => {
            database_goes(fault, stage, means);
            stage.act().await;
            stage.goes_without_database().await;
            database_comes(fault, means);
        }
    }
}

fn database_goes(fault: Fault, stage: &Stage, means: &mut Means) {
    match fault {
        Fault::Held => means.held = Some(db::hold(stage.warden.database())),
        Fault::DiskFull => means.fill = Some(means.disk.as_ref().unwrap().fill()),
        Fault::FilesReadOnly => writable(means.dir.as_ref().unwrap().path(), false),
        Fault::ServerStopped => means.server.as_mut().unwrap().stop(),
        Fault::ServerKilled => means.server.as_mut().unwrap().kill9(),
        Fault::ServerFrozen => means.server.as_ref().unwrap().freeze(),
        Fault::Cut => means.proxy.as_ref().unwrap().cut(),
        other => panic!("{other:?}"),
    }
}

fn database_comes(fault: Fault, means: &mut Means) {
    match fault {
        Fault::Held => means.held = None,
        Fault::DiskFull => fs::remove_file(means.fill.take().unwrap()).unwrap(),
        Fault::FilesReadOnly => writable(means.dir.as_ref().unwrap().path(), true),
        Fault::ServerStopped | Fault::ServerKilled => means.server.as_mut().unwrap().restart(),
        Fault::ServerFrozen => means.server.as_ref().unwrap().thaw(),
        Fault::Cut => means.proxy.as_ref().unwrap().mend(),
        other => panic!("{other:?}"),
    }
}

async fn dies_at(stage: &mut Stage, place: &str, action: &str) {
    use std::os::unix::process::ExitStatusExt as _;
    let setting = format!("{place}={action}");
    stage.warden.reconfigure(|config| config.env("FAILPOINTS", &setting));
    stage.warden.launch();
    let status = stage.warden.wait_exit().await;
    assert_eq!(status.signal(), Some(9), "{setting}: {status}; {}", stage.warden.log());
    stage.untouched();
}

async fn start(stage: &mut Stage) {
    stage.warden.reconfigure(|config| config.env("FAILPOINTS", ""));
    stage.warden.launch();
    stage.warden.ready().await;
}

/// The status is set, the lock has to wait.
async fn locks_read_only(stage: &mut Stage, means: &mut Means) {
    // The directory is bound onto itself, so that it alone can be made read-only.
    let dir = stage.warden.lock_dir();
    run(Command::new("mount").arg("--bind").arg(&dir).arg(&dir));
    means.disk = Some(Disk::at(&dir));
    run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&dir));
    stage.act_without_files();
    stage.death_is_told().await;
    pass(Duration::from_secs(2)).await;
    assert!(stage.lock_of_the_dead().exists());
    run(Command::new("mount").args(["-o", "remount,bind,rw"]).arg(&dir));
    stage.act_on_files().await;
}

fn descriptors(pid: i32, soft: u64) {
    run(Command::new("prlimit").args([format!("--pid={pid}"), format!("--nofile={soft}:")]));
}

fn hard_limit(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(4).unwrap().parse().unwrap()
}

async fn all_are(stage: &Stage, state: &str) {
    let names: Vec<String> = (0..stage.more.len()).map(|at| format!("more-{at}")).collect();
    let wanted: Vec<_> = names.iter().map(|name| (name.as_str(), state)).collect();
    stage.told(&wanted).await;
    stage.recorded(&wanted).await;
}

/// Lets a fault last.
async fn pass(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The resolver answers again: the name has an address, and the node behind it is told as it is.
fn name_resolves(means: &Means) {
    let hosts: &Path = &means.dir.as_ref().unwrap().path().join("hosts");
    fs::write(hosts, "127.0.0.1 localhost wallet.test\n").unwrap();
}
