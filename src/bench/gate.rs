//! What counts as worse, and how sure of it one has to be.

use crate::model::Thresholds;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A query is slower where
///  - that it takes longer at all is sure: the p-value, corrected for all queries of the run, leaves a chance of
///    `false_alarms` that anything is reported where nothing changed,
///  - that it takes longer by more than `p95_percent` is likely: 95 % confidence for the query itself, and
///  - the difference is at least `floor_ms`.
///
/// Two measures of the 95th percentile are looked at, each with half of the chance: that of all executions, and that of what
/// each draw of the parameters typically takes, which noise moves less.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    pub thresholds: Thresholds,
    /// Milliseconds by which p95 must differ: less is the resolution of a clock across a socket.
    pub floor_ms: f64,
    /// The chance of an alarm in a whole run where nothing changed.
    pub false_alarms: f64,
    /// How many queries share it.
    pub queries: usize,
    /// `statement_timeout`: the least that an execution that was cut off would have taken.
    pub timeout: Duration,
}

impl Gate {
    pub fn new(p95_percent: f64, queries: usize, timeout: Duration) -> Self {
        Self {
            thresholds: Thresholds {
                p95_percent,
                ..Thresholds::default()
            },
            floor_ms: 0.03,
            false_alarms: 0.005,
            queries,
            timeout,
        }
    }

    /// One query's share of the chance of a false alarm.
    pub(super) fn share(&self) -> f64 {
        self.of_each(self.false_alarms)
    }

    /// A p-value under this makes one look longer.
    pub(super) fn suspicious(&self) -> f64 {
        self.of_each(0.05)
    }

    fn of_each(&self, chance: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a number of queries")]
        let queries = self.queries.max(1) as f64;
        chance / queries
    }
}
