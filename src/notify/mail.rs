//! The mail: plain text over SMTP, with STARTTLS, TLS or neither.

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::SendError;
use crate::causes::chain;
use crate::config::{Alerts, SmtpTls};
use crate::domain::alert::Alert;
use crate::domain::alert_text::{body, summary};
use crate::domain::plain::plain;

/// Limit of each step of the conversation; the whole has its own.
const STEP: Duration = Duration::from_secs(10);

/// Most characters of a subject.
const SUBJECT: usize = 200;

/// Most characters of what the server says.
const SAID: usize = 200;

pub(super) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Mailboxes,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Mail {
    pub(super) async fn open(settings: &Alerts) -> Result<Self, SendError> {
        let (Some(host), Some(from)) = (settings.smtp_host.clone(), &settings.mail_from) else {
            return Err(SendError::new("no mail is configured"));
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host.clone())
            .port(settings.port())
            .timeout(Some(STEP))
            .tls(tls(settings.smtp_tls, host).await?);
        if let (Some(user), Some(password)) = (&settings.smtp_user, &settings.smtp_password) {
            builder =
                builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let address = |text: &String| {
            text.parse::<Mailbox>().map_err(|error| SendError::new(error.to_string()))
        };
        let to: Vec<Mailbox> = settings.mail_to.iter().map(address).collect::<Result<_, _>>()?;
        Ok(Self { transport: builder.build(), from: address(from)?, to: to.into_iter().collect() })
    }

    pub(super) async fn send(&self, id: &str, alerts: &[Alert]) -> Result<String, SendError> {
        let message = self.message(id, alerts)?;
        match self.transport.send(message).await {
            Ok(response) => Ok(plain(
                &format!("answered {} {}", response.code(), response.first_line().unwrap_or("")),
                SAID,
            )),
            Err(error) => Err(SendError::new(plain(&chain(&error), SAID))),
        }
    }

    /// Whatever of others is in it is harmless already: on one line, without control characters.
    fn message(&self, id: &str, alerts: &[Alert]) -> Result<Message, SendError> {
        let domain = self.from.email.domain();
        let subject = plain(&format!("[procwarden] {}", summary(alerts)), SUBJECT);
        let mut builder = Message::builder()
            .from(self.from.clone())
            // The same each time that it is sent, so that a copy is known as one.
            .message_id(Some(format!("<{id}@{domain}>")))
            .subject(subject)
            // RFC 3834, section 5: no answering machine answers it.
            .raw_header(raw("Auto-Submitted", "auto-generated"))
            .header(ContentType::TEXT_PLAIN);
        for to in self.to.iter() {
            builder = builder.to(to.clone());
        }
        let text = format!("{}Delivery {id}\n", body(alerts));
        builder.body(text).map_err(|error| SendError::new(error.to_string()))
    }
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// The authorities that this machine trusts are read from the disk, on a blocking thread.
async fn tls(how: SmtpTls, host: String) -> Result<Tls, SendError> {
    if how == SmtpTls::Off {
        return Ok(Tls::None);
    }
    let parameters = tokio::task::spawn_blocking(|| TlsParameters::new_rustls(host))
        .await
        .map_err(|error| SendError::new(error.to_string()))?
        .map_err(|error| SendError::new(chain(&error)))?;
    Ok(match how {
        SmtpTls::Tls => Tls::Wrapper(parameters),
        SmtpTls::Starttls | SmtpTls::Off => Tls::Required(parameters),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::alert::{Kind, News, Status, Subject};

    #[tokio::test]
    async fn nothing_of_others_gets_into_the_head() {
        let settings = Alerts {
            smtp_host: Some("localhost".into()),
            smtp_tls: SmtpTls::Off,
            mail_from: Some("procwarden <w@example.org>".into()),
            mail_to: vec!["a@example.org".into(), "b@example.org".into()],
            ..Alerts::default()
        };
        let mail = Mail::open(&settings).await.unwrap();
        let name = "x\r\nBcc: thief@example.org\r\n\r\n<script>\u{1b}[31m\u{202e}".to_owned();
        let news = News {
            kind: Kind::NodeDown,
            status: Status::Firing,
            subject: Subject::Node {
                id: 1,
                name: name.clone(),
                title: Some(name.repeat(100)),
                address: "h:1".into(),
            },
            state: "down",
            reason: Some("io".into()),
            message: Some(name.repeat(100)),
        };
        let alert = news.at(Timestamp(0), "a:1:0".into(), "host\r\n");
        let text = String::from_utf8(mail.message("id", &[alert]).unwrap().formatted()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("\nbcc"), "{head}");
        assert!(head.contains("To: a@example.org, b@example.org"), "{head}");
        assert!(head.contains("Message-ID: <id@example.org>"), "{head}");
        assert!(head.contains("Auto-Submitted: auto-generated"), "{head}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        assert!(body.lines().all(|line| line.len() < 998), "{body}");
    }
}
