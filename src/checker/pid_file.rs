//! PID files: the number in one, and those of many nodes, whatever disk they lie on.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use futures_util::future::join_all;

use super::patience::{Patience, Subject};
use crate::domain::Node;

/// Longest PID file that is read, in bytes; a PID and a line end have at most 8.
const PID_FILE_LIMIT: u64 = 64;

/// The number in a PID file; none where there is no such file or it holds something else. Blocking, and it may hang.
#[must_use]
pub fn read_pid_file(path: &str) -> Option<i64> {
    // Opening a FIFO would wait for its writer.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(PID_FILE_LIMIT).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Reads the PID files of nodes; cheap to clone.
#[derive(Debug, Clone)]
pub struct PidFiles {
    patience: Patience,
    limit: Duration,
}

impl PidFiles {
    /// None takes longer than `limit`.
    pub(super) const fn new(patience: Patience, limit: Duration) -> Self {
        Self { patience, limit }
    }

    /// By the nodes' ids: the numbers of those that have a PID file, no PID, and a file that can be read in time.
    pub async fn of(&self, nodes: impl Iterator<Item = &Node>) -> HashMap<i64, i64> {
        let reads = nodes.filter(|node| node.pid.is_none()).filter_map(|node| {
            let (id, path) = (node.id, node.pid_file.clone()?);
            let subject = Subject::PidFile(path.clone());
            let reading = self.patience.wait(id, subject, self.limit, move || read_pid_file(&path));
            Some(async move { Some((id, reading.await.flatten()?)) })
        });
        join_all(reads).await.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::checker::tests::node;

    #[test]
    fn a_pid_file_is_a_short_regular_file_with_one_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid").to_str().unwrap().to_owned();
        assert_eq!(read_pid_file(&path), None);
        let long = format!("1{}", " ".repeat(200));
        for (text, pid) in [
            ("4711\n", Some(4711)),
            ("  4711", Some(4711)),
            ("-1", Some(-1)),
            ("", None),
            ("4711 4712", None),
            ("99999999999999999999", None),
            (long.as_str(), Some(1)),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_pid_file(&path), pid, "{text}");
        }
        assert_eq!(read_pid_file(dir.path().to_str().unwrap()), None);
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(read_pid_file(fifo.to_str().unwrap()), None);
    }

    #[tokio::test]
    async fn a_file_that_hangs_keeps_no_other_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path.to_str().unwrap().to_owned())
        };
        let named = |id, pid, pid_file| Node { id, pid, pid_file, ..node(1) };
        let nodes = [
            named(1, None, file("1", "11")),
            named(2, None, file("2", "22")),
            named(3, Some(33), file("3", "44")),
            named(4, None, None),
            named(5, None, file("5", "none")),
        ];
        let patience = Patience::default();
        // As a disk would that does not answer: the read before it about the same has not ended.
        let (end_it, hangs) = mpsc::channel::<()>();
        let (long, short) = (Duration::from_secs(60), Duration::from_secs(2));
        let subject = Subject::PidFile(nodes[0].pid_file.clone().unwrap());
        let (begun, begins) = tokio::sync::oneshot::channel();
        let before = patience.clone();
        let hanging = tokio::spawn(async move {
            let work = move || {
                begun.send(()).unwrap();
                let _ = hangs.recv();
            };
            before.wait(1, subject, long, work).await
        });
        begins.await.unwrap();
        let read = PidFiles::new(patience.clone(), short).of(nodes.iter()).await;
        assert_eq!(read, HashMap::from([(2, 22)]));
        drop(end_it);
        hanging.await.unwrap();
        let read = PidFiles::new(patience, long).of(nodes.iter()).await;
        assert_eq!(read, HashMap::from([(1, 11), (2, 22)]));
    }
}
