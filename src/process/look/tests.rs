//! Looks at real processes.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, geteuid, kill_process};

use super::*;
use crate::clock;
use crate::domain::process::OtherNamespaces;

/// A child that is killed and reaped with the test.
struct Job(Child);

impl Job {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        Self(command.args(arguments).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn sleeping() -> Self {
        Self::start("sleep", &["600"])
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// The first line that it prints, as a PID.
    fn printed_pid(&mut self) -> i32 {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn processes() -> Processes {
    Processes::new().unwrap()
}

fn number(pid: i32) -> Pid {
    Pid::from_raw(pid).unwrap()
}

/// Asks until the answer is there, ten seconds at most.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s");
        std::thread::yield_now();
    }
}

#[test]
fn a_living_child_with_its_identity() {
    let processes = processes();
    let job = Job::sleeping();
    let (Presence::Alive(alive), Some(handle)) = processes.watch(job.pid().into()) else {
        panic!("it lives");
    };
    assert_eq!(alive.identity.pid, job.pid());
    assert_eq!(alive.identity.boot_id, processes.here().boot_id);
    assert!(alive.identity.start_ticks.is_some_and(|ticks| ticks > 0));
    assert!(!alive.stopped);
    assert_eq!(handle.identity(), &alive.identity);
    assert!(!handle.has_exited());
    assert_eq!(handle.exit(), None);
    let age = clock::now().wall.0 - alive.started.unwrap().0;
    assert!((-1_000..60_000).contains(&age), "started {age} ms ago");
    // Without a pidfd it is the same one, less the inode.
    let Presence::Alive(by_number) = processes.by_number(number(job.pid())) else {
        panic!("it lives");
    };
    assert!(!by_number.identity.differs_from(&alive.identity));
    assert_eq!(by_number.identity.inode, None);
}

#[test]
fn two_processes_have_two_inodes_or_none() {
    let processes = processes();
    let jobs = [Job::sleeping(), Job::sleeping()];
    let inode = |job: &Job| match processes.look(job.pid().into()) {
        Presence::Alive(alive) => alive.identity.inode,
        other => panic!("{other:?}"),
    };
    let (first, second) = (inode(&jobs[0]), inode(&jobs[1]));
    assert_eq!(first.is_some(), second.is_some());
    assert!(first.is_none() || first != second);
}

#[test]
fn a_stopped_process_lives() {
    let processes = processes();
    let job = Job::sleeping();
    job.signal(Signal::STOP);
    until(|| match processes.look(job.pid().into()) {
        Presence::Alive(alive) => alive.stopped.then_some(()),
        other => panic!("{other:?}"),
    });
    job.signal(Signal::CONT);
    until(|| match processes.look(job.pid().into()) {
        Presence::Alive(alive) => (!alive.stopped).then_some(()),
        other => panic!("{other:?}"),
    });
}

#[test]
fn a_zombie_is_dead_and_then_gone() {
    let processes = processes();
    let mut job = Job::sleeping();
    let pid = i64::from(job.pid());
    let (_, handle) = processes.watch(pid);
    let handle = handle.unwrap();
    job.0.kill().unwrap();
    until(|| handle.has_exited().then_some(()));
    assert_eq!(processes.look(pid), Presence::Dead(DeathProof::Zombie));
    assert_eq!(processes.by_number(number(job.pid())), Presence::Dead(DeathProof::Zombie));
    assert_eq!(handle.exit(), None, "its parent has not reaped it");
    let (_, of_zombie) = processes.watch(pid);
    assert_eq!(of_zombie.unwrap().identity(), handle.identity());
    job.0.wait().unwrap();
    assert_eq!(processes.look(pid), Presence::Dead(DeathProof::NoSuchProcess));
    assert_eq!(processes.by_number(number(job.pid())), Presence::Dead(DeathProof::NoSuchProcess));
}

/// Did the kernel tell? It does since 6.15.
fn tells_exits() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|it| it.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 15)
}

#[test]
fn how_a_grandchild_ended() {
    if !tells_exits() {
        return;
    }
    let processes = processes();
    // The shell is its parent and reaps it; we are not, and cannot.
    for (end, expected) in [("TERM", Exit::Signal(15)), ("KILL", Exit::Signal(9))] {
        let mut job = Job::start("sh", &["-c", "sleep 600 & echo $!; wait"]);
        let pid = job.printed_pid();
        let (_, handle) = processes.watch(pid.into());
        let handle = handle.unwrap();
        let signal = if end == "TERM" { Signal::TERM } else { Signal::KILL };
        kill_process(number(pid), signal).unwrap();
        assert_eq!(until(|| handle.exit()), expected);
        assert_eq!(processes.look(pid.into()), Presence::Dead(DeathProof::NoSuchProcess));
    }
    let mut job =
        Job::start("sh", &["-c", "{ read _ < /dev/zero; exit 7; } & echo $!; kill -STOP $!; wait"]);
    let pid = job.printed_pid();
    let (_, handle) = processes.watch(pid.into());
    let handle = handle.unwrap();
    kill_process(number(pid), Signal::KILL).unwrap();
    assert_eq!(until(|| handle.exit()), Exit::Signal(9));
}

#[test]
fn the_exit_code_of_a_process_that_was_watched() {
    if !tells_exits() {
        return;
    }
    let processes = processes();
    // It ends when its standard input does.
    let mut child =
        Command::new("sh").args(["-c", "read _; exit 7"]).stdin(Stdio::piped()).spawn().unwrap();
    let (_, handle) = processes.watch(child.id().into());
    let handle = handle.unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(until(|| handle.exit()), Exit::Code(7));
    assert!(handle.has_exited());
}

#[test]
fn a_thread_is_no_process() {
    let processes = processes();
    let (send, id) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        send.send(rustix::thread::gettid()).unwrap();
        let _ = ended.recv();
    });
    let tid = id.recv().unwrap();
    let raw = i64::from(tid.as_raw_nonzero().get());
    assert_eq!(processes.look(raw), Presence::Unknown(Unknowable::ThreadId));
    assert_eq!(processes.by_number(tid), Presence::Unknown(Unknowable::ThreadId));
    drop(end);
    thread.join().unwrap();
}

#[test]
fn a_number_that_only_names_a_group_is_nobodys() {
    let processes = processes();
    // setsid leads a group, starts a sleeper in it and ends; the group keeps its number in use.
    let mut job = Job::start("setsid", &["sh", "-c", "sleep 600 >/dev/null & echo $!"]);
    let leader = i64::from(job.pid());
    let member = job.printed_pid();
    job.0.wait().unwrap();
    let seen = (processes.look(leader), processes.look(member.into()));
    kill_process(number(member), Signal::KILL).unwrap();
    assert_eq!(seen.0, Presence::Dead(DeathProof::NoSuchProcess));
    assert!(matches!(seen.1, Presence::Alive(_)));
}

#[test]
fn numbers_that_no_process_has() {
    let processes = processes();
    for pid in [0, -1, i64::MIN, i64::MAX, i64::from(i32::MAX), (1 << 32) + 1] {
        assert_eq!(processes.look(pid), Presence::Unknown(Unknowable::BadPid), "{pid}");
    }
}

#[test]
fn threads_of_the_kernel_are_unknown() {
    let processes = processes();
    let Some(kernel) = processes
        .pids()
        .unwrap()
        .into_iter()
        .find(|pid| processes.stat(number(*pid)).is_some_and(|stat| stat.is_kernel_thread()))
    else {
        // In a container there are none.
        assert!(!processes.in_initial_namespace());
        return;
    };
    assert_eq!(processes.look(kernel.into()), Presence::Unknown(Unknowable::KernelThread));
    assert_eq!(processes.by_number(number(kernel)), Presence::Unknown(Unknowable::KernelThread));
}

#[test]
fn without_proc_a_process_still_lives() {
    let mut job = Job::sleeping();
    let known = processes();
    let inner = crate::process::Inner {
        here: known.here().clone(),
        proc: None,
        pid_max: 1 << 22,
        ticks: 100,
        pidfs: std::sync::OnceLock::new(),
        earliest_boot: i64::MAX.into(),
        sockets: crate::process::sockets::Cache::default(),
        ends: crate::process::ends::Ends::default(),
    };
    let processes = Processes { inner: std::sync::Arc::new(inner) };
    for seen in [processes.look(job.pid().into()), processes.by_number(number(job.pid()))] {
        let Presence::Alive(alive) = seen else { panic!("{seen:?}") };
        assert_eq!((alive.identity.start_ticks, alive.started), (None, None));
    }
    let pids = HashSet::from([job.pid()]);
    assert_eq!(processes.other_namespaces(&pids)[&job.pid()], OtherNamespaces::Hidden);
    assert_eq!(processes.program(job.pid()).is("sleep"), None);
    assert_eq!(processes.is_program(job.pid(), "sleep"), None);
    job.0.kill().unwrap();
    // Killed, not yet reaped, and nothing to read: the pidfd alone proves it.
    until(|| {
        (processes.look(job.pid().into()) == Presence::Dead(DeathProof::Exited)).then_some(())
    });
}

#[test]
fn the_program_of_a_child() {
    let processes = processes();
    let job = Job::start("sh", &["-c", "read _ < /dev/zero; : --password hunter2"]);
    until(|| processes.program(job.pid()).cmdline.filter(|it| it.contains("/dev/zero")));
    let program = processes.program(job.pid());
    assert_eq!(program.arg0.as_deref(), Some("sh"));
    assert_eq!(program.is("sh"), Some(true));
    assert_eq!(program.is("monero-wallet-rpc"), Some(false));
    let executable = program.executable.clone().unwrap();
    for name in ["sh", &executable, "monero-wallet-rpc", ""] {
        assert_eq!(processes.is_program(job.pid(), name), program.is(name), "{name}");
    }
    assert!(!program.cmdline.unwrap().contains("hunter2"));
}

#[test]
fn a_job_in_another_pid_namespace() {
    if !geteuid().is_root() {
        return;
    }
    let processes = processes();
    // Inside, the shell is 1 and its child 2; unshare ends when we kill the whole namespace through its parent.
    let script = "sleep 600 & echo $!; wait";
    let mut job =
        Job::start("unshare", &["-pf", "--kill-child", "--mount-proc", "sh", "-c", script]);
    let inside = job.printed_pid();
    let found = processes.other_namespaces(&HashSet::from([inside, i32::MAX]));
    assert_eq!(found[&inside], OtherNamespaces::Namesake);
    assert_eq!(found[&i32::MAX], OtherNamespaces::Clear);
}

#[test]
fn a_number_that_is_used_again_is_somebody_else() {
    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    if !geteuid().is_root() {
        return;
    }
    let processes = processes();
    let mut first = Job::sleeping();
    let pid = first.pid();
    let (_, handle) = processes.watch(pid.into());
    let handle = handle.unwrap();
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    let last = std::fs::read_to_string(LAST).unwrap();
    let start = Instant::now();
    let second = loop {
        // The next process gets the number after this one; another test may be faster.
        std::fs::write(LAST, (pid - 1).to_string()).unwrap();
        let job = Job::sleeping();
        if job.pid() == pid {
            break job;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "the number was not given again");
    };
    // The next processes get numbers that were not given back just now.
    std::fs::write(LAST, last.trim()).unwrap();
    let Presence::Alive(alive) = processes.look(second.pid().into()) else { panic!("it lives") };
    let (old, new) = (handle.identity(), &alive.identity);
    assert_ne!((old.start_ticks, old.inode), (new.start_ticks, new.inode));
    assert!(handle.has_exited(), "the handle is still the first one's");
}

#[test]
fn a_thousand_numbers_used_again_never_mix_two_processes() {
    const NAME: &str = "a_thousand_numbers_used_again_never_mix_two_processes";
    if !geteuid().is_root() {
        println!("not shown: only root may write ns_last_pid");
    } else if processes().in_initial_namespace() {
        // Numbers that are used again so soon would be other tests' as well: this one has a namespace of its own.
        let name = format!("{}::{NAME}", module_path!().split_once("::").unwrap().1);
        let again = Command::new("unshare")
            .args(["-pf", "--kill-child", "--mount-proc"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&again.stdout).into_owned();
        assert!(again.status.success() && told.contains("1000 times"), "{told}");
    } else {
        race(1_000);
    }
}

fn race(times: usize) {
    let processes = processes();
    let begin = Instant::now();
    let (mut used_again, mut others) = (0, 0);
    while used_again < times {
        assert!(begin.elapsed() < Duration::from_secs(120), "{used_again} times, {others} missed");
        let mut first = Job::sleeping();
        let pid = first.pid();
        // Looked at all the while, over its end and the next one's beginning.
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let raced = std::thread::spawn({
            let processes = processes.clone();
            move || watch_until(&processes, pid.into(), &stopped)
        });
        let (_, handle) = processes.watch(pid.into());
        let handle = handle.unwrap();
        first.0.kill().unwrap();
        first.0.wait().unwrap();
        // The next process gets the number after this one.
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let second = Job::sleeping();
        let (again, held) = processes.watch(pid.into());
        drop(stop);
        let seen = raced.join().unwrap();
        assert!(handle.has_exited(), "what is held is the first one");
        assert!(matches!(processes.look_again(&handle), Presence::Dead(_)));
        if second.pid() != pid {
            others += 1;
            continue;
        }
        used_again += 1;
        let Presence::Alive(alive) = again else { panic!("{again:?}") };
        assert!(alive.identity.differs_from(handle.identity()), "{alive:?} {handle:?}");
        assert_eq!(held.unwrap().identity(), &alive.identity);
        for watched in seen {
            // Each is one of the two, as a whole: it has ended exactly if it was the first.
            let is_first = watched.identity() == handle.identity();
            assert!(is_first || watched.identity() == &alive.identity, "{watched:?}");
            assert_eq!(watched.has_exited(), is_first, "{watched:?}");
        }
    }
    println!("{used_again} times in {:?}, {others} missed", begin.elapsed());
}

/// Every process that was seen under the number.
fn watch_until(
    processes: &Processes,
    pid: i64,
    stopped: &std::sync::mpsc::Receiver<()>,
) -> Vec<Handle> {
    let mut seen: Vec<Handle> = Vec::new();
    while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
        if let (Presence::Alive(alive), Some(handle)) = processes.watch(pid) {
            assert_eq!(&alive.identity, handle.identity());
            if seen.last().is_none_or(|last| last.identity() != handle.identity()) {
                seen.push(handle);
            }
        }
    }
    seen
}
