//! One side of one query in milliseconds, and its summary.

use super::comparison::Measured;
use super::gate::Gate;
use super::quantile::{Blocks, quantile, sorted};
use crate::model::{Samples, Side};

/// Points of a thinned distribution function.
const POINTS: u32 = 100;

/// Milliseconds with about three digits.
pub(super) fn time(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

/// In the order they were taken; executions that were cut off are infinite and come last.
pub(super) struct Latencies {
    pub(super) values: Vec<f64>,
    blocks: Vec<usize>,
    pub(super) timeouts: usize,
}

impl Latencies {
    pub(super) fn new(samples: &Samples) -> Self {
        let timeouts = usize::try_from(samples.timeouts).unwrap_or(usize::MAX);
        let cut_off = || std::iter::repeat_n(f64::INFINITY, timeouts);
        let ones = std::iter::repeat_n(1, timeouts);
        Self {
            values: samples.own_ms().chain(cut_off()).collect(),
            blocks: samples.blocks.iter().copied().chain(ones).collect(),
            timeouts,
        }
    }

    pub(super) fn blocks(&self) -> Blocks<'_> {
        Blocks {
            values: &self.values,
            sizes: &self.blocks,
        }
    }

    pub(super) fn quantile(&self, q: f64) -> f64 {
        quantile(&sorted(&self.values), q)
    }

    /// The quantile of the first and of the second half of the run.
    pub(super) fn halves(&self, q: f64) -> (f64, f64) {
        let (first, second) = self.values.split_at(self.values.len() / 2);
        (quantile(&sorted(first), q), quantile(&sorted(second), q))
    }

    pub(super) fn side(&self, samples: &Samples, gate: &Gate) -> Side {
        let cut = gate.timeout.as_secs_f64() * 1e3;
        let sorted = sorted(&self.values);
        let p = |q| {
            let value = quantile(&sorted, q);
            if value.is_finite() { value } else { cut }
        };
        let complete = self.values.len() - self.timeouts;
        #[expect(clippy::cast_precision_loss, reason = "a number of samples")]
        let mean =
            self.values.iter().filter(|v| v.is_finite()).sum::<f64>() / complete.max(1) as f64;
        let points = POINTS.min(u32::try_from(sorted.len()).unwrap_or(POINTS));
        let steps = f64::from(points.saturating_sub(1).max(1));
        Side {
            samples: self.values.len() as u64,
            timeouts: samples.timeouts,
            p50_ms: p(0.50),
            p95_ms: p(0.95),
            p99_ms: p(0.99),
            mean_ms: mean,
            rows: samples.rows.first().copied().unwrap_or_default(),
            buffers: samples.buffers,
            rows_removed: samples.rows_removed,
            cost: samples.cost,
            plan: samples.plan.clone(),
            taken: share(&samples.taken_ns, &samples.latencies_ns),
            setup_ms: median_ms(&samples.setup_ns),
            ecdf_ms: (0..points).map(|i| p(f64::from(i) / steps)).collect(),
        }
    }
}

/// The share of all the waiting that other processes of the machine caused and that is taken off; `None` where they could not
/// be looked at.
pub fn taken(measured: &[Measured]) -> Option<f64> {
    let sides = || measured.iter().flat_map(|m| [&m.before, &m.after]);
    let all = |of: fn(&Samples) -> &Vec<u64>| -> Vec<u64> {
        sides().flat_map(|s| of(s).iter().copied()).collect()
    };
    let known = sides().any(|s| s.taken_ns.iter().any(|ns| *ns > 0));
    known.then(|| share(&all(|s| &s.taken_ns), &all(|s| &s.latencies_ns)))
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds")]
fn share(part: &[u64], whole: &[u64]) -> f64 {
    let sum = |values: &[u64]| values.iter().map(|ns| *ns as f64).sum::<f64>();
    sum(part) / sum(whole).max(1.0)
}

fn median_ms(ns: &[u64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds")]
    let values: Vec<f64> = ns.iter().map(|ns| *ns as f64 / 1e6).collect();
    quantile(&sorted(&values), 0.5)
}
