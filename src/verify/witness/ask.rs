//! Statements that are run and taken back, and whether what came of each is what was expected.

use crate::db::{Error, Result, Session};
use crate::sql::quote;
use std::collections::BTreeSet;

/// Runs statements one after another, takes each back, and says what came of it: rows touched, the text that a SELECT gives, or
/// the SQLSTATE.
///
/// `after` marks errors of a constraint of the table, which is looked at after the policies; a missing partition is noticed
/// before them, and so is what a domain refuses.
pub(super) const PREPARE: &str = r"
create or replace function dbtune_verify.attempt(statements text[], most interval) returns setof text
language plpgsql as $$
declare
  s text; said text; n bigint; state text; rel text; con text; col text;
  until timestamptz := clock_timestamp() + most;
begin
  foreach s in array statements loop
    if clock_timestamp() > until then
      return next '! 57014';
      continue;
    end if;
    begin
      if s like 'select %' then
        execute s into said;
        said := 'text ' || coalesce(said, '');
      else
        execute s;
        get diagnostics n = row_count;
        said := 'rows ' || n;
      end if;
      raise exception using errcode = 'DBT01';
    exception
      when sqlstate 'DBT01' then return next said;
      when query_canceled then
        until := '-infinity';
        return next '! 57014';
      when others then
        get stacked diagnostics state = returned_sqlstate, rel = table_name, con = constraint_name, col = column_name;
        return next '! ' || state || case
          when rel <> '' and (con <> '' or col <> '') then ' after'
          when sqlerrm like 'permission denied%' or sqlerrm like 'must be owner%' then ' denied'
          else '' end;
    end;
  end loop;
end $$;
grant execute on function dbtune_verify.attempt(text[], interval) to public;
";

/// What the server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Rows(u64),
    Text(String),
    /// A constraint of the table stopped it, after the policies had let it pass.
    Stopped(String),
    /// A policy refused the row.
    Refused,
    /// SQLSTATE of anything else: a privilege, a time limit, a policy that raises.
    Failed(String),
}

impl Outcome {
    fn read(text: &str) -> Self {
        if let Some(said) = text.strip_prefix("text ") {
            return Self::Text(said.to_owned());
        }
        if let Some(count) = text.strip_prefix("rows ") {
            return Self::Rows(count.parse().unwrap_or_default());
        }
        let failed = text.trim_start_matches("! ");
        match failed.split_once(' ') {
            Some((state, "after")) => Self::Stopped(state.to_owned()),
            Some((state, _)) => Self::Failed(state.to_owned()),
            None if failed == "42501" => Self::Refused,
            None => Self::Failed(failed.to_owned()),
        }
    }

    /// For people, without a row's value.
    fn words(&self) -> String {
        match self {
            Self::Rows(count) => format!("touched {count} rows"),
            Self::Text(_) => "gave other rows".to_owned(),
            Self::Stopped(state) => format!("let it pass as far as a constraint ({state})"),
            Self::Refused => "refused it (42501)".to_owned(),
            Self::Failed(state) => format!("ended it with {state}"),
        }
    }
}

/// What the expressions say the server will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// So many rows are touched, unless there are some and a constraint stops it.
    Rows(u64),
    /// No policy refuses it, however many rows are touched.
    Admitted,
    /// A policy refuses it.
    Refused,
    /// A policy refuses one row, if no constraint stops another one before.
    RefusedOrStopped,
    /// A policy raises this SQLSTATE.
    Raises(String),
    /// So many rows are counted.
    Count(u64),
    /// These rows are given, of those asked for.
    These {
        seen: BTreeSet<String>,
        asked: BTreeSet<String>,
    },
}

/// How the two compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Agree,
    Disagree,
    /// The statement shows nothing, because something else ended it.
    NotRun,
}

impl Expect {
    pub(super) fn against(&self, outcome: &Outcome) -> Verdict {
        let agrees = match (self, outcome) {
            (Self::Raises(state), Outcome::Failed(other)) if state == other => true,
            (Self::Raises(state), Outcome::Refused) if state == "42501" => true,
            // An error may come before or after the branch that decides.
            (Self::Raises(_), _) | (_, Outcome::Failed(_)) => return Verdict::NotRun,
            (Self::Rows(expected), Outcome::Rows(count)) => expected == count,
            (Self::Rows(expected), Outcome::Stopped(_)) => *expected > 0,
            (Self::Admitted, Outcome::Rows(_) | Outcome::Stopped(_))
            | (Self::Refused | Self::RefusedOrStopped, Outcome::Refused)
            | (Self::RefusedOrStopped, Outcome::Stopped(_)) => true,
            (Self::Count(expected), Outcome::Text(text)) => text.parse() == Ok(*expected),
            (Self::These { seen, asked }, Outcome::Text(text)) => {
                // Rows elsewhere may share a place with one that was asked for.
                let given = text.split(';').filter(|one| asked.contains(*one));
                given.map(str::to_owned).collect::<BTreeSet<_>>() == *seen
            }
            _ => false,
        };
        if agrees {
            Verdict::Agree
        } else {
            Verdict::Disagree
        }
    }

    fn words(&self, outcome: &Outcome) -> String {
        match self {
            Self::Rows(count) => format!("{count} rows are touched"),
            Self::Admitted => "it passes".to_owned(),
            Self::Refused | Self::RefusedOrStopped => "it is refused".to_owned(),
            Self::Raises(state) => format!("it ends with {state}"),
            Self::Count(count) => match outcome {
                Outcome::Text(text) => format!("{count} rows are seen, not {text}"),
                _ => format!("{count} rows are seen"),
            },
            Self::These { seen, asked } => match outcome {
                Outcome::Text(text) => {
                    let given: BTreeSet<&str> =
                        text.split(';').filter(|one| asked.contains(*one)).collect();
                    let more = given.iter().filter(|one| !seen.contains(**one)).count();
                    let fewer = seen.iter().filter(|one| !given.contains(one.as_str())).count();
                    format!(
                        "{} of {} rows are given ({more} more and {fewer} fewer came)",
                        seen.len(),
                        asked.len()
                    )
                }
                _ => format!("{} of {} rows are given", seen.len(), asked.len()),
            },
        }
    }
}

/// One statement, what it is for people, and what should come of it.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) what: &'static str,
    pub(super) sql: String,
    pub(super) expect: Expect,
}

/// What came of several.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) agreed: usize,
    /// What disagreed, in words, each once.
    pub(super) disagreed: BTreeSet<String>,
    /// Why others show nothing.
    pub(super) not_run: BTreeSet<String>,
}

impl Tally {
    pub(super) fn note(&mut self, what: &str, expect: &Expect, outcome: &Outcome) {
        match expect.against(outcome) {
            Verdict::Agree => self.agreed += 1,
            Verdict::Disagree => {
                self.disagreed.insert(format!(
                    "{what}: the expressions say that {}, the server {}",
                    expect.words(outcome),
                    outcome.words()
                ));
            }
            Verdict::NotRun => {
                self.not_run.insert(format!("{what}: the server {}", outcome.words()));
            }
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.agreed += other.agreed;
        self.disagreed.extend(other.disagreed);
        self.not_run.extend(other.not_run);
    }
}

/// Runs the statements in the session's open transaction and notes what came of each. `most` is in milliseconds.
pub(super) async fn run(
    session: &Session,
    doing: &str,
    statements: &[Statement],
    most: u128,
) -> Result<Tally> {
    let mut tally = Tally::default();
    if statements.is_empty() {
        return Ok(tally);
    }
    let texts: Vec<&str> = statements.iter().map(|s| s.sql.as_str()).collect();
    let outcomes = attempt(session, doing, &texts, most).await?.unwrap_or_default();
    for (at, statement) in statements.iter().enumerate() {
        match outcomes.get(at) {
            Some(outcome) => tally.note(statement.what, &statement.expect, outcome),
            None => {
                tally.not_run.insert(format!("{}: it was not reached", statement.what));
            }
        }
    }
    Ok(tally)
}

/// Outcomes in order; `None` where the server ended it all.
pub(super) async fn attempt(
    session: &Session,
    doing: &str,
    statements: &[&str],
    most: u128,
) -> Result<Option<Vec<Outcome>>> {
    let all: Vec<String> = statements.iter().map(|s| quote::literal(s)).collect();
    let sql = format!(
        "select * from dbtune_verify.attempt(array[{}]::text[], '{most} ms')",
        all.join(", ")
    );
    let texts = softly(session, doing, &sql).await?;
    Ok(texts.map(|texts| texts.iter().map(|t| Outcome::read(t)).collect()))
}

/// A query that may fail without ending the open transaction; `None` where it did.
pub(super) async fn softly(
    session: &Session,
    doing: &str,
    sql: &str,
) -> Result<Option<Vec<String>>> {
    session.execute(doing, "savepoint dbtune").await?;
    match session.texts(doing, sql).await {
        Ok(texts) => Ok(Some(texts)),
        Err(error) if of_the_query(&error) => {
            session
                .execute(doing, "rollback to savepoint dbtune")
                .await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Not the connection or the server, but what was asked, or how long it took.
pub(super) fn of_the_query(error: &Error) -> bool {
    error.sqlstate.as_deref().is_some_and(|state| {
        state == "57014" || !["08", "53", "57", "58"].iter().any(|class| state.starts_with(class))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(seen: &[&str]) -> Expect {
        let set = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
        Expect::These {
            seen: set(seen),
            asked: set(&["1(0,1)", "1(0,2)"]),
        }
    }

    #[test]
    fn what_the_server_did_is_told_apart() {
        let read = Outcome::read;
        assert_eq!(read("rows 3"), Outcome::Rows(3));
        assert_eq!(read("! 23505 after"), Outcome::Stopped("23505".to_owned()));
        assert_eq!(read("! 23514"), Outcome::Failed("23514".to_owned()));
        assert_eq!(read("! 42501"), Outcome::Refused);
        assert_eq!(read("! 42501 denied"), Outcome::Failed("42501".to_owned()));
    }

    #[test]
    fn a_wrong_prediction_disagrees() {
        use Verdict::{Agree, Disagree, NotRun};
        let stopped = Outcome::Stopped("23505".to_owned());
        let late = Outcome::Failed("57014".to_owned());
        let text = |t: &str| Outcome::Text(t.to_owned());
        for (expect, outcome, verdict) in [
            (Expect::Rows(1), Outcome::Rows(1), Agree),
            (Expect::Rows(1), Outcome::Rows(0), Disagree),
            (Expect::Rows(0), stopped.clone(), Disagree),
            (Expect::Rows(1), stopped.clone(), Agree),
            (Expect::Rows(1), Outcome::Refused, Disagree),
            (Expect::Refused, Outcome::Rows(1), Disagree),
            (Expect::Refused, stopped.clone(), Disagree),
            (Expect::RefusedOrStopped, stopped.clone(), Agree),
            (Expect::Admitted, Outcome::Refused, Disagree),
            (Expect::Admitted, stopped, Agree),
            (Expect::Admitted, late.clone(), NotRun),
            (Expect::Refused, late, NotRun),
            (Expect::Count(5), text("5"), Agree),
            (Expect::Count(5), text("6"), Disagree),
            (these(&["1(0,1)"]), text("1(0,1);7(0,1)"), Agree),
            (these(&["1(0,1)"]), text("1(0,1);1(0,2)"), Disagree),
            (these(&["1(0,1)"]), text(""), Disagree),
        ] {
            assert_eq!(expect.against(&outcome), verdict, "{expect:?} {outcome:?}");
        }
        let raises = Expect::Raises("22P02".to_owned());
        assert_eq!(raises.against(&Outcome::Failed("22P02".to_owned())), Agree);
        assert_eq!(raises.against(&Outcome::Rows(0)), NotRun);
    }

    #[test]
    fn the_sentence_holds_no_row() {
        let mut tally = Tally::default();
        tally.note("SELECT", &these(&[]), &Outcome::Text("1(0,2)".to_owned()));
        let sentence = tally.disagreed.first().unwrap();
        assert!(sentence.contains("1 more and 0 fewer") && !sentence.contains("(0,2)"), "{sentence}");
    }
}
