//! From a ratio's estimate to what may be concluded of it, for one query and for all of a run.

use super::resample::Estimate;
use crate::model::Interval;

/// Standard normal quantile of 95 %: the confidence of a one-sided bound.
const ONE_SIDED: f64 = 1.644_854;
/// Of 97.5 %: both ends of an interval of 95 %.
const TWO_SIDED: f64 = 1.959_964;
/// Less than this no measurement is sure of: clocks, and what two identical databases differ by.
const RESOLUTION: f64 = 0.005;

impl Estimate {
    fn error(&self) -> f64 {
        self.error.hypot(RESOLUTION)
    }

    /// Of before / after.
    pub(super) fn inverse(&self) -> Self {
        Self {
            point: 1.0 / self.point.max(1e-12),
            ..self.clone()
        }
    }

    /// What the ratio is at least, with 95 % confidence.
    pub(super) fn low(&self) -> f64 {
        self.moved(-student(ONE_SIDED, self.freedom))
    }

    /// What it is at most, with 95 % confidence.
    pub(super) fn high(&self) -> f64 {
        self.moved(student(ONE_SIDED, self.freedom))
    }

    fn moved(&self, errors: f64) -> f64 {
        self.point * (errors * self.error()).exp()
    }

    pub(super) fn interval(&self) -> Interval {
        let errors = student(TWO_SIDED, self.freedom);
        Interval {
            low: self.moved(-errors),
            point: self.point,
            high: self.moved(errors),
        }
    }

    /// The chance of such a ratio, or a larger one, where the true one is no more than 1.
    pub(super) fn p_value(&self) -> f64 {
        if self.point <= 1.0 {
            return 1.0;
        }
        let t = self.point.ln() / self.error();
        // Wallace's transformation of Student's t to a normal deviate.
        let n = self.freedom;
        let z = (8.0 * n + 1.0) / (8.0 * n + 3.0) * (n * (t * t / n).ln_1p()).sqrt();
        upper_tail(z)
    }
}

/// A quantile of Student's distribution from the normal one: the expansion of Cornish and Fisher, good from 5 degrees of
/// freedom on.
fn student(z: f64, freedom: f64) -> f64 {
    let n = freedom.max(5.0);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    z + first / n + second / (n * n)
}

/// The chance that a standard normal variable is over `z`, which is not negative (Abramowitz and Stegun, 7.1.26).
fn upper_tail(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let sum = [
        1.061_405_429,
        -1.453_152_027,
        1.421_413_741,
        -0.284_496_736,
        0.254_829_592,
    ]
    .into_iter()
    .fold(0.0, |sum, c| (sum + c) * t);
    (sum * (-x * x).exp() / 2.0).clamp(1e-12, 1.0)
}

/// The largest p-value that counts: among those at or under it, the expected share of false ones is `rate`
/// (Benjamini and Hochberg 1995); where nothing changed, the chance of any at all is.
pub(super) fn false_discovery(p_values: &[f64], rate: f64) -> f64 {
    let mut sorted = p_values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a number of queries")]
    let share = |k: usize| rate * k as f64 / sorted.len().max(1) as f64;
    (1..)
        .zip(&sorted)
        .filter(|(k, p)| **p <= share(*k))
        .map(|(_, p)| *p)
        .last()
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(point: f64, error: f64, freedom: f64) -> Estimate {
        Estimate {
            point,
            error,
            freedom,
        }
    }

    #[test]
    fn tails_and_quantiles_agree_with_the_tables() {
        let near = |a: f64, b: f64, by: f64| assert!((a / b - 1.0).abs() < by, "{a} {b}");
        near(upper_tail(1.644_854), 0.05, 1e-3);
        near(upper_tail(3.090_232), 0.001, 1e-2);
        // Student's t with 10 degrees of freedom: 1.812, 2.228.
        near(student(ONE_SIDED, 10.0), 1.812, 2e-3);
        near(student(TWO_SIDED, 10.0), 2.228, 2e-3);
        // P(t₁₀ > 3.169) = 0.005.
        let t = estimate(
            (3.169_f64 * 0.1).exp(),
            (0.01 - RESOLUTION * RESOLUTION).sqrt(),
            10.0,
        );
        near(t.p_value(), 0.005, 3e-2);
    }

    #[test]
    fn many_small_p_values_vouch_for_each_other() {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(near(false_discovery(&[0.02, 0.5, 0.9, 1.0], 0.05), 0.0));
        assert!(near(false_discovery(&[0.01, 0.02, 0.9, 1.0], 0.05), 0.02));
        assert!(near(false_discovery(&[], 0.05), 0.0));
    }
}
