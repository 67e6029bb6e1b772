//! One target of `procwarden::fuzz` under libFuzzer; `FUZZ_TARGET` names it, `scripts/fuzz` runs them all.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use procwarden::fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET is one of {:?}", TARGETS.map(|it| it.0))).1
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
