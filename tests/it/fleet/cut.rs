//! An instance whose way to the database is cut, while the others' is not: it goes on looking and records nothing.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::looks::Looked;
use super::{SOON, even, lists, member, register, tells, turns};
use crate::nodes::{becomes, node};
use crate::support::database::Database;
use crate::support::engine::{self, Engine};
use crate::support::ports::HeldPort;
use crate::support::{Warden, eventually};

/// Passes connections on to the database's server until it is cut.
struct Way {
    port: u16,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Way {
    fn to(server: String) -> Self {
        let held = HeldPort::take();
        let way = Self { port: held.number(), cut: Arc::default(), streams: Arc::default() };
        let (cut, streams) = (way.cut.clone(), way.streams.clone());
        let listener: TcpListener = held.into_listener();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(&server) else { continue };
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let both = [near.try_clone().unwrap(), far.try_clone().unwrap()];
                streams.lock().unwrap().extend(both);
                pass(near.try_clone().unwrap(), far.try_clone().unwrap());
                pass(far, near);
            }
        });
        way
    }

    /// The same database by this way.
    fn database(&self, database: &Database) -> Database {
        let (scheme, rest) = database.url().split_once("://").unwrap();
        let (login, place) = rest.split_once('@').unwrap();
        let (_, name) = place.split_once('/').unwrap();
        Database::at(format!("{scheme}://{login}@127.0.0.1:{}/{name}", self.port))
    }

    /// What stands is closed, and nothing new gets through.
    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn place(database: &Database) -> String {
    let rest = database.url().rsplit_once('@').unwrap().1;
    rest.split_once('/').unwrap().0.to_owned()
}

#[tokio::test]
async fn one_that_was_cut_off_drops_what_it_saw_of_nodes_that_are_no_longer_its() {
    if !engine::is_shared() {
        return;
    }
    let database = Engine::current().fresh();
    let way = Way::to(place(&database));
    let by_way = way.database(&database);
    let quick =
        member("b").set("database.retry_after", "300ms").set("database.connect_timeout", "500ms");
    let (a, mut b) =
        tokio::join!(Warden::start_on(&database, member("a")), Warden::start_on(&by_way, quick));
    let (many, own) = (Looked::at(6), Looked::at(1));
    register(&a, many.anywhere("many")).await;
    register(&b, [node("own", own.port(0))]).await;
    even(&database, &["a", "b"]).await;
    tells(&a, 7, 0).await;
    tells(&b, 7, 0).await;

    way.cut();
    even(&database, &["a"]).await;
    lists(&a, "b", "lost").await;
    becomes(&a, "own", "unknown", Some("instance_lost")).await;
    many.break_down(true);
    tells(&a, 7, 7).await;
    // It looks on at all that it had, and says that the database does not know.
    b.until("/health", SOON, |answer| (answer.status == 503).then_some(())).await;
    b.until("/readyz?require=database", SOON, |answer| (answer.status == 503).then_some(())).await;
    assert_eq!(b.get("/readyz").await.status, 200);
    becomes(&b, "own", "up", None).await;
    let before = |turns: &[(String, String)]| {
        let by = |who: &str| turns.iter().filter(|(_, by)| by == who).count();
        (by("a"), by("b"))
    };
    eventually(SOON, || async {
        let turns = turns(&database);
        if before(&turns) == (7, 0) { Ok(()) } else { Err(format!("{turns:?}")) }
    })
    .await;

    way.mend();
    even(&database, &["a", "b"]).await;
    becomes(&a, "own", "up", None).await;
    tells(&a, 7, 6).await;
    tells(&b, 7, 6).await;
    let turned = turns(&database);
    assert_eq!(before(&turned), (7, 1), "{turned:?}");
    assert!(turned.contains(&("own up".to_owned(), "b".to_owned())), "{turned:?}");
    assert!(b.is_running(), "{}", b.log());
    assert!(!b.log().contains("taken over by another instance"), "{}", b.log());
}
