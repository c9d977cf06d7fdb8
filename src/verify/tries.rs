//! The rows a persona may write: a few of its own and of others are inserted, changed and deleted on the clone, each in a
//! transaction within the transaction, and what the server said is compared.

use super::read::{Sample, compare_locks};
use super::{Access, Answer, Look, Visibility, refusal};
use crate::db::{Result, Session};
use crate::model::Gap;
use crate::sql::quote;

/// Rows of each kind that are tried.
const ROWS: usize = 20;

/// Runs one statement, takes it back, and says how many rows it touched or which SQLSTATE it ended with.
const TRY: &str = "
create function pg_temp.dbtune_try(statement text) returns text language plpgsql as $try$
declare n bigint;
begin
  execute statement;
  get diagnostics n = row_count;
  raise exception using errcode = 'DBT01', message = n::text;
exception
  when sqlstate 'DBT01' then return 'rows ' || sqlerrm;
  when others then return sqlstate;
end $try$";

pub(super) async fn compare(look: Look<'_>, sample: &Sample, found: &mut Visibility) -> Result<()> {
    compare_locks(look, sample, found).await?;
    let (before, after) = tokio::join!(
        tried(&look.sides.before, look, sample),
        tried(&look.sides.after, look, sample)
    );
    match (before?, after?) {
        (Outcomes::Tried(before), Outcomes::Tried(after)) => {
            for ((access, before), (_, after)) in before.into_iter().zip(after) {
                found.seen.push(look.seen(access, true, before, after));
            }
        }
        (Outcomes::Impossible(why), _) | (_, Outcomes::Impossible(why)) => {
            found.gaps.push(Gap {
                what: format!("writes to {} as {}", look.subject.name, look.persona.name),
                why,
                remedy: None,
            });
        }
    }
    Ok(())
}

enum Outcomes {
    Tried(Vec<(Access, Answer)>),
    Impossible(String),
}

async fn tried(session: &Session, look: Look<'_>, sample: &Sample) -> Result<Outcomes> {
    session.begin_trying(look.limits).await?;
    let outcome = attempt(session, look, sample).await;
    session.end().await?;
    outcome
}

async fn attempt(session: &Session, look: Look<'_>, sample: &Sample) -> Result<Outcomes> {
    // As the connecting role: whoever owns the table may disable its triggers and sees all rows.
    if let Err(error) = prepare(session, look, sample).await {
        let message = error.to_string();
        return refusal(error).map(|_| Outcomes::Impossible(message));
    }
    session.become_persona(look.persona).await?;
    let mut outcomes = Vec::new();
    for (access, statement) in statements(look) {
        let sql = format!(
            "select pg_temp.dbtune_try(statement) from (
               select {statement} as statement, s.dbtune_n from pg_temp.dbtune_rows s order by s.dbtune_n) tries"
        );
        let doing = format!(
            "try to write {} as {}",
            look.subject.name, look.persona.name
        );
        let answer = match session.texts(&doing, &sql).await {
            Ok(texts) => Answer::Rows {
                count: texts.iter().filter(|t| allowed(t)).count() as u64,
                digest: runs(&texts),
            },
            Err(error) => {
                outcomes.push((access, refusal(error)?));
                // The transaction is over.
                break;
            }
        };
        outcomes.push((access, answer));
    }
    Ok(Outcomes::Tried(outcomes))
}

/// `20×23505,20×42501`: outcomes in order, equal neighbours together.
fn runs(outcomes: &[String]) -> String {
    outcomes
        .chunk_by(|a, b| a == b)
        .filter_map(|run| Some(format!("{}×{}", run.len(), run.first()?)))
        .collect::<Vec<_>>()
        .join(",")
}

/// The policy let it pass: rows were touched, or a constraint stopped it, which is looked at after the policy.
fn allowed(outcome: &str) -> bool {
    match outcome.strip_prefix("rows ") {
        Some(rows) => rows != "0",
        None => outcome.starts_with("23"),
    }
}

async fn prepare(session: &Session, look: Look<'_>, sample: &Sample) -> Result<()> {
    let subject = look.subject;
    let doing = format!("prepare writes to {}", subject.name);
    let table = subject.quoted();
    let places: Vec<_> = sample
        .visible
        .iter()
        .take(ROWS)
        .chain(sample.spread.iter().take(4 * ROWS))
        .map(|place| format!("\"{place}\""))
        .collect();
    let places = format!("'{{{}}}'::tid[]", places.join(","));
    // On a clone only autovacuum can be in the way, and it gives way after deadlock_timeout: a second by default.
    session
        .execute(&doing, "set local lock_timeout = '10s'")
        .await?;
    session
        .execute(&doing, &format!("alter table {table} disable trigger user"))
        .await?;
    // An error is better than a part of the rows.
    session
        .execute(&doing, "set local row_security = off")
        .await?;
    let columns: Vec<_> = subject.writable();
    let columns: Vec<_> = columns.iter().map(|c| format!(", t.{c}")).collect();
    let rows = format!(
        "create temporary table dbtune_rows on commit drop as
         select row_number() over (order by array_position({places}, t.ctid), t.tableoid) as dbtune_n,
           t.ctid as dbtune_place, t.tableoid as dbtune_table{}
         from {table} t where t.ctid = any ({places}) order by 1 limit {}",
        columns.concat(),
        2 * ROWS
    );
    session.execute(&doing, &rows).await?;
    session
        .execute(&doing, "set local row_security = on")
        .await?;
    session.execute(&doing, TRY).await?;
    let role = quote::ident(&look.persona.role);
    session
        .execute(&doing, &format!("grant select on dbtune_rows to {role}"))
        .await
}

/// For each kind of write an expression that gives its statement for row `s` of the sample.
fn statements(look: Look<'_>) -> Vec<(Access, String)> {
    let table = look.subject.quoted();
    let columns = look.subject.writable();
    let list = columns.join(", ");
    let place = "where t.ctid = %2$L::tid and t.tableoid = %3$L::oid";
    let with_values = |template: String| {
        format!(
            "format({}, s.dbtune_n, s.dbtune_place, s.dbtune_table)",
            quote::literal(&template)
        )
    };
    let percent_free = |text: &str| text.replace('%', "%%");
    let (table, list) = (percent_free(&table), percent_free(&list));
    let mut statements = Vec::new();
    if !columns.is_empty() {
        statements.push((
            Access::Insert,
            with_values(format!(
                "insert into {table} ({list}) select {list} from pg_temp.dbtune_rows where dbtune_n = %1$s"
            )),
        ));
        // Rows in turns keep their values, which must be allowed where they are visible for updates, and take those of the
        // row at the other end of the sample: own rows would become others'.
        statements.push((
            Access::Update,
            with_values(format!(
                "update {table} t set ({list}) = (select {list} from pg_temp.dbtune_rows
                 where dbtune_n = case %1$s %% 2 when 0 then %1$s
                   else (select max(dbtune_n) from pg_temp.dbtune_rows) + 1 - %1$s end) {place}"
            )),
        ));
    }
    statements.push((
        Access::Delete,
        with_values(format!("delete from {table} t {place}")),
    ));
    statements
}
