//! The threads that answer, in a runtime of their own: a step of a reconciler, however long, delays no answer from memory.

use std::future::Future;
use std::io;
use std::num::NonZero;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Most of them. One answers more than 100,000 requests of `/health` a second (BENCHMARKS.md).
const MOST: usize = 4;

/// The threads. They end with this, and do not wait for what runs on them.
#[derive(Debug)]
pub struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    /// One for each core that this process may use, up to four.
    ///
    /// # Errors
    /// The kernel gives no thread, or no descriptor.
    pub fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.min(MOST))
            .thread_name("procwarden-http")
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs a task on them.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(task)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Within another runtime it must not be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::super::serve;
    use super::super::testing::World;
    use super::*;
    use crate::config::Settings;

    /// This test's own runtime has one thread, and the test never lets it go.
    #[tokio::test]
    async fn answers_come_while_every_other_thread_is_busy() {
        let world = World::new(Settings::default()).await;
        world.publish(vec![]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let threads = Threads::start().unwrap();
        let _served =
            threads.spawn(serve(listener, world.state.clone(), 100, CancellationToken::new()));
        for path in ["/health", "/nodes/status"] {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        }
    }
}
