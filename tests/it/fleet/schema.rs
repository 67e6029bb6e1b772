//! The schema on each engine: first starts at once, what `migrate` tells of it.

use std::thread;

use serde_json::json;

use super::ended;
use crate::migrations::{SOON, wait};
use crate::support::engine::{self, Engine};
use crate::support::job::Lock;
use crate::support::program::Program;
use crate::support::{Warden, WardenConfig, db};

/// The names of the files, which are the same for every engine.
fn files() -> Vec<String> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    let names = std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn eight_first_starts_at_once_all_succeed() {
    let warden = Warden::prepare(WardenConfig::default());
    thread::scope(|scope| {
        let starts: Vec<_> =
            (0..8).map(|_| scope.spawn(|| ended(&warden.cli(&["migrate"])))).collect();
        for start in starts {
            let (code, said) = start.join().unwrap();
            assert_eq!(code, 0, "{said}");
        }
    });
    assert_eq!(db::schema_steps(warden.database()), files());
}

#[test]
fn the_steps_are_listed_and_the_statements_are_understood() {
    let warden = Warden::prepare(WardenConfig::default());
    let (code, _) = ended(&warden.cli(&["migrate", "--status"]));
    assert_eq!(code, 2, "there is nothing yet");
    assert_eq!(db::tables(warden.database()), Vec::<String>::new(), "and nothing is made");
    assert_eq!(ended(&warden.cli(&["migrate", "--verify"])).0, 2);
    assert_eq!(ended(&warden.cli(&["migrate"])).0, 0);
    let (code, said) = ended(&warden.cli(&["migrate", "--status"]));
    assert_eq!((code, said.matches(" yes ").count()), (0, files().len()), "{said}");
    let (code, said) = ended(&warden.cli(&["migrate", "--verify"]));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("takes all"), "{said}");
    let (code, said) = ended(&warden.cli(&["migrate"]));
    assert_eq!(code, 0);
    assert!(said.contains("up to date"), "{said}");
}

#[tokio::test]
async fn a_database_in_an_old_character_set_holds_every_name() {
    if !engine::is(Engine::MySql) {
        return;
    }
    let database = Engine::MySql.fresh();
    let name = database.url().rsplit('/').next().unwrap();
    db::execute(&database, &format!("ALTER DATABASE {name} CHARACTER SET latin1"));
    let config = WardenConfig::default().node(json!({"name": "Нода 🦀", "port": 1}));
    let mut warden = Warden::start_on(&database, config).await;
    let job = Program::sleeper(warden.dir());
    Lock::new(1, job.pid()).write(&warden.lock_dir());
    wait(&warden, 1, "in_progress alive - run1").await;
    warden
        .until("/nodes/status", SOON, |it| (it.json["nodes"][0]["state"] == "down").then_some(()))
        .await;
    // Read by its name from the configuration, and from the record.
    warden.restart().await;
    let nodes = db::nodes(&database);
    assert_eq!((nodes.len(), &nodes[0]["name"]), (1, &json!("Нода 🦀")));
    let lock = db::migrations(&database)[0]["lock_data"].as_str().unwrap().to_owned();
    assert!(lock.contains("Инициализация миграции"), "{lock}");
}
