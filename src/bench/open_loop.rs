//! Executions that start when they are due, whether or not the earlier ones have ended, as those of users do.
//!
//! A latency counts from the intended start: what waits because the server is busy waits for as long as a user would.

use super::client::{Client, Timed};
use super::driver::Side;
use super::order::Order;
use super::quantile::{quantile, sorted};
use super::schedule::{Arrival, Schedule};
use crate::db::{Error, Limits, Result};
use crate::model::Query;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::Serialize;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How one side kept up with the rate that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pace {
    /// Executions a second that were due.
    pub asked: f64,
    /// Executions a second that were sent.
    pub sent: f64,
    /// Executions that were never sent because they had waited for a client for a whole window.
    pub given_up: u64,
    /// Median of how late an execution was sent although a client was free, in milliseconds: the clock's own part.
    pub lag_ms: f64,
}

impl Pace {
    /// Whether most of the waiting may be that of the queries themselves.
    pub fn kept_up(&self) -> bool {
        self.given_up == 0 && self.sent >= KEPT_UP * self.asked
    }
}

/// The share of the asked rate that is as good as the whole.
const KEPT_UP: f64 = 0.95;
/// Windows of each side within the budget.
const WINDOWS: u32 = 12;
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
/// Connections are made anew after so many windows.
const WINDOWS_A_CONNECTION: u32 = 2;
const SEED: u64 = 0x6f70_656e;

/// How long an execution waits for a client before it is given up; also how long one side is measured at a time.
pub fn patience(duration: Duration, sides: usize) -> Duration {
    let sides = u32::try_from(sides).unwrap_or(u32::MAX / WINDOWS);
    (duration / (WINDOWS * sides.max(1))).clamp(SHORTEST, LONGEST)
}

/// The sides in turns, each for one window, with the same schedule, until what is `left` of `duration` is spent.
pub(super) async fn run(
    sides: &mut [Side],
    queries: &[Query],
    rate: f64,
    (duration, left): (Duration, Duration),
    note: &mut dyn FnMut(u64, u64, &str),
) -> Result<Vec<Pace>> {
    let length = patience(duration, sides.len());
    let weights: Vec<f64> = queries.iter().map(|q| q.weight).collect();
    let mut schedule = Schedule::new(SEED, rate, &weights, first_numbers(sides, queries));
    let mut order = Order::new(sides.len(), 0);
    let mut seen: Vec<Seen> = sides.iter().map(|_| Seen::default()).collect();
    let start = Instant::now();
    let mut window = 0;
    while window < WINDOWS && (window < LEAST || start.elapsed() < left) {
        note(u64::from(window), u64::from(WINDOWS), "");
        let arrivals = schedule.window(length);
        let anew = window > 0 && window.is_multiple_of(WINDOWS_A_CONNECTION);
        for index in order.next(0) {
            let (Some(side), Some(seen)) = (sides.get_mut(index), seen.get_mut(index)) else {
                continue;
            };
            if anew {
                side.reconnect().await?;
            }
            for (at, query) in queries.iter().enumerate() {
                side.resume(at, query).await?;
            }
            one_window(side, queries, &arrivals, length, seen).await?;
        }
        window += 1;
    }
    Ok(seen.iter().map(|s| s.pace(length)).collect())
}

/// Fewer windows than this have no intervals.
const LEAST: u32 = 2;

/// The draws go on where the sides' preparation has ended; both alike.
fn first_numbers(sides: &[Side], queries: &[Query]) -> Vec<usize> {
    let of = |at| {
        let tracks = sides.iter().filter_map(|side| side.track(at));
        tracks.map(|t| t.executions).max().unwrap_or_default()
    };
    (0..queries.len()).map(of).collect()
}

/// What the windows of one side were like.
#[derive(Default)]
struct Seen {
    windows: u32,
    due: usize,
    sent: usize,
    given_up: u64,
    /// From each window's begin to its end, or to its last start where that was later.
    spent: Duration,
    lags_ms: Vec<f64>,
}

impl Seen {
    #[expect(clippy::cast_precision_loss, reason = "a number of executions")]
    fn pace(&self, length: Duration) -> Pace {
        let asked_for = (length * self.windows).as_secs_f64();
        Pace {
            asked: self.due as f64 / asked_for.max(f64::MIN_POSITIVE),
            sent: self.sent as f64 / self.spent.as_secs_f64().max(f64::MIN_POSITIVE),
            given_up: self.given_up,
            lag_ms: quantile(&sorted(&self.lags_ms), 0.5),
        }
    }
}

/// An execution that ended, or was cut off, and from when on a user would have waited.
pub(super) struct Ended {
    pub(super) query: usize,
    pub(super) intended: Instant,
    pub(super) timed: Timed,
}

async fn one_window(
    side: &mut Side,
    queries: &[Query],
    arrivals: &[Arrival],
    length: Duration,
    seen: &mut Seen,
) -> Result<()> {
    let begin = Instant::now() + HEAD_START;
    let mut due = clock(begin, arrivals);
    let mut dispatch = Dispatch {
        queries,
        limits: side.limits,
        begin,
        patience: length,
        last_start: begin + length,
        given_up: vec![0; queries.len()],
        seen,
    };
    let (ended, failed) = dispatch.run(side.clients(), &mut due).await;
    let Dispatch {
        last_start,
        given_up,
        ..
    } = dispatch;
    seen.windows += 1;
    seen.due += arrivals.len();
    seen.spent += last_start.duration_since(begin);
    seen.given_up += given_up.iter().sum::<u64>();
    side.keep_window(queries, ended, &given_up, failed)
}

/// Time to get ready for the first start of a window.
const HEAD_START: Duration = Duration::from_millis(2);

/// Tells on time what is due. A thread, because the runtime's own timer is only as fine as a millisecond.
fn clock(begin: Instant, arrivals: &[Arrival]) -> UnboundedReceiver<Arrival> {
    let (tell, told) = unbounded_channel();
    let arrivals = arrivals.to_vec();
    std::thread::spawn(move || {
        for arrival in arrivals {
            std::thread::sleep((begin + arrival.at).saturating_duration_since(Instant::now()));
            if tell.send(arrival).is_err() {
                break;
            }
        }
    });
    told
}

/// One window on one side.
struct Dispatch<'a> {
    queries: &'a [Query],
    limits: Limits,
    begin: Instant,
    patience: Duration,
    last_start: Instant,
    /// By query.
    given_up: Vec<u64>,
    seen: &'a mut Seen,
}

impl Dispatch<'_> {
    /// Hands what is due to clients that are free, in order, until all have ended.
    async fn run(
        &mut self,
        clients: &[Client],
        due: &mut UnboundedReceiver<Arrival>,
    ) -> (Vec<Ended>, Vec<(usize, Error)>) {
        let mut free: Vec<&Client> = clients.iter().collect();
        let mut waiting = VecDeque::new();
        let mut running = FuturesUnordered::new();
        let mut ended = Vec::new();
        let mut failed: Vec<(usize, Error)> = Vec::new();
        let mut more = true;
        while more || !waiting.is_empty() || !running.is_empty() {
            tokio::select! {
                biased;
                Some((client, arrival, outcome)) = running.next(), if !running.is_empty() => {
                    let arrival: Arrival = arrival;
                    free.push(client);
                    match outcome {
                        Ok(Some(timed)) => ended.push(Ended {
                            query: arrival.query,
                            intended: self.begin + arrival.at,
                            timed,
                        }),
                        Ok(None) => {}
                        Err(error) => failed.push((arrival.query, error)),
                    }
                }
                told = due.recv(), if more => match told {
                    Some(arrival) => waiting.push_back((arrival, free.is_empty())),
                    None => more = false,
                },
            }
            while let Some(client) = free.pop() {
                let Some((arrival, had_to_wait)) = self.next(&mut waiting, &failed) else {
                    free.push(client);
                    break;
                };
                let Some(query) = self.queries.get(arrival.query) else {
                    free.push(client);
                    continue;
                };
                self.note_start(arrival, had_to_wait);
                let limits = self.limits;
                running.push(async move {
                    let run = client.execute(arrival.query, query, arrival.number, limits);
                    (client, arrival, run.await)
                });
            }
        }
        (ended, failed)
    }

    /// The next execution whose time to wait is not over, and whether it waited for a client.
    fn next(
        &mut self,
        waiting: &mut VecDeque<(Arrival, bool)>,
        failed: &[(usize, Error)],
    ) -> Option<(Arrival, bool)> {
        loop {
            let (arrival, had_to_wait) = waiting.pop_front()?;
            if failed.iter().any(|(query, _)| *query == arrival.query) {
                continue;
            }
            if Instant::now().saturating_duration_since(self.begin + arrival.at) < self.patience {
                return Some((arrival, had_to_wait));
            }
            if let Some(given_up) = self.given_up.get_mut(arrival.query) {
                *given_up += 1;
            }
        }
    }

    fn note_start(&mut self, arrival: Arrival, had_to_wait: bool) {
        let now = Instant::now();
        self.last_start = self.last_start.max(now);
        self.seen.sent += 1;
        if !had_to_wait {
            let lag = now.saturating_duration_since(self.begin + arrival.at);
            self.seen.lags_ms.push(lag.as_secs_f64() * 1e3);
        }
    }
}
