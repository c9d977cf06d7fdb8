//! One policy on the desk: moved between its forms on the clone, and looked at with look-ups.

use super::lab::{Lab, Timing};
use super::lookups::Lookup;
use super::policies::Rewritable;
use super::weigh::{Verdict, catastrophe, is_heavy, is_small, steady_verdict, verdict, worsened};
use crate::model::{Change, Query, Tried};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A look-up under a rewrite is ended after this.
pub(super) const LOOKUP: Duration = Duration::from_secs(2);
/// What took so many times longer without the rewrite need not end: the rewrite is better …
const TIMES: u32 = 10;
/// … once this has passed too, since a machine may be busy.
const GRACE: Duration = Duration::from_secs(1);
/// Rounds of both sides where only the clock can tell.
const ROUNDS: usize = 3;

/// Figures of look-ups by their place in the list.
pub(super) type Figures = BTreeMap<usize, Timing>;

/// How long the other side is waited for.
pub(super) fn patience(with: &Timing) -> Duration {
    let longest = with.draws.iter().max().copied().unwrap_or_default();
    longest.saturating_mul(TIMES) + GRACE
}

/// The form to keep, 0 for the one it had, and why it is not the deepest.
pub(super) struct Outcome {
    pub form: usize,
    pub why: Option<String>,
}

pub(super) enum Unearned {
    Worse(String),
    NoGain,
}

impl Unearned {
    pub(super) fn words(self, queries: &str) -> String {
        match self {
            Self::Worse(what) => format!("{queries}, and it would make a look-up worse: {what}"),
            Self::NoGain => format!("{queries}, and no look-up made up for it got clearly lighter"),
        }
    }
}

/// One policy being moved between its forms.
pub(super) struct Desk<'a, L: Lab> {
    pub lab: &'a mut L,
    pub policy: &'a Rewritable,
    /// The form it has now.
    pub form: usize,
    pub lookups: &'a [Lookup],
    pub tried: Tried,
}

impl<L: Lab> Desk<'_, L> {
    pub(super) async fn go(&mut self, form: usize) -> Result<(), L::Error> {
        if form != self.form {
            // Functions that a form needs are there since the deepest one was made, but for those of shallower forms.
            for change in self.policy.changes(self.form, form) {
                let made = self.lab.make(&change).await;
                if !matches!(change, Change::CreateFunction { .. }) {
                    made?;
                }
            }
            self.form = form;
        }
        Ok(())
    }

    pub(super) async fn leave(&mut self, why: String) -> Result<Outcome, L::Error> {
        self.go(0).await?;
        Ok(Outcome {
            form: 0,
            why: Some(why),
        })
    }

    /// Every look-up that can be run, and why the first of the others could not.
    pub(super) async fn measure(
        &mut self,
        which: impl Fn(&Lookup) -> bool,
        limit: impl Fn(usize) -> Duration,
    ) -> (Figures, String) {
        let (mut figures, mut refused) = (Figures::new(), String::new());
        let lookups = self.lookups.iter().enumerate();
        for (at, lookup) in lookups.filter(|(_, l)| which(l)) {
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

    pub(super) fn judge(&self, without: &Figures, with: &Figures) -> Result<(), Unearned> {
        let mut gained = false;
        for (lookup, was, is) in self.pairs(without, with) {
            if let Some(what) = worsened(was, is).filter(|_| is.timed_out || !is_small(is)) {
                return Err(Unearned::Worse(format!("{}, {what}", lookup.name())));
            }
            gained |= steady_verdict(was, is) == Verdict::Better;
        }
        if gained {
            Ok(())
        } else {
            Err(Unearned::NoGain)
        }
    }

    /// Whether the clock prefers `form` for the look-up that takes longest, where nothing else tells.
    pub(super) async fn by_clock(
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
    pub(super) async fn clock(&mut self, query: &Query, form: usize) -> Result<bool, L::Error> {
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
    pub(super) async fn settle_for(
        &mut self,
        mut form: usize,
        mut with: Figures,
        without: &Figures,
        why: Option<String>,
    ) -> Result<Outcome, L::Error> {
        while form > 1 {
            self.go(form - 1).await?;
            let (shallow, _) = self
                .measure(|_| true, |at| with.get(&at).map_or(LOOKUP, patience))
                .await;
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

    /// The look-up of one of `people` that the present form makes many times heavier than the first one does, in words.
    pub(super) async fn catastrophic(
        &mut self,
        people: &BTreeSet<&str>,
    ) -> Result<Option<String>, L::Error> {
        let form = self.form;
        let asks = |l: &Lookup| l.one && people.contains(l.query.persona.name.as_str());
        let (with, _) = self.measure(asks, |_| LOOKUP).await;
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
                found = Some(format!(
                    "it would make a look-up many times heavier: {}, {what}",
                    lookup.name()
                ));
                break;
            }
        }
        self.go(form).await?;
        Ok(found)
    }
}
