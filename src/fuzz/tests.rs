//! A bounded pass in every run of the tests: mutated seeds, the same each time. It follows no coverage; `scripts/fuzz` does.

use std::fs;
use std::path::Path;

use super::TARGETS;

/// Inputs per target.
const INPUTS: usize = 5_000;

/// Inputs per target where there is time.
const MANY_INPUTS: usize = 1_000_000;

/// The longest input, in bytes.
const LONGEST: usize = 8 * 1024;

/// What parsers trip over.
const TOKENS: [&[u8]; 20] = [
    b"\0",
    b"\"",
    b"\\",
    b"=",
    b",",
    b"%",
    b"(",
    b") ",
    b"\r\n",
    b"\r\n\r\n",
    b"[[[[[[[[",
    b"{\"a\":{\"a\":",
    b"-1",
    b"9223372036854775808",
    b"18446744073709551616",
    b"1e999",
    b"\xff\xfe",
    b"\xe2\x80\xa8",
    b"Transfer-Encoding: chunked",
    b"ffffffffffffffff",
];

/// A generator of numbers that is enough for this (xorshift64, G. Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end.max(1)
    }

    /// Begin and end of a part of so many bytes.
    fn part(&mut self, length: usize) -> (usize, usize) {
        let (a, b) = (self.below(length + 1), self.below(length + 1));
        (a.min(b), a.max(b))
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dirs = [root.join("fuzz/seeds").join(target), root.join("tests/fixtures/locks")];
    let dirs = if target == "lock" { &dirs[1..] } else { &dirs[..1] };
    let mut seeds: Vec<Vec<u8>> = dirs
        .iter()
        .flat_map(|dir| fs::read_dir(dir).unwrap())
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    if target == "config" {
        seeds.push(fs::read(root.join("deploy/procwarden.example.toml")).unwrap());
    }
    seeds.sort_unstable();
    seeds
}

fn mutate(input: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    let (from, to) = dice.part(input.len());
    match dice.below(7) {
        0 if !input.is_empty() => {
            let at = at.min(input.len() - 1);
            input[at] ^= 1 << dice.below(8);
        }
        1 => drop(input.drain(from..to)),
        2 => {
            let again = input[from..to].to_vec();
            input.splice(at..at, again);
        }
        3 => {
            let (a, b) = dice.part(other.len());
            input.splice(from..to, other[a..b].iter().copied());
        }
        4 => input.truncate(at),
        5 => input[from..to].fill(b'0'),
        _ => {
            let token = TOKENS[dice.below(TOKENS.len())];
            input.splice(at..at, token.iter().copied());
        }
    }
    input.truncate(LONGEST);
}

#[test]
fn mutated_seeds_do_no_harm() {
    pass(INPUTS);
}

#[test]
#[ignore = "slow: minutes"]
fn a_million_mutated_seeds_do_no_harm() {
    pass(MANY_INPUTS);
}

fn pass(inputs: usize) {
    for (name, target) in TARGETS {
        // A whole configuration is read in a millisecond, everything else in microseconds.
        let inputs = if name == "config" { inputs / 10 } else { inputs };
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has seeds");
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for seed in &seeds {
            target(seed);
        }
        for _ in 0..inputs {
            let mut input = seeds[dice.below(seeds.len())].clone();
            for _ in 0..=dice.below(6) {
                mutate(&mut input, &seeds[dice.below(seeds.len())], &mut dice);
            }
            target(&input);
        }
    }
}

/// Or the pass above shows nothing.
#[test]
fn a_target_that_panics_is_noticed() {
    let caught = std::panic::catch_unwind(|| {
        let target: super::Target = |bytes| assert!(bytes.len() < 3, "too long");
        target(b"four");
    });
    assert!(caught.is_err());
}
