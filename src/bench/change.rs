//! What is known of how one query's 95th percentile changed.

use super::comparison::Measured;
use super::gate::Gate;
use super::latencies::Latencies;
use super::quantile::{ratio, ratio_interval};
use super::resample::{Estimate, Estimates, Series, estimates};
use crate::model::{Interval, Ratios};

/// The ratio of the 95th percentiles, after / before, and what goes with it.
pub(super) struct Change {
    /// Of 95 % on each side; of the extremes where there are few samples.
    pub(super) low: f64,
    pub(super) high: f64,
    point: f64,
    pub(super) limit: f64,
    /// Milliseconds, after less before.
    difference: f64,
    /// The same of what the slowest draws typically take, at most, with 95 % confidence.
    typical_difference: f64,
    floor: f64,
    tail_floor: f64,
    /// A p-value under this makes one look longer.
    suspicious: f64,
    gained: bool,
    /// Every execution after took less time than every one before, by more than the limit.
    apart: bool,
    /// Whatever the noise: the 99th percentile after is under a tenth of the target.
    far_below: bool,
    estimates: Option<Estimates>,
    /// What shows that the query is slower by more than allowed, if anything does.
    pub(super) slower: Option<Slower>,
    /// Of `slower`; 1 without it.
    pub(super) p_value: f64,
    /// The chance of so much or more where nothing became slower, whether or not it is more than allowed.
    pub(super) suspicion: f64,
}

/// A sign that a query became slower.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slower {
    /// What the ratio is of, where that is not p95 itself.
    pub(super) what: &'static str,
    pub(super) point: f64,
    /// With 95 % confidence.
    pub(super) low: f64,
    pub(super) p_value: f64,
}

/// Two measures are looked at.
const MEASURES: f64 = 2.0;

impl Change {
    pub(super) fn new(
        measured: &Measured,
        before: &Latencies,
        after: &Latencies,
        gate: &Gate,
        percent: f64,
    ) -> Self {
        let (p_b, p_a) = (before.quantile(0.95), after.quantile(0.95));
        let limit = 1.0 + percent / 100.0;
        let cut_off = before.timeouts + after.timeouts > 0;
        let (b, a) = (Series::new(&measured.before), Series::new(&measured.after));
        let estimates = if cut_off { None } else { estimates(&b, &a) };
        let counted = measured.before.taken_ns.iter().any(|ns| *ns > 0);
        let mut change = Self {
            low: 0.0,
            high: f64::INFINITY,
            point: ratio(p_a, p_b),
            limit,
            difference: if p_a.is_infinite() && p_b.is_infinite() {
                0.0
            } else {
                p_a - p_b
            },
            typical_difference: f64::INFINITY,
            floor: gate.floor_ms,
            // Where other processes' share is not known, their time slices of some milliseconds pass for the query's own tail.
            tail_floor: gate
                .floor_ms
                .max(measured.slo_ms / if counted { 100.0 } else { 10.0 }),
            suspicious: gate.suspicious(),
            gained: false,
            apart: after.quantile(1.0) * limit < before.quantile(0.0),
            far_below: after.quantile(0.99) <= measured.slo_ms / 10.0,
            estimates: None,
            slower: None,
            p_value: 1.0,
            suspicion: 1.0,
        };
        if let Some(estimates) = estimates {
            let (typical_b, typical_a) = (b.summary().typical, a.summary().typical);
            change.typical_difference = typical_b * (estimates.typical.high() - 1.0);
            let halves = both_halves(before, after, limit);
            change.weigh(estimates, typical_a - typical_b, halves);
        } else {
            (change.low, change.high) =
                ratio_interval(before.blocks(), after.blocks(), 0.95, FEW_SAMPLES);
            change.weigh_extremes();
        }
        change.p_value = change.slower.map_or(1.0, |s| s.p_value);
        change
    }

    fn weigh(&mut self, estimates: Estimates, typical_difference: f64, both_halves: bool) {
        let slower = |what, e: &Estimate| Slower {
            what,
            point: e.point,
            low: e.low(),
            p_value: (e.p_value() * MEASURES).min(1.0),
        };
        let median = &estimates.p50;
        let felt =
            median.low() > 1.0 && median.point > self.limit || self.difference > self.tail_floor;
        let signs = [
            (
                typical_difference > self.floor,
                slower(
                    "what the slowest draws typically take, ",
                    &estimates.typical,
                ),
            ),
            (
                self.difference > self.floor && felt && both_halves,
                slower("", &estimates.p95),
            ),
        ];
        // A tail that counts for nothing rouses no suspicion either.
        self.suspicion = signs
            .iter()
            .filter(|(counts, _)| *counts)
            .map(|(_, s)| s.p_value)
            .fold(1.0, f64::min);
        self.gained = [&estimates.p95, &estimates.typical]
            .map(|e| e.inverse().p_value() * MEASURES)
            .into_iter()
            .fold(1.0, f64::min)
            <= self.suspicious;
        self.slower = signs
            .into_iter()
            .filter(|(counts, s)| *counts && s.low > self.limit)
            .map(|(_, s)| s)
            .min_by(|x, y| x.p_value.total_cmp(&y.p_value));
        (self.low, self.high) = (estimates.p95.low(), estimates.p95.high());
        self.estimates = Some(estimates);
    }

    /// Few samples, or some that were cut off: what is outside the extremes is sure.
    fn weigh_extremes(&mut self) {
        let cut_off_only_now = self.point.is_infinite();
        if cut_off_only_now || self.low > self.limit && self.difference > self.floor {
            self.slower = Some(Slower {
                what: "",
                point: self.point,
                low: self.low,
                p_value: 0.0,
            });
        }
        self.suspicion = if self.point > self.limit {
            self.suspicious / 2.0
        } else {
            1.0
        };
    }

    /// No gate depends on it, so the median, which noise moves less, may vouch for p95, and so may a handful of samples
    /// none of which is as long as any before.
    pub(super) fn faster(&self) -> bool {
        let surely = match &self.estimates {
            Some(e) => self.gained || self.apart || e.p50.high() < 1.0 / self.limit,
            None => self.high < 1.0,
        };
        self.point < 1.0 / self.limit && surely
    }

    /// A loss of the allowed size is not excluded, and it would matter.
    pub(super) fn unclear(&self) -> bool {
        self.high > self.limit
            && (self.point > self.limit || !self.typical_within())
            && !self.no_sign_of_a_loss()
    }

    /// Far below its target, and neither the tail nor the median hints at a loss: not worth a longer look.
    fn no_sign_of_a_loss(&self) -> bool {
        let median = self.estimates.as_ref().map_or(self.point, |e| e.p50.point);
        self.far_below && self.point <= self.limit && median <= self.limit
    }

    /// Not so different that it would matter either way.
    pub(super) fn within(&self) -> bool {
        let tail = self.difference <= self.tail_floor || self.high <= self.limit;
        let tiny = self.difference.abs() <= self.floor
            && (self.estimates.is_none() || self.typical_difference <= self.floor);
        tiny || self.typical_within() && tail
    }

    fn typical_within(&self) -> bool {
        match &self.estimates {
            Some(e) => {
                e.typical.high() <= self.limit
                    || e.p50.high() <= self.limit && e.p95.high() <= self.limit
            }
            None => self.high <= self.limit,
        }
    }

    pub(super) fn ratios(&self) -> Ratios {
        match &self.estimates {
            Some(e) => Ratios {
                p50: e.p50.interval(),
                p95: e.p95.interval(),
                p99: e.p99.interval(),
                mean: e.mean.interval(),
                typical: e.typical.interval(),
                p_value: self.suspicion,
            },
            None => Ratios {
                p95: Interval {
                    low: self.low,
                    point: self.point,
                    high: self.high,
                },
                p_value: self.suspicion,
                ..Ratios::default()
            },
        }
    }
}

/// Chance of error at each end where an interval is not of extremes.
const FEW_SAMPLES: f64 = 0.005;

/// Whether p95 is over the limit in both halves of the run, which one disturbance is not.
fn both_halves(before: &Latencies, after: &Latencies, limit: f64) -> bool {
    let ((b1, b2), (a1, a2)) = (before.halves(0.95), after.halves(0.95));
    ratio(a1, b1) > limit && ratio(a2, b2) > limit
}
