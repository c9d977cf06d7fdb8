//! What one query did on one side so far.

use super::client::Timed;
use super::open_loop::Ended;
use crate::model::{Query, Samples};
use std::time::Duration;

/// One query on one side.
#[derive(Default)]
pub(super) struct Track {
    /// Whether there is anything to run.
    pub(super) runs: bool,
    /// The connection of the last block.
    epoch: usize,
    pub(super) samples: Samples,
    /// Executions so far, timed or not: the next one takes this draw.
    pub(super) executions: usize,
    /// What an execution takes, in milliseconds.
    pub(super) estimate_ms: f64,
}

impl Track {
    /// Quick enough to be run untimed.
    pub(super) fn is_quick(&self) -> bool {
        self.estimate_ms < WARM_UP_MS
    }

    /// Keeps one execution; its latency is that of the statement.
    pub(super) fn keep(&mut self, query: &Query, timed: Timed) {
        self.keep_rows(query, timed);
        let Some(done) = timed.done else {
            return;
        };
        let samples = &mut self.samples;
        samples
            .latencies_ns
            .push(nanoseconds(done.execution.elapsed));
        samples.taken_ns.push(nanoseconds(done.taken));
        samples.setup_ns.push(nanoseconds(done.setup));
        let draw = timed.number % query.draws.len().max(1);
        samples.draws.push(u32::try_from(draw).unwrap_or_default());
    }

    /// Keeps one execution; its latency counts from when it was to start.
    pub(super) fn keep_from(&mut self, query: &Query, one: &Ended) {
        self.keep(query, one.timed);
        let samples = &mut self.samples;
        if let (Some(done), Some(latency)) = (one.timed.done, samples.latencies_ns.last_mut()) {
            samples.service_ns.push(*latency);
            *latency = nanoseconds(done.ended.saturating_duration_since(one.intended));
        }
    }

    /// Keeps how many rows a draw gave and what they were, the first time, and that an execution was cut off each time.
    pub(super) fn keep_rows(&mut self, query: &Query, timed: Timed) {
        let samples = &mut self.samples;
        let Some(done) = timed.done else {
            samples.timeouts += 1;
            // Rows are kept in draw order, so a draw without an answer ends the list.
            self.executions = self.executions.max(query.draws.len());
            return;
        };
        let first_time = timed.number < query.draws.len();
        if first_time && samples.rows.len() == timed.number {
            samples.rows.push(done.execution.rows);
            samples
                .digests
                .push(done.execution.digest.unwrap_or_default());
        }
    }

    pub(super) fn note_block(&mut self, executions: usize, epoch: usize) {
        self.samples.blocks.push(executions);
        match self.samples.epochs.last_mut() {
            Some(blocks) if self.epoch == epoch => *blocks += 1,
            _ => self.samples.epochs.push(1),
        }
        self.epoch = epoch;
    }

    /// Timed executions, those that were cut off among them.
    pub(super) fn count(&self) -> usize {
        let timeouts = usize::try_from(self.samples.timeouts).unwrap_or(usize::MAX);
        self.samples.latencies_ns.len().saturating_add(timeouts)
    }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A query quicker than this is run with every draw before it is timed.
const WARM_UP_MS: f64 = 50.0;
