//! Two sides of one query become a verdict. Pure: the same samples give the same verdict.

use super::change::Change;
use super::gate::Gate;
use super::inference::false_discovery;
use super::latencies::{Latencies, time};
use super::quantile::{quantile_at_least, ratio, sorted};
use crate::model::{Comparison, PlanChange, Samples, Thresholds, Verdict};
use serde::{Deserialize, Serialize};

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
    /// What the gate asks of this query, where that is not what it asks of all.
    #[serde(default)]
    pub thresholds: Option<Thresholds>,
    /// Why the gate lets a bad verdict pass; never other answers.
    #[serde(default)]
    pub allowed: Option<String>,
}

/// Compares the two sides of one query, which has its share of the run's chance of a false alarm.
pub fn compare(measured: &Measured, gate: &Gate) -> Comparison {
    Found::new(measured, gate).conclude(gate.share()).0
}

/// Compares all queries of a run: those that became slower vouch for each other, and the chance of a false alarm is that of
/// the whole run.
pub fn compare_all(measured: &[&Measured], gate: &Gate) -> Vec<Comparison> {
    let found: Vec<Found<'_>> = measured.iter().map(|m| Found::new(m, gate)).collect();
    let p_values: Vec<f64> = found.iter().map(|f| f.change.p_value).collect();
    let threshold = false_discovery(&p_values, gate.false_alarms);
    found.iter().map(|f| f.conclude(threshold).0).collect()
}

/// Whether more samples could change the verdict.
pub(super) fn is_settled(measured: &Measured, gate: &Gate) -> bool {
    Found::new(measured, gate).conclude(gate.share()).1
}

struct Found<'a> {
    measured: &'a Measured,
    gate: &'a Gate,
    before: Latencies,
    after: Latencies,
    change: Change,
}

impl<'a> Found<'a> {
    fn new(measured: &'a Measured, gate: &'a Gate) -> Self {
        let (before, after) = (
            Latencies::new(&measured.before),
            Latencies::new(&measured.after),
        );
        let thresholds = measured.thresholds.unwrap_or(gate.thresholds);
        let change = Change::new(measured, &before, &after, gate, thresholds.p95_percent);
        Self {
            measured,
            gate,
            before,
            after,
            change,
        }
    }

    /// The comparison, and whether more samples could not change its verdict. `threshold` is the largest p-value that counts.
    fn conclude(&self, threshold: f64) -> (Comparison, bool) {
        let measured = self.measured;
        let before = self.before.side(&measured.before, self.gate);
        let after = self.after.side(&measured.after, self.gate);
        let mut reasons = Vec::new();
        let (verdict, settled) = self.verdict(threshold, &mut reasons);
        let plan_changed = plan_changed(measured);
        if plan_changed && self.thresholds().plan_change == PlanChange::Warn {
            reasons.push("another plan than before".to_owned());
        }
        let bad = [Verdict::Slower, Verdict::OverSlo, Verdict::Costlier];
        let may_pass = bad.contains(&verdict);
        if let Some(allowed) = measured.allowed.as_ref().filter(|_| may_pass) {
            reasons.push(format!("allowed: {allowed}"));
        }
        let comparison = Comparison {
            query: measured.query.clone(),
            weight: measured.weight,
            slo_ms: measured.slo_ms,
            gain: ratio(before.p95_ms, after.p95_ms),
            ratios: self.change.ratios(),
            plan_changed,
            before,
            after,
            verdict,
            allowed: measured.allowed.clone().filter(|_| may_pass),
            reasons,
        };
        (comparison, settled)
    }

    fn thresholds(&self) -> Thresholds {
        self.measured.thresholds.unwrap_or(self.gate.thresholds)
    }

    fn verdict(&self, threshold: f64, reasons: &mut Vec<String>) -> (Verdict, bool) {
        if let Some(difference) = difference(self.measured) {
            reasons.push(difference);
            return (Verdict::Differs, true);
        }
        let change = &self.change;
        let p95 = |l: &Latencies| in_words(l.quantile(0.95), self.gate);
        if let Some(slower) = change.slower.filter(|s| s.p_value <= threshold) {
            reasons.push(format!(
                "p95 {} → {}: {}{:.2} times as long, at least {:.2} with confidence, over {:.2}",
                p95(&self.before),
                p95(&self.after),
                slower.what,
                slower.point,
                slower.low,
                change.limit
            ));
            return (Verdict::Slower, slower.p_value <= threshold / CLEARLY);
        }
        let (p_a, slo) = (self.after.quantile(0.95), self.measured.slo_ms);
        if p_a >= slo {
            reasons.push(format!("p95 {} is over {slo} ms", p95(&self.after)));
            let surely = quantile_at_least(&sorted(&self.after.values), 0.95) >= slo;
            return if surely {
                (Verdict::OverSlo, true)
            } else {
                (Verdict::Inconclusive, false)
            };
        }
        if let Some(reason) = self.costlier() {
            reasons.push(reason);
            return (Verdict::Costlier, true);
        }
        if change.faster() {
            return (Verdict::Faster, true);
        }
        if change.within() {
            return (Verdict::Same, true);
        }
        // The same plan that reads as much, and no sign of a loss: what is left is the machine's. But a longer look may help.
        if same_work(self.measured) && change.suspicion > self.gate.suspicious() {
            return (Verdict::Same, false);
        }
        if change.unclear() {
            reasons.push(format!(
                "p95 after is {:.2} to {:.2} times that before, and {:.2} is the limit: too few or too noisy samples",
                change.low, change.high, change.limit
            ));
            return (Verdict::Inconclusive, false);
        }
        (Verdict::Same, true)
    }

    /// What the gate does not allow that no clock is needed for.
    fn costlier(&self) -> Option<String> {
        let thresholds = self.thresholds();
        let (b, a) = (&self.measured.before, &self.measured.after);
        if let (Some(percent), Some(before), Some(after)) =
            (thresholds.buffers_percent, b.buffers, a.buffers)
        {
            #[expect(clippy::cast_precision_loss, reason = "a number of buffers")]
            let (before_count, after_count) = (before as f64, after as f64);
            if after_count > before_count * (1.0 + percent / 100.0) && after > before + FEW_BUFFERS
            {
                return Some(format!("{before} → {after} buffers, over {percent} % more"));
            }
        }
        (thresholds.plan_change == PlanChange::Fail && plan_changed(self.measured))
            .then(|| "another plan than before, which the gate does not allow".to_owned())
    }
}

/// How much smaller than needed a p-value is that ends the measuring early. The looks before the last together add less
/// than a tenth to the chance of a false alarm.
const CLEARLY: f64 = 100.0;
/// A difference of so many buffers is that of a cached page of the catalogs.
const FEW_BUFFERS: u64 = 4;

fn plan_changed(measured: &Measured) -> bool {
    match (&measured.before.plan, &measured.after.plan) {
        (Some(before), Some(after)) => before != after,
        _ => false,
    }
}

/// The same plan that reads as much.
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

fn in_words(value: f64, gate: &Gate) -> String {
    if value.is_finite() {
        time(value)
    } else {
        format!("over {}", time(gate.timeout.as_secs_f64() * 1e3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use std::time::Duration;

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
            thresholds: None,
            allowed: None,
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
            thresholds: None,
            allowed: None,
        };
        let gate = Gate::new(10.0, 1, Duration::from_secs(5));
        let found = compare(&measured, &gate);
        assert_eq!(found.verdict, Verdict::Faster);
        assert!(found.before.p95_ms >= 5000.0 && found.before.mean_ms <= 0.0);
        assert!(found.gain > 2000.0 && found.gain < 2600.0, "{}", found.gain);
        assert_eq!(verdict_of(after, before), Verdict::Slower);
    }
}
