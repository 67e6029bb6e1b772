//! A lock directory that another file system has at this path.

use std::fs;
use std::path::PathBuf;

use crate::migrations::{SOON, long_grace};
use crate::support::job;
use crate::support::program::Program;
use crate::support::{Warden, eventually};

/// A process that has a file system of its own at `dir`, with `locks` in it; its PID is that of the program.
async fn contained(warden: &Warden) -> (Program, PathBuf) {
    let dir = warden.dir().join("volume");
    fs::create_dir(&dir).unwrap();
    let script =
        "mount -t tmpfs none \"$1\" && mkdir \"$1/locks\" && echo mounted && exec sleep 600";
    let mut words = job::unshare(&["--mount", "sh", "-c", script, "sh"]);
    words.push(dir.to_str().unwrap());
    let log = warden.dir().join("contained.log");
    let program = Program::start(words[0], &words[1..], warden.dir(), &log, &[]);
    let name = format!("/proc/{}/comm", program.pid());
    eventually(SOON, || async {
        let now = fs::read_to_string(&name).unwrap_or_default();
        if now.trim() == "sleep" { Ok(()) } else { Err(format!("{now} {}", program.log())) }
    })
    .await;
    (program, dir.join("locks"))
}

#[tokio::test]
async fn who_has_it_is_named_once_everywhere() {
    let mut warden = Warden::prepare(long_grace());
    let (program, dir) = contained(&warden).await;
    assert!(!dir.exists(), "only there");
    warden.reconfigure(|config| config.set("migrations.lock_dir", dir.to_str().unwrap()));
    let who = format!("process {} (sleep) sees it in a file system of its own", program.pid());

    let output = warden.cli(&["check-config"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&who) && said.contains("migrations.lock_dir"), "{said}");
    assert_eq!(output.status.code(), Some(0), "{said}");

    warden.launch();
    warden.ready().await;
    let output = warden.cli(&["migrations", "check", "--dry-run"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&who), "{said}");
    let trouble = warden
        .until("/readyz?verbose", SOON, |answer| {
            let parts = &answer.json["components"];
            (parts["migrations"] == "degraded").then(|| parts["migrations_trouble"].clone())
        })
        .await;
    assert!(trouble.as_str().unwrap().contains(&who), "{trouble}");
    let warnings = |warden: &Warden| {
        let log = warden.log();
        log.lines().filter(|line| line.contains("WARN") && line.contains(&who)).count()
    };
    assert_eq!(warnings(&warden), 1, "{}", warden.log());

    // Where the directory appears, all is well; when it goes again, the other one has gone as well.
    drop(program);
    fs::create_dir(&dir).unwrap();
    warden
        .until("/readyz?verbose", SOON, |answer| {
            let parts = &answer.json["components"];
            (parts["migrations"] == "ok" && parts["migrations_trouble"].is_null()).then_some(())
        })
        .await;
    fs::remove_dir(&dir).unwrap();
    let trouble = warden
        .until("/readyz?verbose", SOON, |answer| {
            answer.json["components"]["migrations_trouble"].as_str().map(str::to_owned)
        })
        .await;
    assert!(trouble.contains("does not exist") && !trouble.contains("sees it"), "{trouble}");
    assert_eq!(warnings(&warden), 1, "{}", warden.log());
}

#[tokio::test]
async fn where_reads_take_a_token_the_route_without_one_names_no_paths() {
    let mut warden = Warden::prepare(long_grace().set("server.read_token", "reader"));
    fs::remove_dir(warden.lock_dir()).unwrap();
    warden.launch();
    warden.ready().await;
    warden
        .until("/readyz?verbose", SOON, |answer| {
            let parts = &answer.json["components"];
            (parts["migrations"] == "degraded").then(|| {
                assert!(parts["migrations_trouble"].is_null(), "{parts}");
            })
        })
        .await;
}
