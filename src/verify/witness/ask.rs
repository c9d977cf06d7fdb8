//! Statements that are run and taken back.

use super::expect::{Expect, Outcome, Verdict};
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
    /// Why none that writes was run.
    pub(super) only_reads: Option<&'static str>,
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
                self.not_run
                    .insert(format!("{what}: the server {}", outcome.words()));
            }
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.agreed += other.agreed;
        self.disagreed.extend(other.disagreed);
        self.not_run.extend(other.not_run);
        self.only_reads = self.only_reads.or(other.only_reads);
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
    let outcomes = attempt(session, doing, &texts, most)
        .await?
        .unwrap_or_default();
    for (at, statement) in statements.iter().enumerate() {
        match outcomes.get(at) {
            Some(outcome) => tally.note(statement.what, &statement.expect, outcome),
            None => {
                tally
                    .not_run
                    .insert(format!("{}: it was not reached", statement.what));
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
        state == "57014"
            || !["08", "53", "57", "58"]
                .iter()
                .any(|class| state.starts_with(class))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_holds_no_row() {
        let mut tally = Tally::default();
        let asked = BTreeSet::from(["1(0,1)".to_owned(), "1(0,2)".to_owned()]);
        let expect = Expect::These {
            seen: BTreeSet::new(),
            asked,
        };
        tally.note("SELECT", &expect, &Outcome::Text("1(0,2)".to_owned()));
        let sentence = tally.disagreed.first().unwrap();
        assert!(
            sentence.contains("1 more and 0 fewer") && !sentence.contains("(0,2)"),
            "{sentence}"
        );
    }
}
