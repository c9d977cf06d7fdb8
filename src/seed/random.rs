//! Numbers that depend on nothing but seed, table, column and row, so that rows come out the same on every machine,
//! in any order, and whatever other tables stand in the specification.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Random numbers of one column: a stretch of one `ChaCha` stream for each row.
#[derive(Clone, Debug)]
pub(super) struct Stream(ChaCha8Rng);

/// The numbers of one cell, in order.
pub(super) struct Draw(ChaCha8Rng);

/// Each row has 2^9 words of the stream: 256 numbers. A longer value runs on into the next row's, which costs
/// nothing but independence.
const ROW_SHIFT: u32 = 9;

impl Stream {
    pub(super) fn new(seed: u64, name: &str) -> Self {
        let mut key = [0; 32];
        for (place, byte) in key.iter_mut().zip(seed.to_le_bytes()) {
            *place = byte;
        }
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(fnv1a(name));
        Self(rng)
    }

    pub(super) fn row(&self, row: u64) -> Draw {
        let mut rng = self.0.clone();
        rng.set_word_pos(u128::from(row) << ROW_SHIFT);
        Draw(rng)
    }

    /// A key for a [`Shuffle`] of this column.
    pub(super) fn key(&self) -> u64 {
        self.row(u64::MAX >> ROW_SHIFT).next()
    }
}

impl Draw {
    pub(super) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Evenly from 0 to `bound - 1`; 0 where `bound` is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        scale(self.next(), bound)
    }

    /// Evenly from `from` to `to`, both included.
    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        let width = to.abs_diff(from).saturating_add(1);
        from.wrapping_add_unsigned(self.below(width))
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float")]
        let draw = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        draw < share
    }

    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let place = self.below(items.len() as u64);
        items.get(usize::try_from(place).ok()?)
    }

    pub(super) fn uuid(&mut self) -> u128 {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        // Version 4, variant 1 (RFC 9562).
        let bits = bits & !(0xf << 76) | 4 << 76;
        bits & !(3 << 62) | 2 << 62
    }
}

/// A fixed disorder of 0 to `size - 1`: every number once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shuffle {
    key: u64,
    size: u64,
    half_bits: u32,
}

impl Shuffle {
    pub(super) fn new(key: u64, size: u64) -> Self {
        let bits = u64::BITS - size.saturating_sub(1).leading_zeros();
        Self {
            key,
            size,
            half_bits: bits.div_ceil(2).max(1),
        }
    }

    /// Where `place` goes. A Feistel network over the next power of four, walked until it is back in range.
    pub(super) fn at(&self, place: u64) -> u64 {
        if self.size < 2 {
            return 0;
        }
        let mask = (1_u64 << self.half_bits) - 1;
        let mut value = place % self.size;
        loop {
            let (mut left, mut right) = (value >> self.half_bits, value & mask);
            for round in 0..4_u64 {
                let mixed = mix(right ^ self.key.wrapping_add(round << 32)) & mask;
                (left, right) = (right, left ^ mixed);
            }
            value = left << self.half_bits | right;
            if value < self.size {
                return value;
            }
        }
    }
}

/// `number` as a share of all numbers, of `bound`.
fn scale(number: u64, bound: u64) -> u64 {
    let wide = u128::from(number) * u128::from(bound);
    u64::try_from(wide >> 64).unwrap_or_default()
}

/// `SplitMix64`'s finaliser.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::{Shuffle, Stream};
    use std::collections::BTreeSet;

    #[test]
    fn a_shuffle_keeps_every_number() {
        for size in [1, 2, 3, 7, 200, 1_000, 4_097] {
            let shuffle = Shuffle::new(42, size);
            let seen: BTreeSet<u64> = (0..size).map(|i| shuffle.at(i)).collect();
            assert_eq!(seen.len() as u64, size);
            assert!(seen.iter().all(|v| *v < size));
        }
    }

    #[test]
    fn numbers_are_those_of_every_machine() {
        let mut draw = Stream::new(7, "public.t.c").row(3);
        assert_eq!(draw.next(), 7_459_018_432_077_462_651);
        assert_eq!(Shuffle::new(7, 1_000).at(0), 661);
    }
}
