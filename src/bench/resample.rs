//! Ratios of two sides with their uncertainty: a bootstrap of whole blocks, paired in time.

use super::quantile::{quantile, ratio};
use crate::model::Samples;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Resamples: enough for a standard error within 5 % of itself.
const RESAMPLES: usize = 200;
/// With fewer blocks than this a bootstrap says little.
pub(super) const FEW: usize = 6;
/// The share of a draw's executions that are quicker than what it typically takes. Less than a half, because a machine
/// only ever adds.
const TYPICAL: f64 = 0.25;

/// What a series is summed up by. The order is that of [`Estimates`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) mean: f64,
    /// The 95th percentile, over the draws, of what each typically takes.
    pub(super) typical: f64,
}

impl Summary {
    fn over(&self, under: &Self) -> Self {
        Self {
            p50: ratio(self.p50, under.p50),
            p95: ratio(self.p95, under.p95),
            p99: ratio(self.p99, under.p99),
            mean: ratio(self.mean, under.mean),
            typical: ratio(self.typical, under.typical),
        }
    }
}

/// One side's latencies in ascending order, each with its place in time.
pub(super) struct Series {
    all: Vec<Value>,
    by_draw: Vec<Vec<Value>>,
    /// The connection of each block.
    connections: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Value {
    ms: f64,
    block: usize,
}

impl Series {
    /// Executions that were cut off are infinite and of no block.
    pub(super) fn new(samples: &Samples) -> Self {
        let blocks = samples
            .blocks
            .iter()
            .enumerate()
            .flat_map(|(block, size)| std::iter::repeat_n(block, *size));
        let draws = samples.draws.iter().copied().chain(std::iter::repeat(0));
        let mut by_draw: Vec<Vec<Value>> = Vec::new();
        let mut all = Vec::with_capacity(samples.latencies_ns.len());
        for ((ms, block), draw) in samples.own_ms().zip(blocks).zip(draws) {
            let value = Value { ms, block };
            all.push(value);
            let draw = usize::try_from(draw).unwrap_or_default();
            if by_draw.len() <= draw {
                by_draw.resize_with(draw + 1, Vec::new);
            }
            if let Some(values) = by_draw.get_mut(draw) {
                values.push(value);
            }
        }
        let connections = samples
            .epochs
            .iter()
            .enumerate()
            .flat_map(|(connection, blocks)| std::iter::repeat_n(connection, *blocks))
            .collect();
        for values in by_draw.iter_mut().chain([&mut all]) {
            values.sort_by(|x, y| x.ms.total_cmp(&y.ms));
        }
        Self {
            all,
            by_draw,
            connections,
        }
    }

    fn blocks(&self) -> usize {
        self.all.iter().map(|v| v.block + 1).max().unwrap_or(0)
    }

    /// Every block once.
    pub(super) fn summary(&self) -> Summary {
        self.weighed(&vec![1; self.blocks()])
    }

    /// Each block counted as often as `weights` says.
    fn weighed(&self, weights: &[u32]) -> Summary {
        let [p50, p95, p99] = quantiles(&self.all, weights, [0.5, 0.95, 0.99]);
        let (mut sum, mut count) = (0.0, 0.0);
        for value in &self.all {
            let weight = weight(weights, value);
            sum += weight * value.ms;
            count += weight;
        }
        let mut typical: Vec<f64> = self
            .by_draw
            .iter()
            .flat_map(|values| quantiles(values, weights, [TYPICAL]))
            .filter(|ms| *ms > 0.0)
            .collect();
        typical.sort_by(f64::total_cmp);
        Summary {
            p50,
            p95,
            p99,
            mean: if count > 0.0 { sum / count } else { 0.0 },
            typical: quantile(&typical, 0.95),
        }
    }
}

fn weight(weights: &[u32], value: &Value) -> f64 {
    weights.get(value.block).copied().map_or(0.0, f64::from)
}

/// Quantiles of sorted values, interpolated where the weights are all one; 0 for none. `at` ascends.
fn quantiles<const N: usize>(sorted: &[Value], weights: &[u32], at: [f64; N]) -> [f64; N] {
    let total: f64 = sorted.iter().map(|v| weight(weights, v)).sum();
    let mut out = [0.0; N];
    let mut wanted = at.iter().zip(&mut out).peekable();
    // Copies of one value are neighbours: the position of type 7 lies between the `k`th and the next.
    let mut seen = 0.0;
    let mut last = 0.0;
    for value in sorted {
        let weight = weight(weights, value);
        if weight <= 0.0 {
            continue;
        }
        seen += weight;
        while let Some((q, slot)) = wanted.peek_mut() {
            let position = **q * (total - 1.0);
            if position > seen - 1.0 {
                break;
            }
            // Before this value's first copy lies a gap to the one before.
            let into = position - (seen - weight - 1.0);
            **slot = if into < 1.0 && seen > weight {
                last + (value.ms - last) * into
            } else {
                value.ms
            };
            wanted.next();
        }
        last = value.ms;
    }
    out
}

/// What a ratio is, and how far it may be off.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) point: f64,
    /// Standard error of its logarithm.
    pub(super) error: f64,
    /// Independent pieces that the error was taken from, less one.
    pub(super) freedom: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Estimates {
    pub(super) p50: Estimate,
    pub(super) p95: Estimate,
    pub(super) p99: Estimate,
    pub(super) mean: Estimate,
    pub(super) typical: Estimate,
}

/// Ratios after / before; `None` where there are too few blocks.
pub(super) fn estimates(before: &Series, after: &Series) -> Option<Estimates> {
    let point = after.summary().over(&before.summary());
    let by_block = spread(before, after, Unit::Block)?;
    let by_connection = spread(before, after, Unit::Connection);
    let luck = luck(before, after);
    let pick = |of: fn(&Summary) -> f64| {
        let wide =
            |(replicates, freedom): &(Vec<Summary>, f64)| (deviation(replicates, of), *freedom);
        let (mut error, mut freedom) = wide(&by_block);
        if let Some((other, few)) = by_connection.as_ref().map(wide) {
            // Connections differ from each other: then they are the independent pieces, not the blocks.
            if other > error {
                (error, freedom) = (other, few);
            }
        } else {
            // Too few to see by how much they differ: they may.
            error = error.hypot(luck);
        }
        Estimate {
            point: of(&point),
            error,
            freedom,
        }
    };
    Some(Estimates {
        p50: pick(|s| s.p50),
        p95: pick(|s| s.p95),
        p99: pick(|s| s.p99),
        mean: pick(|s| s.mean),
        typical: pick(|s| s.typical),
    })
}

/// What connections are taken to differ by where there are too few to see it, relative and in milliseconds: the next one's
/// backend may run beside this process or on another processor, and a message is quicker or slower for it.
const LUCK: (f64, f64) = (0.02, 0.03);

fn luck(before: &Series, after: &Series) -> f64 {
    let connections = |s: &Series| s.connections.last().map_or(1, |last| last + 1);
    #[expect(clippy::cast_precision_loss, reason = "a number of connections")]
    let fewest = connections(before).min(connections(after)) as f64;
    let (share, ms) = LUCK;
    (share + ms / before.summary().p50.max(ms)) * (2.0 / fewest).sqrt()
}

#[derive(Clone, Copy)]
enum Unit {
    Block,
    Connection,
}

/// Ratios of resamples, and the number of pieces less one.
fn spread(before: &Series, after: &Series, unit: Unit) -> Option<(Vec<Summary>, f64)> {
    let (b, a) = (before.pieces(unit), after.pieces(unit));
    let (nb, na) = (pieces(&b), pieces(&a));
    if nb.min(na) < FEW {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(0x0064_6274_756e_6521);
    let replicates = (0..RESAMPLES)
        .map(|_| {
            let picked = picks(nb, &mut random);
            let low = before.weighed(&spread_over(&b, &picked));
            // Blocks that alternated in time are drawn as pairs: what slowed the machine down for both counts for neither.
            let high = if nb == na {
                after.weighed(&spread_over(&a, &picked))
            } else {
                after.weighed(&spread_over(&a, &picks(na, &mut random)))
            };
            high.over(&low)
        })
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a number of blocks")]
    let freedom = (nb.min(na) - 1) as f64;
    Some((replicates, freedom))
}

impl Series {
    /// Which piece each block is of.
    fn pieces(&self, unit: Unit) -> Vec<usize> {
        let blocks = self.blocks();
        match unit {
            Unit::Block => (0..blocks).collect(),
            Unit::Connection => self.connections.iter().copied().take(blocks).collect(),
        }
    }
}

fn pieces(of_blocks: &[usize]) -> usize {
    of_blocks.iter().map(|p| p + 1).max().unwrap_or(0)
}

/// How often each of `n` pieces is drawn, with replacement.
fn picks(n: usize, random: &mut ChaCha8Rng) -> Vec<u32> {
    let mut counts = vec![0; n];
    for _ in 0..n {
        if let Some(count) = counts.get_mut(random.random_range(0..n)) {
            *count += 1;
        }
    }
    counts
}

fn spread_over(of_blocks: &[usize], picked: &[u32]) -> Vec<u32> {
    of_blocks
        .iter()
        .map(|piece| picked.get(*piece).copied().unwrap_or_default())
        .collect()
}

/// Standard deviation of the logarithms.
fn deviation(replicates: &[Summary], of: fn(&Summary) -> f64) -> f64 {
    let logs: Vec<f64> = replicates
        .iter()
        .map(of)
        .filter(|r| *r > 0.0 && r.is_finite())
        .map(f64::ln)
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a number of resamples")]
    let n = logs.len().max(2) as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let squares: f64 = logs.iter().map(|l| (l - mean).powi(2)).sum();
    (squares / (n - 1.0)).sqrt()
}
