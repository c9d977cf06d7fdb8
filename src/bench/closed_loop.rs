//! Clients that each send their next execution when their last one has ended.

use super::client::Client;
use crate::db::Result;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::cell::RefCell;
use std::ops::Range;
use tokio::task::yield_now;

/// Runs one query on all clients at once; each takes the next of `numbers` as soon as it is free, until there is none.
///
/// The executions of all clients, and what ended them early.
pub(super) async fn run<T>(
    clients: &[Client],
    numbers: Range<usize>,
    execute: impl AsyncFn(&Client, usize) -> Result<Option<T>>,
) -> (Vec<T>, Result<()>) {
    let numbers = RefCell::new(numbers);
    let next = || numbers.borrow_mut().next();
    let one = async |client: &Client| {
        let mut timed = Vec::new();
        while let Some(number) = next() {
            // What has arrived is read before more is sent: sending takes longer, and that would be counted as the others'
            // latency.
            if clients.len() > 1 {
                yield_now().await;
            }
            match execute(client, number).await {
                Ok(Some(execution)) => timed.push(execution),
                Ok(None) => break,
                Err(error) => {
                    // No other client needs to meet with the same error.
                    numbers.borrow_mut().by_ref().for_each(drop);
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
    (all, outcome)
}
