//! The ends of real processes.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};

use super::*;
use crate::domain::Presence;
use crate::process::Processes;

/// A child that is killed and reaped with the test.
struct Job(Child);

impl Job {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        Self(command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn sleeping() -> Self {
        Self::start("sleep", &["600"])
    }

    fn kill(&self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }

    fn handle(&self, processes: &Processes) -> Handle {
        processes.watch(self.0.id().into()).1.expect("it lives, or was not reaped")
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn next(exits: &Exits) -> Vec<u64> {
    let next = tokio::time::timeout(Duration::from_secs(20), exits.next());
    next.await.expect("told within 20 s").unwrap()
}

/// Is there nothing to tell, once the kernel was asked?
async fn silent(exits: &Exits) -> bool {
    // Far more than an end takes (0.1 ms); only a wrong token could come.
    tokio::time::timeout(Duration::from_millis(50), exits.next()).await.is_err()
}

fn set() -> (Processes, Exits) {
    (Processes::new().unwrap(), Exits::new().unwrap())
}

#[tokio::test]
async fn an_exit_and_a_kill_are_told_once_each() {
    let (processes, exits) = set();
    let mut reads = Job::start("sh", &["-c", "read _; exit 7"]);
    let sleeps = Job::sleeping();
    let (first, second) = (reads.handle(&processes), sleeps.handle(&processes));
    exits.add(&first, 1).unwrap();
    exits.add(&second, 2).unwrap();
    drop(reads.0.stdin.take());
    assert_eq!(next(&exits).await, [1]);
    // Not reaped by anybody yet: a zombie's end is told as well.
    sleeps.kill();
    assert_eq!(next(&exits).await, [2]);
    assert!(silent(&exits).await, "each comes once, zombie or not");
    drop(reads);
    drop(sleeps);
    assert!(silent(&exits).await, "to be reaped is no other end");
}

#[tokio::test]
async fn one_that_has_ended_before_is_told_at_once() {
    let (processes, exits) = set();
    let job = Job::sleeping();
    let handle = job.handle(&processes);
    drop(job);
    assert!(handle.has_exited());
    exits.add(&handle, 7).unwrap();
    assert_eq!(next(&exits).await, [7]);
}

#[tokio::test]
async fn one_that_is_let_go_is_not_told() {
    let (processes, exits) = set();
    let (gone, held) = (Job::sleeping(), Job::sleeping());
    let let_go = gone.handle(&processes);
    let handle = held.handle(&processes);
    exits.add(&let_go, 1).unwrap();
    exits.add(&handle, 2).unwrap();
    drop(let_go);
    drop(gone);
    held.kill();
    assert_eq!(next(&exits).await, [2]);
    // The same process through another handle is another watch; through the same one it is refused.
    let again = held.handle(&processes);
    exits.add(&again, 3).unwrap();
    assert!(exits.add(&again, 4).is_err());
    assert_eq!(next(&exits).await, [3]);
}

#[test]
fn what_ended_among_many_is_told_by_one_question() {
    let processes = Processes::new().unwrap();
    let jobs: Vec<Job> = (0..700).map(|_| Job::sleeping()).collect();
    let handles: Vec<Handle> = jobs.iter().map(|job| job.handle(&processes)).collect();
    let all: Vec<&Handle> = handles.iter().collect();
    assert_eq!(crate::process::ended(&all), vec![false; 700]);
    for at in [0, 511, 512, 699] {
        jobs[at].kill();
        while !handles[at].has_exited() {
            std::thread::yield_now();
        }
    }
    let ended = crate::process::ended(&all);
    let which: Vec<usize> = (0..700).filter(|at| ended[*at]).collect();
    assert_eq!(which, [0, 511, 512, 699]);
    assert_eq!(crate::process::ended(&[]), [false; 0]);
    // The same with what is left of them.
    let who = |seen: Presence| match seen {
        Presence::Alive(alive) => Ok((alive.identity, alive.stopped)),
        Presence::Dead(proof) => Err(proof),
        Presence::Unknown(why) => panic!("{why:?}"),
    };
    for (handle, seen) in all.iter().zip(processes.look_at_all(&all)) {
        let seen = who(seen);
        assert_eq!(seen, who(processes.look_again(handle)));
        assert_eq!(seen, who(processes.look(handle.identity().pid.into())));
    }
}

#[tokio::test]
async fn five_thousand_ends_are_five_thousand_tokens() {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let many: u64 = 5_000.min(limit.saturating_sub(300));
    if many < 5_000 {
        println!("only {many}: RLIMIT_NOFILE is {limit}");
    }
    let (processes, exits) = set();
    // One parent for all of them, which does not reap: it ends with the test, and they with it.
    let script = "use POSIX; $|=1; for (1..$ARGV[0]) { my $p = fork; if (!$p) { sleep 600; exit } \
                  print \"$p\\n\" } <STDIN>; ";
    let mut parent = Command::new("perl")
        .args(["-e", script, &many.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(parent.stdout.take().unwrap()));
    let children: Vec<i32> = lines
        .take(usize::try_from(many).unwrap())
        .map(|line| line.unwrap().parse().unwrap())
        .collect();
    let hold = |pid: &i32| processes.watch(i64::from(*pid)).1.unwrap();
    let handles: Vec<Handle> = children.iter().map(hold).collect();
    for (token, handle) in (0..).zip(&handles) {
        exits.add(handle, token).unwrap();
    }
    let killed: Vec<_> = children
        .iter()
        .map(|pid| kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL).is_ok())
        .collect();
    let mut told = BTreeSet::new();
    let mut count = 0;
    while told.len() < handles.len() {
        let tokens = next(&exits).await;
        count += tokens.len();
        told.extend(tokens);
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(killed.iter().all(|ok| *ok));
    assert_eq!((count, told.last().copied()), (handles.len(), Some(many - 1)));
    assert!(silent(&exits).await);
}

#[tokio::test]
async fn all_that_ended_are_told_by_one_question_and_once() {
    let (processes, exits) = set();
    let jobs: Vec<Job> = (0..600).map(|_| Job::sleeping()).collect();
    let handles: Vec<Handle> = jobs.iter().map(|job| job.handle(&processes)).collect();
    for (token, handle) in (0..).zip(&handles) {
        exits.add(handle, token).unwrap();
    }
    assert_eq!(exits.ended().unwrap(), [0; 0]);
    for (job, handle) in jobs.iter().zip(&handles).skip(20) {
        job.kill();
        while !handle.has_exited() {
            std::thread::yield_now();
        }
    }
    let mut ended = exits.ended().unwrap();
    ended.sort_unstable();
    assert_eq!(ended, (20..600).collect::<Vec<u64>>());
    assert_eq!(exits.ended().unwrap(), [0; 0]);
    // Who waits is woken by those that come after.
    jobs[7].kill();
    assert_eq!(next(&exits).await, [7]);
}
