//! Clients that mean harm, or do it: too slow, too large, too many, ambiguous. Whatever they do, `/health` answers.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;

use super::SOON;
use crate::support::raw::{code, exchange};
use crate::support::warden_config::TOKEN;
use crate::support::{Answer, Warden, WardenConfig, eventually};

/// Longer than the patience that the service has with any of them (22 s for a head), with room for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(warden: &Warden) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", warden.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    stream
}

/// Sends the bytes one by one until the server ends the connection; what came.
fn drip(mut stream: TcpStream, head: &str, bytes: impl Iterator<Item = u8>) -> String {
    stream.write_all(head.as_bytes()).unwrap();
    let (began, mut answer) = (Instant::now(), Vec::new());
    let mut buffer = [0; 4096];
    for byte in bytes {
        assert!(began.elapsed() < PATIENCE, "it is still listened to");
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Whether the service still answers, over a connection of its own.
fn health(warden: &Warden) -> u16 {
    code(&exchange(
        warden.port(),
        "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        SOON,
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
    let warden = Warden::start(WardenConfig::default()).await;
    let slow: Vec<_> = (0..50).map(|_| connect(&warden)).collect();
    std::thread::scope(|scope| {
        let drips: Vec<_> = slow
            .into_iter()
            .map(|stream| {
                scope.spawn(|| drip(stream, "GET /nodes HTTP/1.1\r\nX: ", std::iter::repeat(b'x')))
            })
            .collect();
        while drips.iter().any(|drip| !drip.is_finished()) {
            assert_eq!(health(&warden), 200);
            std::thread::sleep(Duration::from_millis(200));
        }
        for drip in drips {
            assert_eq!(drip.join().unwrap(), "", "there is nothing to answer");
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_byte_by_byte_is_not_waited_for() {
    let warden = Warden::start(WardenConfig::default()).await;
    let head = |auth: &str| {
        format!(
            "POST /nodes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n{auth}\r\n"
        )
    };
    let answer = drip(
        connect(&warden),
        &head(&format!("Authorization: Bearer {TOKEN}\r\n")),
        std::iter::repeat(b' '),
    );
    assert_eq!(code(&answer), 408, "{answer}");
    assert!(answer.contains("body_timeout"), "{answer}");
    let answer = drip(connect(&warden), &head(""), std::iter::repeat(b' '));
    assert_eq!(code(&answer), 401, "whoever may not write is not listened to: {answer}");
    assert_eq!(health(&warden), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_left() {
    let warden = Warden::start(WardenConfig::default()).await;
    let mut stream = connect(&warden);
    stream.set_nonblocking(true).unwrap();
    // Answers of some 100 KiB each, until neither side can send any more; then until the server has enough.
    let request = b"GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n";
    let (began, mut stuck) = (Instant::now(), false);
    loop {
        match stream.write(request) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                stuck = true;
                assert_eq!(health(&warden), 200);
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(_) => break,
        }
        assert!(began.elapsed() < PATIENCE, "it is still waited for");
    }
    assert!(stuck, "the server took no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_connections_hold_nothing_up_and_go() {
    let warden = Warden::start(WardenConfig::default()).await;
    // Often 1024 at first.
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let idle: Vec<_> = (0..1000).map(|_| connect(&warden)).collect();
    for _ in 0..20 {
        assert_eq!(health(&warden), 200);
    }
    assert_eq!(warden.get("/nodes").await.status, 200);
    let ended = |mut stream: &TcpStream| {
        let mut one = [0];
        matches!(stream.read(&mut one), Ok(0))
            || stream.take_error().is_ok_and(|error| error.is_some())
    };
    for stream in &idle {
        stream.set_nonblocking(true).unwrap();
    }
    eventually(PATIENCE, || async {
        let left = idle.iter().filter(|stream| !ended(stream)).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} are kept")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_places_are_taken_those_who_ask_nothing_make_room() {
    let config = WardenConfig::default().set("server.max_connections", 8);
    let warden = Warden::start(config).await;
    let ask = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for _ in 0..3 {
        let idle: Vec<_> = (0..40).map(|_| connect(&warden)).collect();
        eventually(SOON, || async {
            let mut stream = connect(&warden);
            stream.set_read_timeout(Some(SOON)).unwrap();
            let mut answer = String::new();
            let asked = stream.write_all(ask).and_then(|()| stream.read_to_string(&mut answer));
            match asked {
                Ok(_) if answer.starts_with("HTTP/1.1 200") => Ok(()),
                other => Err(format!("{other:?} {answer:?}")),
            }
        })
        .await;
        drop(idle);
    }
    eventually(SOON, || async {
        match warden.try_get("/health").await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

fn refused(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(
        (&answer.json["code"], &answer.json["success"]),
        (&json!("rate_limited"), &json!(false))
    );
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_refused_and_nobody_else_is() {
    let config = WardenConfig::default().set("server.rate", 2).set("server.listen", "0.0.0.0:0");
    let warden = Warden::start(config).await;
    let client = |source: [u8; 4]| {
        reqwest::Client::builder().no_proxy().local_address(IpAddr::from(source)).build().unwrap()
    };
    let (one, other) = (client([127, 0, 0, 9]), client([127, 0, 0, 10]));
    let ask = |client: &reqwest::Client, path: &str, auth: &str| {
        let request = client.get(warden.url(path)).header("x-forwarded-for", "192.0.2.7");
        if auth.is_empty() { request } else { request.bearer_auth(auth) }
    };
    let mut answers = Vec::new();
    for _ in 0..60 {
        answers.push(warden.send(ask(&one, "/nodes/status", TOKEN)).await);
    }
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((10..60).contains(&good), "five seconds' worth come at once: {good}");
    refused(answers.iter().find(|answer| answer.status != 200).unwrap());
    // Who tries tokens is slowed down as well.
    let guesses = futures_util::future::join_all(
        (0..30).map(|guess| warden.send(ask(&one, "/nodes", &format!("guess-{guess}")))),
    );
    assert!(guesses.await.iter().any(|answer| answer.status == 429));
    // Health is never counted; another client has its own; a request of this machine's has none.
    for _ in 0..40 {
        for path in ["/health", "/livez", "/readyz", "/nodes/nobody/health"] {
            assert_ne!(warden.send(ask(&one, path, "")).await.status, 429, "{path}");
        }
    }
    assert_eq!(warden.send(ask(&other, "/nodes/status", TOKEN)).await.status, 200);
    for _ in 0..60 {
        let direct = warden.request(Method::GET, "/nodes/status").bearer_auth(TOKEN);
        assert_eq!(warden.send(direct).await.status, 200);
    }
    eventually(SOON, || async {
        let again = warden.send(ask(&one, "/nodes/status", TOKEN)).await.status;
        if again == 200 { Ok(()) } else { Err(format!("{again}")) }
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_its_own_code() {
    let warden = Warden::start(WardenConfig::default()).await;
    let post = |body: String| {
        let request = warden.request(Method::POST, "/nodes").bearer_auth(TOKEN);
        request.header("content-type", "application/json").body(body)
    };
    for size in [64 * 1024 + 1, 1024 * 1024] {
        let answer = warden.send(post(" ".repeat(size))).await;
        assert_eq!((answer.status, &answer.json["code"]), (413, &json!("body_too_large")));
    }
    assert_eq!(warden.send(post(" ".repeat(64 * 1024))).await.status, 400, "that is read");
    for head in [format!("X: {}\r\n", "y".repeat(20 * 1024)), "X: y\r\n".repeat(200)] {
        let request = format!("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n");
        let answer = exchange(warden.port(), &request, SOON);
        // The rest of the head was not read, so a reset may take the answer away.
        assert!(answer.is_empty() || code(&answer) == 431, "{answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(20 * 1024));
    let answer = exchange(warden.port(), &long, SOON);
    assert!(answer.is_empty() || [414, 431].contains(&code(&answer)), "{answer}");
    assert_eq!(health(&warden), 200);
}

/// Two readers of one connection that see different requests in it: nothing that follows such a one is answered.
#[tokio::test]
async fn a_request_with_two_ends_has_no_second_one() {
    let warden = Warden::start(WardenConfig::default()).await;
    let hidden = "GET /nodes/status?method=hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = |lines: &str, body: &str| {
        format!(
            "POST /nodes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\n{lines}\r\n{body}"
        )
    };
    let zero = format!("0\r\n\r\n{hidden}");
    let refused = [
        (
            "two lengths",
            post("Content-Length: 2\r\nContent-Length: 5\r\n", &format!("{{}}{hidden}")),
        ),
        ("a list of lengths", post("Content-Length: 2, 5\r\n", &format!("{{}}{hidden}"))),
        ("a signed length", post("Content-Length: +2\r\n", &format!("{{}}{hidden}"))),
        ("a length in hex", post("Content-Length: 0x2\r\n", &format!("{{}}{hidden}"))),
        ("a space before the colon", post("Content-Length : 2\r\n", &format!("{{}}{hidden}"))),
        ("a folded line", post("X: a\r\n Content-Length: 2\r\n", &format!("{{}}{hidden}"))),
        ("not chunked at last", post("Transfer-Encoding: chunked, identity\r\n", &zero)),
        ("no coding we know", post("Transfer-Encoding: xchunked\r\n", &zero)),
        ("a size that is none", post("Transfer-Encoding: chunked\r\n", &format!("zz\r\n{hidden}"))),
        (
            "a size over all bounds",
            post("Transfer-Encoding: chunked\r\n", &format!("ffffffffffffffffff\r\n{hidden}")),
        ),
        (
            "no end of a chunk",
            post("Transfer-Encoding: chunked\r\n", &format!("2\r\n{{}}XX{hidden}")),
        ),
        (
            "chunks for HTTP/1.0",
            post("Transfer-Encoding: chunked\r\n", &zero).replacen("HTTP/1.1", "HTTP/1.0", 1),
        ),
    ];
    for (what, request) in &refused {
        let answer = exchange(warden.port(), request, SOON);
        assert!(answer.is_empty() || code(&answer) == 400, "{what}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.").count(),
            usize::from(!answer.is_empty()),
            "{what}: {answer}"
        );
    }
    // Chunks win (RFC 9112, 6.3), and the connection ends with the answer: what came after it is thrown away.
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        for (method, path) in [("POST", "/nodes"), ("GET", "/health")] {
            let request =
                post(lines, &zero).replacen("POST /nodes", &format!("{method} {path}"), 1);
            let answer = exchange(warden.port(), &request, SOON);
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{lines}: {answer}");
            assert!(!answer.contains("hidden"), "{lines}: {answer}");
        }
    }
    assert_eq!(warden.get("/nodes").await.json.as_array().map(Vec::len).unwrap_or_default(), 0);
    assert_eq!(health(&warden), 200);
}
