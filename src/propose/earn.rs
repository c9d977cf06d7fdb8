//! A rewrite must earn its place: some query, or some look-up made up for it, has to get clearly lighter by it, and no
//! look-up much heavier. What repeats decides: buffers, rows, planner cost.

use super::lab::{Lab, Timing};
use super::left::Left;
use super::lookups::{Lookup, lookups};
use super::policies::Rewritable;
use super::reading::{PolicyId, Reading};
use super::repair::Trial;
use super::weigh::{
    Verdict, catastrophe, is_heavy, is_small, steady_verdict, verdict, worsened,
};
use crate::model::{Name, Persona, Query, Tried};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A look-up under a rewrite is ended after this.
const LOOKUP: Duration = Duration::from_secs(2);
/// What took so many times longer without the rewrite need not end: the rewrite is better …
const TIMES: u32 = 10;
/// … once this has passed too, since a machine may be busy.
const GRACE: Duration = Duration::from_secs(1);
/// Rounds of both sides where only the clock can tell.
const ROUNDS: usize = 3;

/// Figures of look-ups by their place in the list.
type Figures = BTreeMap<usize, Timing>;

pub(super) struct Earning<'a> {
    personas: &'a [Persona],
    draws: usize,
    /// Of each table, once made; with the look-ups that each policy is asked for.
    made: BTreeMap<Name, (Vec<Lookup>, BTreeMap<PolicyId, BTreeSet<String>>)>,
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
            progress(&format!("does {} on {} earn its place", policy.policy, policy.table));
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
            desk_done(trial, at, &policy, outcome, tried);
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
        let (first, refused) = desk.measure(|_| LOOKUP).await;
        if first.is_empty() {
            let why = format!("no query of the workload reads it, and no look-up made up for it could be run: {refused}");
            return desk.leave(why).await;
        }
        let deepest = desk.form;
        desk.go(0).await?;
        let (without, _) = desk.measure(|at| first.get(&at).map_or(LOOKUP, patience)).await;
        let mut why = None;
        for form in (1..=deepest).rev() {
            let with = if form == deepest {
                first.clone()
            } else {
                desk.go(form).await?;
                desk.measure(|_| LOOKUP).await.0
            };
            match desk.judge(&without, &with) {
                Ok(()) => return desk.settle_for(form, with, &without, why).await,
                Err(Unearned::NoGain) if desk.by_clock(form, &without, &with).await? => {
                    return desk.settle_for(form, with, &without, why).await;
                }
                Err(reason) => {
                    why.get_or_insert(reason.words());
                }
            }
        }
        desk.leave(why.unwrap_or_default()).await
    }

    /// Queries of the workload read the policy: one of them has to gain, and no look-up may become a catastrophe.
    async fn read<L: Lab>(
        &self,
        desk: &mut Desk<'_, L>,
        trial: &Trial<'_>,
        readers: &BTreeSet<String>,
    ) -> Result<Outcome, L::Error> {
        desk.tried.queries = readers.iter().cloned().collect();
        let Some(gaining) = self.gaining(desk, trial, readers).await? else {
            return desk
                .leave("no query that reads it takes fewer buffers or rows, or costs less, by it".to_owned())
                .await;
        };
        let mut why = None;
        loop {
            match desk.catastrophic().await? {
                None => break,
                Some(reason) => {
                    why.get_or_insert(reason);
                }
            }
            if desk.form <= 1 {
                return desk.leave(why.unwrap_or_default()).await;
            }
            desk.go(desk.form - 1).await?;
            let with = desk.lab.measure(&gaining.query, patience(&gaining.without)).await?;
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
    ) -> Result<Option<Gaining>, L::Error> {
        let queries = trial.by_gain(readers);
        let deepest = desk.form;
        desk.go(0).await?;
        let mut found = None;
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
                Verdict::Worse => {}
            }
        }
        if found.is_none() {
            silent.sort_by(|a, b| b.1.total_cmp(&a.1));
            for (query, _, without) in silent.into_iter().take(1) {
                if desk.clock(query, deepest).await? {
                    found = Some((query, without));
                }
            }
        }
        let Some((query, without)) = found else {
            return Ok(None);
        };
        desk.go(deepest).await?;
        self.as_shallow_as_good(desk, trial, &queries).await?;
        Ok(Some(Gaining {
            query: query.clone(),
            without,
        }))
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

/// How long the other side is waited for.
fn patience(with: &Timing) -> Duration {
    let longest = with.draws.iter().max().copied().unwrap_or_default();
    longest.saturating_mul(TIMES) + GRACE
}

struct Gaining {
    query: Query,
    without: Timing,
}

/// The form to keep, 0 for the one it had, and why it is not the deepest.
pub(super) struct Outcome {
    form: usize,
    why: Option<String>,
}

enum Unearned {
    Worse(String),
    NoGain,
}

impl Unearned {
    fn words(self) -> String {
        match self {
            Self::Worse(what) => format!("it would make a look-up worse: {what}"),
            Self::NoGain => {
                "no query of the workload reads it, and no look-up made up for it got clearly lighter".to_owned()
            }
        }
    }
}

/// One policy being moved between its forms.
struct Desk<'a, L: Lab> {
    lab: &'a mut L,
    policy: &'a Rewritable,
    /// The form it has now.
    form: usize,
    lookups: &'a [Lookup],
    tried: Tried,
}

impl<L: Lab> Desk<'_, L> {
    async fn go(&mut self, form: usize) -> Result<(), L::Error> {
        if form != self.form {
            // Functions that a form needs are there since the deepest one was made, but for those of shallower forms.
            for change in self.policy.changes(self.form, form) {
                let made = self.lab.make(&change).await;
                if !matches!(change, crate::model::Change::CreateFunction { .. }) {
                    made?;
                }
            }
            self.form = form;
        }
        Ok(())
    }

    async fn leave(&mut self, why: String) -> Result<Outcome, L::Error> {
        self.go(0).await?;
        Ok(Outcome {
            form: 0,
            why: Some(why),
        })
    }

    /// Every look-up that can be run, and why the first of the others could not.
    async fn measure(&mut self, limit: impl Fn(usize) -> Duration) -> (Figures, String) {
        let (mut figures, mut refused) = (Figures::new(), String::new());
        for (at, lookup) in self.lookups.iter().enumerate() {
            match self.lab.measure(&lookup.query, limit(at)).await {
                Ok(timing) => {
                    self.note(lookup);
                    figures.insert(at, timing);
                }
                Err(error) if refused.is_empty() => refused = error.to_string(),
                Err(_) => {}
            }
        }
        (figures, refused)
    }

    fn note(&mut self, lookup: &Lookup) {
        let name = lookup.name();
        if !self.tried.lookups.contains(&name) {
            self.tried.lookups.push(name);
        }
    }

    fn pairs<'f>(
        &'f self,
        without: &'f Figures,
        with: &'f Figures,
    ) -> impl Iterator<Item = (&'f Lookup, &'f Timing, &'f Timing)> {
        self.lookups
            .iter()
            .enumerate()
            .filter_map(|(at, lookup)| Some((lookup, without.get(&at)?, with.get(&at)?)))
    }

    fn judge(&self, without: &Figures, with: &Figures) -> Result<(), Unearned> {
        let mut gained = false;
        for (lookup, was, is) in self.pairs(without, with) {
            if let Some(what) = worsened(was, is).filter(|_| is.timed_out || !is_small(is)) {
                return Err(Unearned::Worse(format!("{}, {what}", lookup.name())));
            }
            gained |= steady_verdict(was, is) == Verdict::Better;
        }
        if gained { Ok(()) } else { Err(Unearned::NoGain) }
    }

    /// Whether the clock prefers `form` for the look-up that takes longest, where nothing else tells.
    async fn by_clock(
        &mut self,
        form: usize,
        without: &Figures,
        with: &Figures,
    ) -> Result<bool, L::Error> {
        let longest = self
            .pairs(without, with)
            .filter(|(_, was, is)| !was.timed_out && !is.timed_out)
            .max_by(|a, b| a.1.ms().total_cmp(&b.1.ms()))
            .map(|(lookup, ..)| lookup.query.clone());
        match longest {
            Some(query) => self.clock(&query, form).await,
            None => Ok(false),
        }
    }

    /// Both sides in turn, so that a machine that changes its pace changes it for both.
    async fn clock(&mut self, query: &Query, form: usize) -> Result<bool, L::Error> {
        let mut best: [Option<Timing>; 2] = [None, None];
        for _ in 0..ROUNDS {
            for (side, best) in [0, form].into_iter().zip(&mut best) {
                self.go(side).await?;
                let Ok(timing) = self.lab.measure(query, LOOKUP).await else {
                    return Ok(false);
                };
                if best.as_ref().is_none_or(|b| timing.ms() < b.ms()) {
                    *best = Some(timing);
                }
            }
        }
        let [Some(was), Some(is)] = &best else {
            return Ok(false);
        };
        Ok(!was.timed_out && verdict(was, is) == Verdict::Better)
    }

    /// Takes the shallowest form that is as good as `form`.
    async fn settle_for(
        &mut self,
        mut form: usize,
        mut with: Figures,
        without: &Figures,
        why: Option<String>,
    ) -> Result<Outcome, L::Error> {
        while form > 1 {
            self.go(form - 1).await?;
            let (shallow, _) = self.measure(|at| with.get(&at).map_or(LOOKUP, patience)).await;
            let deeper_is_better = self
                .pairs(&shallow, &with)
                .any(|(_, was, is)| steady_verdict(was, is) == Verdict::Better);
            if deeper_is_better || self.judge(without, &shallow).is_err() {
                break;
            }
            form -= 1;
            with = shallow;
        }
        self.go(form).await?;
        Ok(Outcome { form, why })
    }

    /// The look-up that the present form makes many times heavier than the first one does, in words.
    async fn catastrophic(&mut self) -> Result<Option<String>, L::Error> {
        let form = self.form;
        let (with, _) = self.measure(|_| LOOKUP).await;
        let heavy: Vec<usize> = with
            .iter()
            .filter(|(_, t)| is_heavy(t))
            .map(|(at, _)| *at)
            .collect();
        if heavy.is_empty() {
            return Ok(None);
        }
        self.go(0).await?;
        let mut found = None;
        for at in heavy {
            let (Some(lookup), Some(is)) = (self.lookups.get(at), with.get(&at)) else {
                continue;
            };
            let Ok(was) = self.lab.measure(&lookup.query, LOOKUP).await else {
                continue;
            };
            if let Some(what) = catastrophe(&was, is) {
                found = Some(format!("it would make a look-up many times heavier: {}, {what}", lookup.name()));
                break;
            }
        }
        self.go(form).await?;
        Ok(found)
    }
}

fn desk_done(
    trial: &mut Trial<'_>,
    at: usize,
    policy: &Rewritable,
    outcome: Outcome,
    tried: Tried,
) {
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
        Some((of, roles)) if personas.iter().all(|p| !trial.catalog.applies_to(of, &p.role)) => {
            format!("no query of the workload reads it, and the workload has no persona with role {roles}")
        }
        _ => "no query of the workload reads it, and no persona may look anything up that asks it".to_owned(),
    }
}
