//! Timings of a whole workload, and what counts as slower.

use super::lab::{Lab, Timing};
use super::weigh::{Verdict, both_ms, gain, verdict};
use crate::model::{Gap, Query};
use std::collections::{BTreeMap, BTreeSet};

/// Timings by query id.
pub(super) type Timings = BTreeMap<String, Timing>;

/// Below this, differences between times are noise.
const FLOOR_MS: f64 = 0.05;

pub(super) async fn time_all<L: Lab>(
    lab: &mut L,
    queries: &[Query],
    draws: usize,
    gaps: &mut Vec<Gap>,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Timings {
    let mut timings = Timings::new();
    for query in queries {
        progress(&query.id);
        match lab.time(query, draws).await {
            Ok(timing) => {
                timings.insert(query.id.clone(), timing);
            }
            Err(error) => {
                let gap = Gap {
                    what: format!("query {}", query.id),
                    why: error.to_string(),
                    remedy: None,
                };
                if !gaps.contains(&gap) {
                    gaps.push(gap);
                }
            }
        }
    }
    timings
}

pub(super) fn is_slower(before: &Timing, after: &Timing) -> bool {
    !before.timed_out && verdict(before, after) == Verdict::Worse
}

/// Better by enough to be worth a change of the schema.
pub(super) fn is_faster(before: &Timing, after: &Timing) -> bool {
    verdict(before, after) == Verdict::Better
}

/// Ids of the queries that got slower, the worst first. Each is timed once more before it is called so.
pub(super) async fn slower<L: Lab>(
    lab: &mut L,
    queries: &[Query],
    before: &Timings,
    after: &mut Timings,
    draws: usize,
) -> Result<Vec<String>, L::Error> {
    let mut found = Vec::new();
    for query in queries {
        let (Some(was), Some(is)) = (before.get(&query.id), after.get_mut(&query.id)) else {
            continue;
        };
        if !is_slower(was, is) {
            continue;
        }
        let again = lab.time(query, draws).await?;
        if again.ms() < is.ms() {
            *is = again;
        }
        if is_slower(was, is) {
            let (a, b) = both_ms(was, is);
            found.push((b / a.max(FLOOR_MS), query.id.clone()));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

/// Weighted sum of the logarithms of how much less each took: a query twice as fast counts the same however long it takes.
pub(super) fn gains(
    queries: &[Query],
    ids: &BTreeSet<String>,
    before: &Timings,
    after: &Timings,
) -> f64 {
    queries
        .iter()
        .filter(|q| ids.contains(&q.id))
        .filter_map(|q| Some(q.weight * gain(before.get(&q.id)?, after.get(&q.id)?)))
        .sum()
}
