//! From a finished trial to proposals with their reasons and figures.

use super::advise::is_measured;
use super::left::Left;
use super::policies::Rewritable;
use super::select::Chosen;
use super::trial::Trial;
use super::weigh::both_ms;
use crate::model::{Basis, Catalog, Change, Estimate, Name, Proposal, Query, Tried};
use crate::sql::rewrite::Depth;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn estimates(
    queries: &[Query],
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
    trial: &Trial<'_>,
) -> Vec<Estimate> {
    queries
        .iter()
        .filter_map(|query| {
            let timed = trial.before.get(&query.id).zip(trial.after.get(&query.id));
            let ms = timed.map(|(was, is)| both_ms(was, is));
            Some(Estimate {
                query: query.id.clone(),
                cost_before: *before.get(&query.id)?,
                cost_after: *after.get(&query.id)?,
                ms_before: ms.map(|(was, _)| was),
                ms_after: ms.map(|(_, is)| is),
            })
        })
        .collect()
}

/// The indexes that some plan uses.
#[derive(Clone, Debug, Default)]
pub(super) struct InUse {
    pub names: BTreeSet<String>,
    /// Partitioned tables of whose partitions a new index is used: PostgreSQL names those itself.
    pub partitioned: BTreeSet<Name>,
}

/// Indexes first: a policy that needs one must not come before it.
pub(super) fn proposals(
    trial: &Trial<'_>,
    used: &InUse,
    estimates: &[Estimate],
    basis: Basis,
) -> Vec<Proposal> {
    let mut made: Vec<Proposal> = trial
        .indexes
        .iter()
        .filter(|i| is_used(i, used) || trial.unseen.contains(&i.spec.name))
        .map(|index| of_index(index, trial, estimates, basis))
        .collect();
    let mut functions = BTreeSet::new();
    for (policy, form) in &trial.policies {
        if *form > 0 {
            made.push(of_policy(
                policy,
                *form,
                trial,
                estimates,
                basis,
                &mut functions,
            ));
        }
    }
    made
}

fn is_used(index: &Chosen, used: &InUse) -> bool {
    used.names.contains(&index.spec.name) || used.partitioned.contains(&index.spec.table)
}

fn of_index(index: &Chosen, trial: &Trial<'_>, estimates: &[Estimate], basis: Basis) -> Proposal {
    let unseen = trial.unseen.contains(&index.spec.name);
    let reason = if unseen {
        format!(
            "Serves look-ups in {} that no plan shows: inside functions, or by the triggers of a foreign key. Kept because the queries ran faster with it.",
            index.spec.table
        )
    } else {
        match &index.spec.predicate {
            Some(predicate) => format!(
                "Serves {} as the roles that run them, under row-level security; partial, because they all ask for {predicate}.",
                count(index.costs.len())
            ),
            None => format!(
                "Serves {} as the roles that run them, under row-level security.",
                count(index.costs.len())
            ),
        }
    };
    let ids: BTreeSet<String> = if unseen {
        trial.readers(&index.spec.table)
    } else {
        index.costs.keys().cloned().collect()
    };
    Proposal {
        slug: index.spec.name.clone(),
        changes: vec![Change::CreateIndex(index.spec.clone())],
        rules: vec!["unindexed-policy-column".to_owned()],
        reason,
        estimates: estimates
            .iter()
            .filter(|e| ids.contains(&e.query))
            .cloned()
            .collect(),
        bytes: Some(index.bytes),
        basis,
        unseen,
        tried: Tried {
            queries: ids.into_iter().collect(),
            lookups: Vec::new(),
        },
    }
}

fn count(queries: usize) -> String {
    match queries {
        1 => "1 query".to_owned(),
        n => format!("{n} queries"),
    }
}

fn of_policy(
    policy: &Rewritable,
    form: usize,
    trial: &Trial<'_>,
    estimates: &[Estimate],
    basis: Basis,
    functions: &mut BTreeSet<String>,
) -> Proposal {
    let id = (policy.table.clone(), policy.policy.clone());
    let ids = trial.readers_of(policy);
    let tried = trial.tried.get(&id).cloned().unwrap_or_else(|| Tried {
        queries: ids.iter().cloned().collect(),
        lookups: Vec::new(),
    });
    let changes = policy
        .changes(0, form)
        .into_iter()
        .filter(|change| match change {
            // Two policies may call the same function: the first proposal makes it.
            Change::CreateFunction { name, .. } => functions.insert(name.to_string()),
            _ => true,
        })
        .collect();
    let steps = policy.forms.get(form).map(|f| f.steps.as_slice());
    let steps = steps.unwrap_or_default();
    let words: Vec<&str> = steps.iter().map(|s| s.words).collect();
    let mut reason = words.join("; ");
    let mut rules: Vec<String> = steps
        .iter()
        .filter_map(|s| s.rule.map(str::to_owned))
        .collect();
    rules.dedup();
    if !is_measured(basis) {
        reason.push_str(" (equivalent by rule; not run, because there was no clone)");
    }
    Proposal {
        slug: slug(&format!("{}_{}", policy.table.name, policy.policy)),
        changes,
        rules,
        reason,
        estimates: estimates
            .iter()
            .filter(|e| ids.contains(&e.query))
            .cloned()
            .collect(),
        bytes: None,
        basis,
        unseen: false,
        tried,
    }
}

/// Without a clone: the rewrites that cannot make a plan worse, of policies that the workload reads; and what is left alone.
pub(super) fn by_rule(
    catalog: &Catalog,
    policies: &[Rewritable],
    trial: &Trial<'_>,
) -> (Vec<Proposal>, Vec<Left>) {
    let mut functions = BTreeSet::new();
    let (mut made, mut left) = (Vec::new(), Vec::new());
    for policy in policies {
        let readers = trial.readers_of(policy);
        if readers.is_empty() {
            let why = "no query of the workload reads it, and without a clone nothing can be tried";
            left.push(Left::alone(policy, why));
            continue;
        }
        let Some(form) = safe_form(catalog, policy, trial) else {
            let why = "only a run on a clone can tell whether its rewrite helps";
            left.push(Left::alone(policy, why));
            continue;
        };
        let basis = Basis::Rule;
        made.push(of_policy(policy, form, trial, &[], basis, &mut functions));
    }
    (made, left)
}

/// What a proposal rests on, for people.
pub fn evidence(proposal: &Proposal) -> String {
    let how = match proposal.basis {
        Basis::Clone => "run on a clone",
        Basis::HypoPg => "planned with a hypothetical index",
        Basis::Rule => "by rule, not tried",
    };
    let Tried { queries, lookups } = &proposal.tried;
    let mut with = Vec::new();
    if !queries.is_empty() {
        let named = some_of(queries);
        with.push(match proposal.basis {
            Basis::Rule => format!("read by {named}"),
            _ => named,
        });
    }
    if !lookups.is_empty() {
        with.push(format!("look-ups made up for it: {}", by_persona(lookups)));
    }
    if with.is_empty() {
        how.to_owned()
    } else {
        format!("{how}: {}", with.join("; "))
    }
}

/// Names enough to go by.
fn some_of(names: &[String]) -> String {
    const MOST: usize = 5;
    let shown: Vec<&str> = names.iter().take(MOST).map(String::as_str).collect();
    let more = names.len() - shown.len();
    let shown = shown.join(", ");
    match more {
        0 => shown,
        n => format!("{shown} and {n} more"),
    }
}

/// `by key@a`, `by key@b`, `whole table@a` as `by key, whole table as a; by key as b`.
fn by_persona(lookups: &[String]) -> String {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for lookup in lookups {
        let (kind, persona) = lookup.split_once('@').unwrap_or((lookup, ""));
        kinds.entry(persona).or_default().push(kind);
    }
    let mut personas: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
    for (persona, kinds) in kinds {
        personas.entry(kinds).or_default().push(persona);
    }
    let parts: Vec<String> = personas
        .into_iter()
        .map(|(kinds, personas)| format!("{} as {}", kinds.join(", "), personas.join(", ")))
        .collect();
    parts.join("; ")
}

/// The deepest form that no plan can be worse for, if there is one.
///
/// A wrapped call hides its value from the planner, so a policy that only gets wrapped and whose column has an index
/// is left alone: with the bare call the planner uses the index and knows how many rows to expect.
fn safe_form(catalog: &Catalog, policy: &Rewritable, trial: &Trial<'_>) -> Option<usize> {
    // A set of keys rests on sizes and on the other policies: only a run shows whether it helps. For one row that is
    // looked up by its key any set may be too much.
    let most = if trial.only_by_key(policy) {
        Depth::Sets
    } else {
        Depth::Domain
    };
    let form = policy.forms.iter().rposition(|f| f.depth < Some(most))?;
    if form == 0 {
        return None;
    }
    let indexed = catalog.table(&policy.table).is_some_and(|table| {
        policy.forms.first().into_iter().any(|f| {
            f.text.using.iter().any(|using| {
                crate::sql::access::of_policy(using, &policy.table, catalog)
                    .unwrap_or_default()
                    .iter()
                    .flat_map(|a| &a.equals)
                    .any(|column| {
                        table
                            .indexes
                            .iter()
                            .any(|i| i.keys.first().and_then(|k| k.column.as_ref()) == Some(column))
                    })
            })
        })
    });
    let only_wrapped = policy.forms.get(form)?.companions.is_empty() && form == 1;
    (!(indexed && only_wrapped)).then_some(form)
}

/// Lower-case words for a file name.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('_') {
            slug.push('_');
        }
    }
    while slug.len() > 80 {
        slug.pop();
    }
    slug.trim_matches('_').to_owned()
}
