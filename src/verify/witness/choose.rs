//! As whom statements are run, and what is asked of them.

use super::ask::Tally;
use super::expect::{Expect, Outcome};
use super::predict::{Asked, Say};
use super::scene::Scene;
use super::stage::Facts;
use crate::model::{Catalog, Persona};
use crate::verify::cells::{Decision, Row};
use crate::verify::decide::{Answer, Tally as Counts};
use crate::verify::effective::{Clause, Effective};
use crate::verify::pairing::Subject;
use crate::verify::reach::default_of;
use std::collections::{BTreeMap, BTreeSet};

/// One identity on one table: what was decided, by clause.
pub(super) struct Task<'a> {
    /// Its place among the identities.
    pub(super) person: usize,
    decided: BTreeMap<Clause, &'a Decision>,
}

impl<'a> Task<'a> {
    fn new(person: usize, row: &'a Row, subject: &Subject) -> Option<Self> {
        let decided = row.decided.iter().filter_map(|(at, decision)| {
            let cell = row.cells.get(*at)?;
            let answers = [&decision.answers.0, &decision.answers.1];
            let all = answers.iter().all(|a| matches!(a, Answer::Decided(_)));
            let sure = decision.subject == subject.number && all && !row.by_worlds.contains(at);
            sure.then_some((cell.clause, decision))
        });
        let decided: BTreeMap<Clause, &Decision> = decided.collect();
        (!decided.is_empty()).then_some(Self { person, decided })
    }

    /// The expressions of one side.
    pub(super) fn asked(&self, after: bool) -> Asked<'a> {
        let side = |d: &'a Decision| -> &'a Effective {
            if after {
                &d.effective.1
            } else {
                &d.effective.0
            }
        };
        self.decided
            .iter()
            .map(|(clause, d)| (*clause, side(d)))
            .collect()
    }

    pub(super) fn reach(&self, clause: Clause, after: bool) -> Option<&'a str> {
        let decision = self.decided.get(&clause)?;
        if after {
            decision.reach.1.as_deref()
        } else {
            decision.reach.0.as_deref()
        }
    }

    fn counts(&self, clause: Clause, after: bool) -> Option<&'a Counts> {
        let decision = self.decided.get(&clause)?;
        let answer = if after {
            &decision.answers.1
        } else {
            &decision.answers.0
        };
        match answer {
            Answer::Decided(decided) => Some(&decided.there),
            Answer::Refused(_) | Answer::NoTime => None,
        }
    }

    pub(super) fn sees_some(&self, after: bool) -> bool {
        self.counts(Clause::Select, after)
            .is_some_and(|c| c.admitted > 0)
    }

    /// Rows of the table.
    pub(super) fn rows(&self, after: bool) -> u64 {
        let all = self.decided.keys().filter_map(|c| self.counts(*c, after));
        all.map(|c| c.all).max().unwrap_or_default()
    }

    fn is_tested(&self) -> bool {
        let tested = |e: &Effective| matches!(e, Effective::Tested(_));
        self.decided
            .values()
            .any(|d| tested(&d.effective.0) || tested(&d.effective.1))
    }

    fn admits(&self) -> bool {
        self.decided.values().any(|d| d.admits())
    }
}

/// Up to three identities: one that may do something, of those whom a policy asks; one that may not; one without claims.
pub(super) fn tasks<'a>(people: &[Persona], rows: &'a [Row], subject: &Subject) -> Vec<Task<'a>> {
    let mut all: Vec<Task<'a>> = rows
        .iter()
        .enumerate()
        .filter_map(|(person, row)| Task::new(person, row, subject))
        .collect();
    let claims = |task: &Task<'_>| {
        let settings = people.get(task.person).map(|p| p.settings.values());
        settings.is_some_and(|mut values| values.any(|v| !v.is_empty()))
    };
    let mut chosen: Vec<usize> = Vec::new();
    let mut choose = |fits: &dyn Fn(&Task<'_>) -> bool| {
        let free = all
            .iter()
            .filter(|t| !chosen.contains(&t.person) && fits(t));
        // The one of whom most is asked.
        let best = free.max_by_key(|t| (t.decided.len(), std::cmp::Reverse(t.person)));
        chosen.extend(best.map(|t| t.person));
    };
    choose(&|t| t.is_tested() && t.admits() && claims(t));
    choose(&|t| t.is_tested() && !t.admits() && claims(t));
    choose(&|t| !claims(t));
    if chosen.is_empty() {
        chosen.extend(all.first().map(|t| t.person));
    }
    all.retain(|t| chosen.contains(&t.person));
    all
}

/// Whether a made-up row that the role inserts is the tuple it was made up as: no column that decides is computed, or left to a
/// default that is another one each time.
pub(super) fn made_up(subject: &Subject, after: bool, facts: &Facts, catalog: &Catalog) -> bool {
    let mut columns = subject.columns.iter().filter_map(|p| p.on(after));
    columns.all(|c| {
        !c.generated && (facts.insert.contains(&c.name) || default_of(c, catalog).is_some())
    })
}

/// Rows that the identity saw must be of tuples that SELECT admits.
pub(super) fn sightings(scene: &Scene<'_>, seen: Option<&BTreeSet<(String, String)>>) -> Tally {
    let mut tally = Tally::default();
    let Some(seen) = seen else {
        return tally;
    };
    let labels: BTreeSet<String> = seen
        .iter()
        .map(|(part, place)| format!("{part}{place}"))
        .collect();
    let here = scene.spots.iter().filter(|s| labels.contains(&s.label()));
    let (mut asked, mut admitted) = (BTreeSet::new(), BTreeSet::new());
    for spot in here {
        match scene.says.of(&spot.hash, Clause::Select) {
            Some(Say::Yes) => {
                admitted.insert(spot.label());
            }
            Some(Say::No) => {}
            Some(Say::Raises(_)) | None => continue,
        }
        asked.insert(spot.label());
    }
    if !asked.is_empty() {
        let given = asked.iter().cloned().collect::<Vec<_>>().join(";");
        let expect = Expect::These {
            seen: admitted,
            asked,
        };
        tally.note("SELECT of any rows", &expect, &Outcome::Text(given));
    }
    tally
}
