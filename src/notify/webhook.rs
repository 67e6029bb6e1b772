//! The webhook: a POST of JSON, signed with HMAC-SHA-256 over its time and its body.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::Full;
use hyper::client::conn::http1::handshake;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Serialize;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

use super::{SendError, roots};
use crate::causes::chain;
use crate::clock;
use crate::config::Alerts;
use crate::domain::alert::Alert;
use crate::domain::alert_text::summary;
use crate::domain::node::Password;

/// Limit of the TCP connect.
const CONNECT: Duration = Duration::from_secs(5);

/// Limit of the whole exchange. The answer's body is not read.
const EXCHANGE: Duration = Duration::from_secs(10);

const SIGNATURE: &str = "x-procwarden-signature";
const DELIVERY: &str = "x-procwarden-delivery";

/// The body.
#[derive(Serialize)]
struct Body<'a> {
    /// Grows when a field changes its meaning or goes.
    version: u32,
    delivery: &'a str,
    summary: String,
    alerts: &'a [Alert],
}

/// One connection for each message: a kept one would be one that the other side has closed by the next.
#[derive(Debug)]
pub(super) struct Webhook {
    url: Url,
    /// Without brackets.
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    secret: Password,
}

impl Webhook {
    pub(super) async fn open(settings: &Alerts) -> Result<Self, SendError> {
        let (Some(url), Some(secret)) = (&settings.webhook_url, &settings.webhook_secret) else {
            return Err(SendError::new("no webhook is configured"));
        };
        let none = || SendError::new("the URL is none");
        let url = Url::parse(url.expose()).map_err(|_| none())?;
        let host = match url.host().ok_or_else(none)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let tls = match url.scheme() {
            "https" => Some(Arc::new(roots::trusting().await?)),
            _ => None,
        };
        let port = url.port_or_known_default().ok_or_else(none)?;
        Ok(Self { url, host, port, tls, secret: secret.clone() })
    }

    pub(super) async fn send(&self, id: &str, alerts: &[Alert]) -> Result<String, SendError> {
        let body = Body { version: 1, delivery: id, summary: summary(alerts), alerts };
        let body = serde_json::to_vec(&body).map_err(|error| failed(&error))?;
        let request = self.request(id, body)?;
        let late = || SendError::new(format!("no answer within {} s", EXCHANGE.as_secs()));
        let exchange = tokio::time::timeout(EXCHANGE, self.exchange(request));
        let status = exchange.await.unwrap_or_else(|_| Err(late()))?;
        if status.is_success() {
            return Ok(format!("answered {}", status.as_u16()));
        }
        let more = if status.is_redirection() { "; redirects are not followed" } else { "" };
        Err(SendError::new(format!("answered {}{more}", status.as_u16())))
    }

    fn request(&self, id: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>, SendError> {
        let signature = signature(&self.secret, clock::now().wall.secs(), &body)?;
        let mut request = Request::post(&self.url[Position::BeforePath..Position::AfterQuery])
            .header(HOST, &self.url[Position::BeforeHost..Position::AfterPort])
            .header(USER_AGENT, concat!("procwarden/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .header(SIGNATURE, signature)
            .header(DELIVERY, id);
        if !self.url.username().is_empty() {
            let (user, password) = (self.url.username(), self.url.password().unwrap_or_default());
            let decoded = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy();
            let login = format!("{}:{}", decoded(user), decoded(password));
            request =
                request.header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(login)));
        }
        request.body(Full::new(body.into())).map_err(|error| failed(&error))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<StatusCode, SendError> {
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let late = || SendError::new(format!("no connection within {} s", CONNECT.as_secs()));
        let stream = tokio::time::timeout(CONNECT, connect).await.map_err(|_| late())?;
        let stream = stream.map_err(|error| failed(&error))?;
        let Some(config) = &self.tls else { return spoken(stream, request).await };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| failed(&error))?;
        let tls = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
        spoken(tls.map_err(|error| failed(&error))?, request).await
    }
}

/// One request over this connection; the status of its answer.
async fn spoken(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<StatusCode, SendError> {
    let (mut sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It may have brought the answer with its end.
        _ = &mut connection => answer.await,
    };
    answer.map(|answer| answer.status()).map_err(|error| failed(&error))
}

fn failed(error: &dyn std::error::Error) -> SendError {
    SendError::new(chain(error))
}

/// `t=<seconds>,v1=<hex of HMAC-SHA-256 over "<seconds>.<body>">`: the time is signed too, so that a receiver can refuse
/// an old message that somebody recorded.
fn signature(secret: &Password, secs: i64, body: &[u8]) -> Result<String, SendError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .map_err(|error| SendError::new(error.to_string()))?;
    mac.update(format!("{secs}.").as_bytes());
    mac.update(body);
    let mut header = format!("t={secs},v1=");
    for byte in mac.finalize().into_bytes() {
        // Writing to a String cannot fail.
        let _ = write!(header, "{byte:02x}");
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '1736937045.{}' | openssl dgst -sha256 -hmac secret`
    #[test]
    fn the_signature_is_what_openssl_makes() {
        let made = signature(&Password::new("secret".into()), 1_736_937_045, b"{}").unwrap();
        let expected = "0f58e793f389a667e5864d88bd0f78b2b84e2380a56308eac05cfeab92d7b77a";
        assert_eq!(made, format!("t=1736937045,v1={expected}"));
    }
}
