//! How far work is that takes a while: a line on standard error, on a terminal only, gone at the end.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Nothing is shown of work that is done by then.
const PATIENCE: Duration = Duration::from_secs(1);

/// It is drawn at most this often.
const PAUSE: Duration = Duration::from_millis(100);

/// Columns of the bar.
const BAR: usize = 30;

/// The line; taken away when it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    total: usize,
    done: AtomicUsize,
    /// When it is drawn next; none where there is no terminal.
    next: Option<Mutex<Instant>>,
    drawn: AtomicUsize,
}

impl Progress {
    /// Of so many.
    pub(super) fn of(total: usize) -> Self {
        let next = std::io::stderr().is_terminal().then(|| Mutex::new(Instant::now() + PATIENCE));
        Self { total, done: AtomicUsize::new(0), next, drawn: AtomicUsize::new(0) }
    }

    /// One more is done.
    pub(super) fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(next) = &self.next else { return };
        let now = Instant::now();
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        if *next > now {
            return;
        }
        *next = now + PAUSE;
        self.drawn.store(1, Ordering::Relaxed);
        // Who does not see it lacks nothing.
        let _ = write!(std::io::stderr().lock(), "\r{}", line(done, self.total));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.load(Ordering::Relaxed) > 0 {
            let blank = " ".repeat(line(self.total, self.total).len());
            let _ = write!(std::io::stderr().lock(), "\r{blank}\r");
        }
    }
}

fn line(done: usize, total: usize) -> String {
    let full = done.min(total) * BAR / total.max(1);
    let (bar, rest) = ("#".repeat(full), ".".repeat(BAR - full));
    let width = total.to_string().len();
    format!("[{bar}{rest}] {done:>width$}/{total}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_grows_from_nothing_to_all_and_keeps_its_width() {
        assert_eq!(line(0, 1000), format!("[{}]    0/1000", ".".repeat(30)));
        assert_eq!(line(500, 1000), format!("[{}{}]  500/1000", "#".repeat(15), ".".repeat(15)));
        assert_eq!(line(1000, 1000), format!("[{}] 1000/1000", "#".repeat(30)));
        assert_eq!(line(0, 0), format!("[{}] 0/0", ".".repeat(30)));
    }
}
