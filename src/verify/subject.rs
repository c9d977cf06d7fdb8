//! Which tables are looked at, and through which columns.

use super::Sides;
use crate::db::{Limits, Result, Session};
use crate::model::{Gap, Name, Persona};
use crate::sql::quote;
use std::collections::{BTreeMap, BTreeSet};

/// A table with row-level security on either side.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) name: Name,
    /// Columns that both sides have.
    pub(super) columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Column {
    pub(super) name: String,
    /// Neither generated nor left to an identity: may stand in INSERT and UPDATE.
    pub(super) writable: bool,
}

impl Subject {
    pub(super) fn quoted(&self) -> String {
        quote::name(&self.name)
    }

    /// One text of a row of alias `t`, out of the columns that both sides have.
    pub(super) fn row(&self) -> String {
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|c| format!("t.{}", quote::ident(&c.name)))
            .collect();
        format!("row({})::text", columns.join(", "))
    }

    pub(super) fn writable(&self) -> Vec<String> {
        self.columns
            .iter()
            .filter(|c| c.writable)
            .map(|c| quote::ident(&c.name))
            .collect()
    }
}

/// Tables with row-level security on one side, as JSON: schema, name, and columns with whether they are writable.
const TABLES: &str = "
select json_build_object('schema', n.nspname, 'name', c.relname, 'guarded', c.relrowsecurity,
  'columns', (select coalesce(json_agg(json_build_array(a.attname, a.attgenerated = '' and a.attidentity <> 'a') order by a.attnum), '[]')
     from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped))::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
order by n.nspname, c.relname";

struct Found {
    guarded: bool,
    columns: BTreeSet<Column>,
    order: Vec<String>,
}

pub(super) async fn find(sides: &Sides, gaps: &mut Vec<Gap>) -> Result<Vec<Subject>> {
    let before = tables(&sides.before).await?;
    let after = tables(&sides.after).await?;
    let mut subjects = Vec::new();
    for (name, b) in &before {
        let Some(a) = after.get(name) else {
            if b.guarded {
                gaps.push(only(name, "before"));
            }
            continue;
        };
        if b.guarded || a.guarded {
            let both: BTreeMap<_, _> = b
                .columns
                .intersection(&a.columns)
                .map(|c| (c.name.as_str(), c))
                .collect();
            let columns = b
                .order
                .iter()
                .filter_map(|name| both.get(name.as_str()).map(|c| (*c).clone()))
                .collect();
            subjects.push(Subject {
                name: name.clone(),
                columns,
            });
        }
    }
    for (name, a) in &after {
        if a.guarded && !before.contains_key(name) {
            gaps.push(only(name, "after"));
        }
    }
    Ok(subjects)
}

fn only(name: &Name, side: &str) -> Gap {
    Gap {
        what: name.to_string(),
        why: format!("the table exists only {side} the change: there is nothing to compare"),
        remedy: None,
    }
}

async fn tables(session: &Session) -> Result<BTreeMap<Name, Found>> {
    let texts = session
        .texts("list the tables with row-level security", TABLES)
        .await?;
    let mut found = BTreeMap::new();
    for text in texts {
        let Ok(row) = serde_json::from_str::<Row>(&text) else {
            continue;
        };
        let order = row.columns.iter().map(|(name, _)| name.clone()).collect();
        let columns = row
            .columns
            .into_iter()
            .map(|(name, writable)| Column { name, writable })
            .collect();
        found.insert(
            Name::new(row.schema, row.name),
            Found {
                guarded: row.guarded,
                columns,
                order,
            },
        );
    }
    Ok(found)
}

#[derive(serde::Deserialize)]
struct Row {
    schema: String,
    name: String,
    guarded: bool,
    columns: Vec<(String, bool)>,
}

/// Whether policies filter what the persona sees of the table: asked as the persona, because a check as anybody else
/// proves nothing.
pub(super) async fn guarded(
    session: &Session,
    persona: &Persona,
    subject: &Subject,
    limits: Limits,
) -> Result<bool> {
    session.begin_as(persona, true, limits).await?;
    let sql = format!(
        "select row_security_active({}::regclass)::text",
        quote::literal(&subject.quoted())
    );
    let doing = format!(
        "ask whether {} is guarded for {}",
        subject.name, persona.name
    );
    let answer = session.texts(&doing, &sql).await;
    session.end().await?;
    match answer {
        Ok(texts) => Ok(texts.concat() == "true"),
        // Without USAGE on the schema nothing is seen on this side; the other side decides.
        Err(error) if error.is("42501") => Ok(false),
        Err(error) => Err(error),
    }
}
