//! How many executions each side of a query is to have.

use super::driver::Side;
use super::track::Track;
use std::time::Duration;

/// An execution's share of set-up and round trips, in milliseconds.
const OVERHEAD_MS: f64 = 1.0;
/// Samples that a side is worth at any budget, where an execution takes no longer than so many milliseconds.
const LEAST: [(f64, usize); 4] = [
    (10.0, 100),
    (100.0, 40),
    (HOPELESS_MS, 3),
    (f64::INFINITY, 2),
];
/// A long query that takes so many times as long as on the other side needs no precision: a handful of samples shows it.
const FAR_APART: f64 = 3.0;
const HANDFUL: usize = 5;
/// More samples than this only when the verdict is open.
const ENOUGH: usize = 400;
pub(super) const MOST: usize = 4000;
/// Cold executions that are worth their time; more only when the verdict is open.
const FEW_COLD: usize = 20;
/// A query slower than this is run twice, others three times.
const HOPELESS_MS: f64 = 5000.0;
/// Queries slower than this change sides after each execution.
pub(super) const LONG_MS: f64 = 50.0;

pub(super) fn is_far(ms: f64, quickest_ms: f64) -> bool {
    ms > LONG_MS && ms > FAR_APART * quickest_ms
}

/// So slow that more executions are not worth their time.
pub(super) fn hopeless(track: &Track) -> bool {
    track.estimate_ms > HOPELESS_MS || track.samples.timeouts > 0
}

/// How many executions each side of one query is to have.
pub(super) struct Goal {
    pub(super) wanted: Vec<usize>,
    least: Vec<usize>,
    pub(super) reached: bool,
}

impl Goal {
    pub(super) fn new(sides: &[Side], at: usize, queries: usize, duration: Duration) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a number of queries")]
        let share_ms = duration.as_secs_f64() * 1e3 / (queries * sides.len()).max(1) as f64;
        let estimates: Vec<Option<f64>> = sides
            .iter()
            .map(|side| side.track(at).filter(|t| t.runs).map(|t| t.estimate_ms))
            .collect();
        let quickest = estimates
            .iter()
            .flatten()
            .copied()
            .fold(f64::INFINITY, f64::min);
        let each = |f: &dyn Fn(f64, bool) -> usize| {
            estimates
                .iter()
                .map(|ms| ms.map_or(0, |ms| f(ms, is_far(ms, quickest))))
                .collect::<Vec<_>>()
        };
        // Each needs a connection of its own and reads from the disk.
        let most = if sides.iter().any(Side::is_cold) {
            FEW_COLD
        } else {
            usize::MAX
        };
        Self {
            wanted: each(&|ms, far| wanted(ms, far, share_ms).min(most)),
            least: each(&|ms, far| least(ms, far).min(most)),
            reached: false,
        }
    }

    /// The time is up: only what is needed to say anything.
    pub(super) fn cut_short(&mut self) {
        self.wanted.clone_from(&self.least);
    }
}

fn least(estimate_ms: f64, far_behind: bool) -> usize {
    let least = LEAST
        .iter()
        .find(|(ms, _)| estimate_ms <= *ms)
        .map_or(2, |(_, samples)| *samples);
    if far_behind {
        least.min(HANDFUL)
    } else {
        least
    }
}

fn wanted(estimate_ms: f64, far_behind: bool, share_ms: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of executions; too large ones are clamped"
    )]
    let affordable = (share_ms / (estimate_ms + OVERHEAD_MS)) as usize;
    let least = least(estimate_ms, far_behind);
    if estimate_ms > HOPELESS_MS {
        least
    } else {
        affordable.clamp(least, ENOUGH)
    }
}
