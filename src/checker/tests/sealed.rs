//! Passwords that are somebody else's ciphertext.

use super::super::digest;
use super::*;
use crate::config::Adopt;
use crate::domain::details::find;
use crate::domain::observation::Reason;

/// `p`, encrypted by PHP with the key `procwarden-key16`.
const SEALED: &str = "eyJpdiI6IkhyNXhqZVhKNVNWT2s4dWciLCJ2YWx1ZSI6InV3PT0iLCJtYWMiOiIiLCJ0YWciOiIwOGdwWVByUDBlUjI0OWM2U04yMExRPT0ifQ==";

fn sealed(port: u16) -> Node {
    let password = Some(Password::laravel(SEALED.into()));
    Node { password, ..with_login(port, "u", "") }
}

fn with_key(key: Option<&str>) -> Checker {
    let laravel_key = key.map(|key| Password::new(key.into()));
    let secrets = Secrets::new(&Adopt { laravel_key, ..Adopt::default() }).unwrap();
    Checker::new(Processes::new().unwrap(), LIMITS, secrets, Places::exactly(1)).unwrap()
}

async fn facts(checker: &Checker, node: &Node) -> ApiFacts {
    match checker.check(&shared(node), Method::Api).await.observation {
        Observation::Api(facts) => facts,
        other => panic!("{other:?}"),
    }
}

fn reason(facts: &ApiFacts) -> Option<Reason> {
    find(&Observation::Api(facts.clone())).reason
}

/// A server that refuses what is not logged in as `u`, and takes any answer to its challenge.
async fn asking() -> Fake {
    Fake::answering(|request| match param(request, "username").as_deref() {
        Some("u") => good(request),
        _ => challenge("a", false, ""),
    })
    .await
}

#[tokio::test]
async fn an_opened_one_logs_in_as_the_same_in_clear_would() {
    let server = asking().await;
    let seen = facts(&with_key(Some("procwarden-key16")), &sealed(server.port)).await;
    assert_eq!((seen.seen.clone(), reason(&seen)), (ApiSeen::Version(65561), None));
    let requests = server.requests();
    let (cnonce, response) =
        (param(&requests[1], "cnonce").unwrap(), param(&requests[1], "response").unwrap());
    let login = digest::Login { username: "u", password: "p" };
    let challenged = "Digest qop=\"auth\",algorithm=MD5,realm=\"r\",nonce=\"a\"";
    let chosen = digest::choose(digest::parse(challenged)).unwrap();
    let mut expected = String::new();
    digest::Session::new(&chosen, &cnonce, login, "POST", "/json_rpc").answer(&mut expected);
    assert!(expected.contains(&format!("response=\"{response}\"")), "{expected} {response}");
}

#[tokio::test]
async fn an_unreadable_one_is_not_sent_and_is_the_reason_of_the_refusal() {
    let closing = Fake::start(|mut client| async move {
        client.request().await;
        client.send(challenge("a", false, "Connection: close\r\n")).await;
    })
    .await;
    for server in [asking().await, closing] {
        for (key, told) in
            [(None, "no adopt.laravel_key is given"), (Some("0123456789abcdef"), "no key opens it")]
        {
            let seen = facts(&with_key(key), &sealed(server.port)).await;
            assert!(matches!(seen.seen, ApiSeen::Unauthorized(_)), "{seen:?}");
            assert_eq!(reason(&seen), Some(Reason::SecretUnreadable));
            assert!(seen.unreadable.as_ref().unwrap().contains(told), "{seen:?}");
        }
        let requests = server.requests();
        assert_eq!(requests.len(), 2, "one for each key");
        assert!(requests.iter().all(|request| !request.contains("Authorization")), "{requests:?}");
    }
}

#[tokio::test]
async fn an_unreadable_one_is_told_beside_a_server_that_asks_for_none() {
    let server = Fake::answering(good).await;
    let seen = facts(&with_key(None), &sealed(server.port)).await;
    assert_eq!(seen.seen, ApiSeen::Version(65561));
    assert_eq!(reason(&seen), Some(Reason::SecretUnreadable));
}

#[tokio::test]
async fn without_a_user_name_there_is_no_login_and_nothing_to_open() {
    let server = asking().await;
    let node = Node { username: None, ..sealed(server.port) };
    let seen = facts(&with_key(None), &node).await;
    assert_eq!((reason(&seen), seen.unreadable), (Some(Reason::Unauthorized), None));
}

#[tokio::test]
async fn the_same_text_in_clear_is_another_target() {
    let server = asking().await;
    let checker = with_key(None);
    let node = sealed(server.port);
    assert!(facts(&checker, &node).await.unreadable.is_some());
    let plain = Node { password: Some(Password::new(SEALED.into())), ..node.clone() };
    assert!(!node.same_target(&plain));
    let seen = facts(&checker, &plain).await;
    assert_eq!((seen.seen, seen.unreadable), (ApiSeen::Version(65561), None));
}
