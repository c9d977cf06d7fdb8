//! The advice itself: rewrite, index, run, and take back what made something worse.

use super::candidates;
use super::earn::Earning;
use super::lab::Lab;
use super::left::Left;
use super::policies::{Reads, Rewritable, rewritable};
use super::repair;
use super::report::{self, InUse};
use super::select::select;
use super::timing::time_all;
use super::trial::Trial;
use crate::model::{Basis, Catalog, Estimate, Gap, Name, Proposal, Query, Workload};
use crate::sql::access::deleted_from;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Draws of parameters that each query is run with.
    pub draws: usize,
    /// Tables with fewer rows are left alone.
    pub least_rows: f64,
    /// Bytes that new indexes may take together.
    pub budget: Option<u64>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Advice {
    pub proposals: Vec<Proposal>,
    /// Every query of the workload, before and after all proposals together.
    pub queries: Vec<Estimate>,
    /// Rewrites that did not earn their place.
    pub left: Vec<Left>,
    pub gaps: Vec<Gap>,
}

/// Proposes indexes and policy forms for `workload`.
///
/// On a clone every change is made and every query run; on the original only indexes are pretended, and the policy
/// rewrites rest on the rule that they are equivalent and usually faster.
pub async fn advise<L: Lab>(
    catalog: &Catalog,
    workload: &Workload,
    lab: &mut L,
    options: Options,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Advice, L::Error> {
    let mut advice = Advice::default();
    let (policies, unread) = rewritable(catalog, options.least_rows);
    advice.gaps.extend(unread.into_iter().map(|why| Gap {
        what: "a policy's expression".to_owned(),
        why,
        remedy: None,
    }));
    if lab.can_make() {
        on_clone(
            catalog,
            workload,
            lab,
            options,
            policies,
            &mut advice,
            progress,
        )
        .await?;
    } else {
        by_plan(catalog, workload, lab, policies, &mut advice).await?;
    }
    fit_budget(&mut advice, options.budget);
    Ok(advice)
}

async fn on_clone<L: Lab>(
    catalog: &Catalog,
    workload: &Workload,
    lab: &mut L,
    options: Options,
    policies: Vec<Rewritable>,
    advice: &mut Advice,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<(), L::Error> {
    let queries = &workload.queries;
    lab.settle().await?;
    progress("as it is");
    let costs_before = plan_costs(lab, queries).await;
    let before = time_all(lab, queries, options.draws, &mut advice.gaps, progress).await;
    progress("with rewritten policies");
    let mut trial = Trial::new(catalog, queries, before);
    for policy in policies {
        trial.rewrite(lab, policy, &mut advice.gaps).await?;
    }
    let tuned = trial.tuned();
    let reads = Reads::new(&tuned, queries);
    let mut candidates = candidates::indexes(&tuned, &reads);
    progress("choosing indexes");
    let referenced: BTreeSet<Name> = queries
        .iter()
        .flat_map(|q| deleted_from(&q.sql, catalog))
        .collect();
    let foreign = candidates::foreign_keys(&tuned, &referenced);
    candidates.retain(|c| foreign.iter().all(|f| f.name != c.name));
    for index in select(lab, queries, &candidates, &mut advice.gaps).await? {
        trial.index(lab, index).await?;
    }
    lab.settle().await?;
    progress("with everything");
    trial.after = time_all(lab, queries, options.draws, &mut advice.gaps, progress).await;
    repair::repair(lab, &mut trial, options.draws, progress).await?;
    progress("what no plan shows");
    let mut unseen = foreign;
    unseen.extend(candidates::in_functions(&tuned, &reads));
    unseen.retain(|u| trial.indexes.iter().all(|i| i.spec.name != u.name));
    for spec in unseen {
        trial.index_by_clock(lab, spec, options.draws).await?;
    }
    progress("leaving out what helps nobody");
    Earning::new(&workload.personas, options.draws)
        .all(lab, &mut trial, progress)
        .await?;
    repair::prune_indexes(lab, &mut trial, options.draws).await?;
    let costs_after = plan_costs(lab, queries).await;
    let used = indexes_in_use(lab, queries, catalog).await;
    advice.queries = report::estimates(queries, &costs_before, &costs_after, &trial);
    advice.proposals = report::proposals(&trial, &used, &advice.queries, lab.basis());
    advice.left = trial.left;
    Ok(())
}

async fn by_plan<L: Lab>(
    catalog: &Catalog,
    workload: &Workload,
    lab: &mut L,
    policies: Vec<Rewritable>,
    advice: &mut Advice,
) -> Result<(), L::Error> {
    let queries = &workload.queries;
    let costs_before = plan_costs(lab, queries).await;
    let mut trial = Trial::new(catalog, queries, BTreeMap::new());
    let mut chosen = Vec::new();
    if lab.can_pretend() {
        let reads = Reads::new(catalog, queries);
        let candidates = candidates::indexes(catalog, &reads);
        chosen = select(lab, queries, &candidates, &mut advice.gaps).await?;
    } else {
        advice.gaps.push(no_pretending(catalog));
    }
    let used = InUse {
        names: chosen.iter().map(|c| c.spec.name.clone()).collect(),
        partitioned: BTreeSet::new(),
    };
    let mut cheapest = costs_before.clone();
    for index in chosen {
        for (id, (was, is)) in &index.costs {
            if let Some(cost) = cheapest.get_mut(id) {
                *cost *= is / was;
            }
        }
        trial.indexes.push(index);
    }
    advice.queries = report::estimates(queries, &costs_before, &cheapest, &trial);
    advice.proposals = report::proposals(&trial, &used, &advice.queries, lab.basis());
    let (rewrites, left) = report::by_rule(catalog, &policies, &trial);
    advice.proposals.extend(rewrites);
    advice.left = left;
    Ok(())
}

fn no_pretending(catalog: &Catalog) -> Gap {
    let package = catalog.server.version_num / 10_000;
    Gap {
        what: "which indexes would help".to_owned(),
        why: "indexes are tried on a clone or with HypoPG, and this database has neither"
            .to_owned(),
        remedy: Some(format!(
            "create extension hypopg; -- Debian's package is postgresql-{package}-hypopg"
        )),
    }
}

/// Planner cost of the first draw, by query id.
async fn plan_costs<L: Lab>(lab: &mut L, queries: &[Query]) -> BTreeMap<String, f64> {
    let mut costs = BTreeMap::new();
    for query in queries {
        // A query that cannot be planned is reported by whoever runs it.
        if let Ok(plan) = lab.plan(query, 0).await {
            costs.insert(query.id.clone(), plan.total_cost);
        }
    }
    costs
}

/// The indexes that some plan of the workload uses, over a few draws.
async fn indexes_in_use<L: Lab>(lab: &mut L, queries: &[Query], catalog: &Catalog) -> InUse {
    let mut used = InUse::default();
    for query in queries {
        for draw in 0..query.draws.len().min(3) {
            let Ok(plan) = lab.plan(query, draw).await else {
                continue;
            };
            used.names.extend(plan.indexes_used());
            for node in plan.nodes() {
                if let (Some(index), Some(relation)) = (&node.index, &node.relation) {
                    used.partitioned
                        .extend(new_index_of_partition(catalog, relation, index));
                }
            }
        }
    }
    used
}

/// The topmost partitioned table above `relation`, where `index` was not there before.
fn new_index_of_partition(catalog: &Catalog, relation: &Name, index: &str) -> Vec<Name> {
    let Some(table) = catalog.table(relation) else {
        return Vec::new();
    };
    if table.indexes.iter().any(|i| i.name.name == index) {
        return Vec::new();
    }
    std::iter::successors(table.partition_of.clone(), |parent| {
        catalog.table(parent)?.partition_of.clone()
    })
    .collect()
}

/// Leaves out the indexes that help least for their size until the others fit.
fn fit_budget(advice: &mut Advice, budget: Option<u64>) {
    let Some(budget) = budget else { return };
    loop {
        let total: u64 = advice.proposals.iter().filter_map(|p| p.bytes).sum();
        if total <= budget {
            return;
        }
        let worth = |p: &Proposal| {
            let gain: f64 = p
                .estimates
                .iter()
                .map(|e| (e.cost_before / e.cost_after.max(1e-9)).max(1.0).ln())
                .sum();
            #[expect(clippy::cast_precision_loss, reason = "a size to compare by")]
            let bytes = p.bytes.unwrap_or(0).max(1) as f64;
            gain / bytes
        };
        let least = advice
            .proposals
            .iter()
            .enumerate()
            .filter(|(_, p)| p.bytes.is_some())
            .min_by(|a, b| worth(a.1).total_cmp(&worth(b.1)))
            .map(|(i, _)| i);
        let Some(at) = least else { return };
        let left_out = advice.proposals.remove(at);
        advice.gaps.push(Gap {
            what: format!("index {}", left_out.slug),
            why: "it helps, but the storage budget is used up".to_owned(),
            remedy: Some("Raise --budget.".to_owned()),
        });
    }
}

/// Whether the figures come from running queries.
pub(super) fn is_measured(basis: Basis) -> bool {
    basis == Basis::Clone
}
