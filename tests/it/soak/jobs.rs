//! Projects, the jobs that work on them, and what is true of each.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::dice::Dice;
use super::ledger::{Ledger, Since};
use crate::migrations::{SOON, line};
use crate::support::database::Database;
use crate::support::job::{self, Lock};
use crate::support::program::Program;
use crate::support::{Warden, db, eventually};

/// Ends well when it is asked to, and has no process of its own that would outlive it.
const JOB: &str = "$SIG{TERM} = sub { exit 0 }; sleep 600 while 1";

/// Which that is, for `perhaps`.
const GRACEFUL: Duration = Duration::from_secs(1);

/// One project and the job that works on it now.
#[derive(Debug)]
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
    /// The last one removed its lock and ended, well or not.
    released: Option<bool>,
    /// That was just after another directory was put under the path: whoever has not seen the lock there cannot tell.
    unplaced: bool,
    since: Since,
}

impl Project {
    fn new() -> Self {
        Self {
            job: None,
            text: String::new(),
            crashed: 0,
            perhaps: 0,
            abandoned: false,
            released: None,
            unplaced: false,
            since: Since::now(),
        }
    }

    fn begin(&mut self, id: i64, warden: &Warden, in_place: bool) {
        let (dir, log) = (warden.dir(), warden.dir().join("job.log"));
        let job = Program::start("perl", ["-e", JOB], dir, &log, &[]);
        // Older than the grace from the beginning: only the proof of death stands between it and an error.
        let lock = Lock::new(id, job.pid()).started_ago(i64::from(self.age()));
        self.text = lock.text();
        if in_place {
            lock.write_in_place(&warden.lock_dir())
        } else {
            lock.replace(&warden.lock_dir())
        };
        (self.job, self.released, self.since) = (Some(job), None, Since::now());
    }

    /// Each attempt says another start, later than the one before.
    fn age(&self) -> u32 {
        u32::try_from(500 - self.crashed.min(400)).unwrap_or(100)
    }

    /// For people.
    fn truth(&self) -> String {
        let Self { job, abandoned, released, crashed, .. } = self;
        let pid = job.as_ref().map(Program::pid);
        format!("pid {pid:?}, abandoned {abandoned}, released {released:?}, crashed {crashed}")
    }

    /// Is this row the truth? None where nothing has begun yet.
    fn is_told(&self, row: &Value, stands: bool) -> Option<bool> {
        let shown = line(row);
        if let Some(job) = &self.job {
            return Some(shown.starts_with("in_progress alive ") && row["pid"] == job.pid());
        }
        if self.abandoned {
            return Some(shown.starts_with("error finished ") && !stands);
        }
        self.released.map(|well| {
            shown.starts_with("completed finished ")
                || (!well && shown.starts_with("error finished "))
                || (self.unplaced && shown.starts_with("in_progress unknown "))
        })
    }
}

/// How much was done.
#[derive(Debug, Default, Clone, Copy)]
pub struct Done {
    pub begun: usize,
    pub crashed: usize,
    pub released: usize,
    pub taken_over: usize,
}

/// All projects of one service.
#[derive(Debug)]
pub struct Jobs {
    projects: BTreeMap<i64, Project>,
    pub done: Done,
}

impl Jobs {
    /// So many, of which none has a job.
    pub fn new(count: i64) -> Self {
        Self {
            projects: (1..=count).map(|id| (id, Project::new())).collect(),
            done: Done::default(),
        }
    }

    /// One of them begins, is taken over, writes, ends, crashes, or goes on.
    /// `replaced`: another directory was put under the path a moment ago.
    pub async fn step(&mut self, dice: &mut Dice, warden: &Warden, replaced: bool) {
        let id = i64::try_from(dice.index(self.projects.len())).unwrap() + 1;
        let (roll, done) = (dice.below(100), &mut self.done);
        let lock = lock_of(warden, id);
        let Some(project) = self.projects.get_mut(&id) else { return };
        let told = project.since.told;
        match (project.job.as_mut(), roll) {
            (None, _) if !project.abandoned => {
                project.begin(id, warden, roll.is_multiple_of(2));
                done.begun += 1;
            }
            // The runner takes over from its launcher, in place; the launcher ends after that.
            (Some(_), 0..20) => {
                let launcher = project.job.take();
                project.begin(id, warden, true);
                done.taken_over += 1;
                drop(launcher);
            }
            // It touches its lock as runners do at each stage.
            (Some(_), 20..50) => fs::write(lock, &project.text).unwrap(),
            // An attempt that nobody saw is no run of its own: the one before it is judged.
            (Some(job), 50..70) if told => {
                fs::remove_file(lock).unwrap();
                assert!(job.signal(Signal::TERM));
                let well = job.wait_exit(SOON.max(GRACEFUL)).await.success();
                // Asked before it knew what to do.
                project.perhaps += usize::from(!well);
                (project.job, project.released, project.since) = (None, Some(well), Since::now());
                project.unplaced = replaced;
                done.released += 1;
            }
            (Some(job), 70..90) if told => {
                job.kill();
                project.job = None;
                (project.abandoned, project.since) = (true, Since::now());
                project.crashed += 1;
                done.crashed += 1;
            }
            _ => {}
        }
    }

    /// Compares each with its row. `calm`: how long there was no fault of ours that it may show.
    pub fn compare(
        &mut self,
        rows: &[Value],
        calm: Option<Duration>,
        warden: &Warden,
        ledger: &mut Ledger,
    ) {
        for (id, project) in &mut self.projects {
            let row = rows.iter().find(|row| row["brz_project_id"] == *id);
            let row = row.unwrap_or(&Value::Null);
            let stands = lock_of(warden, *id).exists();
            let Some(is_told) = project.is_told(row, stands) else { continue };
            let (truth, shown) = (project.truth(), line(row));
            ledger.compare(&mut project.since, calm, is_told, || {
                format!("job {id}: {truth}, told {shown}, its lock stands: {stands}")
            });
            if project.abandoned && !stands {
                (project.abandoned, project.since) = (false, Since::now());
            }
        }
    }

    /// No live job's lock is missing or changed.
    pub fn locks_stand(&self, warden: &Warden, seed: u64) {
        for (id, project) in self.projects.iter().filter(|(_, it)| it.job.is_some()) {
            let now = fs::read_to_string(lock_of(warden, *id)).unwrap_or_default();
            assert_eq!(now, project.text, "seed {seed}: lock of live job {id}");
        }
    }

    /// At the end: the locks of all that crashed are gone, with exactly one error for each, and no event is doubled.
    pub async fn end(&mut self, warden: &Warden, database: &Database, seed: u64) {
        for (id, project) in &self.projects {
            if project.abandoned {
                eventually(SOON, || async {
                    let stands = lock_of(warden, *id).exists();
                    if stands {
                        Err(format!("seed {seed}: {id}; {}", warden.log()))
                    } else {
                        Ok(())
                    }
                })
                .await;
            }
        }
        let all = db::events_of(database, "migration");
        for (id, project) in &self.projects {
            let name = job::uuid(*id);
            let its = || all.iter().filter(|it| it["name"] == name.as_str());
            let errors = its().filter(|it| it["status"] == "error").count();
            let wanted = project.crashed..=project.crashed + project.perhaps;
            assert!(wanted.contains(&errors), "seed {seed}: {id}: {errors} errors, not {wanted:?}");
            let mut ends: Vec<_> = its()
                .filter(|it| it["status"] != "in_progress")
                .map(|it| it["run"].as_i64().unwrap())
                .collect();
            let count = ends.len();
            ends.dedup();
            assert_eq!(ends.len(), count, "seed {seed}: {id}: a run ended twice");
        }
    }
}

fn lock_of(warden: &Warden, id: i64) -> PathBuf {
    warden.lock_dir().join(job::file_name(id))
}
