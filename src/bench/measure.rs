//! How often to run what, and in which order.

use super::comparison::{Measured, is_settled};
use super::driver::{Side, Track};
use super::gate::Gate;
use crate::db::{Limits, Result, Target, Way};
use crate::model::{Query, Samples, Workload};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};

/// What a benchmark may spend.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Wall clock for all queries. What must be run to say anything at all is run even beyond it.
    pub duration: Duration,
    pub limits: Limits,
    pub gate: Gate,
    pub way: Way,
}

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
const MOST: usize = 4000;
/// A query slower than this is run twice, others three times.
const HOPELESS_MS: f64 = 5000.0;
/// Executions of one side in a row, where each takes no longer than so many milliseconds.
const BLOCKS: [(f64, usize); 3] = [(5.0, 5), (LONG_MS, 2), (f64::INFINITY, 1)];
/// Connections that each side has in turns within the budget.
const EPOCHS: u32 = 24;
/// A connection has to be worth its making.
const SHORTEST_EPOCH: Duration = Duration::from_millis(400);
/// Queries slower than this change sides after each execution.
const LONG_MS: f64 = 50.0;

/// Measures every query on two databases in turns: before, after, after, before, with the same draws.
///
/// `note` is told what is being done: steps done, steps in all, the query.
pub async fn measure_pair(
    before: &Target,
    after: &Target,
    workload: &Workload,
    effort: Effort,
    note: &mut dyn FnMut(u64, u64, &str),
) -> Result<Vec<Measured>> {
    let queries = &workload.queries;
    let mut sides = vec![
        Side::open(before, queries.len(), effort.limits, effort.way).await?,
        Side::open(after, queries.len(), effort.limits, effort.way).await?,
    ];
    run(&mut sides, queries, effort, note).await?;
    let mut repeatable = Vec::with_capacity(queries.len());
    for (at, query) in queries.iter().enumerate() {
        repeatable.push(is_repeatable(&sides, at, query).await?);
    }
    let mut sides = sides.into_iter().map(Side::into_samples);
    let (before, after) = (
        sides.next().unwrap_or_default(),
        sides.next().unwrap_or_default(),
    );
    let both = before.into_iter().zip(after);
    Ok(queries
        .iter()
        .zip(both)
        .zip(repeatable)
        .map(|((query, (before, after)), repeatable)| Measured {
            query: query.id.clone(),
            weight: query.weight,
            slo_ms: query.slo_ms,
            before,
            after,
            repeatable,
            thresholds: None,
            allowed: None,
        })
        .collect())
}

/// Measures every query on one database, in the order of the workload.
pub async fn measure_one(
    target: &Target,
    workload: &Workload,
    effort: Effort,
    note: &mut dyn FnMut(u64, u64, &str),
) -> Result<Vec<Samples>> {
    let queries = &workload.queries;
    let mut sides = vec![Side::open(target, queries.len(), effort.limits, effort.way).await?];
    run(&mut sides, queries, effort, note).await?;
    Ok(sides
        .into_iter()
        .next()
        .map(Side::into_samples)
        .unwrap_or_default())
}

async fn run(
    sides: &mut [Side],
    queries: &[Query],
    effort: Effort,
    note: &mut dyn FnMut(u64, u64, &str),
) -> Result<()> {
    let total = queries.len() as u64;
    let start = Instant::now();
    for (step, (at, query)) in (0..).zip(queries.iter().enumerate()) {
        note(step, 2 * total, &query.id);
        for side in &mut *sides {
            side.prepare(at, query).await?;
        }
        level(sides, at);
    }
    let mut goals: Vec<Goal> = (0..queries.len())
        .map(|at| {
            Goal::new(
                sides,
                at,
                queries.len(),
                effort.duration.saturating_sub(start.elapsed()),
            )
        })
        .collect();
    let mut order = Order::new(sides.len(), queries.len());
    let epoch = (effort.duration / EPOCHS).max(SHORTEST_EPOCH);
    let mut connected = Instant::now();
    loop {
        let mut ran = false;
        if connected.elapsed() > epoch {
            for index in order.next(queries.len()) {
                if let Some(side) = sides.get_mut(index) {
                    side.reconnect().await?;
                }
            }
            connected = Instant::now();
        }
        for ((at, query), goal) in queries.iter().enumerate().zip(&mut goals) {
            ran |= visit(sides, at, query, goal, &order.next(at)).await?;
        }
        let done = goals.iter().filter(|g| g.reached).count() as u64;
        note(total + done, 2 * total, "");
        let time_left = start.elapsed() < effort.duration;
        if !ran {
            let go_on = time_left && reopen(sides, queries, &mut goals, effort.gate);
            if !go_on {
                return Ok(());
            }
        } else if !time_left {
            for goal in &mut goals {
                goal.cut_short();
            }
        }
    }
}

/// Gives sides that are not far apart one estimate, so that they get as many executions in as many blocks: only then are
/// blocks compared in pairs.
fn level(sides: &mut [Side], at: usize) {
    let estimates = || {
        let tracks = sides.iter().filter_map(|side| side.track(at));
        tracks.filter(|t| t.runs()).map(|t| t.estimate_ms)
    };
    let slowest = estimates().fold(0.0, f64::max);
    let quickest = estimates().fold(f64::INFINITY, f64::min);
    if !is_far(slowest, quickest) {
        for side in sides {
            side.estimate(at, slowest);
        }
    }
}

fn is_far(ms: f64, quickest_ms: f64) -> bool {
    ms > LONG_MS && ms > FAR_APART * quickest_ms
}

/// How many executions each side of one query is to have.
struct Goal {
    wanted: Vec<usize>,
    least: Vec<usize>,
    reached: bool,
}

impl Goal {
    fn new(sides: &[Side], at: usize, queries: usize, duration: Duration) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a number of queries")]
        let share_ms = duration.as_secs_f64() * 1e3 / (queries * sides.len()).max(1) as f64;
        let estimates: Vec<Option<f64>> = sides
            .iter()
            .map(|side| side.track(at).filter(|t| t.runs()).map(|t| t.estimate_ms))
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
        Self {
            wanted: each(&|ms, far| wanted(ms, far, share_ms)),
            least: each(&least),
            reached: false,
        }
    }

    /// The time is up: only what is needed to say anything.
    fn cut_short(&mut self) {
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

/// Which side comes first: of every two visits to a query each side is first once, and chance decides on which. A fixed
/// alternation would give the same draws to the same side first whenever blocks divide the draws evenly.
struct Order {
    random: ChaCha8Rng,
    sides: usize,
    /// For each query, and for connecting, what the second visit of the current two will be.
    second: Vec<Option<bool>>,
}

impl Order {
    fn new(sides: usize, queries: usize) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(0x006f_7264_6572),
            sides,
            second: vec![None; queries + 1],
        }
    }

    fn next(&mut self, query: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.sides).collect();
        let Some(second) = self.second.get_mut(query) else {
            return order;
        };
        let reversed = second.take().unwrap_or_else(|| {
            let reversed = self.random.random_bool(0.5);
            *second = Some(!reversed);
            reversed
        });
        if reversed {
            order.reverse();
        }
        order
    }
}

/// One block on each side that wants more; whether anything was run.
async fn visit(
    sides: &mut [Side],
    at: usize,
    query: &Query,
    goal: &mut Goal,
    order: &[usize],
) -> Result<bool> {
    let mut ran = false;
    for index in order.iter().copied() {
        let (Some(side), Some(wanted)) = (sides.get_mut(index), goal.wanted.get(index)) else {
            continue;
        };
        let Some(track) = side.track(at).filter(|t| t.runs()) else {
            continue;
        };
        let missing = wanted.saturating_sub(track.count());
        let block = BLOCKS
            .iter()
            .find(|(ms, _)| track.estimate_ms <= *ms)
            .map_or(1, |(_, executions)| *executions);
        if missing > 0 {
            side.block(at, query, missing.min(block)).await?;
            ran = true;
        }
    }
    goal.reached = !ran;
    Ok(ran)
}

/// Doubles the goals of queries whose verdict is open; whether there was one.
fn reopen(sides: &[Side], queries: &[Query], goals: &mut [Goal], gate: Gate) -> bool {
    let [before, after] = sides else {
        return false;
    };
    let mut any = false;
    for ((at, query), goal) in queries.iter().enumerate().zip(goals) {
        let (Some(b), Some(a)) = (before.track(at), after.track(at)) else {
            continue;
        };
        if !(b.runs() && a.runs()) || hopeless(b) || hopeless(a) {
            continue;
        }
        if !is_settled(&measured(query, b, a), &gate) {
            for wanted in &mut goal.wanted {
                if *wanted < MOST {
                    *wanted *= 2;
                    any = true;
                }
            }
        }
    }
    any
}

fn hopeless(track: &Track) -> bool {
    track.estimate_ms > HOPELESS_MS || track.samples.timeouts > 0
}

fn measured(query: &Query, before: &Track, after: &Track) -> Measured {
    Measured {
        query: query.id.clone(),
        weight: query.weight,
        slo_ms: query.slo_ms,
        before: before.samples.clone(),
        after: after.samples.clone(),
        repeatable: true,
        thresholds: None,
        allowed: None,
    }
}

/// Looked at only where the rows differ: whether equal data must give equal rows.
async fn is_repeatable(sides: &[Side], at: usize, query: &Query) -> Result<bool> {
    let [before, after] = sides else {
        return Ok(true);
    };
    let (Some(b), Some(a)) = (before.track(at), after.track(at)) else {
        return Ok(true);
    };
    let pairs = b.samples.digests.iter().zip(&a.samples.digests);
    let Some(draw) = pairs.into_iter().position(|(b, a)| b != a) else {
        return Ok(true);
    };
    if crate::sql::is_limited(&query.sql) {
        return Ok(false);
    }
    Ok(!before.varies(at, query, draw).await?)
}
