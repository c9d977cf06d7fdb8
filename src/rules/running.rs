//! Rules are independent of one another, so they run on all cores; what they find comes in the order of the rules.

use super::analysed::STACK;
use super::{Category, Facts, Rule, Sink, visits};
use crate::model::{Finding, Gap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Fewer policies are judged faster than threads start.
const WORTH_THREADS: usize = 500;

type Outcome = (Vec<Finding>, Vec<Gap>);

pub(super) fn run(facts: &Facts<'_>, rules: &[&'static Rule]) -> Outcome {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if facts.policies.len() < WORTH_THREADS {
        1
    } else {
        cores.min(rules.len()).max(1)
    };
    let next = AtomicUsize::new(0);
    let outcomes: Vec<Mutex<Outcome>> = rules.iter().map(|_| Mutex::default()).collect();
    let work = || {
        while let Some((rule, slot)) = at(rules, &outcomes, next.fetch_add(1, Ordering::Relaxed)) {
            let found = one(facts, rule);
            if let Ok(mut slot) = slot.lock() {
                *slot = found;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Where no thread can be had, the others do its work.
            let _ = std::thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, work);
        }
        work();
    });
    let outcomes: Vec<Outcome> = outcomes
        .into_iter()
        .map(|slot| slot.into_inner().unwrap_or_default())
        .collect();
    // There may be a hundred thousand: room for them is made once.
    let number = outcomes.iter().map(|(findings, _)| findings.len()).sum();
    let mut all = (Vec::with_capacity(number), Vec::new());
    for (findings, gaps) in outcomes {
        all.0.extend(findings);
        all.1.extend(gaps);
    }
    all
}

fn at<'a, T>(
    rules: &[&'static Rule],
    slots: &'a [T],
    number: usize,
) -> Option<(&'static Rule, &'a T)> {
    Some((rules.get(number)?, slots.get(number)?))
}

fn one(facts: &Facts<'_>, rule: &'static Rule) -> Outcome {
    let (mut findings, mut gaps) = Outcome::default();
    (rule.check)(facts, &mut Sink::new(rule.id, &mut findings, &mut gaps));
    if rule.category == Category::Speed {
        for finding in &mut findings {
            visits::attach(facts, finding);
        }
    }
    (findings, gaps)
}
