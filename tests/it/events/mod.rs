//! What the kernel tells at once, how it is told on, and that all is right without.

mod listener;
mod locks;
mod migrations;
mod nodes;
mod resume;
mod stalled;
mod stream;

use crate::support::WardenConfig;

/// Told of everything at once, and looking by itself only every five minutes: what is seen sooner was told.
fn told() -> WardenConfig {
    WardenConfig::default()
        .set("events.enabled", true)
        .set("migrations.interval", "300s")
        .set("migrations.grace", "600s")
}

/// The kernel tells from 6.15 on how a process ended that is no child of ours.
fn kernel_tells() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}
