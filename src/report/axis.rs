//! A logarithmic axis in whole powers of ten, or in parts of one where the values are close together.

/// The smallest value that is told from zero.
const LEAST: f64 = 0.001;

/// From the left to the right edge of a drawing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Logarithms of the ends.
    low: f64,
    high: f64,
    left: f64,
    right: f64,
}

impl Axis {
    /// Holds every value; not finite ones do not count.
    pub(super) fn over(values: impl Iterator<Item = f64>, left: f64, right: f64) -> Self {
        let (low, high) = values
            .filter(|v| v.is_finite())
            .map(|v| v.max(LEAST).log10())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| {
                (low.min(log), high.max(log))
            });
        if low > high {
            return Self {
                low: 0.0,
                high: 1.0,
                left,
                right,
            };
        }
        Self {
            low: below(low),
            high: above(high.max(below(low) + 0.05)),
            left,
            right,
        }
    }

    pub(super) fn x(&self, value: f64) -> f64 {
        let log = if value.is_finite() {
            value.max(LEAST).log10()
        } else {
            self.high
        };
        let share = ((log - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.left + share * (self.right - self.left)
    }

    /// Values with a line of their own, as text and as place: 1, 2 and 5 of each power where there are few powers.
    pub(super) fn ticks(&self) -> Vec<(String, f64)> {
        let wide = self.high - self.low > 2.5;
        let steps: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let mut found = Vec::new();
        for power in -4..8 {
            for step in steps {
                let value = step * 10f64.powi(power);
                let log = value.log10();
                if log > self.low - 1e-9 && log < self.high + 1e-9 {
                    found.push((label(value), self.x(value)));
                }
            }
        }
        found
    }
}

/// 1, 2 or 5 times a power of ten, below or at the value whose logarithm is given.
fn below(log: f64) -> f64 {
    let power = log.floor();
    let part = 10f64.powf(log - power);
    let step: f64 = if part >= 5.0 - 1e-9 {
        5.0
    } else if part >= 2.0 - 1e-9 {
        2.0
    } else {
        1.0
    };
    power + step.log10()
}

fn above(log: f64) -> f64 {
    let power = log.floor();
    let part = 10f64.powf(log - power);
    let step: f64 = if part <= 1.0 + 1e-9 {
        1.0
    } else if part <= 2.0 + 1e-9 {
        2.0
    } else if part <= 5.0 + 1e-9 {
        5.0
    } else {
        10.0
    };
    power + step.log10()
}

fn label(value: f64) -> String {
    let decimals = if value >= 0.999 {
        0
    } else if value >= 0.0999 {
        1
    } else if value >= 0.00999 {
        2
    } else {
        3
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::Axis;

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis::over([0.4, 3.0].into_iter(), 0.0, 100.0);
        let labels: Vec<_> = axis.ticks().into_iter().map(|(l, _)| l).collect();
        assert_eq!(labels, ["0.2", "0.5", "1", "2", "5"]);
        let wide = Axis::over([0.4, 30_000.0, f64::INFINITY].into_iter(), 0.0, 100.0);
        let labels: Vec<_> = wide.ticks().into_iter().map(|(l, _)| l).collect();
        assert_eq!(labels, ["1", "10", "100", "1000", "10000"]);
        assert!((wide.x(f64::INFINITY) - 100.0).abs() < 1e-9);
        let same = Axis::over([1.0, 1.0].into_iter(), 0.0, 100.0);
        assert!(same.x(1.0).is_finite() && same.ticks().len() >= 2);
        assert!(Axis::over(std::iter::empty(), 0.0, 1.0).x(5.0).is_finite());
    }
}
