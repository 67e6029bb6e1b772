//! Locks that appear, change and go: inotify, and what becomes of it where it is refused or overflows.
