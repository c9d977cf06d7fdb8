use serde::{Deserialize, Serialize};

/// How many executions are sent at once, and when.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Demand {
    /// Connections of each side; each runs one execution at a time.
    pub clients: usize,
    /// Executions a second that are sent whether or not the earlier ones have ended; `None`: each client sends its next one
    /// when its last one has ended.
    pub rate: Option<f64>,
    /// Whether caches are emptied before each execution.
    pub cold: bool,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            clients: 1,
            rate: None,
            cold: false,
        }
    }
}

/// What one query did on one side of a benchmark.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// What the server had to do at the same time.
    #[serde(default)]
    pub demand: Demand,
    /// Every latency in nanoseconds, in the order they were taken; at a fixed rate, from when the execution was to start.
    pub latencies_ns: Vec<u64>,
    /// At a fixed rate, how much of each latency the statement itself took; else empty.
    #[serde(default)]
    pub service_ns: Vec<u64>,
    /// The same as an `HdrHistogram` (second form, compressed, base64; nanoseconds) for other tools.
    #[serde(default)]
    pub histogram: Option<String>,
    /// How much of each of them other processes had, while the backend or the client stood ready to run; empty or 0 where
    /// that is not known.
    #[serde(default)]
    pub taken_ns: Vec<u64>,
    /// How many of them belong to each block of consecutive executions, in order. Blocks of the two sides of a
    /// comparison alternate.
    #[serde(default)]
    pub blocks: Vec<usize>,
    /// How many blocks belong to each connection, in order. The two sides reconnect together.
    #[serde(default)]
    pub epochs: Vec<usize>,
    /// Which draw each latency is of.
    #[serde(default)]
    pub draws: Vec<u32>,
    /// What came before each timed statement: BEGIN, limits, claims and role, in nanoseconds.
    #[serde(default)]
    pub setup_ns: Vec<u64>,
    /// Executions ended by the statement timeout; their latency is a lower bound and not among the others.
    pub timeouts: u64,
    /// Rows returned or touched by each draw, in draw order.
    pub rows: Vec<u64>,
    /// Of the rows of each draw, whatever their order, in draw order.
    #[serde(default)]
    pub digests: Vec<u64>,
    /// Shared buffers (hit and read) of one execution under EXPLAIN ANALYZE.
    pub buffers: Option<u64>,
    /// Rows read and thrown away by filters, of the same execution.
    #[serde(default)]
    pub rows_removed: Option<f64>,
    /// The plan's shape: node types with their relations and indexes, one a line, no values.
    pub plan: Option<String>,
    /// Total planner cost of the first draw.
    pub cost: Option<f64>,
    /// Why the query could not be run at all.
    #[serde(default)]
    pub error: Option<String>,
}

impl Samples {
    /// The latencies in milliseconds without what other processes had of them: what is compared.
    pub fn own_ms(&self) -> impl Iterator<Item = f64> {
        let taken = self.taken_ns.iter().copied().chain(std::iter::repeat(0));
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a latency")]
        self.latencies_ns
            .iter()
            .zip(taken)
            .map(|(ns, taken)| ns.saturating_sub(taken) as f64 / 1e6)
    }
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
    /// After divided by before.
    #[serde(default)]
    pub ratios: Ratios,
    pub plan_changed: bool,
    pub verdict: Verdict,
    /// Why the gate lets a bad verdict pass, from the configuration.
    #[serde(default)]
    pub allowed: Option<String>,
    /// Why the verdict is what it is, for gates that failed.
    pub reasons: Vec<String>,
}

/// What is known of a ratio: its estimate, and what it lies between with 95 % confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub low: f64,
    pub point: f64,
    pub high: f64,
}

/// Ratios of the two sides of one query, each after / before; 0 where a side has no samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ratios {
    pub p50: Interval,
    pub p95: Interval,
    pub p99: Interval,
    pub mean: Interval,
    /// Of the 95th percentile of what each draw typically takes: the draws' part of p95, without the machine's.
    pub typical: Interval,
    /// The chance that so much or more is seen where nothing became slower.
    pub p_value: f64,
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
    #[serde(default)]
    pub rows_removed: Option<f64>,
    pub cost: Option<f64>,
    pub plan: Option<String>,
    /// The share of the waiting that other processes of the machine caused; it is not in the latencies here.
    #[serde(default)]
    pub taken: f64,
    /// Median of BEGIN, limits, claims and role together; not in the latencies.
    #[serde(default)]
    pub setup_ms: f64,
    /// Milliseconds at equal steps of the distribution function, the first and the last sample among them; at most 100.
    #[serde(default)]
    pub ecdf_ms: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The two sides returned different rows: nothing else about them is comparable.
    Differs,
    Slower,
    /// Not slower, but over its SLO.
    OverSlo,
    /// Not slower in time, but it reads more buffers than the gate allows, or has another plan where none may change.
    Costlier,
    Inconclusive,
    Same,
    Faster,
}

/// What the gate asks of one query, next to its target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// How much longer p95 may become, in percent.
    pub p95_percent: f64,
    /// How many more shared buffers an execution may touch, in percent; `None` where that is nobody's concern.
    pub buffers_percent: Option<f64>,
    pub plan_change: PlanChange,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            p95_percent: 10.0,
            buffers_percent: None,
            plan_change: PlanChange::Ignore,
        }
    }
}

/// What another plan is to the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanChange {
    Fail,
    Warn,
    #[default]
    Ignore,
}
