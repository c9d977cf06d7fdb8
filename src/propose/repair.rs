//! A trial of all changes together, and the way back for those that make a query slower.

use super::advise::readers;
use super::lab::Lab;
use super::policies::Rewritable;
use super::select::Chosen;
use super::timing::{Timings, score, slower};
use crate::model::{Catalog, Change, Gap, Query};
use std::collections::BTreeSet;

/// How often the trial is gone over: one repair may uncover another.
const ROUNDS: usize = 3;

pub(super) struct Trial<'a> {
    pub catalog: &'a Catalog,
    pub queries: &'a [Query],
    pub before: Timings,
    pub after: Timings,
    /// Each policy with the form it has now.
    pub policies: Vec<(Rewritable, usize)>,
    pub indexes: Vec<Chosen>,
    /// Names of indexes made for foreign keys, which no plan shows.
    pub for_foreign_keys: BTreeSet<String>,
    functions: BTreeSet<String>,
}

impl<'a> Trial<'a> {
    pub(super) fn new(catalog: &'a Catalog, queries: &'a [Query], before: Timings) -> Self {
        Self {
            catalog,
            queries,
            before,
            after: Timings::new(),
            policies: Vec::new(),
            indexes: Vec::new(),
            for_foreign_keys: BTreeSet::new(),
            functions: BTreeSet::new(),
        }
    }

    /// Brings a policy to the form changed most; one that the server refuses stays as it is and becomes a gap.
    pub(super) async fn rewrite<L: Lab>(
        &mut self,
        lab: &mut L,
        policy: Rewritable,
        gaps: &mut Vec<Gap>,
    ) -> Result<(), L::Error> {
        let deepest = policy.forms.len().saturating_sub(1);
        for form in (1..=deepest).rev() {
            match self.move_policy(lab, &policy, 0, form).await {
                Ok(()) => {
                    self.policies.push((policy, form));
                    return Ok(());
                }
                Err(error) => gaps.push(Gap {
                    what: format!("a rewrite of policy {} on {}", policy.policy, policy.table),
                    why: error.to_string(),
                    remedy: None,
                }),
            }
        }
        Ok(())
    }

    pub(super) async fn index<L: Lab>(
        &mut self,
        lab: &mut L,
        index: Chosen,
        foreign_key: bool,
    ) -> Result<(), L::Error> {
        lab.make(&Change::CreateIndex(index.spec.clone())).await?;
        if foreign_key {
            self.for_foreign_keys.insert(index.spec.name.clone());
        }
        self.indexes.push(index);
        Ok(())
    }

    /// The catalog with every policy in its present form.
    pub(super) fn tuned(&self) -> Catalog {
        self.policies
            .iter()
            .flat_map(|(policy, form)| policy.changes(0, *form))
            .fold(self.catalog.clone(), |catalog, change| {
                catalog.with(&change)
            })
    }

    async fn move_policy<L: Lab>(
        &mut self,
        lab: &mut L,
        policy: &Rewritable,
        from: usize,
        to: usize,
    ) -> Result<(), L::Error> {
        for change in policy.changes(from, to) {
            if let Change::CreateFunction { name, .. } = &change
                && !self.functions.insert(name.to_string())
            {
                continue;
            }
            lab.make(&change).await?;
        }
        Ok(())
    }

    async fn retime<L: Lab>(
        &self,
        lab: &mut L,
        ids: &BTreeSet<String>,
        draws: usize,
    ) -> Result<Timings, L::Error> {
        let mut timings = self.after.clone();
        for query in self.queries.iter().filter(|q| ids.contains(&q.id)) {
            if timings.contains_key(&query.id) {
                timings.insert(query.id.clone(), lab.time(query, draws).await?);
            }
        }
        Ok(timings)
    }
}

/// Tries shallower forms and fewer indexes for every query that got slower; keeps what makes the workload faster.
pub(super) async fn repair<L: Lab>(
    lab: &mut L,
    trial: &mut Trial<'_>,
    draws: usize,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<(), L::Error> {
    drop_unhelpful_foreign_keys(lab, trial).await?;
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
    Ok(())
}

async fn repair_policies<L: Lab>(
    lab: &mut L,
    trial: &mut Trial<'_>,
    id: &str,
    draws: usize,
) -> Result<bool, L::Error> {
    for at in 0..trial.policies.len() {
        let Some((policy, form)) = trial.policies.get(at).cloned() else {
            break;
        };
        let affected = readers(trial.queries, &policy.table, trial.catalog);
        if form == 0 || !affected.contains(id) {
            continue;
        }
        for other in (0..form).rev() {
            trial.move_policy(lab, &policy, form, other).await?;
            let now = trial.retime(lab, &affected, draws).await?;
            if is_better(trial, &affected, &now) {
                trial.after = now;
                if let Some(entry) = trial.policies.get_mut(at) {
                    entry.1 = other;
                }
                return Ok(true);
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
        let affected = readers(trial.queries, &index.spec.table, trial.catalog);
        if !affected.contains(id) {
            continue;
        }
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

fn is_better(trial: &Trial<'_>, affected: &BTreeSet<String>, now: &Timings) -> bool {
    // A gain within the noise of a handful of runs is none.
    const LEAST_GAIN: f64 = 0.05;
    let weight: f64 = trial
        .queries
        .iter()
        .filter(|q| affected.contains(&q.id))
        .map(|q| q.weight)
        .sum();
    score(trial.queries, affected, now)
        < score(trial.queries, affected, &trial.after) - LEAST_GAIN * weight.min(1.0)
}

/// An index for a foreign key shows in no plan: the trigger that uses it does not. So the clock decides.
async fn drop_unhelpful_foreign_keys<L: Lab>(
    lab: &mut L,
    trial: &mut Trial<'_>,
) -> Result<(), L::Error> {
    let helped = trial.queries.iter().any(|query| {
        !crate::sql::access::deleted_from(&query.sql, trial.catalog).is_empty()
            && trial
                .before
                .get(&query.id)
                .zip(trial.after.get(&query.id))
                .is_some_and(|(was, is)| is.ms() < was.ms() * 0.9)
    });
    if helped {
        return Ok(());
    }
    let names = std::mem::take(&mut trial.for_foreign_keys);
    let (unhelpful, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut trial.indexes)
        .into_iter()
        .partition(|i| names.contains(&i.spec.name));
    trial.indexes = rest;
    for index in unhelpful {
        lab.make(&Change::DropIndex(index.spec)).await?;
    }
    Ok(())
}
