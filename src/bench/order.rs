//! Which side comes first.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Of every two visits to a query each side is first once, and chance decides on which. A fixed
/// alternation would give the same draws to the same side first whenever blocks divide the draws evenly.
pub(super) struct Order {
    random: ChaCha8Rng,
    sides: usize,
    /// For each query, and for connecting, what the second visit of the current two will be.
    second: Vec<Option<bool>>,
}

impl Order {
    pub(super) fn new(sides: usize, queries: usize) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(0x006f_7264_6572),
            sides,
            second: vec![None; queries + 1],
        }
    }

    pub(super) fn next(&mut self, query: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.sides).collect();
        let Some(second) = self.second.get_mut(query) else {
            return order;
        };
        let reversed = second.take().unwrap_or_else(|| {
            let reversed = self.random.random_bool(0.5);
            *second = Some(!reversed);
            reversed
        });
        if reversed {
            order.reverse();
        }
        order
    }
}
