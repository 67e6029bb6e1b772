//! How others reach the node reconciler.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// How long a caller waits for the registry to be read again; the work goes on after that.
const RELOAD_WAIT: Duration = Duration::from_secs(2);

/// What the node reconciler can be asked for.
#[derive(Debug)]
pub(super) enum Request {
    /// Check this node now.
    Wake(i64),
    /// Read the registry again and publish.
    Reload(oneshot::Sender<()>),
}

/// Asks the node reconciler for work; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::UnboundedSender<Request>,
}

impl Handle {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Request>) {
        let (requests, inbox) = mpsc::unbounded_channel();
        (Self { requests }, inbox)
    }

    /// One that nobody listens to.
    #[cfg(test)]
    #[must_use]
    pub fn unheard() -> Self {
        Self::new().0
    }

    /// The node with this id is checked as soon as it can be.
    pub fn wake(&self, id: i64) {
        // A reconciler that is gone ends the process; there is nobody left to tell.
        let _ = self.requests.send(Request::Wake(id));
    }

    /// The registry is read again; returns once readers see it, or after 2 s.
    pub async fn reload(&self) {
        let (done, published) = oneshot::channel();
        let _ = self.requests.send(Request::Reload(done));
        let _ = tokio::time::timeout(RELOAD_WAIT, published).await;
    }
}
