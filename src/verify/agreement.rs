//! What two answers say together.

use super::cells::Asked;
use super::decide::{Answer, Judge, Outcome};
use super::effective::Clause;
use super::found::{Difference, Verdict};
use super::pairing::Subject;
use super::statement::{self, Read};
use crate::db::Result;
use std::collections::{BTreeMap, BTreeSet};

/// What two answers say together, as far as their digests tell; `None` where they differ.
pub(super) fn agree(clause: Clause, answers: (&Answer, &Answer)) -> Option<Verdict> {
    let (b, a) = match answers {
        (Answer::NoTime, _) | (_, Answer::NoTime) => {
            return Some(Verdict::NotShown("there was no time".to_owned()));
        }
        (Answer::Refused(b), Answer::Refused(a)) if b == a => {
            return Some(Verdict::SameError(b.clone()));
        }
        (Answer::Refused(_), _) | (_, Answer::Refused(_)) => {
            return Some(Verdict::Differs(Difference {
                raised: 1,
                ..Difference::default()
            }));
        }
        (Answer::Decided(b), Answer::Decided(a)) => (b, a),
    };
    if b.there != a.there || b.possible != a.possible {
        return None;
    }
    Some(match (&b.ends, b.refused == a.refused) {
        (Some(state), _) => Verdict::SameError(state.clone()),
        (None, false) if clause.of_new_rows() => Verdict::NotShown(
            "they differ in rows that a constraint refuses on both sides, and in nothing else"
                .to_owned(),
        ),
        (None, _) => Verdict::Same,
    })
}

/// The same; what differs is looked at once more, so that a clock that moved between the two is no difference.
pub(super) async fn judge(
    judges: &(Judge<'_>, Judge<'_>),
    subject: &Subject,
    clause: Clause,
    asked: &Asked,
    answers: &(Answer, Answer),
) -> Result<Verdict> {
    if let Some(verdict) = agree(clause, (&answers.0, &answers.1)) {
        return Ok(verdict);
    }
    let (b, a) = tokio::join!(
        judges
            .0
            .each(subject, &asked.before, asked.reach.0.as_deref()),
        judges
            .1
            .each(subject, &asked.after, asked.reach.1.as_deref())
    );
    let difference = difference(&b?, &a?);
    Ok(if difference.is_none() {
        Verdict::Same
    } else {
        Verdict::Differs(difference)
    })
}

fn difference(
    before: &BTreeMap<(u8, String), Outcome>,
    after: &BTreeMap<(u8, String), Outcome>,
) -> Difference {
    let mut found = Difference::default();
    let keys: BTreeSet<&(u8, String)> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let (b, a) = (before.get(key), after.get(key));
        match (key.0, b, a) {
            (0, Some(b), Some(a)) => {
                found.wider += a.admitted.saturating_sub(b.admitted);
                found.narrower += b.admitted.saturating_sub(a.admitted);
                found.raised += a.raised.abs_diff(b.raised);
                found.written += a.all.abs_diff(b.all);
            }
            (0, Some(one), None) | (0, None, Some(one)) => found.written += one.all,
            // What one side alone can bring about counts as refused on the other.
            (1, b, a) => {
                let (b, a) = (
                    b.copied().unwrap_or_default(),
                    a.copied().unwrap_or_default(),
                );
                found.wider_possible += u64::from(a.admitted > b.admitted);
                found.narrower_possible += u64::from(b.admitted > a.admitted);
                found.raised += u64::from((a.raised > 0) != (b.raised > 0));
            }
            _ => {}
        }
    }
    found
}

async fn read_one(judge: &Judge<'_>, subject: &Subject) -> Result<Read> {
    statement::read(
        judge.session,
        judge.persona,
        subject,
        judge.after,
        judge.limits,
    )
    .await
}

/// The rows themselves, read under row-level security.
pub(super) async fn read_both(
    judges: &(Judge<'_>, Judge<'_>),
    subject: &Subject,
) -> Result<Verdict> {
    let (b, a) = tokio::join!(read_one(&judges.0, subject), read_one(&judges.1, subject));
    let (b, a) = (b?, a?);
    Ok(match (&b, &a) {
        (Read::NoTime, _) | (_, Read::NoTime) => Verdict::NotShown("there was no time".to_owned()),
        (Read::Refused(b), Read::Refused(a)) if a == b => {
            Verdict::NotShown(format!("both sides are refused: {b}"))
        }
        _ if b == a => Verdict::Same,
        (Read::Rows { count: b, .. }, Read::Rows { count: a, .. }) => {
            let other = u64::from(a == b);
            Verdict::Differs(Difference {
                wider: a.saturating_sub(*b) + other,
                narrower: b.saturating_sub(*a) + other,
                ..Difference::default()
            })
        }
        _ => Verdict::Differs(Difference {
            raised: 1,
            ..Difference::default()
        }),
    })
}

/// For an expression that may not say the same twice: whether it does, and what the server says of whole rows.
pub(super) async fn steady(
    judges: &(Judge<'_>, Judge<'_>),
    subject: &Subject,
    clause: Clause,
    asked: &Asked,
    answers: &(Answer, Answer),
    verdict: Verdict,
) -> Result<Verdict> {
    let (b, a) = tokio::join!(
        judges
            .0
            .decide(subject, &asked.before, asked.reach.0.as_deref()),
        judges
            .1
            .decide(subject, &asked.after, asked.reach.1.as_deref())
    );
    if b? != answers.0 || a? != answers.1 {
        return Ok(Verdict::NotShown(
            "the policy is not deterministic: it says one thing now and another then".to_owned(),
        ));
    }
    if clause == Clause::Select && verdict == Verdict::Same {
        return read_both(judges, subject).await;
    }
    Ok(verdict)
}
