//! Clients that each send their next execution when their last one has ended.

use super::client::{Client, Timed};
use crate::db::{Limits, Result};
use crate::model::Query;
use futures_util::stream::{FuturesUnordered, StreamExt};

/// Runs one query on all clients at once; each takes the next number as soon as it is free, until `next` has none.
///
/// The executions in the order of their numbers, which is the order of their starts, and what ended it early.
pub(super) async fn run(
    clients: &[Client],
    (at, query): (usize, &Query),
    limits: Limits,
    next: impl Fn() -> Option<usize>,
) -> (Vec<Timed>, Result<()>) {
    let one = async |client: &Client| {
        let mut timed = Vec::new();
        while let Some(number) = next() {
            match client.execute(at, query, number, limits).await {
                Ok(Some(execution)) => timed.push(execution),
                Ok(None) => break,
                Err(error) => {
                    // No other client needs to meet with the same error.
                    while next().is_some() {}
                    return (timed, Err(error));
                }
            }
        }
        (timed, Ok(()))
    };
    if let [client] = clients {
        return one(client).await;
    }
    let mut all = Vec::new();
    let mut outcome = Ok(());
    let mut running: FuturesUnordered<_> = clients.iter().map(one).collect();
    while let Some((timed, ended)) = running.next().await {
        all.extend(timed);
        outcome = outcome.and(ended);
    }
    all.sort_by_key(|t| t.number);
    (all, outcome)
}
