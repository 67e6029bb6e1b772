//! `health`: asks a running instance, for container health checks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::exit::{CliError, Exit};
use super::output::{Answer, printable};
use crate::config::Settings;

/// For the whole exchange. The answer comes from memory; Docker's own default limit is 30 s.
const TIMEOUT: Duration = Duration::from_secs(5);

/// As much of the body as is shown.
const SHOWN: usize = 4096;

pub(super) async fn run(settings: &Settings, url: Option<&str>) -> Result<Answer, CliError> {
    let url = url.map_or_else(|| default_url(settings.server.listen), str::to_owned);
    if !url.starts_with("http://") {
        return Err(CliError::Usage(format!("'{}' is no http:// URL", printable(&url))));
    }
    let shown = crate::store::redacted(&url);
    let unasked = |error: &reqwest::Error| {
        CliError::CouldNotTell(format!(
            "{} could not be asked: {}",
            printable(&shown),
            crate::causes::chain(error)
        ))
    };
    // Neither a proxy nor another place than the one that was named.
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| unasked(&error))?;
    let mut response =
        client.get(&url).send().await.map_err(|error| unasked(&error.without_url()))?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| unasked(&error.without_url()))? {
        body.extend_from_slice(&part);
        if body.len() >= SHOWN {
            body.truncate(SHOWN);
            break;
        }
    }
    let text =
        format!("{} {}\n", status.as_u16(), printable(String::from_utf8_lossy(&body).trim_end()));
    let exit = if status == reqwest::StatusCode::OK { Exit::Ok } else { Exit::Down };
    Ok(Answer::ok(text).ending(exit))
}

/// `/health` of the address that is listened on; of the loopback where that is every address.
fn default_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}/health", SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with this status line.
    fn serve_once(status: &'static str) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let body = "{\"status\":\"x\"}";
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + body).as_bytes());
        });
        url
    }

    #[tokio::test]
    async fn the_status_decides() {
        let settings = Settings::default();
        for (status, exit) in [
            ("200 OK", Exit::Ok),
            ("503 Service Unavailable", Exit::Down),
            ("404 Not Found", Exit::Down),
            ("302 Found", Exit::Down),
        ] {
            let answer = run(&settings, Some(&serve_once(status))).await.unwrap();
            assert_eq!(answer.exit, exit, "{status}");
            assert!(answer.text.ends_with("{\"status\":\"x\"}\n"), "{}", answer.text);
        }
    }

    #[tokio::test]
    async fn nobody_there_is_not_down_but_unknown() {
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let settings = Settings::default();
        for (url, exit) in [
            (format!("http://127.0.0.1:{port}/health"), Exit::CouldNotTell),
            ("ftp://x".into(), Exit::Usage),
            ("127.0.0.1:8686".into(), Exit::Usage),
        ] {
            let error = run(&settings, Some(&url)).await.unwrap_err();
            assert_eq!(error.exit(), exit, "{url}: {error}");
        }
    }

    #[test]
    fn every_address_is_asked_on_the_loopback() {
        for (listen, url) in [
            ("0.0.0.0:8686", "http://127.0.0.1:8686/health"),
            ("[::]:80", "http://[::1]:80/health"),
            ("10.1.2.3:8686", "http://10.1.2.3:8686/health"),
        ] {
            assert_eq!(default_url(listen.parse().unwrap()), url);
        }
    }
}
