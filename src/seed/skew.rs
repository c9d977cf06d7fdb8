use super::random::{Draw, Shuffle};

/// Zipf's law over a table's rows: the first is referred to `ratio` times as often as the last.
#[derive(Clone, Debug)]
pub(super) struct Skew {
    /// Running sums of the weights.
    sums: Vec<u64>,
}

/// Weight of the last row. Rounding to whole numbers makes the weights the same on every machine, whatever the
/// last bit of its `powf`.
const UNIT: f64 = 1_000_000.0;

impl Skew {
    pub(super) fn new(rows: u64, ratio: f64) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rows are far below 2^53, and weights lie between UNIT and ratio * UNIT"
        )]
        let weight = |rank: u64| {
            let exponent = ratio.ln() / (rows.max(2) as f64).ln();
            (ratio / ((rank + 1) as f64).powf(exponent) * UNIT).round() as u64
        };
        let sums = (0..rows)
            .scan(0_u64, |sum, rank| {
                *sum = sum.saturating_add(weight(rank));
                Some(*sum)
            })
            .collect();
        Self { sums }
    }

    pub(super) fn draw(&self, draw: &mut Draw) -> u64 {
        self.find(draw.below(self.total()))
    }

    /// The row for one of `size` children: over all of them, each row gets its share exactly, give or take one.
    pub(super) fn share(&self, shuffle: &Shuffle, place: u64, size: u64) -> u64 {
        let middle = u128::from(2 * shuffle.at(place) + 1) * u128::from(self.total());
        let point = middle / u128::from(2 * size.max(1));
        self.find(u64::try_from(point).unwrap_or_default())
    }

    fn total(&self) -> u64 {
        self.sums.last().copied().unwrap_or_default()
    }

    fn find(&self, point: u64) -> u64 {
        self.sums.partition_point(|sum| *sum <= point) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::{Shuffle, Skew};

    #[test]
    fn the_first_is_a_hundred_times_the_last() {
        let (rows, children) = (200, 200_000);
        let skew = Skew::new(rows, 100.0);
        let shuffle = Shuffle::new(1, children);
        let mut counts = vec![0_u32; 200];
        for place in 0..children {
            counts[usize::try_from(skew.share(&shuffle, place, children)).unwrap()] += 1;
        }
        let ratio = f64::from(counts[0]) / f64::from(counts[199]);
        assert!((99.0..101.0).contains(&ratio), "{ratio}");
        assert!(counts.is_sorted_by(|a, b| a + 1 >= *b), "{counts:?}");
    }
}
