//! Places where a test stops, slows or kills this process; without the feature `failpoints` they are nothing.
//!
//! `FAILPOINTS="lock-renamed=return"` kills the process with SIGKILL at that place, as a power cut would;
//! `pause`, `sleep(ms)` and `print` do what the crate `fail` says.

/// Passes the place called `name`.
#[cfg(feature = "failpoints")]
pub fn at(name: &str) {
    fail::fail_point!(name, |_| die());
}

/// Passes the place called `name`: nothing in a build without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn at(_name: &str) {}

/// Reads `FAILPOINTS` for the life of the process; called once, by `main`.
#[cfg(feature = "failpoints")]
pub fn setup() {
    // Dropping the scenario would switch every fail point off again.
    std::mem::forget(fail::FailScenario::setup());
}

/// Reads nothing: there are no fail points in this build.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn setup() {}

#[cfg(feature = "failpoints")]
fn die() {
    use rustix::process::{Signal, getpid, kill_process};

    let _ = kill_process(getpid(), Signal::KILL);
    // SIGKILL to oneself is delivered before the call returns; this is for a kernel that thinks otherwise.
    std::process::abort();
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    #[ignore = "the other test runs it in a process of its own"]
    fn passes() {
        setup();
        at("unit-test");
    }

    #[test]
    fn a_place_kills_like_a_power_cut() {
        let run = |action: &str| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "failpoint::tests::passes", "--ignored"])
                .env("FAILPOINTS", action)
                .output()
                .unwrap()
                .status
        };
        assert_eq!(run("unit-test=return").signal(), Some(9));
        assert!(run("another=return").success());
    }
}
