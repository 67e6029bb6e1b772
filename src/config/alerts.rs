//! `[alerts]`: where they are sent, what is told, and what contradicts itself.

use std::time::Duration;

use lettre::message::Mailbox;
use url::Url;

use super::fault::Fault;
use super::parse::{Problem, shown};
use super::raw::Raw;
use super::settings::Settings;
use super::sources::Gathered;
use crate::domain::alert::{Channel, Kind, Rules};
use crate::domain::node::Password;

/// Whether and how TLS is spoken with the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// The connection begins in clear and turns to TLS, or no mail is sent (RFC 3207).
    Starttls,
    /// From the first byte (RFC 8314, section 3.3).
    Tls,
    /// Never: for a server on this machine.
    Off,
}

impl SmtpTls {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Starttls, Self::Tls, Self::Off];

    /// The word for it in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starttls => "starttls",
            Self::Tls => "tls",
            Self::Off => "off",
        }
    }

    /// The port of such servers (RFC 6409, section 3.1; RFC 8314, section 3.3; RFC 5321).
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::Off => 25,
        }
    }
}

/// Who is told of what. Off where neither a webhook nor a mail server is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerts {
    /// What is told of.
    pub on: Vec<Kind>,
    /// How long the first alert waits for others, so that they are one message.
    pub group_wait: Duration,
    /// Where they are posted; a secret, since such URLs often have one in them.
    pub webhook_url: Option<Password>,
    /// The key of the signature.
    pub webhook_secret: Option<Password>,
    /// The mail server; none: no mail.
    pub smtp_host: Option<String>,
    /// Its port; none: that of `smtp_tls`.
    pub smtp_port: Option<u16>,
    /// Whether TLS is spoken.
    pub smtp_tls: SmtpTls,
    /// User of the mail server.
    pub smtp_user: Option<String>,
    /// Its password.
    pub smtp_password: Option<Password>,
    /// Who sends the mails.
    pub mail_from: Option<String>,
    /// Who gets them.
    pub mail_to: Vec<String>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            on: Kind::ALL.to_vec(),
            group_wait: Duration::from_secs(30),
            webhook_url: None,
            webhook_secret: None,
            smtp_host: None,
            smtp_port: None,
            smtp_tls: SmtpTls::Starttls,
            smtp_user: None,
            smtp_password: None,
            mail_from: None,
            mail_to: Vec::new(),
        }
    }
}

impl Alerts {
    /// Where alerts are sent.
    #[must_use]
    pub fn channels(&self) -> Vec<Channel> {
        let given = [self.webhook_url.is_some(), self.smtp_host.is_some()];
        Channel::ALL.into_iter().zip(given).filter_map(|(it, given)| given.then_some(it)).collect()
    }

    /// What makes an alert, for whom.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            channels: self.channels().into_iter().collect(),
            on: self.on.iter().copied().collect(),
            group_wait: self.group_wait,
        }
    }

    /// The port of the mail server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.smtp_port.unwrap_or_else(|| self.smtp_tls.port())
    }
}

/// An address that can be posted to. It is never repeated.
pub(super) fn webhook_url(raw: &Raw) -> Result<Password, Problem> {
    let text = raw.text()?;
    let expected = "must be a URL such as https://example.org/hook";
    let url = Url::parse(&text).map_err(|_| expected.to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(expected.to_owned());
    }
    Ok(Password::new(text))
}

/// `alerts.on`.
pub(super) fn kinds(raw: &Raw) -> Result<Vec<Kind>, Problem> {
    let words = raw.list()?;
    let allowed = || Kind::ALL.map(Kind::as_str).join(", ");
    if words.is_empty() {
        return Err(format!("must name one of {} at least", allowed()));
    }
    let known = |word: &String| {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
        kind.ok_or_else(|| format!("{} is none of {}", shown(word), allowed()))
    };
    words.iter().map(known).collect()
}

/// A mail address, alone or behind a name: `procwarden <warden@example.org>`.
fn check_mailbox(text: &str) -> Result<(), Problem> {
    let plain = !text.chars().any(char::is_control);
    if plain && text.parse::<Mailbox>().is_ok() {
        return Ok(());
    }
    Err(format!("{} is not an address such as warden@example.org", shown(text)))
}

pub(super) fn mailbox(raw: &Raw) -> Result<String, Problem> {
    let text = raw.text()?;
    check_mailbox(&text).map(|()| text)
}

pub(super) fn mailboxes(raw: &Raw) -> Result<Vec<String>, Problem> {
    let list = raw.list()?;
    if list.is_empty() {
        return Err("must name somebody".to_owned());
    }
    list.iter().try_for_each(|text| check_mailbox(text))?;
    Ok(list)
}

/// What signs: such as a line of a file or a variable holds without quotes.
pub(super) fn key(raw: &Raw) -> Result<Password, Problem> {
    let key = raw.text()?;
    if key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Password::new(key))
    } else {
        Err("must be visible ASCII characters without spaces".to_owned())
    }
}

/// A host name or an address, without scheme or port.
pub(super) fn host(raw: &Raw) -> Result<String, Problem> {
    let host = raw.short_text()?;
    if host.contains([' ', '/', '@', '?', '#']) {
        return Err("must be a host name or an address, without scheme or port".to_owned());
    }
    Ok(host.trim_matches(['[', ']']).to_owned())
}

/// What must stand together.
pub(super) fn finish(found: &Gathered, faults: &mut Vec<Fault>) {
    const URL: &str = "alerts.webhook_url";
    const SECRET: &str = "alerts.webhook_secret";
    const HOST: &str = "alerts.smtp_host";
    const USER: &str = "alerts.smtp_user";
    const PASSWORD: &str = "alerts.smtp_password";
    let is_given = |key: &str| found.values.contains_key(key);
    let pairs = [
        (URL, SECRET),
        (SECRET, URL),
        (HOST, "alerts.mail_from"),
        (HOST, "alerts.mail_to"),
        ("alerts.mail_from", HOST),
        ("alerts.mail_to", HOST),
        (USER, PASSWORD),
        (PASSWORD, USER),
        (USER, HOST),
    ];
    let mut told: Vec<&str> = Vec::new();
    for (key, needed) in pairs {
        if is_given(key) && !is_given(needed) && !told.contains(&needed) {
            told.push(needed);
            faults.push(fault(found, key, format!("needs {needed} as well")));
        }
    }
}

/// A password or a secret in clear over a network is allowed and may not be meant.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let alerts = &settings.alerts;
    let mut warnings = Vec::new();
    let is_here = |host: &str| {
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
    };
    let away = alerts.smtp_host.as_deref().is_some_and(|host| !is_here(host));
    if away && alerts.smtp_tls == SmtpTls::Off {
        warnings.push("alerts.smtp_tls is off: mails and the password travel in clear".to_owned());
    }
    warnings
}

fn fault(found: &Gathered, key: &str, problem: String) -> Fault {
    match found.values.get(key) {
        Some(raw) => Fault::new(key, &raw.source, problem),
        None => Fault::new(key, &"default", problem),
    }
}
