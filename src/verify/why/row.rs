//! The row that is asked about.

use super::wrong;
use crate::db::{Error, Limits, Result, Session};
use crate::sql::quote;
use crate::verify::pairing::{Subject, single};
use crate::verify::side::{Column, Guarded, Side};

/// `schema.table`, or a name that only one schema has, or `public` among others.
pub(super) fn table(side: &Side, given: &str) -> Result<Subject> {
    let mut found: Vec<Subject> = single(side)
        .into_iter()
        .filter(|s| {
            let name = s.name();
            name.to_string() == given || name.name == given
        })
        .collect();
    if found.len() > 1 {
        found.retain(|s| s.name().to_string() == given || s.name().schema == "public");
    }
    match (found.pop(), found.is_empty()) {
        (Some(subject), true) => Ok(subject),
        (None, _) => Err(wrong(format!("there is no table {given}"))),
        _ => Err(wrong(format!(
            "several schemas have a table {given}: name one as schema.table"
        ))),
    }
}

/// A column, and its value as text.
pub(super) type Condition<'a> = (&'a Column, String);

/// What a key says of which columns. A comma inside a value is one, unless a column's name and `=` follow it.
pub(super) fn conditions<'a>(table: &'a Guarded, key: &str) -> Result<Vec<Condition<'a>>> {
    let mut found: Vec<Condition<'a>> = Vec::new();
    for part in key.split(',') {
        let named = part.split_once('=').and_then(|(name, value)| {
            let column = table.columns.iter().find(|c| c.name == name.trim())?;
            Some((column, value.to_owned()))
        });
        match (named, found.last_mut()) {
            (Some(condition), _) => found.push(condition),
            (None, Some((_, value))) => {
                value.push(',');
                value.push_str(part);
            }
            (None, None) => return alone(table, key),
        }
    }
    Ok(found)
}

fn alone<'a>(table: &'a Guarded, key: &str) -> Result<Vec<Condition<'a>>> {
    let columns: Vec<&Column> = table.key.iter().filter_map(|n| table.column(*n)).collect();
    match columns.as_slice() {
        [only] => Ok(vec![(only, key.to_owned())]),
        _ => Err(wrong(format!(
            "the primary key of {} is not one column: name columns, as in a=1,b=2",
            table.name()
        ))),
    }
}

/// As a condition on the first parameter, an array of texts.
pub(super) fn clause(conditions: &[Condition<'_>]) -> String {
    let tests = conditions.iter().enumerate().map(|(at, (column, _))| {
        let (name, kind) = (quote::ident(&column.name), &column.type_name);
        format!("t.{name} = (($1::text[])[{}])::{kind}", at + 1)
    });
    tests.collect::<Vec<_>>().join(" and ")
}

/// Its values in the columns that policies read, as texts.
pub(super) struct Row {
    pub(super) values: Vec<Option<String>>,
}

impl Row {
    /// As the connected role, which must see every row.
    pub(super) async fn read(
        session: &Session,
        subject: &Subject,
        conditions: &[Condition<'_>],
        limits: Limits,
    ) -> Result<Self> {
        let doing = format!("read the row of {}", subject.name());
        let columns: Vec<String> = columns(subject)
            .map(|c| format!("t.{}::text", quote::ident(&c.name)))
            .collect();
        let sql = format!(
            "select array[{}]::text[] from {} t where {} limit 2",
            columns.join(", "),
            subject.before.quoted(),
            clause(conditions)
        );
        let values: Vec<&str> = conditions.iter().map(|(_, value)| value.as_str()).collect();
        session.begin_reading(limits).await?;
        let rows = async {
            session
                .execute(&doing, "set local row_security = off")
                .await?;
            let rows = session.client().query(&sql, &[&values]).await;
            rows.map_err(|e| Error::pg(&doing, &e))
        };
        let rows = rows.await;
        session.end().await?;
        let rows = rows.map_err(|error| {
            if !error.is("42501") {
                return error;
            }
            error.advise(
                "Connect as a role that sees every row: the owner of the table, or one with BYPASSRLS.",
            )
        })?;
        match rows.as_slice() {
            [] => Err(wrong(format!("there is no such row in {}", subject.name()))),
            [row] => Ok(Self {
                values: row.try_get(0).map_err(|e| Error::pg(&doing, &e))?,
            }),
            _ => Err(wrong(format!(
                "several rows of {} are like that: name its whole key",
                subject.name()
            ))),
        }
    }
}

pub(super) fn columns(subject: &Subject) -> impl Iterator<Item = &Column> {
    subject.columns.iter().filter_map(|p| p.on(false))
}
