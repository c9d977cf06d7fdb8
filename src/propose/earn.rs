//! A rewrite must earn its place: some query, or some look-up made up for it, has to get clearly lighter by it, and no
//! look-up much heavier. What repeats decides: buffers, rows, planner cost.

use super::desk::{Desk, LOOKUP, Outcome, Unearned, patience};
use super::lab::{Lab, Timing};
use super::left::Left;
use super::lookups::{Lookup, lookups};
use super::policies::Rewritable;
use super::reading::{PolicyId, Reading};
use super::trial::Trial;
use super::weigh::{Verdict, steady_verdict, verdict};
use crate::model::{Name, Persona, Query, Tried};
use std::collections::{BTreeMap, BTreeSet};

/// The look-ups of a table, and the ids of those that each policy is asked for.
type Made = (Vec<Lookup>, BTreeMap<PolicyId, BTreeSet<String>>);

pub(super) struct Earning<'a> {
    personas: &'a [Persona],
    draws: usize,
    /// Of each table, once made; with the look-ups that each policy is asked for.
    made: BTreeMap<Name, Made>,
}

impl<'a> Earning<'a> {
    pub(super) fn new(personas: &'a [Persona], draws: usize) -> Self {
        Self {
            personas,
            draws,
            made: BTreeMap::new(),
        }
    }

    /// Decides on the form of every policy that has a new one.
    pub(super) async fn all<L: Lab>(
        &mut self,
        lab: &mut L,
        trial: &mut Trial<'_>,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), L::Error> {
        for at in 0..trial.policies.len() {
            let Some((policy, form)) = trial.policies.get(at).cloned() else {
                break;
            };
            if form == 0 {
                continue;
            }
            progress(&format!(
                "does {} on {} earn its place",
                policy.policy, policy.table
            ));
            let lookups = self.lookups_of(lab, trial, &policy).await;
            let mut desk = Desk {
                lab,
                policy: &policy,
                form,
                lookups: &lookups,
                tried: Tried::default(),
            };
            let readers = trial.asking(&policy);
            let outcome = if readers.is_empty() {
                self.unread(&mut desk, trial).await?
            } else {
                self.read(&mut desk, trial, &readers).await?
            };
            let tried = desk.tried;
            keep(trial, at, &policy, outcome, tried);
            if trial.policies.get(at).is_some_and(|(_, now)| *now != form) {
                trial.after = trial.retime(lab, &readers, self.draws).await?;
            }
        }
        Ok(())
    }

    /// The look-ups that `policy` is asked for. They are drawn with every rewrite in place, when drawing is quick.
    async fn lookups_of<L: Lab>(
        &mut self,
        lab: &mut L,
        trial: &Trial<'_>,
        policy: &Rewritable,
    ) -> Vec<Lookup> {
        if !self.made.contains_key(&policy.table) {
            let tuned = trial.tuned();
            let names: BTreeSet<&str> = trial
                .policies
                .iter()
                .filter(|(p, form)| p.table == policy.table && *form > 0)
                .map(|(p, _)| p.policy.as_str())
                .collect();
            let policies = tuned
                .table(&policy.table)
                .map(|t| &t.policies)
                .into_iter()
                .flatten()
                .filter(|p| names.contains(p.name.as_str()))
                .collect::<Vec<_>>();
            let list = lookups(lab, &tuned, &policy.table, &policies, self.personas).await;
            let readers = Reading::new(trial.catalog).readers(list.iter().map(|l| &l.query));
            self.made.insert(policy.table.clone(), (list, readers));
        }
        let id = (policy.table.clone(), policy.policy.clone());
        let Some((list, readers)) = self.made.get(&policy.table) else {
            return Vec::new();
        };
        let asked = readers.get(&id).cloned().unwrap_or_default();
        let mine = list.iter().filter(|l| asked.contains(&l.query.id));
        mine.cloned().collect()
    }

    /// No query of the workload reads the policy: look-ups alone decide, and none may get worse.
    async fn unread<L: Lab>(
        &self,
        desk: &mut Desk<'_, L>,
        trial: &Trial<'_>,
    ) -> Result<Outcome, L::Error> {
        if desk.lookups.is_empty() {
            return desk.leave(missing(desk.policy, trial, self.personas)).await;
        }
        self.by_lookups(desk, "no query of the workload reads it")
            .await
    }

    /// `queries` says what the workload has to say.
    async fn by_lookups<L: Lab>(
        &self,
        desk: &mut Desk<'_, L>,
        queries: &str,
    ) -> Result<Outcome, L::Error> {
        let (first, refused) = desk.measure(|_| true, |_| LOOKUP).await;
        if first.is_empty() {
            let why = format!("{queries}, and no look-up made up for it could be run: {refused}");
            return desk.leave(why).await;
        }
        let deepest = desk.form;
        desk.go(0).await?;
        let (without, _) = desk
            .measure(|_| true, |at| first.get(&at).map_or(LOOKUP, patience))
            .await;
        let mut why = None;
        for form in (1..=deepest).rev() {
            let with = if form == deepest {
                first.clone()
            } else {
                desk.go(form).await?;
                desk.measure(|_| true, |_| LOOKUP).await.0
            };
            match desk.judge(&without, &with) {
                Ok(()) => return desk.settle_for(form, with, &without, why).await,
                Err(Unearned::NoGain) if desk.by_clock(form, &without, &with).await? => {
                    return desk.settle_for(form, with, &without, why).await;
                }
                Err(reason) => {
                    why.get_or_insert(reason.words(queries));
                }
            }
        }
        desk.leave(why.unwrap_or_default()).await
    }

    /// Queries of the workload read the policy: one of them has to gain, and no look-up of those who run them may become a
    /// catastrophe.
    async fn read<L: Lab>(
        &self,
        desk: &mut Desk<'_, L>,
        trial: &Trial<'_>,
        readers: &BTreeSet<String>,
    ) -> Result<Outcome, L::Error> {
        desk.tried.queries = readers.iter().cloned().collect();
        let deepest = desk.form;
        let gaining = match self.gaining(desk, trial, readers).await? {
            Gain::Of(gaining) => gaining,
            Gain::Harm(id) => return desk.leave(format!("{id} does better without it")).await,
            Gain::None if desk.lookups.is_empty() => {
                let why = "no query that reads it got clearly lighter by it";
                return desk.leave(why.to_owned()).await;
            }
            Gain::None => {
                desk.go(deepest).await?;
                return self
                    .by_lookups(desk, "no query that reads it got lighter")
                    .await;
            }
        };
        // Those whose queries read it pay for it: somebody who never asks is no reason to leave them waiting.
        let queries = trial.by_gain(readers);
        let people = queries.iter().map(|q| q.persona.name.as_str()).collect();
        let mut why = None;
        loop {
            match desk.catastrophic(&people).await? {
                None => break,
                Some(reason) => {
                    why.get_or_insert(reason);
                }
            }
            if desk.form <= 1 {
                return desk.leave(why.unwrap_or_default()).await;
            }
            desk.go(desk.form - 1).await?;
            let with = desk
                .lab
                .measure(&gaining.query, patience(&gaining.without))
                .await?;
            if verdict(&gaining.without, &with) != Verdict::Better {
                return desk.leave(why.unwrap_or_default()).await;
            }
        }
        Ok(Outcome {
            form: desk.form,
            why,
        })
    }

    /// A query of the workload that is better with the policy's form than with the form it had; the policy then has the
    /// shallowest form that is as good.
    async fn gaining<L: Lab>(
        &self,
        desk: &mut Desk<'_, L>,
        trial: &Trial<'_>,
        readers: &BTreeSet<String>,
    ) -> Result<Gain, L::Error> {
        let queries = trial.by_gain(readers);
        let deepest = desk.form;
        desk.go(0).await?;
        let (mut found, mut harmed) = (None, None);
        let mut silent = Vec::new();
        for query in &queries {
            let Some(with) = trial.after.get(&query.id).filter(|t| !t.timed_out) else {
                continue;
            };
            let Ok(without) = desk.lab.measure(query, patience(with)).await else {
                continue;
            };
            match steady_verdict(&without, with) {
                Verdict::Better => {
                    found = Some((*query, without));
                    break;
                }
                Verdict::Same => silent.push((*query, with.ms(), without)),
                Verdict::Worse => {
                    harmed.get_or_insert_with(|| query.id.clone());
                }
            }
        }
        if found.is_none() {
            if let Some(id) = harmed {
                return Ok(Gain::Harm(id));
            }
            silent.sort_by(|a, b| b.1.total_cmp(&a.1));
            for (query, _, without) in silent.into_iter().take(1) {
                if desk.clock(query, deepest).await? {
                    found = Some((query, without));
                }
            }
        }
        let Some((query, without)) = found else {
            return Ok(Gain::None);
        };
        desk.go(deepest).await?;
        self.as_shallow_as_good(desk, trial, &queries).await?;
        Ok(Gain::Of(Box::new(Gaining {
            query: query.clone(),
            without,
        })))
    }

    /// Goes to shallower forms as long as no query is worse by it.
    async fn as_shallow_as_good<L: Lab>(
        &self,
        desk: &mut Desk<'_, L>,
        trial: &Trial<'_>,
        queries: &[&Query],
    ) -> Result<(), L::Error> {
        while desk.form > 1 {
            let deeper = desk.form;
            desk.go(deeper - 1).await?;
            for query in queries {
                let Some(with) = trial.after.get(&query.id) else {
                    continue;
                };
                let Ok(shallow) = desk.lab.measure(query, patience(with)).await else {
                    continue;
                };
                if verdict(&shallow, with) == Verdict::Better {
                    return desk.go(deeper).await;
                }
            }
        }
        Ok(())
    }
}

/// What the workload's queries say of a form.
enum Gain {
    Of(Box<Gaining>),
    /// This query is heavier with it, and none is lighter.
    Harm(String),
    None,
}

struct Gaining {
    query: Query,
    without: Timing,
}

fn keep(trial: &mut Trial<'_>, at: usize, policy: &Rewritable, outcome: Outcome, tried: Tried) {
    if let Some(entry) = trial.policies.get_mut(at) {
        entry.1 = outcome.form;
    }
    trial.left.extend(outcome.why.map(|why| match outcome.form {
        0 => Left::alone(policy, why),
        _ => Left::shallower(policy, why),
    }));
    let id = (policy.table.clone(), policy.policy.clone());
    trial.tried.insert(id, tried);
}

/// Why there is nothing to try a policy with.
fn missing(policy: &Rewritable, trial: &Trial<'_>, personas: &[Persona]) -> String {
    let roles = trial
        .catalog
        .table(&policy.table)
        .and_then(|t| t.policy(&policy.policy))
        .map(|p| (p, p.roles.join(", ")));
    match roles {
        Some((of, roles))
            if personas
                .iter()
                .all(|p| !trial.catalog.applies_to(of, &p.role)) =>
        {
            format!(
                "no query of the workload reads it, and the workload has no persona with role {roles}"
            )
        }
        _ => "no query of the workload reads it, and no persona may look anything up that asks it"
            .to_owned(),
    }
}
