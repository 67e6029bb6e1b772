//! A procwarden that does not see all: `hidepid`, a namespace of its own where it is PID 1, a file system that is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{SOON, gone, long_grace, shown, wait};
use crate::support::job::{self, Lock};
use crate::support::program::{Program, copy_program};
use crate::support::{Engine, Warden, eventually};

/// Whether this can be shown here: namespaces and other users are root's to make.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What runs before the service in a mount namespace of its own, and the words that start it there.
fn within(script: &str) -> [String; 5] {
    let script = format!("set -e\n{script}");
    ["unshare", "--mount", "sh", "-c", &script].map(str::to_owned)
}

fn launch(warden: &mut Warden, script: &str) {
    let words = within(script);
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.push("sh");
    warden.launch_under(&words);
}

fn run(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The user `nobody` has all that is below this directory, and may run the service, wherever it was built.
fn given_to_nobody(dir: &Path) -> PathBuf {
    let binary = dir.join("procwarden");
    copy_program(env!("CARGO_BIN_EXE_procwarden"), &binary);
    run(&["chown", "-R", "65534:65534", dir.to_str().unwrap()]);
    binary
}

#[tokio::test]
async fn under_hidepid_a_death_that_nobody_saw_is_unknown_and_nothing_is_written() {
    if !is_root() || Engine::current() != Engine::Sqlite {
        return;
    }
    // Another user's jobs: they stand under /proc for root alone.
    let mut warden = Warden::prepare(long_grace());
    let mut alive = Program::sleeper(warden.dir());
    let dead = job::dead_pid(warden.dir());
    let never_seen = Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    let seen = Lock::new(2, alive.pid()).started_ago(9000).write(&warden.lock_dir());
    let first = Lock::new(3, 1).ago(9000).write(&warden.lock_dir());
    let binary = given_to_nobody(warden.dir());
    let script = format!(
        "mount -t proc -o hidepid=2 proc /proc\nshift\n\
         exec setpriv --pdeathsig KILL --reuid 65534 --regid 65534 --clear-groups {} \"$@\"",
        binary.display()
    );
    launch(&mut warden, &script);
    warden.ready().await;
    // That it lives is told by the kernel, not by /proc; so is its death, since it was seen alive.
    wait(&warden, 2, "in_progress alive - run1").await;
    wait(&warden, 1, "in_progress unknown pid_namespace run1").await;
    wait(&warden, 3, "in_progress alive - run1").await;
    alive.kill();
    wait(&warden, 2, "error finished killed|process_gone run1").await;
    gone(&seen).await;
    assert_eq!(shown(&warden, 1).await, "in_progress unknown pid_namespace run1");
    assert_eq!(shown(&warden, 3).await, "in_progress alive - run1");
    assert!(never_seen.exists() && first.exists());
    assert!(super::events(&warden, 1).is_empty() && super::events(&warden, 3).is_empty());
}

#[tokio::test]
async fn as_the_first_process_of_its_own_namespace_it_judges_nobody_and_ends_when_told() {
    if !is_root() {
        return;
    }
    let mut warden = Warden::prepare(long_grace().unset("migrations.scope"));
    let dead = job::dead_pid(warden.dir());
    let path = Lock::new(1, dead).ago(9000).write(&warden.lock_dir());
    warden.launch_under(&["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    warden.ready().await;
    wait(&warden, 1, "in_progress foreign - run1").await;
    // PID 1 is procwarden itself there: it lives, whoever is meant.
    let own = Lock::new(2, 1).write(&warden.lock_dir());
    wait(&warden, 2, "in_progress alive - run1").await;
    assert!(path.exists() && own.exists());
    assert!(super::events(&warden, 1).is_empty());
    // The kernel keeps signals without a handler from a first process; ours has one.
    let inner = rustix::process::Pid::from_raw(job::child_of(warden.pid())).unwrap();
    rustix::process::kill_process(inner, rustix::process::Signal::TERM).unwrap();
    let status = warden.wait_exit().await;
    assert!(status.success(), "{status}: {}", warden.log());
}

#[tokio::test]
async fn on_a_full_file_system_dead_locks_go_and_nothing_hangs() {
    if !is_root() || Engine::current() != Engine::Sqlite {
        return;
    }
    let mut warden = Warden::prepare(long_grace());
    let locks = warden.lock_dir();
    let script =
        format!("mount -t tmpfs -o size=64k,nr_inodes=32 tmpfs {}\nexec \"$@\"", locks.display());
    launch(&mut warden, &script);
    warden.ready().await;
    // Its file system, from out here.
    let inside = PathBuf::from(format!("/proc/{}/root{}", warden.pid(), locks.display()));
    let mut jobs: Vec<_> = (0..4).map(|_| Program::sleeper(warden.dir())).collect();
    let paths: Vec<_> = (1..)
        .zip(&jobs)
        .map(|(id, job)| Lock::new(id, job.pid()).started_ago(9000).write(&inside))
        .collect();
    wait(&warden, 4, "in_progress alive - run1").await;
    let full = fs::write(inside.join("rest"), vec![b'x'; 256 * 1024]);
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    let mut files = 0;
    while fs::write(inside.join(format!("empty-{files}.lock")), "").is_ok() {
        files += 1;
    }
    for job in &mut jobs {
        job.kill();
    }
    for (id, path) in (1..).zip(&paths) {
        wait(&warden, id, "error finished killed|process_gone run1").await;
        eventually(SOON, || async {
            if path.exists() {
                Err(format!("{}: {}", path.display(), warden.log()))
            } else {
                Ok(())
            }
        })
        .await;
    }
    assert_eq!(warden.get("/health").await.status, 200);
    let left = fs::read_dir(&inside).unwrap().count();
    assert_eq!(left, files + 1, "nothing else was touched");
}
