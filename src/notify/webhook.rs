//! The webhook: a POST of JSON, signed with HMAC-SHA-256 over its time and its body.

use std::fmt::Write as _;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::Serialize;
use sha2::Sha256;

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

const SIGNATURE: HeaderName = HeaderName::from_static("x-procwarden-signature");
const DELIVERY: HeaderName = HeaderName::from_static("x-procwarden-delivery");

/// The body.
#[derive(Serialize)]
struct Body<'a> {
    /// Grows when a field changes its meaning or goes.
    version: u32,
    delivery: &'a str,
    summary: String,
    alerts: &'a [Alert],
}

#[derive(Debug)]
pub(super) struct Webhook {
    client: Client,
    url: Url,
    secret: Password,
}

impl Webhook {
    pub(super) async fn open(settings: &Alerts) -> Result<Self, SendError> {
        let (Some(url), Some(secret)) = (&settings.webhook_url, &settings.webhook_secret) else {
            return Err(SendError::new("no webhook is configured"));
        };
        let url = Url::parse(url.expose()).map_err(|_| SendError::new("the URL is none"))?;
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(EXCHANGE)
            // One message in a while: a connection that is kept is one that the other side has closed.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("procwarden/", env!("CARGO_PKG_VERSION")));
        if url.scheme() == "https" {
            builder = builder.tls_backend_preconfigured(roots::trusting().await?);
        } else {
            // Without a word about TLS the client would look for a provider of the whole process.
            builder = builder.tls_backend_preconfigured(roots::none()?);
        }
        let client = builder.build().map_err(failed)?;
        Ok(Self { client, url, secret: secret.clone() })
    }

    pub(super) async fn send(&self, id: &str, alerts: &[Alert]) -> Result<String, SendError> {
        let body = Body { version: 1, delivery: id, summary: summary(alerts), alerts };
        let body = serde_json::to_vec(&body).map_err(|error| SendError::new(error.to_string()))?;
        let signature = signature(&self.secret, clock::now().wall.secs(), &body)?;
        let header = |text: &str| {
            HeaderValue::from_str(text).map_err(|error| SendError::new(error.to_string()))
        };
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(SIGNATURE, header(&signature)?)
            .header(DELIVERY, header(id)?)
            .body(body);
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(format!("answered {}", status.as_u16()));
        }
        let more = if status.is_redirection() { "; redirects are not followed" } else { "" };
        Err(SendError::new(format!("answered {}{more}", status.as_u16())))
    }
}

/// The URL may have a secret in it, so it is not said.
fn failed(error: reqwest::Error) -> SendError {
    SendError::new(chain(&error.without_url()))
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
