//! Writes that are acknowledged one after another, while the database changes its server.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::SOON;
use crate::support::database::Database;
use crate::support::{Warden, db, eventually};

/// Names of nodes that the service said it had registered.
#[derive(Debug, Default)]
pub struct Writes {
    acknowledged: Mutex<Vec<String>>,
    end: AtomicBool,
}

impl Writes {
    /// Registers one node after another until told to end. A name that was refused is not used again: it may stand.
    pub async fn run(&self, warden: &Warden) {
        let mut number = 0;
        while !self.end.load(Ordering::SeqCst) {
            number += 1;
            let name = format!("w{number}");
            let new = json!({"name": name, "port": 1, "available": false});
            let answer = warden.post("/nodes", &new).await;
            match answer.status {
                201 => self.acknowledged.lock().unwrap().push(name),
                503 => {}
                other => panic!("{other}: {:#}", answer.json),
            }
        }
    }

    /// So many more were acknowledged.
    pub async fn more(&self, count: usize) {
        let before = self.count();
        eventually(SOON, || async {
            let now = self.count();
            if now >= before + count { Ok(()) } else { Err(format!("{now}, {before} before")) }
        })
        .await;
    }

    pub fn end(&self) {
        self.end.store(true, Ordering::SeqCst);
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Every one that was acknowledged stands, none stands twice.
    pub fn stand(&self, database: &Database) {
        let rows = db::nodes(database);
        for name in self.acknowledged.lock().unwrap().iter() {
            let count = rows.iter().filter(|row| row["name"] == name.as_str()).count();
            assert_eq!(count, 1, "{name} was acknowledged");
        }
    }
}
