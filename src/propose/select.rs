//! Which of the candidates earn their keep.
//!
//! All candidates are pretended at once; those that no plan uses are gone. The others are taken away one by one,
//! least used first, and stay away where the workload does not miss them (backward elimination, as in
//! Chaudhuri and Narasayya, "An Efficient, Cost-Driven Index Selection Tool", VLDB 1997, turned round).

use super::lab::{Lab, Pretence};
use crate::model::{Gap, IndexSpec, Query};
use std::collections::{BTreeMap, BTreeSet};

/// A loss smaller than this share of a query's cost is not missed.
const NOT_MISSED: f64 = 0.05;
/// A query must get cheaper by this share for an index to be made for it.
const WORTH_IT: f64 = 0.15;
/// Draws planned for each query: big and small tenants are both among them.
const DRAWS: usize = 3;

/// An index that some plan is worse without.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub spec: IndexSpec,
    pub bytes: u64,
    /// Cost before and after, by query id.
    pub costs: BTreeMap<String, (f64, f64)>,
}

struct State<'a> {
    queries: Vec<&'a Query>,
    /// Sum over the draws, by query.
    costs: Vec<f64>,
    /// Names of the indexes each query's plans use.
    uses: Vec<BTreeSet<String>>,
}

/// The candidates to make, most used first. Queries that cannot be planned are left out and reported.
pub(super) async fn select<L: Lab>(
    lab: &mut L,
    queries: &[Query],
    candidates: &[IndexSpec],
    gaps: &mut Vec<Gap>,
) -> Result<Vec<Chosen>, L::Error> {
    let mut state = State {
        queries: Vec::new(),
        costs: Vec::new(),
        uses: Vec::new(),
    };
    for query in queries {
        match cost(lab, query).await {
            Ok((cost, uses)) => {
                state.queries.push(query);
                state.costs.push(cost);
                state.uses.push(uses);
            }
            Err(error) => gaps.push(Gap {
                what: format!("query {}", query.id),
                why: error.to_string(),
                remedy: None,
            }),
        }
    }
    let before = state.costs.clone();
    let mut pretended: Vec<(IndexSpec, Pretence)> = Vec::new();
    for spec in candidates {
        match lab.pretend(spec).await {
            Ok(pretence) => pretended.push((spec.clone(), pretence)),
            Err(error) => gaps.push(Gap {
                what: format!("candidate {} on {}", spec.name, spec.table),
                why: error.to_string(),
                remedy: None,
            }),
        }
    }
    let everything: Vec<usize> = (0..state.queries.len()).collect();
    state.replan(lab, &everything).await?;
    let mut kept = Vec::new();
    for (spec, pretence) in pretended {
        if state.users(&pretence, &before).is_empty() {
            lab.forget(&pretence).await?;
        } else {
            kept.push((spec, pretence));
        }
    }
    state.replan(lab, &everything).await?;
    let kept = eliminate(lab, &mut state, &before, kept).await?;
    let chosen = kept
        .iter()
        .map(|(spec, pretence)| Chosen {
            spec: spec.clone(),
            bytes: pretence.bytes,
            costs: state
                .users(pretence, &before)
                .into_iter()
                .filter_map(|i| {
                    let id = state.queries.get(i)?.id.clone();
                    Some((id, (*before.get(i)?, *state.costs.get(i)?)))
                })
                .collect(),
        })
        .collect();
    for (_, pretence) in &kept {
        lab.forget(pretence).await?;
    }
    Ok(chosen)
}

async fn eliminate<L: Lab>(
    lab: &mut L,
    state: &mut State<'_>,
    before: &[f64],
    mut kept: Vec<(IndexSpec, Pretence)>,
) -> Result<Vec<(IndexSpec, Pretence)>, L::Error> {
    // Those used least, then the widest: a query often does as well with the narrower neighbour.
    kept.sort_by_key(|(spec, pretence)| {
        (
            state.users(pretence, before).len(),
            std::cmp::Reverse(spec.keys.len()),
            spec.name.clone(),
        )
    });
    let mut staying = Vec::new();
    for (spec, mut pretence) in kept {
        let users = state.users(&pretence, before);
        let costs: Vec<(usize, f64)> = users
            .iter()
            .filter_map(|i| Some((*i, *state.costs.get(*i)?)))
            .collect();
        lab.forget(&pretence).await?;
        state.replan(lab, &users).await?;
        let missed = costs.iter().any(|(i, with)| {
            state
                .costs
                .get(*i)
                .is_some_and(|without| *without > with * (1.0 + NOT_MISSED))
        });
        if missed {
            pretence = lab.pretend(&spec).await?;
            state.replan(lab, &users).await?;
            staying.push((spec, pretence));
        }
    }
    Ok(staying)
}

impl State<'_> {
    async fn replan<L: Lab>(&mut self, lab: &mut L, which: &[usize]) -> Result<(), L::Error> {
        for i in which {
            let Some(query) = self.queries.get(*i) else {
                continue;
            };
            let (cost, uses) = cost(lab, query).await?;
            if let (Some(c), Some(u)) = (self.costs.get_mut(*i), self.uses.get_mut(*i)) {
                (*c, *u) = (cost, uses);
            }
        }
        Ok(())
    }

    /// The queries whose plans use it and are cheaper than before.
    fn users(&self, pretence: &Pretence, before: &[f64]) -> Vec<usize> {
        self.uses
            .iter()
            .zip(self.costs.iter().zip(before))
            .enumerate()
            .filter(|(_, (uses, (now, before)))| {
                pretence.names.iter().any(|n| uses.contains(n))
                    && **now < **before * (1.0 - WORTH_IT)
            })
            .map(|(i, _)| i)
            .collect()
    }
}

async fn cost<L: Lab>(lab: &mut L, query: &Query) -> Result<(f64, BTreeSet<String>), L::Error> {
    let (mut total, mut uses) = (0.0, BTreeSet::new());
    for draw in 0..DRAWS.min(query.draws.len()) {
        let plan = lab.plan(query, draw).await?;
        total += plan.total_cost;
        uses.extend(plan.indexes_used());
    }
    Ok((total, uses))
}
