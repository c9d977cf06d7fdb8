//! Wrong changes made on purpose: a comparison that does not notice them says nothing.

use super::agreement::agree;
use super::cells::Row;
use super::cells::{Decision, Ground};
use super::decide::{Answer, Judge};
use super::effective::{Clause, Effective};
use super::found::{Cell, Findings, Verdict};
use super::pairing::Subject;
use crate::db::{Limits, Result, Session};
use crate::model::Persona;
use std::collections::BTreeSet;
use std::time::Duration;

/// At least one wrong change for each table and clause.
pub(super) async fn controls(
    ground: &Ground<'_>,
    people: &[Persona],
    rows: &[Row],
    found: &mut Findings,
) -> Result<()> {
    let mut done: BTreeSet<(usize, Clause)> = BTreeSet::new();
    for (persona, row) in people.iter().zip(rows) {
        for (at, decision) in &row.decided {
            let Some(cell) = row.cells.get(*at) else {
                continue;
            };
            let key = (decision.subject, cell.clause);
            if cell.verdict != Verdict::Same || !decision.admits() || !done.insert(key) {
                continue;
            }
            let Some(subject) = ground.subjects.get(decision.subject) else {
                continue;
            };
            match notices(ground, subject, cell.clause, persona, decision).await? {
                Some(true) => found.controls += 1,
                Some(false) => {
                    found.controls += 1;
                    found.missed.push(missed(cell, "went unnoticed"));
                }
                None => found.missed.push(missed(cell, "was not tried: no time")),
            }
        }
    }
    Ok(())
}

fn missed(cell: &Cell, what: &str) -> String {
    format!(
        "a wrong policy for {} on {} {what}",
        cell.clause.words(),
        cell.table
    )
}

/// Whether the opposite of what applies, as an expression and never as a policy, is noticed; `None` where there was no time.
async fn notices(
    ground: &Ground<'_>,
    subject: &Subject,
    clause: Clause,
    persona: &Persona,
    decision: &Decision,
) -> Result<Option<bool>> {
    let Some(left) = ground.left() else {
        return Ok(None);
    };
    let limits = Limits {
        statement: left,
        lock: Duration::from_secs(10),
    };
    let session = Session::connect(ground.after, "verify").await?;
    let after = Judge {
        session: &session,
        persona,
        after: true,
        limits,
    };
    let wrong = Effective::Tested(format!("({}) is not true", decision.effective.1.sql()));
    let answer = after
        .decide(subject, &wrong, decision.reach.1.as_deref())
        .await?;
    Ok(
        match (agree(clause, (&decision.answers.0, &answer)), answer) {
            (_, Answer::NoTime) => None,
            (agreed, _) => Some(agreed != Some(Verdict::Same)),
        },
    )
}
