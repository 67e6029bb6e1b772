//! A client of `GET /events` that comes back hears what it missed, once; or that it has to begin anew.

use serde_json::json;

use super::listener::{Event, Listener};
use crate::nodes::{becomes, node, watching};
use crate::support::engine::Engine;
use crate::support::job;
use crate::support::{Wallet, Warden, WardenConfig};

/// Ends a migration that nobody saw: one flip.
async fn end(warden: &Warden, id: i64) {
    let body = json!({"status": "success", "mb_project_uuid": job::uuid(id)});
    assert_eq!(warden.patch(&format!("/migrations/{id}"), &body).await.status, 200);
}

fn ids(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.data["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn what_was_missed_is_told_first_and_once_and_then_what_happens() {
    let mut warden = Warden::start(WardenConfig::default()).await;
    end(&warden, 1).await;
    let mut listener = Listener::of(&warden, "/events").await;
    let began = listener.stands().expect("the first block says where it begins").to_owned();
    for id in 2..=4 {
        end(&warden, id).await;
    }
    let heard = listener.flips(3).await;
    let place = heard[1].id.clone().unwrap();
    assert_eq!(listener.stands(), heard[2].id.as_deref());
    drop(listener);
    for id in 5..=300 {
        end(&warden, id).await;
    }
    // Another process of the same instance goes on where it was.
    warden.restart().await;
    let mut again = Listener::from(&warden, "/events", Some(&place)).await;
    assert_eq!(ids(&again.flips(297).await), (4..=300).collect::<Vec<_>>());
    end(&warden, 301).await;
    assert_eq!(again.flip().await.data["id"], 301, "and nothing twice");
    let mut whole = Listener::from(&warden, "/events?kinds=flip&migration=4", Some(&began)).await;
    assert_eq!(whole.flip().await.data["id"], 4, "filtered");
    // What it did not want is behind it as well.
    whole.block().await.expect("where it stands");
    let stands = whole.stands().unwrap().to_owned();
    let mut rest = Listener::from(&warden, "/events", Some(&stands)).await;
    end(&warden, 302).await;
    assert_eq!(rest.flip().await.data["id"], 302);
}

#[tokio::test]
async fn who_stands_nowhere_is_told_to_begin_anew_and_goes_on() {
    let warden = Warden::start(WardenConfig::default()).await;
    end(&warden, 1).await;
    let day = job::unix_now() - 90_000;
    let mut next = 1;
    let too_long = format!("{}:1@{day}", "a".repeat(5000));
    for (last, why) in [
        ("12", "unknown"),
        ("test-1:999999999@1736937045", "too_old"),
        ("test-1:999999999@99999999999", "unknown"),
        (&format!("test-1:0@{day}"), "too_old"),
        (&too_long, "unknown"),
    ] {
        let mut listener = Listener::from(&warden, "/events", Some(last)).await;
        let reset = listener.event().await;
        assert_eq!((reset.word.as_str(), &reset.data), ("reset", &json!({"why": why})), "{last}");
        let place = reset.id.expect("where it stands now");
        next += 1;
        end(&warden, next).await;
        assert_eq!(listener.flip().await.data["id"], next);
        let mut again = Listener::from(&warden, "/events", Some(&place)).await;
        assert_eq!(again.flip().await.data["id"], next, "from there on nothing is missed");
    }
}

#[tokio::test]
async fn each_filter_tells_what_it_names_and_a_wrong_one_is_refused() {
    let mut wallet = Wallet::start().await;
    let warden = watching(node("n", wallet.port())).await;
    becomes(&warden, "n", "up", None).await;
    let mut nodes = Listener::of(&warden, "/events?subjects=node&kinds=flip").await;
    let mut migrations = Listener::of(&warden, "/events?subjects=migration").await;
    let mut both = Listener::of(&warden, "/events?node=n&migration=2&kinds=flip").await;
    end(&warden, 1).await;
    wallet.kill();
    assert_eq!(nodes.event().await.data["name"], "n");
    end(&warden, 2).await;
    assert_eq!(ids(&migrations.flips(2).await), [1, 2]);
    let heard = both.flips(2).await;
    assert_eq!((heard[0].word.as_str(), &heard[1].data["id"]), ("node", &json!(2)));
    for (query, parameter) in [
        ("kinds=flips", "kinds"),
        ("subjects=nodes", "subjects"),
        ("migration=-1", "migration"),
        ("migration=1&migration=2", "migration"),
    ] {
        let answer = warden.get(&format!("/events?{query}")).await;
        assert_eq!((answer.status, &answer.json["parameter"]), (400, &json!(parameter)), "{query}");
    }
}

#[tokio::test]
async fn a_place_among_several_instances_misses_nothing_of_any() {
    if Engine::current() == Engine::Sqlite {
        return;
    }
    let member = |name: &str| WardenConfig::default().set("instance.name", name);
    let one = Warden::start(member("one")).await;
    let listener = Listener::of(&one, "/events").await;
    let place = listener.stands().unwrap().to_owned();
    drop(listener);
    // It comes after the place was given.
    let two = Warden::start_on(one.database(), member("two")).await;
    for id in 1..=3 {
        end(&two, id).await;
        end(&one, id + 10).await;
    }
    // At the other one as well: behind a load balancer it may be any.
    for warden in [&one, &two] {
        let mut again = Listener::from(warden, "/events", Some(&place)).await;
        let mut heard = ids(&again.flips(6).await);
        heard.sort_unstable();
        assert_eq!(heard, [1, 2, 3, 11, 12, 13]);
    }
}
