//! How it stands with the sending of alerts: written by the senders, read by `/readyz` and `/metrics`.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::Timestamp;
use crate::domain::alert::Channel;

/// What waits for a channel, as it was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// How many alerts.
    pub pending: u64,
    /// Since when.
    pub oldest: Option<Timestamp>,
    /// How often the most tried was tried.
    pub attempts: u64,
}

/// Of every channel.
#[derive(Debug, Default)]
pub struct Senders([Sender; Channel::ALL.len()]);

/// Of one channel.
#[derive(Debug, Default)]
pub struct Sender {
    waiting: Mutex<Waiting>,
    error: Mutex<Option<String>>,
    sent: AtomicU64,
    failures: AtomicU64,
}

impl Senders {
    /// Of this channel.
    #[must_use]
    pub const fn of(&self, channel: Channel) -> &Sender {
        &self.0[channel as usize]
    }
}

impl Sender {
    /// So much waits.
    pub fn waits(&self, waiting: Waiting) {
        // A poisoned lock guards a whole value: nothing fails while it is written. Here and below.
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }

    /// So many alerts got through.
    pub fn sent(&self, alerts: u64) {
        self.sent.fetch_add(alerts, Ordering::Relaxed);
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A message did not get through.
    pub fn failed(&self, why: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// What waits.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the last message did not get through, if it did not and this process tried it.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Alerts that got through.
    #[must_use]
    pub fn sent_total(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Messages that did not, each time that they were tried.
    #[must_use]
    pub fn failures_total(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What is wrong with the channel, in a line for people: something waits although it was tried.
    #[must_use]
    pub fn trouble(&self, channel: Channel) -> Option<String> {
        let Waiting { pending, oldest, attempts } = self.waiting();
        let attempts = attempts.max(1);
        let error = self.error();
        if pending == 0 || (attempts < 2 && error.is_none()) {
            return None;
        }
        let since = oldest.map(|at| format!(" since {}", at.rfc3339())).unwrap_or_default();
        let why = error.map(|why| format!(": {why}")).unwrap_or_default();
        let channel = channel.as_str();
        Some(format!("{channel}: {pending} alerts wait{since}, tried {attempts} times{why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_trouble_once_it_was_tried() {
        let senders = Senders::default();
        let sender = senders.of(Channel::Mail);
        let waiting = Waiting { pending: 3, oldest: Some(Timestamp(0)), attempts: 1 };
        sender.waits(waiting);
        assert_eq!(sender.trouble(Channel::Mail), None, "under way");
        sender.failed("refused".into());
        let told = "mail: 3 alerts wait since 1970-01-01T00:00:00+00:00, tried 1 times: refused";
        assert_eq!(sender.trouble(Channel::Mail).as_deref(), Some(told));
        sender.waits(Waiting::default());
        sender.sent(3);
        assert_eq!(sender.trouble(Channel::Mail), None);
        assert_eq!((sender.sent_total(), sender.failures_total(), sender.error()), (3, 1, None));
    }
}
