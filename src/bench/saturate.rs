//! How fast the driver itself is: one query, as often as the server answers.

use super::client::Client;
use super::closed_loop;
use super::track::nanoseconds;
use crate::db::{Limits, Result, Target, Way};
use crate::model::Query;
use std::time::{Duration, Instant};

/// What is sent for each execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The statement alone, as the role of the connection.
    Statement,
    /// BEGIN, limits, claims and role; the statement; ROLLBACK.
    Transaction,
}

/// Sends `query` `count` times over `clients` connections, each as soon as its last one has ended, and says how long all
/// took together. A latency, in nanoseconds, is that of everything that is sent.
pub async fn saturate(
    target: &Target,
    query: &Query,
    clients: usize,
    count: usize,
    shape: Shape,
) -> Result<(Vec<u64>, Duration)> {
    let limits = Limits::default();
    let mut connected = Vec::with_capacity(clients);
    for _ in 0..clients {
        let mut client = Client::connect(target, Way::default(), 1, clients == 1).await?;
        client.parse(0, query, limits).await?;
        connected.push(client);
    }
    let begin = Instant::now();
    let (latencies, outcome) = closed_loop::run(&connected, 0..count, async |client, number| {
        let start = Instant::now();
        let sent = match shape {
            Shape::Statement => client.send(0, query, number).await?.is_some(),
            Shape::Transaction => client.execute(0, query, number, limits).await?.is_some(),
        };
        Ok(sent.then(|| nanoseconds(start.elapsed())))
    })
    .await;
    let took = begin.elapsed();
    outcome?;
    Ok((latencies, took))
}
