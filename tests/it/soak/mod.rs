//! Nodes and jobs come and go, faults happen, and an oracle that knows the truth compares it with what is told.
//!
//! Two services of one size stand side by side, each over its own nodes, locks and database: one is killed again and
//! again, the other lives through everything else, so that its memory and descriptors can be judged. `scripts/soak` runs
//! it for half an hour and writes `docs/soak.md`; as a test it takes a minute.

mod dice;
mod jobs;
mod ledger;
mod nodes;
mod report;
mod usage;
mod world;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use report::Facts;
use world::{Fault, Size, World};

use crate::failover::own::{DATABASE, Own};
use crate::failover::proxy::Proxy;
use crate::support::database::Database;
use crate::support::{job, sql};

const MINUTES: &str = "PROCWARDEN_SOAK_MINUTES";
const SEED: &str = "PROCWARDEN_SOAK_SEED";
const REPORT: &str = "PROCWARDEN_SOAK_REPORT";

const SIZE: Size = Size { light: 40, real: 2, jobs: 25 };

/// Where a service's rows are: on a server behind a network of its own, or in a file.
struct Place {
    database: Database,
    proxy: Option<Proxy>,
    url: String,
}

fn place(server: Option<&Own>, name: &str) -> Place {
    let Some(server) = server else {
        let database = Database::in_a_directory();
        return Place { url: database.url().to_owned(), database, proxy: None };
    };
    let characters = if server.is_postgres() { "" } else { " CHARACTER SET utf8mb4" };
    sql::execute(&server.admin_url(), &format!("CREATE DATABASE {name}{characters}")).unwrap();
    let url = server.url().replace(&format!("/{DATABASE}"), &format!("/{name}"));
    let proxy = Proxy::to(server.port());
    let through = url.replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
    Place { database: Database::at(url), proxy: Some(proxy), url: through }
}

async fn world(server: Option<&Own>, name: &str, more: &[Fault], at: (u64, Duration)) -> World {
    let mut faults = vec![Fault::Frozen, Fault::Held, Fault::Replaced];
    faults.extend(server.map(|_| Fault::Cut));
    faults.extend(more);
    let Place { database, proxy, url } = place(server, name);
    World::begin(database, proxy, &url, SIZE, faults, at).await
}

fn given<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text}")))
}

#[tokio::test]
#[ignore = "slow: a minute of random faults; scripts/soak takes half an hour"]
async fn what_is_told_is_true() {
    let minutes: u64 = given(MINUTES).unwrap_or(1);
    let seed = given(SEED).unwrap_or_else(|| u64::try_from(job::unix_now()).unwrap());
    println!("seed {seed}, {minutes} min");
    let length = Duration::from_mins(minutes);
    let every = (length / 50).clamp(Duration::from_secs(10), Duration::from_secs(35));
    let server = Own::start();
    // Both from one seed, but not the same.
    let mut steady = world(server.as_ref(), "steady", &[], (seed, every)).await;
    let struck = [Fault::Killed, Fault::Killed];
    let other = seed.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15;
    let mut struck = world(server.as_ref(), "struck", &struck, (other, every)).await;
    let began = Instant::now();
    let until = began + length;
    futures_util::future::join(steady.run(until), struck.run(until)).await;
    let facts = Facts::of(seed, began.elapsed(), steady, struck);
    let table = facts.table();
    println!("{table}");
    if let Some(path) = given::<PathBuf>(REPORT) {
        std::fs::write(path, &table).unwrap();
    }
    facts.judge();
}
