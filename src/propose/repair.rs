//! A trial of all changes together, and the way back for those that make a query slower.

use super::lab::Lab;
use super::left::Left;
use super::policies::{Rewritable, touched};
use super::reading::{PolicyId, Reading};
use super::select::Chosen;
use super::timing::{Timings, gains, is_faster, is_slower, slower};
use super::weigh::gain;
use crate::model::{Catalog, Change, Gap, IndexSpec, Name, Query, Tried};
use crate::sql::access::deleted_from;
use std::collections::{BTreeMap, BTreeSet};

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
    /// Names of indexes that no plan shows: for foreign keys and inside functions.
    pub unseen: BTreeSet<String>,
    /// Rewrites that are not proposed.
    pub left: Vec<Left>,
    /// What each policy's form was tried with.
    pub tried: BTreeMap<PolicyId, Tried>,
    functions: BTreeSet<String>,
    /// Ids of the queries that ask each policy.
    asking: BTreeMap<PolicyId, BTreeSet<String>>,
    /// Ids of the queries that read each table, directly or through policies.
    readers: BTreeMap<Name, BTreeSet<String>>,
}

impl<'a> Trial<'a> {
    pub(super) fn new(catalog: &'a Catalog, queries: &'a [Query], before: Timings) -> Self {
        let mut readers: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
        for query in queries {
            for table in touched(query, catalog) {
                readers.entry(table).or_default().insert(query.id.clone());
            }
        }
        Self {
            readers,
            catalog,
            queries,
            before,
            after: Timings::new(),
            policies: Vec::new(),
            indexes: Vec::new(),
            unseen: BTreeSet::new(),
            left: Vec::new(),
            tried: BTreeMap::new(),
            functions: BTreeSet::new(),
            asking: Reading::new(catalog).readers(queries),
        }
    }

    /// Ids of the queries that ask `policy`, those that could not be run left out.
    pub(super) fn asking(&self, policy: &Rewritable) -> BTreeSet<String> {
        let mut ids = self.readers_of(policy);
        ids.retain(|id| self.before.contains_key(id) && self.after.contains_key(id));
        ids
    }

    /// Ids of the queries that ask `policy`.
    pub(super) fn readers_of(&self, policy: &Rewritable) -> BTreeSet<String> {
        let id = (policy.table.clone(), policy.policy.clone());
        self.asking.get(&id).cloned().unwrap_or_default()
    }

    /// These queries, the one that gained most first, then the quickest.
    pub(super) fn by_gain(&self, ids: &BTreeSet<String>) -> Vec<&'a Query> {
        let mut found: Vec<(f64, f64, &Query)> = self
            .queries
            .iter()
            .filter(|q| ids.contains(&q.id))
            .filter_map(|q| {
                let (was, is) = (self.before.get(&q.id)?, self.after.get(&q.id)?);
                Some((gain(was, is), is.ms(), q))
            })
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.total_cmp(&b.1)));
        found.into_iter().map(|(.., q)| q).collect()
    }

    /// Ids of the queries that read `table`, directly or through policies.
    pub(super) fn readers(&self, table: &Name) -> BTreeSet<String> {
        self.readers.get(table).cloned().unwrap_or_default()
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
    ) -> Result<(), L::Error> {
        lab.make(&Change::CreateIndex(index.spec.clone())).await?;
        self.indexes.push(index);
        Ok(())
    }

    /// Makes an index that no plan shows, and keeps it where the clock says so.
    pub(super) async fn index_by_clock<L: Lab>(
        &mut self,
        lab: &mut L,
        spec: IndexSpec,
        draws: usize,
    ) -> Result<(), L::Error> {
        let mut affected = self.readers(&spec.table);
        // A DELETE finds the referencing rows by a trigger, so it does not name their table.
        affected.extend(
            self.queries
                .iter()
                .filter(|q| {
                    let from = deleted_from(&q.sql, self.catalog);
                    self.catalog.table(&spec.table).is_some_and(|t| {
                        t.foreign_keys.iter().any(|k| from.contains(&k.references))
                    })
                })
                .map(|q| q.id.clone()),
        );
        // Both sides are timed now: the machine may have changed its pace since.
        let without = self.retime(lab, &affected, draws).await?;
        lab.make(&Change::CreateIndex(spec.clone())).await?;
        let with = self.retime(lab, &affected, draws).await?;
        self.after = without;
        if !is_better(self, &affected, &with) {
            return lab.make(&Change::DropIndex(spec)).await;
        }
        self.after = with;
        self.unseen.insert(spec.name.clone());
        self.indexes.push(Chosen {
            spec,
            bytes: 0,
            costs: BTreeMap::new(),
        });
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

    /// Whether one of these queries is faster than it was, by more than noise.
    fn helps_any(&self, ids: &BTreeSet<String>) -> bool {
        ids.iter().any(|id| {
            self.before
                .get(id)
                .zip(self.after.get(id))
                .is_some_and(|(was, is)| is_faster(was, is))
        })
    }

    /// Whether a change has to come back, `without` being the times since it is gone: a query that it `helped` lost that, or
    /// one is slower now than before any change.
    fn misses(&self, ids: &BTreeSet<String>, without: &Timings, helped: bool) -> bool {
        ids.iter().any(|id| {
            let (Some(with), Some(without)) = (self.after.get(id), without.get(id)) else {
                return false;
            };
            let before = self.before.get(id);
            let broken = before.is_some_and(|b| is_slower(b, without) && !is_slower(b, with));
            broken || helped && is_faster(without, with)
        })
    }

    pub(super) async fn retime<L: Lab>(
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
        let affected = trial.readers(&policy.table);
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

fn is_better(trial: &Trial<'_>, affected: &BTreeSet<String>, now: &Timings) -> bool {
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
