//! Signals: the first SIGTERM or SIGINT asks for a graceful end, the second ends at once, SIGHUP rereads.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What the outside asks of a running service.
#[derive(Debug)]
pub struct Shutdown {
    /// Cancelled by the first signal: drain, finish, end with success.
    pub soft: CancellationToken,
    /// Cancelled by the second: end at once.
    pub hard: CancellationToken,
    /// One message for each SIGHUP.
    pub hangups: mpsc::UnboundedReceiver<()>,
}

impl Shutdown {
    /// One that only its tokens end; for the library and for tests.
    #[must_use]
    pub fn by_token(soft: CancellationToken) -> Self {
        let (_, hangups) = mpsc::unbounded_channel();
        Self { soft, hard: CancellationToken::new(), hangups }
    }

    /// Takes over SIGTERM, SIGINT and SIGHUP of this process. To be called before anything is bound: SIGHUP's
    /// default is to kill.
    ///
    /// # Errors
    /// If the kernel refuses a handler.
    pub fn by_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
        let (said, hangups) = mpsc::unbounded_channel();
        let shutdown = Self { soft: soft.clone(), hard: hard.clone(), hangups };
        // Not tracked: it has nothing to finish and lives as long as the process.
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => end(&soft, &hard, "SIGTERM"),
                    _ = interrupt.recv() => end(&soft, &hard, "SIGINT"),
                    _ = hangup.recv() => {
                        // Nobody listens any more while the service ends.
                        let _ = said.send(());
                    }
                }
            }
        });
        Ok(shutdown)
    }
}

fn end(soft: &CancellationToken, hard: &CancellationToken, signal: &str) {
    if soft.is_cancelled() {
        tracing::warn!(signal, "a second signal: ending at once");
        hard.cancel();
    } else {
        tracing::info!(signal, "ending");
        soft.cancel();
    }
}
