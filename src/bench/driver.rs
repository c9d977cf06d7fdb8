//! Runs queries on one side and keeps what they did.

use super::client::{CUT_OFF, Client};
use super::closed_loop;
use super::cold::Eviction;
use super::histogram::hdr_histogram;
use super::open_loop::Ended;
use super::processor::Queue;
use super::track::Track;
use crate::db::{
    Error, Execution, Explain, Limits, Plans, Result, Target, Way, draw_of, explain,
    explain_generic,
};
use crate::model::{Demand, Query, Samples};
use std::time::Duration;

/// One side of a benchmark: its connections, and each query's samples.
pub(super) struct Side {
    target: Target,
    clients: Vec<Client>,
    /// What empties the caches, where that is wanted.
    eviction: Option<Eviction>,
    /// Connections so far, one after the other.
    epoch: usize,
    pub(super) limits: Limits,
    way: Way,
    demand: Demand,
    tracks: Vec<Track>,
}

impl Side {
    pub(super) async fn open(
        target: &Target,
        queries: usize,
        limits: Limits,
        way: Way,
        demand: Demand,
    ) -> Result<Self> {
        let mut side = Self {
            target: target.clone(),
            clients: Vec::new(),
            eviction: if demand.cold {
                Some(Eviction::open(target).await?)
            } else {
                None
            },
            epoch: 0,
            limits,
            way,
            demand,
            tracks: std::iter::repeat_with(Track::default)
                .take(queries)
                .collect(),
        };
        side.reconnect().await?;
        Ok(side)
    }

    /// Goes on with new backends, on other processors and at other addresses perhaps: what one backend has by luck is not
    /// taken for what the side has.
    pub(super) async fn reconnect(&mut self) -> Result<()> {
        let count = self.demand.clients.max(1);
        let alone = count == 1 && self.demand.rate.is_none();
        // The old ones end first, so that no more are open than were asked for.
        self.clients.clear();
        for _ in 0..count {
            let client = Client::connect(&self.target, self.way, self.tracks.len(), alone).await?;
            self.clients.push(client);
        }
        self.epoch += 1;
        Ok(())
    }

    /// How many executions may run at once.
    pub(super) fn width(&self) -> usize {
        self.clients.len()
    }

    /// Whether caches are emptied before each block.
    pub(super) fn is_cold(&self) -> bool {
        self.demand.cold
    }

    pub(super) fn clients(&self) -> &[Client] {
        &self.clients
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
        let demand = self.demand;
        let tracks = self.tracks.into_iter();
        tracks
            .map(|track| Samples {
                demand,
                histogram: hdr_histogram(&track.samples.latencies_ns),
                ..track.samples
            })
            .collect()
    }

    /// Parses, explains (executed: for buffers, and to warm the caches) and, where that is quick, runs every draw once for
    /// its rows. An error of the query itself is kept among its samples; one of the connection is returned.
    pub(super) async fn prepare(&mut self, at: usize, query: &Query) -> Result<()> {
        let mut track = Track::default();
        let prepared = self.look(&mut track, at, query).await;
        if let Err(error) = prepared {
            self.keep_going(&mut track, error)?;
        }
        if let Some(slot) = self.tracks.get_mut(at) {
            *slot = track;
        }
        Ok(())
    }

    async fn look(&mut self, track: &mut Track, at: usize, query: &Query) -> Result<()> {
        let (limits, generic) = (self.limits, self.way.plans == Plans::Generic);
        let Some(client) = self.clients.first_mut() else {
            return Ok(());
        };
        client.parse(at, query, limits).await?;
        track.runs = true;
        let planned = explain(client.session(), query, 0, Explain::Plan);
        let (plan, _) = client.within(query, limits, planned).await?;
        track.samples.plan = Some(plan.shape());
        track.samples.cost = Some(plan.total_cost);
        let ran = async {
            let begun = client.queue().and_then(Queue::read);
            let plan = if generic {
                explain_generic(client.session(), query, 0).await?
            } else {
                explain(client.session(), query, 0, Explain::Measure).await?
            };
            let ended = client.queue().and_then(Queue::read);
            let taken = begun.zip(ended).map(|(b, e)| b.taken(e, Duration::MAX));
            Ok((plan, taken.unwrap_or_default()))
        };
        match client.within(query, limits, ran).await {
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
                track.estimate_ms = limits.statement.as_secs_f64() * 1e3;
            }
            Err(error) => return Err(error),
        }
        if track.is_quick() {
            for _ in 0..query.draws.len() {
                let number = track.executions;
                track.executions += 1;
                if let Some(timed) = client.execute(at, query, number, limits).await? {
                    track.keep_rows(query, timed);
                }
            }
        }
        Ok(())
    }

    /// Parses a query anew on connections that have not, and runs it once on each so that the backend knows its tables.
    pub(super) async fn resume(&mut self, at: usize, query: &Query) -> Result<()> {
        let Some(mut track) = self.tracks.get_mut(at).map(std::mem::take) else {
            return Ok(());
        };
        let mut outcome = Ok(());
        for client in &mut self.clients {
            if outcome.is_ok() && track.runs && !client.has(at) {
                outcome = warm_up(client, &mut track, (at, query), self.limits).await;
            }
        }
        self.put_back(at, track, outcome)
    }

    /// Runs one block of `count` executions of a query on each client and times them.
    pub(super) async fn block(&mut self, at: usize, query: &Query, count: usize) -> Result<()> {
        if let Some(eviction) = self.eviction.take() {
            let emptied = self.cool_down(&eviction, at, query).await;
            self.eviction = Some(eviction);
            emptied?;
        }
        self.resume(at, query).await?;
        // A client that waits for its answers itself would never let an interrupt through.
        tokio::task::yield_now().await;
        let Some(mut track) = self.tracks.get_mut(at).map(std::mem::take) else {
            return Ok(());
        };
        let wanted = if track.runs { count * self.width() } else { 0 };
        let numbers = track.executions..track.executions + wanted;
        track.executions = numbers.end;
        let limits = self.limits;
        let running = closed_loop::run(&self.clients, numbers, async |client, number| {
            client.execute(at, query, number, limits).await
        });
        let (mut timed, outcome) = running.await;
        // In the order of their starts, as those of one client are.
        timed.sort_by_key(|t| t.number);
        let done = track.samples.latencies_ns.len();
        for one in timed {
            track.keep(query, one);
        }
        let kept = track.samples.latencies_ns.len() - done;
        if kept > 0 {
            track.note_block(kept, self.epoch);
        }
        self.put_back(at, track, outcome)
    }

    /// Keeps what a window at a fixed rate was like: one block of each query that was run in it.
    pub(super) fn keep_window(
        &mut self,
        queries: &[Query],
        mut ended: Vec<Ended>,
        given_up: &[u64],
        failed: Vec<(usize, Error)>,
    ) -> Result<()> {
        ended.sort_by_key(|e| e.timed.number);
        for ((at, query), given_up) in queries.iter().enumerate().zip(given_up) {
            let Some(mut track) = self.tracks.get_mut(at).map(std::mem::take) else {
                continue;
            };
            let done = track.samples.latencies_ns.len();
            for one in ended.iter().filter(|e| e.query == at) {
                track.keep_from(query, one);
            }
            let kept = track.samples.latencies_ns.len() - done;
            if kept > 0 {
                track.note_block(kept, self.epoch);
            }
            track.samples.timeouts += given_up;
            self.put_back(at, track, Ok(()))?;
        }
        for (at, error) in failed {
            if let Some(track) = self.tracks.get_mut(at).map(std::mem::take) {
                self.put_back(at, track, Err(error))?;
            }
        }
        Ok(())
    }

    /// A new connection that has parsed the query and has nothing else, on a server that has nothing of the data either.
    async fn cool_down(&mut self, eviction: &Eviction, at: usize, query: &Query) -> Result<()> {
        self.reconnect().await?;
        for client in &mut self.clients {
            client.parse(at, query, self.limits).await?;
        }
        eviction.run().await
    }

    fn put_back(&mut self, at: usize, mut track: Track, outcome: Result<()>) -> Result<()> {
        let outcome = match outcome {
            Err(error) => self.keep_going(&mut track, error),
            Ok(()) => Ok(()),
        };
        if let Some(slot) = self.tracks.get_mut(at) {
            *slot = track;
        }
        outcome
    }

    /// Whether one draw gives other rows each time it is run.
    pub(super) async fn varies(&self, at: usize, query: &Query, draw: usize) -> Result<bool> {
        if !self.tracks.get(at).is_some_and(|t| t.runs) {
            return Ok(false);
        }
        let limits = self.limits;
        let Some(client) = self.clients.first() else {
            return Ok(false);
        };
        let session = client.session();
        // The connection may have been changed since the query's last block.
        let preparing = session.prepare_query(query);
        let (prepared, _) = client.within(query, limits, preparing).await?;
        let mut seen: Option<Execution> = None;
        for _ in 0..2 {
            let run = session.run_query(query, &prepared, draw_of(query, draw), true);
            let (done, _) = client.within(query, limits, run).await?;
            if seen.is_some_and(|s| s.digest != done.digest) {
                return Ok(true);
            }
            seen = Some(done);
        }
        Ok(false)
    }

    /// A query that fails is a result; a connection that is gone is not.
    fn keep_going(&self, track: &mut Track, error: Error) -> Result<()> {
        let mut sessions = self.clients.iter().map(Client::session);
        if error.sqlstate.is_none() || sessions.any(|s| s.client().is_closed()) {
            return Err(error);
        }
        track.runs = false;
        track.samples.error = Some(error.to_string());
        Ok(())
    }
}

async fn warm_up(
    client: &mut Client,
    track: &mut Track,
    (at, query): (usize, &Query),
    limits: Limits,
) -> Result<()> {
    client.parse(at, query, limits).await?;
    if track.is_quick() {
        let timed = client.execute(at, query, track.executions, limits).await?;
        if let Some(timed) = timed {
            track.keep_rows(query, timed);
        }
    }
    Ok(())
}
