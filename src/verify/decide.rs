//! One expression over all tuples of a table, as one identity.

use super::effective::Effective;
use super::pairing::Subject;
use super::tuples::relation;
use crate::db::{Limits, Result, Session};
use crate::model::Persona;
use crate::sql::quote;
use std::collections::BTreeMap;

/// What was decided of the tuples of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Rows that are admitted, and all.
    pub(super) admitted: u64,
    pub(super) all: u64,
    /// Of which tuple is admitted how often.
    pub(super) digest: String,
    /// SQLSTATE of the first one that raised, and how many did.
    pub(super) raised: Option<(String, u64)>,
}

/// What an expression says of the rows of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decided {
    /// Rows that are there.
    pub(super) there: Tally,
    /// Made-up rows that may come to be.
    pub(super) possible: Tally,
    /// Made-up rows that a constraint refuses.
    pub(super) refused: Tally,
    /// SQLSTATE with which the expression ends when it is asked of all rows that are there at once.
    pub(super) ends: Option<String>,
}

/// One identity on one side. The connection is its own: a setting that was once set in a session is never unset again.
pub(super) struct Judge<'a> {
    pub(super) session: &'a Session,
    pub(super) persona: &'a Persona,
    pub(super) after: bool,
    pub(super) limits: Limits,
}

/// Rows of the evaluation: tuple, kind, whether it may be, how often, decision.
///
/// `reach` keeps the made-up rows that the role can bring about.
fn rows(
    subject: &Subject,
    after: bool,
    effective: &Effective,
    reach: Option<&str>,
    by_row: bool,
) -> String {
    let (relation, alias) = (relation(subject), subject.on(after).alias());
    let expression = match reach {
        Some(reach) => format!("case when ({reach}) then ({}) end", effective.sql()),
        None => effective.sql().to_owned(),
    };
    if by_row {
        format!(
            "select h, o, ok, n, d from dbtune_verify.decide({}, {}, {})",
            quote::literal(&relation),
            quote::literal(&alias),
            quote::literal(&expression)
        )
    } else {
        // OFFSET 0 keeps the decision an expression of each tuple: inside an aggregate the planner would take it for something
        // that is evaluated once, and choose its sub-selects accordingly.
        format!(
            "select dbtune_h as h, dbtune_o as o, dbtune_ok as ok, dbtune_n as n,
               case when ({expression}) then '1' else '0' end as d
             from (select * from dbtune_verify.{relation}) as {alias} offset 0"
        )
    }
}

/// How the tuples are told apart: there, possible, refused.
const KIND: &str = "case when o = 0 then 0 when ok then 1 else 2 end";

impl Judge<'_> {
    /// Decides over all tuples.
    ///
    /// # Errors
    /// Where the server or the connection fails; what the expression itself raises is part of the answer.
    pub(super) async fn decide(
        &self,
        subject: &Subject,
        effective: &Effective,
        reach: Option<&str>,
    ) -> Result<Answer> {
        match self.tallies(subject, effective, reach, false).await {
            Ok(decided) => Ok(Answer::Decided(Box::new(decided))),
            Err(error) => match error.sqlstate.clone() {
                Some(state) if state == "57014" => Ok(Answer::NoTime),
                Some(state) if raised_by_expression(&state) => {
                    match self.tallies(subject, effective, reach, true).await {
                        Ok(mut decided) => {
                            if decided.there.raised.is_some() {
                                decided.ends = Some(state);
                            }
                            Ok(Answer::Decided(Box::new(decided)))
                        }
                        Err(error) if error.is("57014") => Ok(Answer::NoTime),
                        Err(error)
                            if error.sqlstate.as_deref().is_some_and(raised_by_expression) =>
                        {
                            Ok(Answer::Refused(state))
                        }
                        Err(error) => Err(error),
                    }
                }
                _ => Err(error),
            },
        }
    }

    async fn tallies(
        &self,
        subject: &Subject,
        effective: &Effective,
        reach: Option<&str>,
        by_row: bool,
    ) -> Result<Decided> {
        let rows = rows(subject, self.after, effective, reach, by_row);
        let sql = format!(
            "select json_build_array(kind, coalesce(sum(n), 0), coalesce(sum(a), 0),
               coalesce(sum(hashtextextended(h || ':' || a || '/' || n || coalesce(e, ''), 0)::numeric), 0)::text,
               min(e), coalesce(sum(r), 0))::text
             from (select kind, h, sum(n) as n, coalesce(sum(n) filter (where d = '1'), 0) as a,
                     min(d) filter (where length(d) > 1) as e, coalesce(sum(n) filter (where length(d) > 1), 0) as r
                   from (select {KIND} as kind, h, n, d from ({rows}) decided) kinds group by kind, h) tuples
             group by kind order by kind"
        );
        let texts = self.ask(subject, &sql).await?;
        let mut decided = Decided::default();
        for text in texts {
            let Ok((kind, all, admitted, digest, state, raised)) =
                serde_json::from_str::<(u8, u64, u64, String, Option<String>, u64)>(&text)
            else {
                continue;
            };
            let tally = Tally {
                admitted,
                all,
                digest,
                raised: state.map(|state| (state, raised)),
            };
            match kind {
                0 => decided.there = tally,
                1 => decided.possible = tally,
                _ => decided.refused = tally,
            }
        }
        Ok(decided)
    }

    /// Which tuples are admitted how often, for those that differ.
    pub(super) async fn each(
        &self,
        subject: &Subject,
        effective: &Effective,
        reach: Option<&str>,
    ) -> Result<BTreeMap<(u8, String), Outcome>> {
        let mut found = BTreeMap::new();
        for by_row in [false, true] {
            let rows = rows(subject, self.after, effective, reach, by_row);
            let sql =
                format!("select json_build_array({KIND}, h, n, d)::text from ({rows}) decided");
            let texts = match self.ask(subject, &sql).await {
                Ok(texts) => texts,
                Err(error)
                    if !by_row && error.sqlstate.as_deref().is_some_and(raised_by_expression) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            for text in texts {
                let Ok((kind, hash, n, decision)) =
                    serde_json::from_str::<(u8, String, u64, String)>(&text)
                else {
                    continue;
                };
                let outcome: &mut Outcome = found.entry((kind, hash)).or_default();
                outcome.all += n;
                match decision.as_str() {
                    "1" => outcome.admitted += n,
                    "0" => {}
                    _ => outcome.raised += n,
                }
            }
            break;
        }
        Ok(found)
    }

    async fn ask(&self, subject: &Subject, sql: &str) -> Result<Vec<String>> {
        let doing = format!("decide on {} as {}", subject.name(), self.persona.name);
        self.session
            .begin_as(self.persona, false, self.limits)
            .await?;
        let texts = self.session.texts(&doing, sql).await;
        self.session.end().await?;
        texts
    }
}

/// What became of one tuple, in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) all: u64,
    pub(super) admitted: u64,
    pub(super) raised: u64,
}

/// What a side answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Decided(Box<Decided>),
    /// SQLSTATE: the expression cannot be evaluated by this role at all.
    Refused(String),
    NoTime,
}

/// Not the server or the connection, but what was asked.
pub(super) fn raised_by_expression(state: &str) -> bool {
    !state.starts_with("08")
        && !state.starts_with("57")
        && !state.starts_with("58")
        && !state.starts_with("53")
}
