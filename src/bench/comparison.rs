//! Two sides of one query become a verdict. Pure: the same samples give the same verdict.

use super::quantile::{Blocks, quantile, quantile_at_least, ratio, ratio_interval, sorted};
use crate::model::{Comparison, Samples, Side, Verdict};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The quantile that users feel and gates guard.
const Q: f64 = 0.95;

/// What counts as worse.
///
/// A query is slower where the 95th percentile after, divided by that before, is over `1 + regression_percent/100`
///  - with confidence: the lower end of a block bootstrap's interval, whose error is shared by all queries of the run,
///  - by at least `floor_ms`, because nobody notices less,
///  - in the first and in the second half of the run alike, which one disturbance is not, and
///  - with the median longer as well, or by a tenth of the query's target: a busy machine takes the processor away for some
///    milliseconds at a time, which shows in the tail of short queries and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    pub regression_percent: f64,
    /// Milliseconds by which p95 must differ to be worth a word.
    pub floor_ms: f64,
    /// How many queries share the chance of a false alarm.
    pub queries: usize,
    /// `statement_timeout`: the least that an execution that was cut off would have taken.
    pub timeout: Duration,
}

impl Gate {
    pub fn new(regression_percent: f64, queries: usize, timeout: Duration) -> Self {
        Self {
            regression_percent,
            floor_ms: 1.0,
            queries,
            timeout,
        }
    }

    /// Chance of error at each end of an interval: 2 % shared by all queries, within what the bootstrap resolves.
    fn alpha(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a number of queries")]
        let queries = self.queries.max(1) as f64;
        (0.02 / queries).clamp(0.001, 0.01)
    }

    fn limit(&self) -> f64 {
        1.0 + self.regression_percent / 100.0
    }
}

/// What was measured of one query on two sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// `query@persona`.
    pub query: String,
    pub weight: f64,
    pub slo_ms: f64,
    pub before: Samples,
    pub after: Samples,
    /// Whether equal data must give equal rows: not where the order under a LIMIT leaves ties, nor where the statement
    /// gives another answer each time.
    pub repeatable: bool,
}

/// Compares the two sides of one query.
pub fn compare(measured: &Measured, gate: &Gate) -> Comparison {
    let (b, a) = (Lat::new(&measured.before), Lat::new(&measured.after));
    let (before, after) = (
        b.side(&measured.before, gate),
        a.side(&measured.after, gate),
    );
    let mut reasons = Vec::new();
    let verdict = verdict(measured, gate, &b, &a, &mut reasons);
    Comparison {
        query: measured.query.clone(),
        weight: measured.weight,
        slo_ms: measured.slo_ms,
        gain: ratio(before.p95_ms, after.p95_ms),
        ratios: crate::model::Ratios::default(),
        plan_changed: match (&before.plan, &after.plan) {
            (Some(before), Some(after)) => before != after,
            _ => false,
        },
        before,
        after,
        verdict,
        reasons,
    }
}

/// Latencies in milliseconds; executions that were cut off are infinite.
struct Lat {
    values: Vec<f64>,
    blocks: Vec<usize>,
    timeouts: usize,
}

impl Lat {
    fn new(samples: &Samples) -> Self {
        let timeouts = usize::try_from(samples.timeouts).unwrap_or(usize::MAX);
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a latency")]
        let mut values: Vec<f64> = samples
            .latencies_ns
            .iter()
            .map(|ns| *ns as f64 / 1e6)
            .collect();
        let mut blocks = samples.blocks.clone();
        for _ in 0..timeouts {
            values.push(f64::INFINITY);
            blocks.push(1);
        }
        Self {
            values,
            blocks,
            timeouts,
        }
    }

    fn blocks(&self) -> Blocks<'_> {
        Blocks {
            values: &self.values,
            sizes: &self.blocks,
        }
    }

    fn p(&self, q: f64) -> f64 {
        quantile(&sorted(&self.values), q)
    }

    /// The quantile of the first and of the second half of the run.
    fn halves(&self, q: f64) -> (f64, f64) {
        let (first, second) = self.values.split_at(self.values.len() / 2);
        (quantile(&sorted(first), q), quantile(&sorted(second), q))
    }

    fn side(&self, samples: &Samples, gate: &Gate) -> Side {
        let cut = gate.timeout.as_secs_f64() * 1e3;
        let p = |q| {
            let value = self.p(q);
            if value.is_finite() { value } else { cut }
        };
        let complete = self.values.len() - self.timeouts;
        #[expect(clippy::cast_precision_loss, reason = "a number of samples")]
        let mean =
            self.values.iter().filter(|v| v.is_finite()).sum::<f64>() / complete.max(1) as f64;
        Side {
            samples: self.values.len() as u64,
            timeouts: samples.timeouts,
            p50_ms: p(0.50),
            p95_ms: p(Q),
            p99_ms: p(0.99),
            mean_ms: mean,
            rows: samples.rows.first().copied().unwrap_or_default(),
            buffers: samples.buffers,
            cost: samples.cost,
            rows_removed: samples.rows_removed,
            plan: samples.plan.clone(),
            setup_ms: 0.0,
            ecdf_ms: Vec::new(),
        }
    }
}

fn verdict(
    measured: &Measured,
    gate: &Gate,
    b: &Lat,
    a: &Lat,
    reasons: &mut Vec<String>,
) -> Verdict {
    if let Some(difference) = difference(measured) {
        reasons.push(difference);
        return Verdict::Differs;
    }
    let (p_b, p_a) = (b.p(Q), a.p(Q));
    let change = Change::new(gate, measured.slo_ms, b, a);
    if change.slower() {
        reasons.push(format!(
            "p95 {} → {}: {:.2} times as long, at least {:.2} with confidence, over {:.2}",
            milliseconds(p_b, gate),
            milliseconds(p_a, gate),
            change.point,
            change.low,
            gate.limit()
        ));
        return Verdict::Slower;
    }
    let slo = measured.slo_ms;
    if p_a >= slo {
        reasons.push(format!("p95 {} is over {slo} ms", milliseconds(p_a, gate)));
        return if quantile_at_least(&sorted(&a.values), Q) >= slo {
            Verdict::OverSlo
        } else {
            Verdict::Inconclusive
        };
    }
    if change.faster() {
        return Verdict::Faster;
    }
    if change.within() || same_work(measured) {
        return Verdict::Same;
    }
    if change.unclear() {
        reasons.push(format!(
            "p95 after is {:.2} to {:.2} times that before, and {:.2} is the limit: too few or too noisy samples",
            change.low, change.high, gate.limit()
        ));
        return Verdict::Inconclusive;
    }
    Verdict::Same
}

/// The ratio of the 95th percentiles and what is known of it.
struct Change {
    point: f64,
    low: f64,
    high: f64,
    /// The interval of the medians' ratio.
    median_low: f64,
    median_high: f64,
    median_point: f64,
    /// The 99th percentile after, in milliseconds.
    worst_after: f64,
    limit: f64,
    /// Milliseconds, after less before.
    difference: f64,
    floor: f64,
    /// Milliseconds from which the tail alone counts.
    tail_floor: f64,
    both_halves: bool,
}

impl Change {
    fn new(gate: &Gate, slo_ms: f64, b: &Lat, a: &Lat) -> Self {
        let (low, high) = ratio_interval(b.blocks(), a.blocks(), Q, gate.alpha());
        let (p_b, p_a) = (b.p(Q), a.p(Q));
        let ((b1, b2), (a1, a2)) = (b.halves(Q), a.halves(Q));
        let limit = gate.limit();
        let (median_low, median_high) = ratio_interval(b.blocks(), a.blocks(), 0.5, gate.alpha());
        Self {
            point: ratio(p_a, p_b),
            low,
            high,
            median_low,
            median_high,
            median_point: ratio(a.p(0.5), b.p(0.5)),
            worst_after: a.p(0.99),
            limit,
            difference: if p_a.is_infinite() && p_b.is_infinite() {
                0.0
            } else {
                p_a - p_b
            },
            floor: gate.floor_ms,
            tail_floor: gate.floor_ms.max(slo_ms / 10.0),
            both_halves: ratio(a1, b1) > limit && ratio(a2, b2) > limit,
        }
    }

    fn slower(&self) -> bool {
        let cut_off_only_now = self.point.is_infinite();
        let confident = self.low > self.limit && self.difference > self.floor && self.both_halves;
        let felt = self.median_low > self.limit || self.difference > self.tail_floor;
        cut_off_only_now || confident && felt
    }

    /// No gate depends on it, so the median, which noise moves less, may vouch for p95.
    fn faster(&self) -> bool {
        self.point < 1.0 / self.limit && (self.high < 1.0 || self.median_high < 1.0 / self.limit)
    }

    /// A loss of the allowed size is not excluded, neither by p95 nor by what noise moves less.
    fn unclear(&self) -> bool {
        self.high > self.limit && (self.point > self.limit || self.median_high > self.limit)
    }

    /// Not so different that it would matter either way.
    fn within(&self) -> bool {
        self.difference.abs() <= self.floor
            || (self.low >= 1.0 / self.limit && self.high <= self.limit)
            || (self.difference <= self.tail_floor && self.median_high <= self.limit)
            // Far below its target whatever the noise, and no sign of a loss: not worth a longer look.
            || (self.worst_after <= self.tail_floor && self.median_point <= self.limit)
    }
}

/// The same plan that reads as much: any difference in time is the machine's.
fn same_work(measured: &Measured) -> bool {
    let (b, a) = (&measured.before, &measured.after);
    let close = match (b.buffers, a.buffers) {
        (Some(b), Some(a)) => b.abs_diff(a) <= b.max(a) / 50 + 8,
        _ => false,
    };
    b.plan.is_some() && b.plan == a.plan && close
}

/// Why the answers of the two sides are not the same, if they are not.
fn difference(measured: &Measured) -> Option<String> {
    let (b, a) = (&measured.before, &measured.after);
    match (&b.error, &a.error) {
        (None, Some(error)) => return Some(format!("fails only after the change: {error}")),
        (Some(error), None) => return Some(format!("fails only before the change: {error}")),
        _ => {}
    }
    for (draw, (b, a)) in (1..).zip(b.rows.iter().zip(&a.rows)) {
        if b != a {
            return Some(format!("draw {draw} gives {b} rows before and {a} after"));
        }
    }
    let unequal = b.digests.iter().zip(&a.digests).position(|(b, a)| b != a);
    match unequal {
        Some(draw) if measured.repeatable => Some(format!(
            "draw {} gives as many rows, but not the same ones",
            draw + 1
        )),
        _ => None,
    }
}

fn milliseconds(value: f64, gate: &Gate) -> String {
    if value.is_finite() {
        format!("{value:.1} ms")
    } else {
        format!("over {} ms", gate.timeout.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Milliseconds: `base` with noise, and now and then a time slice of four milliseconds that somebody else had.
    fn samples(seed: u64, n: usize, base: f64, stolen: f64) -> Samples {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let latencies_ns = (0..n)
            .map(|_| {
                let noise: f64 = random.random_range(0.9..1.2);
                let slice = if random.random_bool(stolen) { 4.0 } else { 0.0 };
                Duration::from_secs_f64((base * noise + slice) / 1e3)
                    .as_nanos()
                    .try_into()
                    .unwrap()
            })
            .collect();
        Samples {
            latencies_ns,
            blocks: vec![5; n / 5],
            plan: Some("Seq Scan\n".to_owned()),
            buffers: Some(100),
            ..Samples::default()
        }
    }

    fn verdict_of(before: Samples, after: Samples) -> Verdict {
        let measured = Measured {
            query: "q@p".to_owned(),
            weight: 1.0,
            slo_ms: 100.0,
            before,
            after,
            repeatable: true,
        };
        compare(&measured, &Gate::new(10.0, 20, Duration::from_secs(5))).verdict
    }

    #[test]
    fn noise_raises_no_alarm_even_on_one_side_alone() {
        for seed in 0..12 {
            let quiet = samples(seed, 100, 0.3, 0.02);
            let busy = samples(seed + 1000, 100, 0.3, 0.2);
            assert_eq!(verdict_of(quiet.clone(), busy.clone()), Verdict::Same);
            assert!(verdict_of(busy, quiet) >= Verdict::Same);
            let alike = verdict_of(
                samples(seed, 60, 30.0, 0.1),
                samples(seed + 2000, 60, 30.0, 0.1),
            );
            assert_eq!(alike, Verdict::Same);
        }
    }

    #[test]
    fn what_is_half_as_long_again_is_found_and_so_is_a_gain() {
        for seed in 0..6 {
            let before = samples(seed, 100, 20.0, 0.05);
            let slower = samples(seed + 1000, 100, 30.0, 0.05);
            assert_eq!(verdict_of(before.clone(), slower.clone()), Verdict::Slower);
            assert_eq!(verdict_of(slower, before), Verdict::Faster);
            let few = verdict_of(
                samples(seed, 5, 900.0, 0.0),
                samples(seed + 1, 100, 3.0, 0.1),
            );
            assert_eq!(few, Verdict::Faster);
        }
        let over = verdict_of(samples(1, 100, 150.0, 0.0), samples(2, 100, 150.0, 0.0));
        assert_eq!(over, Verdict::OverSlo);
    }

    #[test]
    fn a_tail_that_users_feel_is_found_without_the_median() {
        let mut after = samples(3, 200, 20.0, 0.0);
        for ns in after.latencies_ns.iter_mut().step_by(10) {
            *ns += 60_000_000;
        }
        assert_eq!(
            verdict_of(samples(4, 200, 20.0, 0.0), after),
            Verdict::Slower
        );
    }

    #[test]
    fn cut_off_executions_are_bounds_and_never_averaged() {
        let mut before = samples(5, 0, 1.0, 0.0);
        before.timeouts = 2;
        let after = samples(6, 100, 2.0, 0.0);
        let measured = Measured {
            query: "q@p".to_owned(),
            weight: 1.0,
            slo_ms: 100.0,
            before: before.clone(),
            after: after.clone(),
            repeatable: true,
        };
        let gate = Gate::new(10.0, 1, Duration::from_secs(5));
        let found = compare(&measured, &gate);
        assert_eq!(found.verdict, Verdict::Faster);
        assert!(found.before.p95_ms >= 5000.0 && found.before.mean_ms <= 0.0);
        assert!(found.gain > 2000.0 && found.gain < 2600.0, "{}", found.gain);
        assert_eq!(verdict_of(after, before), Verdict::Slower);
    }
}
