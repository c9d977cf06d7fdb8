use serde::{Deserialize, Serialize};

/// What one query did on one side of a benchmark.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// Every latency in nanoseconds, in the order they were taken.
    pub latencies_ns: Vec<u64>,
    /// How many of them belong to each block of consecutive executions, in order. Blocks of the two sides of a
    /// comparison alternate.
    #[serde(default)]
    pub blocks: Vec<usize>,
    /// Executions ended by the statement timeout; their latency is a lower bound and not among the others.
    pub timeouts: u64,
    /// Rows returned or touched by each draw, in draw order.
    pub rows: Vec<u64>,
    /// Of the rows of each draw, whatever their order, in draw order.
    #[serde(default)]
    pub digests: Vec<u64>,
    /// Shared buffers (hit and read) of one execution under EXPLAIN ANALYZE.
    pub buffers: Option<u64>,
    /// The plan's shape: node types with their relations and indexes, one a line, no values.
    pub plan: Option<String>,
    /// Total planner cost of the first draw.
    pub cost: Option<f64>,
    /// Why the query could not be run at all.
    #[serde(default)]
    pub error: Option<String>,
}

/// One query before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// `query@persona`.
    pub query: String,
    pub weight: f64,
    pub slo_ms: f64,
    pub before: Side,
    pub after: Side,
    /// p95 before divided by p95 after; a lower bound where `before` timed out.
    pub gain: f64,
    pub plan_changed: bool,
    pub verdict: Verdict,
    /// Why the verdict is what it is, for gates that failed.
    pub reasons: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Executions, those that were cut off among them.
    pub samples: u64,
    pub timeouts: u64,
    /// A quantile that falls on executions that were cut off is the statement timeout: a lower bound.
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    /// Of the executions that ended; 0 where none did.
    pub mean_ms: f64,
    /// Of the first draw.
    pub rows: u64,
    pub buffers: Option<u64>,
    pub cost: Option<f64>,
    pub plan: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The two sides returned different rows: nothing else about them is comparable.
    Differs,
    Slower,
    /// Not slower, but over its SLO.
    OverSlo,
    Inconclusive,
    Same,
    Faster,
}
