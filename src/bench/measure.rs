//! How often to run what, and in which order.

use super::comparison::{Measured, is_settled};
use super::driver::Side;
use super::gate::Gate;
use super::goal::{Goal, LONG_MS, MOST, hopeless, is_far};
use super::open_loop::{self, Pace};
use super::order::Order;
use crate::db::{Limits, Result, Target, Way};
use crate::model::{Demand, Query, Samples, Workload};
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

/// Executions of one side in a row, where each takes no longer than so many milliseconds.
const BLOCKS: [(f64, usize); 3] = [(5.0, 5), (LONG_MS, 2), (f64::INFINITY, 1)];
/// Connections that each side has in turns within the budget.
const EPOCHS: u32 = 60;
/// A connection has to be worth its making.
const SHORTEST_EPOCH: Duration = Duration::from_millis(250);

/// Measures every query on two databases in turns, each with one client that sends one execution after the other.
pub async fn measure_pair(
    before: &Target,
    after: &Target,
    workload: &Workload,
    effort: Effort,
    note: &mut dyn FnMut(u64, u64, &str),
) -> Result<Vec<Measured>> {
    let demand = Demand::default();
    let (measured, _) = measure_pair_under(before, after, workload, effort, demand, note).await?;
    Ok(measured)
}

/// Measures every query on two databases in turns: before, after, after, before, with the same draws and the same load.
///
/// `note` is told what is being done: steps done, steps in all, the query. At a fixed rate the pace of each side comes second.
pub async fn measure_pair_under(
    before: &Target,
    after: &Target,
    workload: &Workload,
    effort: Effort,
    demand: Demand,
    note: &mut dyn FnMut(u64, u64, &str),
) -> Result<(Vec<Measured>, Vec<Pace>)> {
    let queries = &workload.queries;
    let mut sides = vec![
        Side::open(before, queries.len(), effort.limits, effort.way, demand).await?,
        Side::open(after, queries.len(), effort.limits, effort.way, demand).await?,
    ];
    let paces = Box::pin(run(&mut sides, queries, effort, demand, note)).await?;
    let mut repeatable = Vec::with_capacity(queries.len());
    for (at, query) in queries.iter().enumerate() {
        repeatable.push(Box::pin(is_repeatable(&sides, at, query)).await?);
    }
    let mut sides = sides.into_iter().map(Side::into_samples);
    let (before, after) = (
        sides.next().unwrap_or_default(),
        sides.next().unwrap_or_default(),
    );
    let both = before.into_iter().zip(after);
    let measured = queries.iter().zip(both).zip(repeatable);
    let measured =
        measured.map(|((query, sides), repeatable)| measured_of(query, sides, repeatable));
    Ok((measured.collect(), paces))
}

/// Measures every query on one database, in the order of the workload; at a fixed rate the pace comes second.
pub async fn measure_one_under(
    target: &Target,
    workload: &Workload,
    effort: Effort,
    demand: Demand,
    note: &mut dyn FnMut(u64, u64, &str),
) -> Result<(Vec<Samples>, Vec<Pace>)> {
    let queries = &workload.queries;
    let mut sides =
        vec![Side::open(target, queries.len(), effort.limits, effort.way, demand).await?];
    let paces = Box::pin(run(&mut sides, queries, effort, demand, note)).await?;
    let samples = sides.into_iter().next().map(Side::into_samples);
    Ok((samples.unwrap_or_default(), paces))
}

async fn run(
    sides: &mut [Side],
    queries: &[Query],
    effort: Effort,
    demand: Demand,
    note: &mut dyn FnMut(u64, u64, &str),
) -> Result<Vec<Pace>> {
    let total = queries.len() as u64;
    let start = Instant::now();
    for (step, (at, query)) in (0..).zip(queries.iter().enumerate()) {
        note(step, 2 * total, &query.id);
        for side in &mut *sides {
            side.prepare(at, query).await?;
        }
        level(sides, at);
    }
    if let Some(rate) = demand.rate {
        let left = effort.duration.saturating_sub(start.elapsed());
        return open_loop::run(sides, queries, rate, (effort.duration, left), note).await;
    }
    closed(sides, queries, effort, start, note).await?;
    Ok(Vec::new())
}

/// Blocks of one query after the other, until the verdicts are clear or the time is up.
async fn closed(
    sides: &mut [Side],
    queries: &[Query],
    effort: Effort,
    start: Instant,
    note: &mut dyn FnMut(u64, u64, &str),
) -> Result<()> {
    let total = queries.len() as u64;
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
        tracks.filter(|t| t.runs).map(|t| t.estimate_ms)
    };
    let slowest = estimates().fold(0.0, f64::max);
    let quickest = estimates().fold(f64::INFINITY, f64::min);
    if !is_far(slowest, quickest) {
        for side in sides {
            side.estimate(at, slowest);
        }
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
        let Some(track) = side.track(at).filter(|t| t.runs) else {
            continue;
        };
        // What is wanted is wanted of each client.
        let missing = wanted.saturating_sub(track.count() / side.width());
        let block = BLOCKS
            .iter()
            .find(|(ms, _)| track.estimate_ms <= *ms)
            .filter(|_| !side.is_cold())
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
        if !(b.runs && a.runs) || hopeless(b) || hopeless(a) {
            continue;
        }
        if !is_settled(
            &measured_of(query, (b.samples.clone(), a.samples.clone()), true),
            &gate,
        ) {
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

fn measured_of(query: &Query, (before, after): (Samples, Samples), repeatable: bool) -> Measured {
    Measured {
        query: query.id.clone(),
        weight: query.weight,
        slo_ms: query.slo_ms,
        before,
        after,
        repeatable,
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
