//! Wrong changes made on purpose: a comparison that does not notice them says nothing.

use super::cells::{Decision, Ground, judge};
use super::decide::Judge;
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
    let before = Session::connect(ground.before, "verify").await?;
    let after = Session::connect(ground.after, "verify").await?;
    let judges = (
        Judge {
            session: &before,
            persona,
            after: false,
            limits,
        },
        Judge {
            session: &after,
            persona,
            after: true,
            limits,
        },
    );
    let wrong = Effective::Tested(format!("({}) is not true", decision.effective.1.sql()));
    let reach = (decision.reach.0.as_deref(), decision.reach.1.as_deref());
    let (b, a) = tokio::join!(
        judges.0.decide(subject, &decision.effective.0, reach.0),
        judges.1.decide(subject, &wrong, reach.1)
    );
    let verdict = judge(
        &judges,
        subject,
        clause,
        (&decision.effective.0, &wrong),
        (&decision.reach.0, &decision.reach.1),
        &(b?, a?),
    )
    .await?;
    Ok(Some(matches!(verdict, Verdict::Differs(_))))
}
