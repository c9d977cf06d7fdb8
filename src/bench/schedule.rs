//! When which execution is to start, whatever the server does. Pure: the same seed gives the same schedule.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// One execution that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// After the window's begin.
    pub(super) at: Duration,
    pub(super) query: usize,
    /// How many of this query were scheduled before it.
    pub(super) number: usize,
}

/// Executions that come one by one and independently of each other, as those of many users do: a Poisson process, whose
/// queries are chosen by weight.
pub(super) struct Schedule {
    random: ChaCha8Rng,
    /// Executions a second.
    rate: f64,
    /// Of each query the sum of the weights up to it.
    up_to: Vec<f64>,
    scheduled: Vec<usize>,
}

impl Schedule {
    /// `scheduled` is how many executions each query has had already. A query of weight 0 is never sent.
    pub(super) fn new(seed: u64, rate: f64, weights: &[f64], scheduled: Vec<usize>) -> Self {
        let up_to = weights.iter().scan(0.0, |sum, weight| {
            *sum += weight.max(0.0);
            Some(*sum)
        });
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            rate,
            up_to: up_to.collect(),
            scheduled,
        }
    }

    /// What is to start within the next `length`.
    pub(super) fn window(&mut self, length: Duration) -> Vec<Arrival> {
        let total = self.up_to.last().copied().unwrap_or_default();
        let mut arrivals = Vec::new();
        let mut at = 0.0;
        if total <= 0.0 {
            return arrivals;
        }
        loop {
            let uniform: f64 = self.random.random();
            at -= (1.0 - uniform).ln() / self.rate;
            if at >= length.as_secs_f64() {
                return arrivals;
            }
            let chosen = self.random.random::<f64>() * total;
            let query = self.up_to.partition_point(|sum| *sum <= chosen);
            let Some(scheduled) = self.scheduled.get_mut(query) else {
                continue;
            };
            arrivals.push(Arrival {
                at: Duration::from_secs_f64(at),
                query,
                number: *scheduled,
            });
            *scheduled += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_schedule_window_after_window() {
        let two = || Schedule::new(7, 300.0, &[1.0, 2.0], vec![20, 20]);
        let (mut one, mut other) = (two(), two());
        let length = Duration::from_secs(2);
        let first = one.window(length);
        assert_eq!(first, other.window(length));
        let second = one.window(length);
        assert_ne!(first, second);
        assert_eq!(second, other.window(length));
        let mut expected = [20, 20];
        for arrival in first.iter().chain(&second) {
            assert_eq!(arrival.number, expected[arrival.query]);
            expected[arrival.query] += 1;
        }
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "numbers of executions")]
    fn rate_weights_and_gaps_are_those_asked_for() {
        let mut schedule = Schedule::new(1, 1000.0, &[3.0, 0.0, 1.0], vec![0; 3]);
        let arrivals = schedule.window(Duration::from_secs(100));
        let count = |query| arrivals.iter().filter(|a| a.query == query).count() as f64;
        let all = arrivals.len() as f64;
        assert!((all - 100_000.0).abs() < 1_500.0, "{all}");
        assert!((count(0) / all - 0.75).abs() < 0.01);
        assert!(count(1) < 1.0);
        let gaps: Vec<f64> = arrivals
            .windows(2)
            .map(|pair| (pair[1].at.as_secs_f64() - pair[0].at.as_secs_f64()) * 1e3)
            .collect();
        // A Poisson process: gaps are as long as their deviation.
        let mean = gaps.iter().sum::<f64>() / all;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / all;
        assert!((mean - 1.0).abs() < 0.02 && (variance.sqrt() - 1.0).abs() < 0.03);
    }

    #[test]
    fn nothing_is_sent_where_nothing_has_a_weight() {
        let mut schedule = Schedule::new(1, 1000.0, &[0.0], vec![0]);
        assert!(schedule.window(Duration::from_secs(1)).is_empty());
    }
}
