//! Runs queries on one side and keeps what they did.

use super::processor::Queue;
use crate::db::{
    Error, Execution, Explain, Limits, Plans, Prepared, Result, Session, Target, Way, draw_of,
    explain, explain_generic,
};
use crate::model::{Query, Samples};
use std::time::{Duration, Instant};

/// One side of a benchmark: a connection, and each query's statement and samples.
pub(super) struct Side {
    target: Target,
    session: Session,
    queue: Option<Queue>,
    /// Connections so far.
    epoch: usize,
    limits: Limits,
    way: Way,
    tracks: Vec<Track>,
}

/// One query on one side.
#[derive(Default)]
pub(super) struct Track {
    /// On the current connection.
    prepared: Option<Prepared>,
    /// Whether there is anything to run.
    runs: bool,
    /// The connection of the last block.
    epoch: usize,
    pub(super) samples: Samples,
    /// Executions so far, timed or not: the next one takes this draw.
    executions: usize,
    /// What an execution takes, in milliseconds.
    pub(super) estimate_ms: f64,
}

impl Side {
    pub(super) async fn open(
        target: &Target,
        queries: usize,
        limits: Limits,
        way: Way,
    ) -> Result<Self> {
        let (session, queue) = connect(target, way).await?;
        Ok(Self {
            target: target.clone(),
            session,
            queue,
            epoch: 1,
            limits,
            way,
            tracks: std::iter::repeat_with(Track::default)
                .take(queries)
                .collect(),
        })
    }

    /// Goes on with a new backend, on another processor and at other addresses perhaps: what one backend has by luck
    /// is not taken for what the side has.
    pub(super) async fn reconnect(&mut self) -> Result<()> {
        (self.session, self.queue) = connect(&self.target, self.way).await?;
        self.epoch += 1;
        for track in &mut self.tracks {
            track.prepared = None;
        }
        Ok(())
    }

    pub(super) fn track(&self, at: usize) -> Option<&Track> {
        self.tracks.get(at)
    }

    /// Takes an execution of a query to be so long from now on.
    pub(super) fn estimate(&mut self, at: usize, ms: f64) {
        if let Some(track) = self.tracks.get_mut(at) {
            track.estimate_ms = ms;
        }
    }

    pub(super) fn into_samples(self) -> Vec<Samples> {
        self.tracks.into_iter().map(|t| t.samples).collect()
    }

    /// Parses, explains (executed: for buffers, and to warm the caches) and, where that is quick, runs every draw once for
    /// its rows. An error of the query itself is kept among its samples; one of the connection is returned.
    pub(super) async fn prepare(&mut self, at: usize, query: &Query) -> Result<()> {
        let mut track = Track::default();
        let prepared = self.look(&mut track, query).await;
        if let Err(error) = prepared {
            self.keep_going(&mut track, error)?;
        }
        if let Some(slot) = self.tracks.get_mut(at) {
            *slot = track;
        }
        Ok(())
    }

    async fn look(&self, track: &mut Track, query: &Query) -> Result<()> {
        self.parse(track, query).await?;
        track.runs = true;
        let planned = explain(&self.session, query, 0, Explain::Plan);
        let (plan, _) = self.within(query, planned).await?;
        track.samples.plan = Some(plan.shape());
        track.samples.cost = Some(plan.total_cost);
        let ran = async {
            let begun = self.queue.as_ref().and_then(Queue::read);
            let plan = if self.way.plans == Plans::Generic {
                explain_generic(&self.session, query, 0).await?
            } else {
                explain(&self.session, query, 0, Explain::Measure).await?
            };
            let ended = self.queue.as_ref().and_then(Queue::read);
            let taken = begun.zip(ended).map(|(b, e)| b.taken(e, Duration::MAX));
            Ok((plan, taken.unwrap_or_default()))
        };
        match self.within(query, ran).await {
            Ok(((plan, taken), _)) => {
                track.samples.plan = Some(plan.shape());
                track.samples.cost = Some(plan.total_cost);
                track.samples.buffers = plan.buffers();
                track.samples.rows_removed = plan.rows_removed();
                let taken_ms = taken.as_secs_f64() * 1e3;
                let took_ms = plan.execution_ms.unwrap_or_default();
                track.estimate_ms = (took_ms - taken_ms).max(took_ms / 10.0);
            }
            Err(error) if error.is(CUT_OFF) => {
                track.samples.timeouts += 1;
                track.estimate_ms = self.limits.statement.as_secs_f64() * 1e3;
            }
            Err(error) => return Err(error),
        }
        if track.estimate_ms < WARM_UP_MS {
            for _ in 0..query.draws.len() {
                self.execute(track, query, false).await?;
            }
        }
        Ok(())
    }

    async fn parse(&self, track: &mut Track, query: &Query) -> Result<()> {
        let (prepared, _) = self
            .within(query, self.session.prepare_query(query))
            .await?;
        track.prepared = Some(prepared);
        Ok(())
    }

    /// Parses a query anew after the connection was changed, and runs it once so that the backend knows its tables.
    async fn resume(&self, track: &mut Track, query: &Query) -> Result<()> {
        if track.prepared.is_some() {
            return Ok(());
        }
        self.parse(track, query).await?;
        if track.estimate_ms < WARM_UP_MS {
            let executions = track.executions;
            self.execute(track, query, false).await?;
            track.executions = executions.max(track.executions - 1);
        }
        Ok(())
    }

    /// Runs one block of `count` executions of a query and times them.
    pub(super) async fn block(&mut self, at: usize, query: &Query, count: usize) -> Result<()> {
        let Some(mut track) = self.tracks.get_mut(at).map(std::mem::take) else {
            return Ok(());
        };
        let done = track.samples.latencies_ns.len();
        let mut outcome = self.resume(&mut track, query).await;
        for _ in 0..count {
            if outcome.is_err() {
                break;
            }
            outcome = self.execute(&mut track, query, true).await;
        }
        let timed = track.samples.latencies_ns.len() - done;
        if timed > 0 {
            track.note_block(timed, self.epoch);
        }
        let outcome = match outcome {
            Err(error) => self.keep_going(&mut track, error),
            Ok(()) => Ok(()),
        };
        if let Some(slot) = self.tracks.get_mut(at) {
            *slot = track;
        }
        outcome
    }

    async fn execute(&self, track: &mut Track, query: &Query, timed: bool) -> Result<()> {
        let draw = track.executions;
        track.executions += 1;
        let first_time = draw < query.draws.len();
        let Some(prepared) = &track.prepared else {
            return Ok(());
        };
        let run = async {
            let begun = self.queue.as_ref().and_then(Queue::read);
            let values = draw_of(query, draw);
            let done = self
                .session
                .run_query(query, prepared, values, first_time)
                .await?;
            let ended = self.queue.as_ref().and_then(Queue::read);
            let taken = begun.zip(ended).map(|(b, e)| b.taken(e, done.elapsed));
            Ok((done, taken.unwrap_or_default()))
        };
        match self.within(query, run).await {
            Ok(((done, taken), setup)) => {
                if first_time && track.samples.rows.len() == draw {
                    track.samples.rows.push(done.rows);
                    track.samples.digests.push(done.digest.unwrap_or_default());
                }
                if timed {
                    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                    track.samples.latencies_ns.push(ns(done.elapsed));
                    track.samples.taken_ns.push(ns(taken));
                    track.samples.setup_ns.push(setup);
                    let draw = draw % query.draws.len().max(1);
                    track
                        .samples
                        .draws
                        .push(u32::try_from(draw).unwrap_or_default());
                }
                Ok(())
            }
            Err(error) if error.is(CUT_OFF) => {
                track.samples.timeouts += 1;
                // Rows are kept in draw order, so a draw without an answer ends the list.
                track.executions = track.executions.max(query.draws.len());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether one draw gives other rows each time it is run.
    pub(super) async fn varies(&self, at: usize, query: &Query, draw: usize) -> Result<bool> {
        if !self.tracks.get(at).is_some_and(Track::runs) {
            return Ok(false);
        }
        // The connection may have been changed since the query's last block.
        let preparing = self.session.prepare_query(query);
        let (prepared, _) = self.within(query, preparing).await?;
        let mut seen: Option<Execution> = None;
        for _ in 0..2 {
            let run = self
                .session
                .run_query(query, &prepared, draw_of(query, draw), true);
            let (done, _) = self.within(query, run).await?;
            if seen.is_some_and(|s| s.digest != done.digest) {
                return Ok(true);
            }
            seen = Some(done);
        }
        Ok(false)
    }

    /// `work` inside the query's own transaction, rolled back whatever happens; and the nanoseconds that opening it took.
    async fn within<T>(
        &self,
        query: &Query,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(T, u64)> {
        let start = Instant::now();
        self.session.begin_query(query, self.limits).await?;
        let setup = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let outcome = work.await;
        let ended = self.session.end().await;
        outcome.and_then(|value| ended.map(|()| (value, setup)))
    }

    /// A query that fails is a result; a connection that is gone is not.
    fn keep_going(&self, track: &mut Track, error: Error) -> Result<()> {
        if error.sqlstate.is_none() || self.session.client().is_closed() {
            return Err(error);
        }
        track.runs = false;
        track.samples.error = Some(error.to_string());
        Ok(())
    }
}

impl Track {
    /// Whether there is anything to run.
    pub(super) fn runs(&self) -> bool {
        self.runs
    }

    fn note_block(&mut self, executions: usize, epoch: usize) {
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

async fn connect(target: &Target, way: Way) -> Result<(Session, Option<Queue>)> {
    let session = Session::connect(target, "bench").await?.in_the_way(way);
    let pid = session
        .texts(
            "ask a backend for its number",
            "select pg_backend_pid()::text",
        )
        .await?;
    let queue = pid
        .concat()
        .parse()
        .ok()
        .and_then(|pid| Queue::of(target, pid));
    Ok((session, queue))
}

/// SQLSTATE of a statement ended by `statement_timeout`.
const CUT_OFF: &str = "57014";
/// A query quicker than this is run with every draw before it is timed.
const WARM_UP_MS: f64 = 50.0;
