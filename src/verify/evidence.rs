//! Whether what was the same was shown to be: a table on which nobody may do anything proves nothing.

use super::cells::{Decision, Row};
use super::decide::Answer;
use super::effective::{Clause, Effective};
use super::found::{Cell, Verdict};
use super::pairing::Subject;
use std::collections::{BTreeMap, BTreeSet};

/// An error on both sides shows nothing by itself: it stays one where others are admitted by the same clause.
///
/// Takes back the "same" of every clause of which no identity was ever admitted on either side.
///
/// Where no permissive policy applies to anybody on either side there is nothing to show.
pub(super) fn weigh(rows: &mut [Row], subjects: &[Subject]) {
    let mut asked: BTreeSet<(usize, Clause)> = BTreeSet::new();
    let mut shown: BTreeSet<(usize, Clause)> = BTreeSet::new();
    for row in rows.iter() {
        for (at, decision) in &row.decided {
            let Some(cell) = row.cells.get(*at) else {
                continue;
            };
            let key = (decision.subject, cell.clause);
            if decision.is_open() {
                asked.insert(key);
            }
            if decision.admits() {
                shown.insert(key);
            }
        }
    }
    let names: BTreeMap<_, usize> = subjects.iter().map(|s| (s.name(), s.number)).collect();
    for row in rows {
        for cell in &mut row.cells {
            let Some(number) = names.get(&cell.table) else {
                continue;
            };
            let key = (*number, cell.clause);
            if let Verdict::SameError(state) = &cell.verdict
                && !shown.contains(&key)
            {
                cell.verdict = Verdict::NotShown(format!("both sides end with {state}"));
            }
            if cell.verdict == Verdict::Same && asked.contains(&key) && !shown.contains(&key) {
                cell.verdict = nobody(cell);
            }
        }
    }
}

fn nobody(cell: &Cell) -> Verdict {
    Verdict::NotShown(format!(
        "no identity that was looked through may {} any row of it, before or after",
        cell.clause.words()
    ))
}

impl Decision {
    /// Whether a policy decides on either side.
    fn is_open(&self) -> bool {
        [&self.effective.0, &self.effective.1]
            .iter()
            .any(|e| matches!(e, Effective::Tested(_)))
    }

    /// Whether both sides end with an error when they are asked of all rows at once.
    pub(super) fn ends(&self) -> bool {
        [&self.answers.0, &self.answers.1].iter().all(|a| match a {
            Answer::Decided(d) => d.ends.is_some(),
            Answer::Refused(_) => true,
            Answer::NoTime => false,
        })
    }

    pub(super) fn admits(&self) -> bool {
        [&self.answers.0, &self.answers.1].iter().any(|a| match a {
            Answer::Decided(d) => d.there.admitted + d.possible.admitted > 0,
            Answer::Refused(_) | Answer::NoTime => false,
        })
    }
}
