//! Small and repeatable chance (xorshift64, Marsaglia 2003): a failure names its seed.

use std::time::Duration;

#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Never from 0, which would stay 0.
    pub const fn new(seed: u64) -> Self {
        Self(if seed == 0 { 1 } else { seed })
    }

    /// 0 up to `limit`, without it.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// One of so many.
    pub fn index(&mut self, many: usize) -> usize {
        usize::try_from(self.below(many as u64)).unwrap()
    }

    /// Between half of it and one and a half.
    pub fn about(&mut self, duration: Duration) -> Duration {
        let ms = u64::try_from(duration.as_millis()).unwrap();
        Duration::from_millis(ms / 2 + self.below(ms + 1))
    }
}
