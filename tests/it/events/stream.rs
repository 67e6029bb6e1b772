//! `GET /events`.

use super::listener::{Event, Listener};
use reqwest::Method;
use serde_json::json;

use crate::nodes::{SOON, becomes, node, watching};
use crate::support::engine::Engine;
use crate::support::job::{self, report};
use crate::support::{Wallet, Warden, WardenConfig, db};

/// Ends a migration that nobody saw: one flip.
async fn end(warden: &Warden, id: i64) {
    let body = json!({"status": "success", "mb_project_uuid": job::uuid(id)});
    assert_eq!(warden.patch(&format!("/migrations/{id}"), &body).await.status, 200);
}

#[tokio::test]
async fn all_listeners_hear_of_each_flip_once_and_in_order() {
    let config = WardenConfig::default().set("instance.name", "my host");
    let warden = Warden::start(config).await;
    end(&warden, 1).await;
    let mut first = Listener::of(&warden, "/events").await;
    let mut second = Listener::of(&warden, "/events").await;
    for id in 2..=6 {
        end(&warden, id).await;
    }
    let heard = first.flips(5).await;
    assert_eq!(second.flips(5).await, heard);
    let ids: Vec<_> = heard.iter().map(|event| event.data["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [2, 3, 4, 5, 6], "what was before is not told");
    let recorded: Vec<_> = db::events_of(warden.database(), "migration")
        .iter()
        .skip(1)
        .map(|event| format!("my%20host:{}", event["seq"]))
        .collect();
    let place = |event: &Event| event.id.as_ref().unwrap().split('@').next().unwrap().to_owned();
    let told: Vec<_> = heard.iter().map(place).collect();
    assert_eq!(told, recorded);
    let Event { word, data, .. } = &heard[0];
    assert_eq!(word, "migration");
    let keys: Vec<_> = data.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["kind", "id", "mb_project_uuid", "state", "reason", "at"]);
    assert_eq!(data["mb_project_uuid"], job::uuid(2));
    assert_eq!((&data["state"], &data["reason"]), (&json!("finished"), &json!("reported")));

    // One who comes after a time without listeners begins there.
    drop((first, second));
    end(&warden, 7).await;
    let mut third = Listener::of(&warden, "/events").await;
    end(&warden, 8).await;
    assert_eq!(third.flip().await.data["id"], 8);
}

#[tokio::test]
async fn a_node_that_turns_is_told_with_its_name() {
    let mut wallet = Wallet::start().await;
    let warden = watching(node("n", wallet.port())).await;
    becomes(&warden, "n", "up", None).await;
    let mut listener = Listener::of(&warden, "/events").await;
    wallet.kill();
    let event = listener.flip().await;
    assert_eq!(event.word, "node");
    assert_eq!(event.data["name"], "n");
    assert_eq!((&event.data["state"], event.data["reason"].is_string()), (&json!("down"), true));
    let keys: Vec<_> = event.data.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["kind", "id", "name", "state", "reason", "at"]);
}

#[tokio::test]
async fn what_another_instance_records_is_told_here() {
    if Engine::current() == Engine::Sqlite {
        return;
    }
    let member = |name: &str| WardenConfig::default().set("instance.name", name);
    let one = Warden::start(member("one")).await;
    let mut listener = Listener::of(&one, "/events").await;
    // It comes when others are followed already.
    let two = Warden::start_on(one.database(), member("two")).await;
    for id in 1..=3 {
        end(&two, id).await;
        end(&one, id + 10).await;
    }
    let heard = listener.flips(6).await;
    let of = |name: &str| -> Vec<_> {
        let its = heard.iter().map(|event| event.data["id"].as_i64().unwrap());
        its.filter(|id| (*id > 10) == (name == "one")).collect()
    };
    assert_eq!((of("one"), of("two")), (vec![11, 12, 13], vec![1, 2, 3]));
    let id = heard[5].id.as_ref().unwrap();
    assert!(id.starts_with("one:") && id.contains(",two:"), "all of them are in it: {id}");
}

#[tokio::test]
async fn its_head_says_that_it_is_a_stream_that_nobody_keeps() {
    let config = WardenConfig::default()
        .set("server.base_paths", json!(["/dashboard/api"]))
        .set("server.read_token", "reader");
    let warden = Warden::start(config).await;
    for path in ["/events", "/dashboard/api/events"] {
        assert_eq!(warden.get(path).await.status, 401, "{path}");
        for method in [Method::GET, Method::HEAD] {
            let request = warden.request(method.clone(), path).bearer_auth("reader");
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{method} {path}");
            let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("content-type"), "text/event-stream");
            assert_eq!(header("cache-control"), "no-store");
            assert_eq!(header("x-accel-buffering"), "no");
            if method == Method::HEAD {
                assert!(answer.bytes().await.unwrap().is_empty(), "HEAD ends");
            }
        }
    }
    let refused = warden.post("/events", &json!({})).await;
    assert_eq!((refused.status, &refused.json["code"]), (405, &json!("method_not_allowed")));
}

#[tokio::test]
async fn open_streams_hold_up_nothing() {
    let mut warden = Warden::start(WardenConfig::default()).await;
    let sleeper = Listener::of(&warden, "/events").await;
    let mut listener = Listener::of(&warden, "/events").await;
    for id in 1..=20 {
        end(&warden, id).await;
    }
    assert_eq!(listener.flips(20).await.len(), 20, "whoever does not read holds up nobody");
    warden.sigterm();
    let ended = tokio::time::timeout(SOON, async { while listener.block().await.is_some() {} });
    ended.await.expect("a clean end");
    assert_eq!(warden.wait_exit().await.code(), Some(0), "{}", warden.log());
    drop(sleeper);
}

#[tokio::test]
async fn a_report_is_told_before_the_next_tick() {
    let warden = Warden::start(WardenConfig::default().set("migrations.interval", "1h")).await;
    let mut listener = Listener::of(&warden, "/events").await;
    end(&warden, 1).await;
    assert_eq!(listener.flip().await.data["id"], 1);
    assert_eq!(warden.patch("/migrations/1", &report("success")).await.status, 200);
    end(&warden, 2).await;
    assert_eq!(listener.flip().await.data["id"], 2, "the same word again is no news");
}
