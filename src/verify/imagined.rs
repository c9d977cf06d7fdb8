//! Rows that are not there: made up on both clones, and told apart where a constraint keeps them from ever being there.

use super::pairing::{Pair, Subject};
use super::pool::{self, Sources, Value};
use super::side::Column;
use super::tuples::{SCHEMA, place};
use crate::db::{Result, Session};
use crate::sql::quote;

/// Rows that are there and are changed in one value to make up others.
const BASES: usize = 8;
/// The same, of those that hold a value out of a claim.
const OWN_BASES: usize = 24;

/// The made-up rows of a subject: values in the order of its columns, as texts.
pub(super) async fn made_up(
    (before, after): (&Session, &Session),
    subject: &Subject,
    sources: &Sources,
) -> Result<Vec<Vec<Value>>> {
    let bases = bases(before, subject, sources).await?;
    let mut pools = Vec::new();
    for (at, pair) in subject.columns.iter().enumerate() {
        let there: Vec<String> = bases
            .iter()
            .filter_map(|row| row.get(at).cloned().flatten())
            .collect();
        let Some(column) = pair.before.as_ref().or(pair.after.as_ref()) else {
            continue;
        };
        // What is generated follows from other columns: only values that are there are consistent, more or less.
        if column.generated {
            let mut some = there.clone();
            some.sort();
            some.dedup();
            pools.push(some.into_iter().map(Some).collect());
            continue;
        }
        let mut candidates = pool::candidates(column, sources, &there);
        for (session, side) in [(before, &pair.before), (after, &pair.after)] {
            if let Some(side) = side {
                candidates = taken(session, side, &candidates).await?;
            }
        }
        let mut values = pool::values(candidates);
        if column.domain_not_null {
            values.retain(Option::is_some);
        }
        pools.push(values);
    }
    Ok(pool::combine(&pools, &bases))
}

/// Which of the values the column's type takes.
async fn taken(session: &Session, column: &Column, values: &[String]) -> Result<Vec<String>> {
    let quoted: Vec<String> = values.iter().map(|v| quote::literal(v)).collect();
    if quoted.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "select v from unnest(array[{}]::text[]) with ordinality u(v, at) where {SCHEMA}.takes({}, v) order by at",
        quoted.join(", "),
        quote::literal(&column.type_name)
    );
    session.texts("find values for a column", &sql).await
}

/// A few rows that are there: the commonest ones, and such as hold a value out of a claim.
async fn bases(session: &Session, subject: &Subject, sources: &Sources) -> Result<Vec<Vec<Value>>> {
    let names: Vec<String> = subject
        .columns
        .iter()
        .map(|p| match &p.before {
            Some(column) => format!("{}::text", quote::ident(&column.name)),
            None => "null::text".to_owned(),
        })
        .collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let claims: Vec<String> = sources.claims.iter().map(|c| quote::literal(c)).collect();
    let row = names.join(", ");
    let place = place(subject);
    let own = format!(
        "(select json_build_array({row})::text from {place} where array[{row}] && array[{}]::text[]
          order by dbtune_n desc, dbtune_h limit {OWN_BASES})",
        claims.join(", ")
    );
    let common = format!(
        "(select json_build_array({row})::text from {place} order by dbtune_n desc, dbtune_h limit {BASES})"
    );
    let texts = session
        .texts(
            "choose rows of a table",
            &format!("{own} union all {common}"),
        )
        .await?;
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for text in texts {
        if let Ok(row) = serde_json::from_str::<Vec<Value>>(&text)
            && !rows.contains(&row)
        {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Adds the made-up rows, and marks those that a constraint refuses.
pub(super) async fn add(
    clone: &Session,
    subject: &Subject,
    after: bool,
    rows: &[Vec<Value>],
) -> Result<()> {
    let doing = format!("make up rows of {}", subject.name());
    let place = place(subject);
    let pairs: Vec<(usize, &Pair)> = subject
        .columns
        .iter()
        .enumerate()
        .filter(|(_, p)| p.on(after).is_some())
        .collect();
    let names: Vec<String> = pairs
        .iter()
        .filter_map(|(_, p)| Some(quote::ident(&p.on(after)?.name)))
        .collect();
    let list: String = names.iter().flat_map(|n| [n.as_str(), ", "]).collect();
    for (chunk, part) in rows.chunks(250).enumerate() {
        let values: Vec<String> = part
            .iter()
            .enumerate()
            .map(|(n, row)| {
                let cells: String = pairs
                    .iter()
                    .map(|(at, _)| match row.get(*at) {
                        Some(Some(text)) => format!("{}, ", quote::literal(text)),
                        _ => "null, ".to_owned(),
                    })
                    .collect();
                format!("({cells}1, 's{}', 1, true)", chunk * 250 + n)
            })
            .collect();
        if values.is_empty() {
            continue;
        }
        let sql = format!(
            "insert into {place} ({list}dbtune_n, dbtune_h, dbtune_o, dbtune_ok) values {}",
            values.join(", ")
        );
        match clone.execute(&doing, &sql).await {
            Ok(()) => {}
            // A value that its own type does not take back, such as one that is printed by a cast of the user's.
            Err(error) if error.sqlstate.is_some() => {
                let into =
                    format!("insert into {place} ({list}dbtune_n, dbtune_h, dbtune_o, dbtune_ok)");
                for row in &values {
                    let one = clone.execute(&doing, &format!("{into} values {row}")).await;
                    if let Err(error) = one
                        && error.sqlstate.is_none()
                    {
                        return Err(error);
                    }
                }
            }
            Err(error) => return Err(error),
        }
    }
    let table = subject.on(after);
    let mut tests: Vec<String> = pairs
        .iter()
        .filter_map(|(_, p)| p.on(after))
        .filter(|c| c.not_null)
        .map(|c| format!("{} is not null", quote::ident(&c.name)))
        .collect();
    let there = |number: &i16| {
        pairs
            .iter()
            .any(|(_, p)| p.on(after).is_some_and(|c| c.number == *number))
    };
    let checks = table.constraints.iter();
    let checks = checks.filter(|c| !c.columns.is_empty() && c.columns.iter().all(there));
    tests.extend(checks.map(|c| format!("({}) is not false", c.expression)));
    let alias = table.alias();
    for test in tests {
        let sql = format!(
            "update {place} as {alias} set dbtune_ok = false where dbtune_o = 1 and not ({test})"
        );
        // A test that raises for a row says nothing of the others.
        match clone.execute(&doing, &sql).await {
            Err(error) if error.sqlstate.is_none() => return Err(error),
            _ => {}
        }
    }
    orphans(clone, subject, after).await?;
    clone.execute(&doing, &format!("analyze {place}")).await
}

/// Takes away the made-up rows that point to nothing: a foreign key that holds at every moment keeps them from ever being there.
async fn orphans(clone: &Session, subject: &Subject, after: bool) -> Result<()> {
    let table = subject.on(after);
    let (place, doing) = (
        place(subject),
        format!("make up rows of {}", subject.name()),
    );
    let name = |number: &i16| -> Option<String> {
        let mut pairs = subject.columns.iter();
        pairs.find(|p| p.on(after).is_some_and(|c| c.number == *number))?;
        Some(quote::ident(&table.column(*number)?.name))
    };
    for reference in &table.references {
        let columns: Option<Vec<String>> = reference.columns.iter().map(name).collect();
        let Some(columns) = columns else { continue };
        let there: Vec<String> = columns
            .iter()
            .map(|c| format!("t.{c} is not null"))
            .collect();
        let equal: Vec<String> = columns
            .iter()
            .zip(&reference.keys)
            .map(|(c, key)| format!("r.{} = t.{c}", quote::ident(key)))
            .collect();
        let sql = format!(
            "begin; set local row_security = off; delete from {place} t where dbtune_o = 1 and {} and not exists (select from {} r where {})",
            there.join(" and "),
            reference.table,
            equal.join(" and ")
        );
        match clone.execute(&doing, &sql).await {
            Ok(()) => clone.execute(&doing, "commit").await?,
            // Who may not read the other table keeps the rows: too many are looked at rather than too few.
            Err(error) if error.sqlstate.is_some() => clone.end().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
