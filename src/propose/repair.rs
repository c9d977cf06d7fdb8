//! A trial of all changes together, and the way back for those that make a query slower.

use super::lab::Lab;
use super::left::Left;
use super::timing::{Timings, gains, slower};
use super::trial::Trial;
use crate::model::Change;
use std::collections::BTreeSet;

/// How often the trial is gone over: one repair may uncover another.
const ROUNDS: usize = 3;

/// A query is worth a second thought where it got less than so many times faster …
const LITTLE_GAIN: f64 = 10.0;
/// … and still takes so many milliseconds.
const STILL_SLOW_MS: f64 = 2.0;

/// Tries shallower forms for queries that gained little: for a look-up by key, say, asking once is better than
/// computing the set of everything that may be seen.
async fn second_thoughts<L: Lab>(
    lab: &mut L,
    trial: &mut Trial<'_>,
    draws: usize,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<(), L::Error> {
    for query in trial.queries {
        let bypasses = trial
            .catalog
            .roles
            .get(&query.persona.role)
            .is_some_and(|r| r.bypass_rls || r.superuser);
        let little = trial
            .before
            .get(&query.id)
            .zip(trial.after.get(&query.id))
            .is_some_and(|(was, is)| is.ms() > STILL_SLOW_MS && was.ms() < is.ms() * LITTLE_GAIN);
        if little && !bypasses {
            progress(&format!("{} gained little: other forms", query.id));
            repair_policies(lab, trial, &query.id, draws).await?;
        }
    }
    Ok(())
}

/// Tries shallower forms and fewer indexes for every query that got slower; keeps what makes the workload faster.
pub(super) async fn repair<L: Lab>(
    lab: &mut L,
    trial: &mut Trial<'_>,
    draws: usize,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<(), L::Error> {
    for _ in 0..ROUNDS {
        let mut after = std::mem::take(&mut trial.after);
        let bad = slower(lab, trial.queries, &trial.before, &mut after, draws).await;
        trial.after = after;
        let mut changed = false;
        for id in bad? {
            progress(&format!("{id} got slower: taking changes back"));
            changed |= repair_policies(lab, trial, &id, draws).await?
                || repair_indexes(lab, trial, &id, draws).await?;
        }
        if !changed {
            break;
        }
    }
    second_thoughts(lab, trial, draws, progress).await
}

async fn repair_policies<L: Lab>(
    lab: &mut L,
    trial: &mut Trial<'_>,
    id: &str,
    draws: usize,
) -> Result<bool, L::Error> {
    let only = BTreeSet::from([id.to_owned()]);
    for at in 0..trial.policies.len() {
        let Some((policy, form)) = trial.policies.get(at).cloned() else {
            break;
        };
        let affected = trial.asking(&policy);
        if form == 0 || !affected.contains(id) {
            continue;
        }
        for other in (0..form).rev() {
            trial.move_policy(lab, &policy, form, other).await?;
            // The query in question first: where it gains nothing the others need not be run.
            let first = trial.retime(lab, &only, draws).await?;
            if is_better(trial, &only, &first) {
                let now = trial.retime(lab, &affected, draws).await?;
                if is_better(trial, &affected, &now) {
                    trial.after = now;
                    if let Some(entry) = trial.policies.get_mut(at) {
                        entry.1 = other;
                    }
                    if other == 0 {
                        let why = format!("{id} does better without it");
                        trial.left.push(Left::alone(&policy, why));
                    }
                    return Ok(true);
                }
            }
            trial.move_policy(lab, &policy, other, form).await?;
        }
    }
    Ok(false)
}

async fn repair_indexes<L: Lab>(
    lab: &mut L,
    trial: &mut Trial<'_>,
    id: &str,
    draws: usize,
) -> Result<bool, L::Error> {
    for at in 0..trial.indexes.len() {
        let Some(index) = trial.indexes.get(at).cloned() else {
            break;
        };
        let affected = trial.readers(&index.spec.table);
        if !affected.contains(id) {
            continue;
        }
        // Both sides are timed now: the machine may have changed its pace since.
        trial.after = trial.retime(lab, &affected, draws).await?;
        lab.make(&Change::DropIndex(index.spec.clone())).await?;
        let now = trial.retime(lab, &affected, draws).await?;
        if is_better(trial, &affected, &now) {
            trial.after = now;
            trial.indexes.remove(at);
            return Ok(true);
        }
        lab.make(&Change::CreateIndex(index.spec.clone())).await?;
    }
    Ok(false)
}

/// A gain within the noise of a handful of runs is none.
const LEAST_GAIN: f64 = 0.05;

pub(super) fn is_better(trial: &Trial<'_>, affected: &BTreeSet<String>, now: &Timings) -> bool {
    let weight: f64 = trial
        .queries
        .iter()
        .filter(|q| affected.contains(&q.id))
        .map(|q| q.weight)
        .sum();
    gains(trial.queries, affected, &trial.after, now) > LEAST_GAIN * weight.min(1.0)
}

/// Takes each index away in turn, the widest first; it comes back where the clock misses it. A plan that is cheaper on
/// paper need not be faster, and an index that two others make up for is only a cost to writers.
pub(super) async fn prune_indexes<L: Lab>(
    lab: &mut L,
    trial: &mut Trial<'_>,
    draws: usize,
) -> Result<(), L::Error> {
    let mut pending = std::mem::take(&mut trial.indexes);
    pending.sort_by_key(|i| (std::cmp::Reverse(i.spec.keys.len()), i.spec.name.clone()));
    for index in pending {
        if trial.unseen.contains(&index.spec.name) {
            trial.indexes.push(index);
            continue;
        }
        let mut users: BTreeSet<String> = index.costs.keys().cloned().collect();
        let helped = trial.helps_any(&users);
        users.extend(trial.readers(&index.spec.table));
        trial.after = trial.retime(lab, &users, draws).await?;
        lab.make(&Change::DropIndex(index.spec.clone())).await?;
        let without = trial.retime(lab, &users, draws).await?;
        if trial.misses(&users, &without, helped) {
            lab.make(&Change::CreateIndex(index.spec.clone())).await?;
            trial.indexes.push(index);
        } else {
            trial.after = without;
        }
    }
    Ok(())
}
