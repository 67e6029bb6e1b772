//! Sends what waits in the outbox. Each channel has a loop of its own, and none of them holds up anything else.
//!
//! At least once: a message leaves the outbox when its receiver has taken it, and whoever dies in between sends it again
//! under the same name. What fails is tried again after a pause that doubles, for as long as `history.retain` says.

mod mail;
mod roots;
mod webhook;

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Alerts;
use crate::domain::Timestamp;
use crate::domain::alert::{Alert, Channel, Kind, News, Status, Subject, pause};
use crate::failpoint;
use crate::gauges::{Gauges, Waiting};
use crate::store::{Delivery, OutboxState, Store, StoreError};

use mail::Mail;
use webhook::Webhook;

/// How often the outbox is asked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The limit of one message, whatever the receiver does.
const LIMIT: Duration = Duration::from_secs(20);

/// For how long a message is ours while it is sent: longer than that takes, so that nobody else sends it meanwhile.
const HOLD: Duration = Duration::from_mins(1);

/// How long a database that failed is left alone.
const STORE_REST: Duration = Duration::from_secs(3);

/// Why a message did not get through, in a line for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SendError(String);

impl SendError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// A way to a receiver.
#[derive(Debug)]
enum Outlet {
    Webhook(Webhook),
    Mail(Mail),
}

impl Outlet {
    async fn open(channel: Channel, settings: &Alerts) -> Result<Self, SendError> {
        match channel {
            Channel::Webhook => Webhook::open(settings).await.map(Self::Webhook),
            Channel::Mail => Mail::open(settings).await.map(Self::Mail),
        }
    }

    /// Hands the message over; what the receiver said.
    async fn send(&self, id: &str, alerts: &[Alert]) -> Result<String, SendError> {
        let work = async {
            match self {
                Self::Webhook(webhook) => webhook.send(id, alerts).await,
                Self::Mail(mail) => mail.send(id, alerts).await,
            }
        };
        let late = || SendError::new(format!("no answer within {} s", LIMIT.as_secs()));
        tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Sends until the token is cancelled.
pub async fn run(store: Store, settings: Alerts, gauges: Gauges, token: CancellationToken) {
    let channels = settings.channels();
    let one = |channel| {
        let wanted = channels.contains(&channel);
        let sender = Sender { channel, store: &store, settings: &settings, gauges: &gauges };
        let token = &token;
        async move {
            if wanted {
                sender.run(token).await;
            } else {
                token.cancelled().await;
            }
        }
    };
    tokio::join!(one(Channel::Webhook), one(Channel::Mail));
}

#[derive(Clone, Copy)]
struct Sender<'a> {
    channel: Channel,
    store: &'a Store,
    settings: &'a Alerts,
    gauges: &'a Gauges,
}

impl Sender<'_> {
    async fn run(self, token: &CancellationToken) {
        let mut outlet = None;
        let mut failures = 0;
        let mut rests_until = Instant::now();
        let mut wait = LOOK_EVERY;
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = match self.look().await {
                Ok(state) if state.is_due() && rests_until <= Instant::now() => {
                    match self.next(&mut outlet, token).await {
                        Ok(Some(true)) => {
                            failures = 0;
                            // There may be more.
                            Duration::ZERO
                        }
                        Ok(Some(false)) => {
                            failures += 1;
                            rests_until = Instant::now() + pause(failures);
                            LOOK_EVERY
                        }
                        Ok(None) => LOOK_EVERY,
                        Err(error) => self.store_failed(&error),
                    }
                }
                Ok(_) => LOOK_EVERY,
                Err(error) => self.store_failed(&error),
            };
        }
    }

    /// What is wrong with the database is said by those that cannot do without it.
    fn store_failed(self, error: &StoreError) -> Duration {
        let (channel, error) = (self.channel.as_str(), error.chain());
        tracing::debug!(channel, error, "the outbox cannot be read");
        STORE_REST
    }

    async fn look(self) -> Result<OutboxState, StoreError> {
        let state = self.store.outbox(self.channel).await?;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        self.gauges.alerts().of(self.channel).waits(Waiting {
            pending: count(state.pending),
            oldest: state.oldest.map(Timestamp),
            attempts: count(state.attempts),
        });
        Ok(state)
    }

    /// Sends the next message, if there is one and it is ours: whether it got through.
    async fn next(
        self,
        outlet: &mut Option<Outlet>,
        token: &CancellationToken,
    ) -> Result<Option<bool>, StoreError> {
        let taken = self.store.take_delivery(self.channel, &fresh_id(), HOLD).await?;
        let Some(Delivery { id, alerts, attempts }) = taken else { return Ok(None) };
        failpoint::at("alert-taken");
        let sent = tokio::select! {
            sent = self.send(outlet, &id, &alerts) => sent,
            () = token.cancelled() => {
                // It may have arrived; the receiver knows it by its name.
                self.store.deliver_again(&id, Duration::ZERO).await?;
                return Ok(None);
            }
        };
        let (channel, count) = (self.channel.as_str(), alerts.len());
        match sent {
            Ok(said) => {
                tracing::info!(channel, delivery = id, alerts = count, said, "alerts were sent");
                failpoint::at("alert-sent");
                self.gauges.alerts().of(self.channel).sent(count as u64);
                self.strike_off(&id, token).await;
                Ok(Some(true))
            }
            Err(error) => {
                let again = pause(attempts);
                // Once for each message; after that `/readyz` and the metrics tell.
                if attempts == 1 {
                    tracing::warn!(channel, delivery = id, alerts = count, %error, "alerts wait");
                } else {
                    tracing::debug!(channel, delivery = id, attempts, %error, "alerts wait");
                }
                self.gauges.alerts().of(self.channel).failed(error.to_string());
                self.store.deliver_again(&id, again).await?;
                Ok(Some(false))
            }
        }
    }

    async fn send(
        self,
        outlet: &mut Option<Outlet>,
        id: &str,
        alerts: &[Alert],
    ) -> Result<String, SendError> {
        let outlet = match outlet {
            Some(outlet) => outlet,
            None => outlet.insert(Outlet::open(self.channel, self.settings).await?),
        };
        outlet.send(id, alerts).await
    }

    /// It has arrived, so it is not to be sent again as long as this process can help it.
    async fn strike_off(self, id: &str, token: &CancellationToken) {
        while let Err(error) = self.store.delivered(id).await {
            let rest = self.store_failed(&error);
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
            }
        }
    }
}

/// A name that no other message has: 128 random bits.
fn fresh_id() -> String {
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        // Without a source of chance, the time in nanoseconds: no two are taken at once.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        random = now.unwrap_or_default().as_nanos().to_be_bytes();
    }
    format!("{:032x}", u128::from_be_bytes(random))
}

/// Sends one message through each configured channel now. For each channel what the receiver said, or why it did not
/// get through.
pub async fn test(settings: &Alerts, instance: &str) -> Vec<(Channel, Result<String, SendError>)> {
    let id = fresh_id();
    let news = News {
        kind: Kind::Test,
        status: Status::Firing,
        subject: Subject::Instance { name: instance.to_owned() },
        state: "live",
        reason: None,
        message: Some("Somebody tries the way of alerts; nothing happened".to_owned()),
    };
    let alerts = [news.at(clock::now().wall, format!("test:{id}"), instance)];
    let mut told = Vec::new();
    for channel in settings.channels() {
        let sent = match Outlet::open(channel, settings).await {
            Ok(outlet) => outlet.send(&id, &alerts).await,
            Err(error) => Err(error),
        };
        told.push((channel, sent));
    }
    told
}
