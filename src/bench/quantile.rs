//! Quantiles of latencies, and how far to trust them.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2000;
/// With fewer blocks than this a bootstrap says little, and the extremes are taken.
const FEW_BLOCKS: usize = 6;

/// The `q` quantile of sorted values, interpolated between neighbours (Hyndman and Fan's type 7); 0 for none.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some((index, share)) = position(sorted.len(), q) else {
        return 0.0;
    };
    let last = sorted.len().saturating_sub(1);
    let value = |i: usize| sorted.get(i.min(last)).copied().unwrap_or_default();
    let (low, high) = (value(index), value(index + 1));
    // Infinite values stand for executions that were cut off: no interpolation towards them.
    if share <= 0.0 || low.total_cmp(&high).is_eq() {
        low
    } else {
        low + (high - low) * share
    }
}

/// Between which two of `n` sorted values the quantile lies: the index of the first, and the share of the way to the next.
fn position(n: usize, q: f64) -> Option<(usize, f64)> {
    let last = n.checked_sub(1)?;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index between 0 and the number of samples"
    )]
    let position = {
        let at = q.clamp(0.0, 1.0) * last as f64;
        (at.floor() as usize, at.fract())
    };
    Some(position)
}

/// A value that the `q` quantile of sorted values reaches with a confidence of about 97 %: the order statistic two standard
/// deviations below it.
pub(super) fn quantile_at_least(sorted: &[f64], q: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a number of samples")]
    let n = sorted.len() as f64;
    let below = 2.0 * (n * q * (1.0 - q)).sqrt() / n.max(1.0);
    quantile(sorted, q - below)
}

/// Sorted copy; latencies are never NaN.
pub(super) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// One side's latencies in milliseconds, by block.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    pub values: &'a [f64],
    pub sizes: &'a [usize],
}

impl<'a> Blocks<'a> {
    fn split(self) -> Vec<&'a [f64]> {
        let mut rest = self.values;
        let mut out = Vec::with_capacity(self.sizes.len());
        for size in self.sizes {
            let (block, after) = rest.split_at((*size).min(rest.len()));
            if !block.is_empty() {
                out.push(block);
            }
            rest = after;
        }
        if !rest.is_empty() {
            out.push(rest);
        }
        out
    }
}

/// An interval that holds the `q` quantile of `after` divided by that of `before`, except with a chance of `alpha` on each
/// side.
///
/// Whole blocks are drawn with replacement, so that values that resemble their neighbours do not pass for independent ones;
/// blocks that alternated in time are drawn as pairs, so that what slowed the machine down for both counts for neither.
pub fn ratio_interval(before: Blocks<'_>, after: Blocks<'_>, q: f64, alpha: f64) -> (f64, f64) {
    let (b, a) = (before.split(), after.split());
    let mut random = ChaCha8Rng::seed_from_u64(0x0064_6274_756e_6521);
    if b.len() < FEW_BLOCKS || a.len() < FEW_BLOCKS {
        let (b_low, b_high) = interval(&b, q, alpha, &mut random);
        let (a_low, a_high) = interval(&a, q, alpha, &mut random);
        return (ratio(a_low, b_high), ratio(a_high, b_low));
    }
    let paired = b.len() == a.len();
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let picks = picked(b.len(), &mut random);
            let low = resampled(&b, &picks, q);
            let high = if paired {
                resampled(&a, &picks, q)
            } else {
                resampled(&a, &picked(a.len(), &mut random), q)
            };
            ratio(high, low)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    (quantile(&ratios, alpha), quantile(&ratios, 1.0 - alpha))
}

/// The same of one side's quantile alone; its extremes where there are too few blocks for more.
fn interval(blocks: &[&[f64]], q: f64, alpha: f64, random: &mut ChaCha8Rng) -> (f64, f64) {
    let mut values: Vec<f64> = if blocks.len() < FEW_BLOCKS {
        blocks.concat()
    } else {
        (0..RESAMPLES)
            .map(|_| resampled(blocks, &picked(blocks.len(), random), q))
            .collect()
    };
    values.sort_by(f64::total_cmp);
    if blocks.len() < FEW_BLOCKS {
        (quantile(&values, 0.0), quantile(&values, 1.0))
    } else {
        (quantile(&values, alpha), quantile(&values, 1.0 - alpha))
    }
}

fn picked(blocks: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    (0..blocks)
        .map(|_| random.random_range(0..blocks))
        .collect()
}

fn resampled(blocks: &[&[f64]], picks: &[usize], q: f64) -> f64 {
    let mut values: Vec<f64> = picks
        .iter()
        .filter_map(|i| blocks.get(*i))
        .flat_map(|block| block.iter().copied())
        .collect();
    // Half of them in order is enough for one quantile.
    let Some((index, _)) = position(values.len(), q) else {
        return 0.0;
    };
    let (_, _, larger) = values.select_nth_unstable_by(index, f64::total_cmp);
    if let Some(next) = (0..larger.len()).min_by(|x, y| compare_at(larger, *x, *y)) {
        larger.swap(0, next);
    }
    quantile(&values, q)
}

fn compare_at(values: &[f64], x: usize, y: usize) -> std::cmp::Ordering {
    let value = |i: usize| values.get(i).copied().unwrap_or_default();
    value(x).total_cmp(&value(y))
}

/// `over / under`, where both may be cut off (infinite).
pub(super) fn ratio(over: f64, under: f64) -> f64 {
    match (over.is_finite(), under.is_finite()) {
        (true, true) => over / under.max(1e-6),
        (true, false) => 0.0,
        (false, true) => f64::INFINITY,
        (false, false) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn quantiles_interpolate_and_survive_infinity() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert!(near(quantile(&values, 0.5), 3.0) && near(quantile(&values, 0.95), 4.8));
        assert!(near(quantile(&[], 0.5), 0.0) && near(quantile(&[7.0], 0.99), 7.0));
        let cut = [1.0, f64::INFINITY, f64::INFINITY];
        assert!(quantile(&cut, 0.95).is_infinite() && near(quantile(&cut, 0.0), 1.0));
    }

    /// Lognormal-like noise with a slow drift that hits both sides.
    fn noisy(seed: u64, n: i32, scale: f64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|i| {
                let noise: f64 = (0..6).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 3.0;
                let drift = 1.0 + 0.3 * (f64::from(i) / 40.0).sin();
                scale * drift * (noise * 0.3).exp()
            })
            .collect()
    }

    #[test]
    fn the_interval_holds_the_truth_and_excludes_what_is_far() {
        let sizes = vec![5; 40];
        let mut alarms = 0;
        for seed in 0..20 {
            let (b, a) = (noisy(seed, 200, 10.0), noisy(seed + 1000, 200, 10.0));
            let blocks = |values| Blocks {
                values,
                sizes: &sizes,
            };
            let (low, high) = ratio_interval(blocks(&b), blocks(&a), 0.95, 0.01);
            assert!(low < high);
            alarms += usize::from(low > 1.1 || high < 0.9);
            let slow = noisy(seed + 2000, 200, 20.0);
            let (low, _) = ratio_interval(blocks(&b), blocks(&slow), 0.95, 0.01);
            assert!(low > 1.3, "{low}");
        }
        assert!(alarms <= 1, "{alarms} of 20");
    }

    #[test]
    fn few_samples_give_a_wide_interval() {
        let (b, a) = ([10.0, 12.0, 11.0], [11.0, 14.0, 10.0]);
        let sizes = [1, 1, 1];
        let (low, high) = ratio_interval(
            Blocks {
                values: &b,
                sizes: &sizes,
            },
            Blocks {
                values: &a,
                sizes: &sizes,
            },
            0.95,
            0.01,
        );
        assert!(near(low, 10.0 / 12.0) && near(high, 1.4));
    }
}
