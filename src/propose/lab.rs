//! Where changes are tried.

use crate::model::{Basis, Change, IndexSpec, Persona, Plan, Query};
use std::future::Future;
use std::time::Duration;

/// An index that the planner believes in for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pretence {
    /// What the backend needs to take it back.
    pub handles: Vec<u64>,
    /// The names by which plans speak of it.
    pub names: Vec<String>,
    /// Estimated size.
    pub bytes: u64,
}

/// What one execution cost the server: figures that repeat, unlike times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Shared buffers, those of functions among them.
    pub buffers: f64,
    /// Rows that the nodes of the plan handled together.
    pub rows: f64,
    /// The planner's estimate.
    pub cost: f64,
    /// Rows that the planner expected of those nodes: costs compare where this does.
    pub expected: f64,
}

/// One query run with a few draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timing {
    /// The best of a few runs for each draw.
    pub draws: Vec<Duration>,
    /// Of each draw; empty where the statement cannot be explained.
    pub work: Vec<Work>,
    /// The statement timeout ended it: the durations are lower bounds, and the last draw has no work.
    pub timed_out: bool,
}

/// Plans and runs queries as their personas, with changes pretended or made.
///
/// The original database can only pretend; a clone can make every change and run every query.
pub trait Lab: Send {
    type Error: std::error::Error + Send + Sync + 'static;

    /// What a figure found here rests on.
    fn basis(&self) -> Basis;

    /// Whether changes can be made for real and queries run: true for a clone.
    fn can_make(&self) -> bool;

    /// Whether the planner can be told of an index that is not there.
    fn can_pretend(&self) -> bool;

    fn pretend(
        &mut self,
        index: &IndexSpec,
    ) -> impl Future<Output = Result<Pretence, Self::Error>> + Send;

    fn forget(
        &mut self,
        pretence: &Pretence,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    fn make(&mut self, change: &Change) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Fresh statistics and visibility maps, so that timings before and after differ by the changes alone.
    fn settle(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    fn plan(
        &mut self,
        query: &Query,
        draw: usize,
    ) -> impl Future<Output = Result<Plan, Self::Error>> + Send;

    /// Runs the query with its first `draws` draws; what it writes is taken back.
    fn time(
        &mut self,
        query: &Query,
        draws: usize,
    ) -> impl Future<Output = Result<Timing, Self::Error>> + Send;

    /// Runs the query with all its draws for the work alone; each execution may take as long as `limit`.
    fn measure(
        &mut self,
        query: &Query,
        limit: Duration,
    ) -> impl Future<Output = Result<Timing, Self::Error>> + Send;

    /// The rows of a SELECT as text, as `persona` or as the connecting role: values to look up by. They are never printed.
    fn rows(
        &mut self,
        sql: &str,
        persona: Option<&Persona>,
        limit: Duration,
    ) -> impl Future<Output = Result<Vec<Vec<Option<String>>>, Self::Error>> + Send;
}

impl Timing {
    /// Mean over the draws, in milliseconds.
    pub fn ms(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let n = self.draws.len().max(1) as f64;
        self.draws.iter().map(Duration::as_secs_f64).sum::<f64>() * 1_000.0 / n
    }
}
