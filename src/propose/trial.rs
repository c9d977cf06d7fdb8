//! What is being tried: the form of each policy, the indexes, and the figures before and after.

use super::lab::Lab;
use super::left::Left;
use super::policies::{Rewritable, touched};
use super::reading::{PolicyId, Reading};
use super::repair::is_better;
use super::select::Chosen;
use super::timing::{Timings, is_faster, is_slower};
use super::weigh::gain;
use crate::model::{Catalog, Change, Gap, IndexSpec, Name, Query, Tried};
use crate::sql::access::{deleted_from, of_statement};
use std::collections::{BTreeMap, BTreeSet};

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

    /// Whether every query that asks `policy` looks its table's rows up by a unique key.
    pub(super) fn only_by_key(&self, policy: &Rewritable) -> bool {
        let ids = self.readers_of(policy);
        let indexes = self.catalog.table(&policy.table).map(|t| &t.indexes);
        let keys: Vec<Vec<&String>> = indexes
            .into_iter()
            .flatten()
            .filter(|i| i.unique && i.predicate.is_none())
            .map(|i| i.keys.iter().filter_map(|k| k.column.as_ref()).collect())
            .collect();
        self.queries
            .iter()
            .filter(|q| ids.contains(&q.id))
            .all(|q| {
                let accesses = of_statement(&q.sql, self.catalog).unwrap_or_default();
                let mut own = accesses
                    .iter()
                    .filter(|a| a.table == policy.table)
                    .peekable();
                own.peek().is_some()
                    && own.all(|a| {
                        keys.iter()
                            .any(|k| !k.is_empty() && k.iter().all(|c| a.equals.contains(c)))
                    })
            })
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

    pub(super) async fn move_policy<L: Lab>(
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
    pub(super) fn helps_any(&self, ids: &BTreeSet<String>) -> bool {
        ids.iter().any(|id| {
            self.before
                .get(id)
                .zip(self.after.get(id))
                .is_some_and(|(was, is)| is_faster(was, is))
        })
    }

    /// Whether a change has to come back, `without` being the times since it is gone: a query that it `helped` lost that, or
    /// one is slower now than before any change.
    pub(super) fn misses(&self, ids: &BTreeSet<String>, without: &Timings, helped: bool) -> bool {
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
