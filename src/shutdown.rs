//! Signals: the first SIGTERM or SIGINT asks for a graceful end, the second ends at once, SIGHUP rereads.

use std::io;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Two signals closer together than this are one request: `timeout(1)` and others signal a process and its whole group.
/// They came 5 ms apart here (measured); nobody presses twice as fast.
const ONE_REQUEST: Duration = Duration::from_millis(25);

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
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    _ = hangup.recv() => {
                        // Nobody listens any more while the service ends.
                        let _ = said.send(());
                        continue;
                    }
                };
                if soft.is_cancelled() {
                    tracing::warn!(signal = name, "a second signal: ending at once");
                    hard.cancel();
                    continue;
                }
                tracing::info!(signal = name, "ending");
                soft.cancel();
                tokio::time::sleep(ONE_REQUEST).await;
                // What came meanwhile was the same request.
                while terminate.recv().now_or_never().flatten().is_some() {}
                while interrupt.recv().now_or_never().flatten().is_some() {}
            }
        });
        Ok(shutdown)
    }
}
