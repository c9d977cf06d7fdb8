//! Wrong changes made on purpose: a comparison that does not notice them says nothing.

use super::cells::{Decision, Ground, agree};
use super::decide::{Answer, Judge};
use super::effective::{Clause, Effective};
use super::found::Verdict;
use super::pairing::Subject;
use crate::db::{Limits, Result, Session};
use crate::model::Persona;
use std::time::Duration;

/// Whether the opposite of what applies, as an expression and never as a policy, is noticed; `None` where there was no time.
pub(super) async fn notices(
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
