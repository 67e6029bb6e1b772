//! A minute of jobs that begin, rewrite, finish, crash and begin again under a procwarden that is killed meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::migrations::SOON;
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::{Warden, WardenConfig, db, eventually};

const LONG: Duration = Duration::from_secs(60);
const JOBS: i64 = 12;
/// Ends well when it is asked to.
const JOB: &str = "trap 'exit 0' TERM; while :; do sleep 0.2; done";

/// Small and repeatable (xorshift64, Marsaglia 2003): a failure names its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// One project and the job that works on it now.
#[derive(Default)]
struct Project {
    job: Option<Program>,
    /// What the lock holds while the job lives.
    text: String,
    /// How many of its jobs crashed and left their lock to us.
    crashed: usize,
    /// How many ended badly after they had removed their lock: an error if that end was witnessed.
    perhaps: usize,
    /// The lock of a crashed job stands until it is seen gone.
    abandoned: bool,
}

impl Project {
    fn begin(&mut self, id: i64, warden: &Warden, in_place: bool) {
        let (dir, log) = (warden.dir(), warden.dir().join("job.log"));
        let job = Program::start("sh", ["-c", JOB], dir, &log, &[]);
        // Older than the grace from the beginning: only the proof of death stands between it and an error.
        let lock = Lock::new(id, job.pid()).started_ago(i64::from(self.age()));
        self.text = lock.text();
        if in_place {
            lock.write(&warden.lock_dir())
        } else {
            lock.replace(&warden.lock_dir())
        };
        self.job = Some(job);
    }

    /// Exactly one error for each that crashed.
    fn holds(&self, errors: usize, told: &str) {
        let wanted = self.crashed..=self.crashed + self.perhaps;
        assert!(wanted.contains(&errors), "{errors} errors, not {wanted:?}; {told}");
    }

    /// Each attempt says another start, later than the one before.
    fn age(&self) -> u32 {
        u32::try_from(500 - self.crashed.min(400)).unwrap_or(100)
    }
}

fn lock_of(warden: &Warden, id: i64) -> std::path::PathBuf {
    warden.lock_dir().join(job::file_name(id))
}

/// No live job's lock is missing or changed, and none is an error.
fn all_well(warden: &Warden, projects: &BTreeMap<i64, Project>, seed: u64) {
    for (id, project) in projects.iter().filter(|(_, it)| it.job.is_some()) {
        let now = fs::read_to_string(lock_of(warden, *id)).unwrap_or_default();
        assert_eq!(now, project.text, "seed {seed}: lock of live job {id}; {}", warden.log());
    }
}

async fn is_seen(warden: &Warden, id: i64, job: &Program) -> bool {
    let shown = warden.get(&format!("/migrations?brz_project_id={id}")).await;
    let row = &shown.json["data"][0];
    row["state"] == "alive" && row["pid"] == job.pid()
}

fn errors(warden: &Warden, id: i64) -> usize {
    let name = job::uuid(id);
    let events = db::events_of(warden.database(), "migration");
    events.iter().filter(|it| it["name"] == name.as_str() && it["status"] == "error").count()
}

#[tokio::test]
#[ignore = "slow: a minute of random deaths and restarts"]
async fn a_minute_of_everything() {
    let seed = u64::try_from(job::unix_now()).unwrap() | 1;
    let mut dice = Dice(seed);
    let config = WardenConfig::default()
        .set("migrations.interval", "100ms")
        .set("migrations.settle", "100ms")
        .set("migrations.grace", "1s");
    let mut warden = Warden::start(config).await;
    let mut projects: BTreeMap<i64, Project> =
        (1..=JOBS).map(|id| (id, Project::default())).collect();
    let (began, mut kills) = (Instant::now(), 0);
    while began.elapsed() < LONG {
        let id = i64::try_from(dice.below(JOBS.unsigned_abs())).unwrap() + 1;
        let roll = dice.below(100);
        let project = projects.get_mut(&id).unwrap();
        if project.abandoned && !lock_of(&warden, id).exists() {
            project.abandoned = false;
            project.holds(errors(&warden, id), &format!("seed {seed}: {id}; {}", warden.log()));
        }
        match (project.job.as_mut(), roll) {
            (None, _) if !project.abandoned => project.begin(id, &warden, roll.is_multiple_of(2)),
            // The runner takes over from its launcher, in place; the launcher ends after that.
            (Some(_), 0..30) => {
                let launcher = project.job.take();
                project.begin(id, &warden, true);
                drop(launcher);
            }
            // It touches its lock as runners do at each stage.
            (Some(_), 30..50) => fs::write(lock_of(&warden, id), &project.text).unwrap(),
            // An attempt that nobody saw is no run of its own: the one before it is judged.
            (Some(job), 50..70) if is_seen(&warden, id, job).await => {
                fs::remove_file(lock_of(&warden, id)).unwrap();
                assert!(job.signal(Signal::TERM));
                let ended = job.wait_exit(SOON).await;
                project.job = None;
                // Asked before its shell knew what to do.
                project.perhaps += usize::from(!ended.success());
            }
            (Some(job), 70..92) if is_seen(&warden, id, job).await => {
                job.kill();
                project.job = None;
                (project.abandoned, project.crashed) = (true, project.crashed + 1);
            }
            (_, 97..) => {
                kills += 1;
                warden.restart().await;
            }
            _ => {}
        }
        all_well(&warden, &projects, seed);
        tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
    }
    for (id, project) in projects.iter().filter(|(_, it)| it.abandoned) {
        eventually(SOON, || async {
            let stands = lock_of(&warden, *id).exists();
            if stands { Err(format!("seed {seed}: {id}; {}", warden.log())) } else { Ok(()) }
        })
        .await;
        project.holds(errors(&warden, *id), &format!("seed {seed}: {id}; {}", warden.log()));
    }
    all_well(&warden, &projects, seed);
    assert!(job::asides(&warden.lock_dir()).is_empty(), "seed {seed}");
    assert!(!warden.log().contains("panicked"), "seed {seed}: {}", warden.log());
    let crashed: usize = projects.values().map(|it| it.crashed).sum();
    assert!(crashed > 0 && kills > 0, "seed {seed}: nothing happened");
}
