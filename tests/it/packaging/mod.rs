//! What is shipped beside the binary, with the programs that it is for.

mod balancer;
mod files;
mod manager;
mod pid_file;
mod private;
mod supervised;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than anything takes here on a busy machine.
const SOON: Duration = Duration::from_secs(60);

const BINARY: &str = env!("CARGO_BIN_EXE_procwarden");

/// What is shipped under this name.
fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// Its text with these changed; each must be in it.
fn changed(name: &str, changes: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(shipped(name)).unwrap();
    for (was, is) in changes {
        assert!(text.contains(was), "{name} has no {was}");
        text = text.replace(was, is);
    }
    text
}
