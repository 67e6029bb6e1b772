//! How the processes that were held have ended: the kernel tells once the parent has asked, so we ask again for a while.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::process::{Handle, Processes};

/// Questions in quick succession: after 2 ms, 4 ms, ... 1,024 ms, two seconds in all.
const QUICK: u32 = 10;

/// Questions at the interval after that: a parent that never asks leaves a zombie, and each is a descriptor of ours.
const SLOW: u32 = 20;

/// Processes that have ended, by the id of their node.
#[derive(Debug)]
pub(super) struct Endings {
    processes: Processes,
    waiting: HashMap<i64, Ending>,
    /// When each is to be asked about: ten thousand may end at once.
    order: BTreeSet<(Instant, i64)>,
}

#[derive(Debug)]
struct Ending {
    handle: Handle,
    tries: u32,
    due: Instant,
}

impl Endings {
    pub(super) fn new(processes: Processes) -> Self {
        Self { processes, waiting: HashMap::new(), order: BTreeSet::new() }
    }

    /// It has ended; it is asked about at once.
    pub(super) fn add(&mut self, id: i64, handle: Handle, now: Instant) {
        self.forget(id);
        self.put(id, Ending { handle, tries: 0, due: now });
    }

    fn put(&mut self, id: i64, ending: Ending) {
        self.order.insert((ending.due, id));
        self.waiting.insert(id, ending);
    }

    /// Another process is the node, or nobody wants to know.
    pub(super) fn forget(&mut self, id: i64) {
        if let Some(ending) = self.waiting.remove(&id) {
            self.order.remove(&(ending.due, id));
        }
    }

    /// When the next question is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// Asks those that are due; the nodes of which it is known now. It is kept for whoever looks next.
    pub(super) fn ask(&mut self, interval: Duration, now: Instant) -> Vec<i64> {
        let mut known = Vec::new();
        while let Some((due, id)) = self.order.first().copied().filter(|(due, _)| *due <= now) {
            self.order.remove(&(due, id));
            let Some(ending) = self.waiting.remove(&id) else { continue };
            if let Some(exit) = ending.handle.exit() {
                self.processes.remember(ending.handle.identity(), exit);
                known.push(id);
            } else if ending.tries < QUICK + SLOW {
                self.put(id, ending.again(interval, now));
            }
        }
        known
    }
}

impl Ending {
    fn again(self, interval: Duration, now: Instant) -> Self {
        let tries = self.tries + 1;
        let quick = Duration::from_millis(1 << tries.min(QUICK));
        let pause = if tries <= QUICK { quick } else { interval.max(quick) };
        Self { tries, due: now + pause, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn ended(processes: &Processes) -> (Child, Handle) {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let (_, handle) = processes.watch(child.id().into());
        let handle = handle.unwrap();
        child.kill().unwrap();
        while !handle.has_exited() {
            std::thread::yield_now();
        }
        (child, handle)
    }

    #[test]
    fn an_end_is_asked_for_until_the_parent_has_asked() {
        let processes = Processes::new().unwrap();
        let (mut child, handle) = ended(&processes);
        let (pid, interval) = (i64::from(child.id()), Duration::from_secs(30));
        let mut endings = Endings::new(processes.clone());
        let begin = Instant::now();
        endings.add(1, handle, begin);
        let (mut quick, mut now) = (0, begin);
        while endings.due().unwrap() - begin < Duration::from_secs(3) {
            now = endings.due().unwrap();
            assert_eq!(endings.ask(interval, now), [0; 0], "a zombie's end is not told");
            quick += 1;
        }
        assert_eq!(quick, 11, "at once and ten times within two seconds");
        assert!(endings.due().unwrap() - now >= interval);
        child.wait().unwrap();
        let known = endings.ask(interval, endings.due().unwrap());
        let told = processes.remembered(pid, None);
        // Kernels before 6.15 do not tell.
        assert_eq!(known.is_empty(), told.is_none());
        assert_eq!(endings.due().is_some(), told.is_none());
    }

    #[test]
    fn nobody_is_asked_about_for_ever() {
        let processes = Processes::new().unwrap();
        let (mut child, handle) = ended(&processes);
        let mut endings = Endings::new(processes);
        endings.add(1, handle, Instant::now());
        let mut asked = 0;
        while let Some(due) = endings.due() {
            endings.ask(Duration::from_secs(30), due);
            asked += 1;
        }
        child.wait().unwrap();
        assert_eq!(asked, QUICK + SLOW + 1);
        let (mut child, handle) = ended(&endings.processes);
        endings.add(2, handle, Instant::now());
        endings.forget(2);
        child.wait().unwrap();
        assert_eq!(endings.due(), None);
    }
}
