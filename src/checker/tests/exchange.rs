//! What a single exchange makes of servers good and bad.

use super::*;

const VERSION: ApiSeen = ApiSeen::Version(65561);

fn text(seen: &ApiSeen) -> &str {
    match seen {
        ApiSeen::Unauthorized(text)
        | ApiSeen::NotJsonRpc(text)
        | ApiSeen::Tls(text)
        | ApiSeen::Refused(text)
        | ApiSeen::Dns(text)
        | ApiSeen::WrongService(text)
        | ApiSeen::Io(text) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_request_is_what_the_real_server_needs() {
    let server = Fake::answering(good).await;
    assert_eq!(api(&checker(LIMITS), &node(server.port)).await, VERSION);
    let request = &server.requests()[0];
    assert!(request.starts_with("POST /json_rpc HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nHost: 127.0.0.1:{}\r\n", server.port)), "{request}");
    assert!(request.contains("\r\nContent-Type: application/json\r\n"), "{request}");
    assert!(!request.to_lowercase().contains("chunked"), "{request}");
    assert!(!request.contains("Authorization"), "{request}");
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["jsonrpc"], &body["method"]), (&"2.0".into(), &"get_version".into()));
}

#[tokio::test]
async fn bad_answers_have_their_reason() {
    type Reply = fn(&str) -> String;
    let table: [(Reply, ApiSeen); 9] = [
        (
            |request| {
                let body = good(request).split_once("\r\n\r\n").unwrap().1.to_owned();
                format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                    body.len()
                )
            },
            VERSION,
        ),
        (
            |_| ok(r#"{"id":"0","result":{"version":65561}}"#),
            ApiSeen::NotJsonRpc("the answer is to another request".into()),
        ),
        (
            |_| "HTTP/1.1 302 Found\r\nLocation: /json_rpc?\r\nContent-Length: 0\r\n\r\n".into(),
            ApiSeen::HttpStatus(302),
        ),
        (|_| "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}".into(), ApiSeen::HttpStatus(500)),
        (|_| "HTTP/1.1 204 None\r\n\r\n".into(), ApiSeen::HttpStatus(204)),
        (
            |_| format!("HTTP/1.1 200 Ok\r\nX: {}\r\n\r\n", "x".repeat(100_000)),
            ApiSeen::NotJsonRpc("the answer's header is longer than 64 KiB".into()),
        ),
        (
            |_| "SSH-2.0-OpenSSH_9.2\r\n".into(),
            ApiSeen::NotJsonRpc("the answer is not HTTP".into()),
        ),
        (
            |_| "<html>It works</html>\r\n\r\n".into(),
            ApiSeen::NotJsonRpc("the answer is not HTTP".into()),
        ),
        (
            |_| "HTTP/1.1 200 Ok\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".into(),
            ApiSeen::NotJsonRpc("the answer's body is not HTTP".into()),
        ),
    ];
    for (reply, expected) in table {
        let server = Fake::answering(reply).await;
        assert_eq!(api(&checker(LIMITS), &node(server.port)).await, expected);
        assert_eq!((server.connections(), server.requests().len()), (1, 1), "{expected:?}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_read_no_further_than_64_kib() {
    for head in ["Content-Length: 99999999999", "Transfer-Encoding: chunked"] {
        let server = Fake::start(move |mut client| async move {
            client.request().await;
            client.send(format!("HTTP/1.1 200 Ok\r\n{head}\r\n\r\n")).await;
            let piece = format!("400\r\n{}\r\n", "x".repeat(1024));
            while client.stream.write_all(piece.as_bytes()).await.is_ok() {}
        })
        .await;
        let seen = api(&checker(LIMITS), &node(server.port)).await;
        assert_eq!(text(&seen), "the answer is longer than 64 KiB");
    }
}

#[tokio::test]
async fn the_limit_covers_the_body_and_every_slow_byte_of_it() {
    let server = Fake::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 200 Ok\r\nContent-Length: 100\r\n\r\n").await;
        while client.stream.write_all(b"{").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(api(&checker(SHORT), &node(server.port)).await, ApiSeen::Timeout(SHORT.api_timeout));
    let silent = Fake::start(|mut client| async move { client.wait().await }).await;
    assert_eq!(api(&checker(SHORT), &node(silent.port)).await, ApiSeen::Timeout(SHORT.api_timeout));
    let tls = Node { tls: Tls::Insecure, ..node(silent.port) };
    assert_eq!(api(&checker(SHORT), &tls).await, ApiSeen::Timeout(SHORT.api_timeout));
}

#[tokio::test]
async fn a_connection_that_breaks_says_where() {
    let closing = Fake::start(|_| async {}).await;
    let seen = api(&checker(LIMITS), &node(closing.port)).await;
    assert_eq!(seen, ApiSeen::Io("closed without an answer".into()));
    assert_eq!(closing.connections(), 1);
    let half = Fake::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 200 Ok\r\nContent-Length: 100\r\n\r\n{\"id\"").await;
    })
    .await;
    let seen = api(&checker(LIMITS), &node(half.port)).await;
    assert_eq!(seen, ApiSeen::Io("closed in the middle of the answer".into()));
}

#[tokio::test]
async fn nobody_listens_or_nobody_accepts() {
    let (_deaf, port) = deaf();
    assert_eq!(
        api(&checker(LIMITS), &node(port)).await,
        ApiSeen::Refused("Connection refused".into())
    );

    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(0).unwrap();
    let port = full.local_addr().unwrap().port();
    // A queue of length 0 holds one connection; the kernel drops what comes after it.
    let _first = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let checker = checker(SHORT);
    assert_eq!(api(&checker, &node(port)).await, ApiSeen::ConnectTimeout(SHORT.connect_timeout));
}

#[tokio::test]
async fn tls_that_the_server_does_not_speak() {
    let server = Fake::start(|mut client| async move {
        client.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        client.wait().await;
    })
    .await;
    let node = Node { tls: Tls::Insecure, ..node(server.port) };
    let seen = api(&checker(LIMITS), &node).await;
    assert_eq!(seen, ApiSeen::Tls("the server does not speak TLS".into()));
    let closing = Fake::start(|_| async {}).await;
    let node = Node { tls: Tls::Insecure, port: closing.port, ..node };
    let seen = api(&checker(LIMITS), &node).await;
    assert_eq!(seen, ApiSeen::Tls("closed during the handshake".into()));
}

#[tokio::test]
async fn a_nonce_is_counted_on_and_a_stale_one_replaced_once() {
    let server = Fake::answering(|request| {
        match (param(request, "nonce").as_deref(), param(request, "nc").as_deref()) {
            (Some("a"), Some("00000001" | "00000002")) | (Some("b"), Some("00000001")) => {
                good(request)
            }
            (Some("a"), _) => challenge("b", true, ""),
            _ => challenge("a", false, ""),
        }
    })
    .await;
    let (checker, node) = (checker(LIMITS), with_login(server.port, "u", "p"));
    for _ in 0..3 {
        assert_eq!(api(&checker, &node).await, VERSION);
    }
    let used: Vec<_> =
        server.requests().iter().map(|r| (param(r, "nonce"), param(r, "nc"))).collect();
    let used: Vec<_> = used.iter().map(|(n, c)| (n.as_deref(), c.as_deref())).collect();
    let expected = [
        (None, None),
        (Some("a"), Some("00000001")),
        (Some("a"), Some("00000002")),
        (Some("a"), Some("00000003")),
        (Some("b"), Some("00000001")),
    ];
    assert_eq!(used, expected);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_nonce_that_is_always_stale_ends_after_one_more_try() {
    let server = Fake::answering(|request| {
        challenge(&format!("n{}", request.len()), request.contains("Authorization"), "")
    })
    .await;
    let seen = api(&checker(LIMITS), &with_login(server.port, "u", "p")).await;
    assert_eq!(seen, ApiSeen::Unauthorized("the server calls every nonce stale".into()));
    assert_eq!((server.connections(), server.requests().len()), (1, 3));
}

#[tokio::test]
async fn refused_credentials_are_not_tried_again_with_the_same_nonce() {
    let server = Fake::answering(|_| challenge("a", false, "")).await;
    let (checker, node) = (checker(LIMITS), with_login(server.port, "u", "p"));
    for _ in 0..2 {
        let seen = api(&checker, &node).await;
        assert_eq!(text(&seen), "the server refuses the user name or the password");
    }
    let counts: Vec<_> = server.requests().iter().map(|r| param(r, "nc")).collect();
    assert_eq!(counts, [None, Some("00000001".into()), None, Some("00000001".into())]);
}

#[tokio::test]
async fn a_login_that_cannot_be_done_says_why() {
    let asks = Fake::answering(|_| challenge("a", false, "")).await;
    let seen = api(&checker(LIMITS), &node(asks.port)).await;
    assert_eq!(text(&seen), "the server asks for a login and the node has none");
    let basic = Fake::answering(|_| {
        "HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n".into()
    })
    .await;
    let seen = api(&checker(LIMITS), &with_login(basic.port, "u", "p")).await;
    assert!(
        matches!(&seen, ApiSeen::Unauthorized(text) if text.contains("only Basic")),
        "{seen:?}"
    );
    assert!(basic.requests().iter().all(|request| !request.contains("Authorization")));
    let bare = Fake::answering(|_| "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n".into()).await;
    let seen = api(&checker(LIMITS), &with_login(bare.port, "u", "p")).await;
    assert_eq!(text(&seen), "the server offers no Digest login with MD5");
    let odd = with_login(asks.port, "u\nX: y", "p");
    let seen = api(&checker(LIMITS), &odd).await;
    assert_eq!(text(&seen), "the user name has characters that HTTP cannot send");
}

#[tokio::test]
async fn a_server_that_closes_after_its_challenge_cannot_be_logged_in_to() {
    for more in ["Connection: close\r\n", ""] {
        let server = Fake::start(move |mut client| async move {
            client.request().await;
            client.send(challenge("a", false, more)).await;
        })
        .await;
        let seen = api(&checker(LIMITS), &with_login(server.port, "u", "p")).await;
        assert!(
            matches!(&seen, ApiSeen::Unauthorized(text) if text.contains("closes")),
            "{seen:?}"
        );
        assert_eq!(server.connections(), 1);
    }
}
