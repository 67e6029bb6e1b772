//! What a service manager that started us is told: that we are ready, that our loops turn, that we end (`sd_notify(3)`).
//! Without one nothing is told.

use std::collections::BTreeMap;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::SERVICE_MANAGER;
use crate::domain::Uptime;
use crate::gauges::{Gauges, Loop, TURNS_WITHIN};
use crate::snapshot::Published;

/// How often it is looked whether there is something to be told for the first time.
const READY_PAUSE: Duration = Duration::from_millis(50);

/// A loop may rest so long, however short the watchdog's patience is.
const REST: Duration = Duration::from_secs(TURNS_WITHIN.as_secs() * 2);

/// Who started us, if it wants to hear of us; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager {
    socket: Option<Arc<UnixDatagram>>,
    /// It ends us when it hears nothing for so long.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As these variables say.
    #[must_use]
    pub fn of(environment: &BTreeMap<String, String>) -> Self {
        let [socket, patience, whose] = SERVICE_MANAGER.map(|name| environment.get(name));
        let Some(name) = socket else { return Self::default() };
        let socket = connected(name).inspect_err(|error| {
            tracing::warn!(%error, "the service manager cannot be told of anything");
        });
        let ours = whose.is_none_or(|pid| *pid == std::process::id().to_string());
        let patience = patience.filter(|_| ours).and_then(|it| it.parse().ok());
        Self {
            socket: socket.ok().map(Arc::new),
            watchdog: patience.filter(|it| *it > 0).map(Duration::from_micros),
        }
    }

    /// Does anybody listen?
    #[must_use]
    pub const fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// We end, and nothing is amiss.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Tells that we are ready once there is something to be told, and from then on that these loops turn, while they do.
    pub async fn follow(
        self,
        published: Arc<Published>,
        gauges: Gauges,
        loops: Vec<Loop>,
        stop: CancellationToken,
    ) {
        let work = async {
            while !is_published(&published) {
                tokio::time::sleep(READY_PAUSE).await;
            }
            self.tell("READY=1");
            let Some(patience) = self.watchdog else { return std::future::pending().await };
            // Half of it, as the manual advises.
            let mut beat = tokio::time::interval((patience / 2).max(Duration::from_millis(1)));
            loop {
                beat.tick().await;
                let now = clock::uptime();
                let stands = |it: &&Loop| !turns(gauges.turned(**it), now, patience);
                match loops.iter().find(stands) {
                    None => self.tell("WATCHDOG=1"),
                    Some(it) => tracing::error!(task = it.as_str(), "the loop does not turn"),
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    fn tell(&self, text: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(text.as_bytes()) {
            tracing::debug!(%error, text, "the service manager did not take it");
        }
    }
}

fn turns(turned: Option<Uptime>, now: Uptime, patience: Duration) -> bool {
    turned.is_some_and(|turned| now.since(turned) < patience.max(REST))
}

fn is_published(published: &Published) -> bool {
    let snapshot = published.load();
    let parts = [snapshot.nodes.valid_until, snapshot.migrations.valid_until];
    parts.iter().all(|it| *it != Uptime::default())
}

/// A path, or a name without one (`@`), `unix(7)`.
fn connected(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // Nobody waits for a service manager that hangs.
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{MigrationsPart, NodesPart};

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        assert!(!ServiceManager::of(&environment(&[])).is_there());
        let gone = environment(&[("NOTIFY_SOCKET", "/nowhere/notify")]);
        assert!(!ServiceManager::of(&gone).is_there());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _listener = UnixDatagram::bind(&path).unwrap();
        let path = path.to_str().unwrap();
        for (pid, expected) in [("1", None), ("", None)] {
            let others =
                [("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "5000"), ("WATCHDOG_PID", pid)];
            let manager = ServiceManager::of(&environment(&others));
            assert_eq!((manager.is_there(), manager.watchdog), (true, expected), "{pid}");
        }
        let ours = [("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "5000")];
        let manager = ServiceManager::of(&environment(&ours));
        assert_eq!(manager.watchdog, Some(Duration::from_millis(5)));
    }

    #[test]
    fn a_loop_may_rest_and_not_stand_still() {
        let (now, patience) = (Uptime(100_000), Duration::from_secs(20));
        assert!(turns(Some(Uptime(80_001)), now, patience));
        assert!(!turns(Some(Uptime(80_000)), now, patience));
        assert!(turns(Some(Uptime(90_001)), now, Duration::from_millis(5)));
        assert!(!turns(None, now, patience), "it has not begun");
    }

    #[tokio::test]
    async fn ready_is_told_once_there_is_something_to_tell_and_the_watchdog_while_loops_turn() {
        let name = format!("@procwarden-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::UnixDatagram::from_std(listener).unwrap();
        let pairs = [("NOTIFY_SOCKET", name.as_str()), ("WATCHDOG_USEC", "20000")];
        let manager = ServiceManager::of(&environment(&pairs));
        let (published, gauges) = (Arc::new(Published::default()), Gauges::default());
        let stop = CancellationToken::new();
        let follow = manager.clone().follow(
            Arc::clone(&published),
            gauges.clone(),
            vec![Loop::Nodes],
            stop.clone(),
        );
        let task = tokio::spawn(follow);
        let heard = async || {
            let mut text = [0; 64];
            let length = listener.recv(&mut text).await.unwrap();
            String::from_utf8_lossy(&text[..length]).into_owned()
        };
        let valid_until = Uptime(i64::MAX);
        published.publish_nodes(NodesPart { valid_until, ..NodesPart::default() });
        let early = tokio::time::timeout(READY_PAUSE * 3, heard()).await;
        assert!(early.is_err(), "{early:?} before migrations were published");
        published.publish_migrations(MigrationsPart { valid_until, ..MigrationsPart::default() });
        assert_eq!(heard().await, "READY=1");
        let silent = tokio::time::timeout(Duration::from_millis(100), heard()).await;
        assert!(silent.is_err(), "{silent:?} although the loop has not turned");
        gauges.turn(Loop::Nodes);
        assert_eq!(heard().await, "WATCHDOG=1");
        stop.cancel();
        task.await.unwrap();
    }
}
