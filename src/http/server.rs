//! The accept loop: a task for each connection, all of them awaited at the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::AppState;
use super::access::Caller;
use super::connection::converse;
use super::house::House;
use super::router::router;

/// First and longest pause after a failed accept; it doubles in between.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Serves until `stop`, then lets every connection finish its request, and returns when all have ended.
/// There are at most `most` of them. The listener does not block, and belongs to the runtime that this is awaited on.
///
/// # Errors
/// If the listener's address cannot be read, or the runtime cannot wait for it.
pub async fn serve(
    listener: std::net::TcpListener,
    state: AppState,
    most: usize,
    stop: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let router = router(state.clone());
    let connections = TaskTracker::new();
    let mut failures = Failures::default();
    let mut house = House::new(most);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                failures.over();
                let now = Instant::now();
                // Closed at once, and gone: an answer would need a place as well.
                if !house.has_place(connections.len(), now) {
                    continue;
                }
                let caller = Caller::of(&state, peer.ip());
                let requests = Arc::default();
                let (state, router, stop) = (state.clone(), router.clone(), stop.clone());
                let connection =
                    converse(stream, caller, Arc::clone(&requests), state, router, stop);
                let task = connections.spawn(connection);
                house.take(caller, requests, task.abort_handle(), now);
            }
            Err(error) => {
                let pause = failures.next(&error);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
    // Closed before the connections end: whoever comes now is refused at once.
    drop(listener);
    state.0.streams.end();
    connections.close();
    connections.wait().await;
    Ok(())
}

/// Failed accepts in a row: said once, and never a busy loop.
#[derive(Debug, Default)]
struct Failures {
    pause: Option<Duration>,
}

impl Failures {
    fn over(&mut self) {
        if self.pause.take().is_some() {
            tracing::info!("connections are accepted again");
        }
    }

    fn next(&mut self, error: &io::Error) -> Duration {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            // That client's own trouble.
            return Duration::ZERO;
        }
        let pause = match self.pause {
            None => {
                tracing::error!(%error, "cannot accept connections; trying again");
                PAUSES.0
            }
            Some(pause) => (pause * 2).min(PAUSES.1),
        };
        self.pause = Some(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::config::Settings;
    use crate::http::connection::HEAD_LIMIT;
    use crate::http::testing::{TOKEN, World};

    /// Longer than anything takes on a busy machine, shorter than the header limit's effect could be mistaken for.
    const SOON: Duration = Duration::from_secs(8);

    async fn started()
    -> (World, std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<io::Result<()>>)
    {
        let mut settings = Settings::default();
        settings.server.token = vec![crate::config::Token::of(TOKEN)];
        let world = World::new(settings).await;
        world.publish(vec![]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let listener = listener.into_std().unwrap();
        let server = tokio::spawn(serve(listener, world.state.clone(), 100, stop.clone()));
        (world, address, stop, server)
    }

    async fn exchange(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn old_clients_and_head_are_served() {
        let (_world, address, _stop, _server) = started().await;
        let answer = exchange(address, "OPTIONS / HTTP/1.0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
        assert!(answer.ends_with(r#"{"status":"healthy","working":0,"total":0}"#), "{answer}");
        for (path, length) in [("/health", 42), ("/nodes/status", 45)] {
            let answer = exchange(address, &format!("HEAD {path} HTTP/1.0\r\n\r\n")).await;
            assert!(answer.contains(&format!("content-length: {length}")), "{answer}");
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        }
        let long = format!("GET /health HTTP/1.0\r\nx: {}\r\n\r\n", "y".repeat(2 * HEAD_LIMIT));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(long.as_bytes()).await;
        let mut answer = Vec::new();
        // The rest of the head was not read, so the end may come as a reset.
        let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(
            answer.is_empty()
                || answer.starts_with(b"HTTP/1.0 431")
                || answer.starts_with(b"HTTP/1.1 431")
        );
    }

    /// Some clients end a request with one line too many; others have sent the half of their next one.
    #[tokio::test]
    async fn bytes_after_a_request_do_not_hold_back_its_answer() {
        let (_world, address, _stop, _server) = started().await;
        for after in ["\r\n", "GET /hea"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET /health HTTP/1.1\r\nHost: x\r\n\r\n{after}");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut first = [0; 12];
            tokio::time::timeout(SOON, stream.read_exact(&mut first)).await.unwrap().unwrap();
            assert_eq!(&first, b"HTTP/1.1 200", "{after:?}");
        }
    }

    /// Reads one answer, and what it says without its date.
    async fn answered(stream: &mut TcpStream, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let (mut bytes, mut room) = (Vec::new(), [0; 1024]);
        loop {
            let count = tokio::time::timeout(SOON, stream.read(&mut room)).await.unwrap().unwrap();
            assert_ne!(count, 0, "{request}");
            bytes.extend_from_slice(&room[..count]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if text.ends_with('}') {
                let lines = text.split("\r\n").filter(|line| !line.starts_with("date: "));
                return lines.collect::<Vec<_>>().join("\r\n");
            }
        }
    }

    #[tokio::test]
    async fn what_a_glance_answers_is_what_hyper_would_and_anything_may_follow() {
        let (world, address, _stop, _server) = started().await;
        for draining in [false, true] {
            world.draining.store(draining, std::sync::atomic::Ordering::Relaxed);
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut glances = Vec::new();
            for path in ["/health", "/livez", "/health"] {
                let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
                glances.push(answered(&mut stream, &request).await);
            }
            assert_ne!(glances[0], glances[1]);
            // A length makes it hyper's, here and for all that follows.
            for (path, glance) in ["/health", "/livez", "/health"].iter().zip(&glances) {
                let request = format!("GET {path} HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
                assert_eq!(answered(&mut stream, &request).await, *glance, "{path}");
            }
            let other = answered(&mut stream, "GET /nodes/status HTTP/1.1\r\n\r\n").await;
            assert!(other.contains("\"nodes\""), "{other}");
        }
    }

    #[tokio::test]
    async fn a_request_in_pieces_is_answered_once_it_is_whole() {
        let (_world, address, _stop, _server) = started().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let first = answered(&mut stream, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
        for piece in ["GET /hea", "lth HTTP/1.1\r\nHo"] {
            stream.write_all(piece.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(answered(&mut stream, "st: x\r\n\r\n").await, first);
    }

    #[tokio::test]
    async fn what_is_no_request_is_told_so() {
        let (_world, address, _stop, _server) = started().await;
        for garbage in ["GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
            let answer = exchange(address, garbage).await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{garbage:?}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_stop_waits_for_no_idle_connection() {
        let (_world, address, stop, server) = started().await;
        let _unused = TcpStream::connect(address).await.unwrap();
        let mut kept = TcpStream::connect(address).await.unwrap();
        kept.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        kept.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stop.cancel();
        tokio::time::timeout(SOON, server).await.unwrap().unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
    }

    #[tokio::test]
    async fn a_stop_waits_for_half_a_body_no_longer_than_it_has() {
        let (_world, address, stop, server) = started().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /nodes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Its body is being read from here on.
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 100");
        stream.write_all(b"{").await.unwrap();
        stop.cancel();
        tokio::time::timeout(SOON, server).await.unwrap().unwrap().unwrap();
    }

    #[test]
    fn a_failure_to_accept_slows_down_and_a_client_that_left_does_not() {
        let mut failures = Failures::default();
        let full = || io::Error::from_raw_os_error(24);
        let pauses: Vec<_> = (0..8).map(|_| failures.next(&full())).collect();
        assert!(pauses.is_sorted() && pauses[0] > Duration::ZERO && pauses[7] == PAUSES.1);
        assert_eq!(failures.next(&io::ErrorKind::ConnectionAborted.into()), Duration::ZERO);
        failures.over();
        assert_eq!(failures.next(&full()), PAUSES.0);
    }
}
