//! Which tables hold other rows than before, and which hold any.

use super::reach::{Graph, How};
use super::{Definitions, Key, Kind};
use crate::db::{Limits, Result, Session};
use crate::model::Name;
use crate::sql::quote;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

/// Relations with storage: their name, the file that holds the rows, and what they are parts of, as names too.
const TABLES: &str = "
with recursive above (oid, parent) as (
  select inhrelid, inhparent from pg_inherits
  union select a.oid, i.inhparent from above a join pg_inherits i on i.inhrelid = a.parent)
select jsonb_build_array(jsonb_build_array(n.nspname, c.relname), c.oid::int8, c.relfilenode::int8,
  coalesce((select jsonb_agg(jsonb_build_array(pn.nspname, p.relname)) from above a join pg_class p on p.oid = a.parent
    join pg_namespace pn on pn.oid = p.relnamespace where a.oid = c.oid), '[]'))::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and c.relpersistence <> 't' and n.nspname !~ '^pg_'
  and n.nspname not in ('information_schema', 'dbtune') and c.relname <> '_sqlx_migrations'";

#[derive(Deserialize)]
struct Stored((String, String), u32, u32, Vec<(String, String)>);

/// Tables and materialised views whose rows the migrations changed in `after`, with the tables that those are parts of.
/// Both sides are clones of one database, `before` as it was made. A superset: whatever cannot be read counts as changed,
/// and so does a table that was written anew. Tables that only one side has are not among them.
///
/// Each table is read once a side: a row that was written since `after` was made is younger than its entry among the
/// databases, and one that was deleted is missed.
pub async fn changed_rows(before: &Session, after: &Session) -> Result<BTreeSet<Name>> {
    let (was, is) = (stored(before).await?, stored(after).await?);
    let mut changed = BTreeSet::new();
    for (name, Stored(_, oid, file, parents)) in &is {
        let Some(Stored(_, old_oid, old_file, _)) = was.get(name) else {
            continue;
        };
        let kept = (oid, file) == (old_oid, old_file) && {
            let (old, new) = tokio::join!(counted(before, name), counted(after, name));
            matches!((old?, new?), (Some((old, _)), Some((new, 0))) if old == new)
        };
        if !kept {
            changed.insert(name.clone());
            changed.extend(parents.iter().cloned().map(|(s, n)| Name::new(s, n)));
        }
    }
    Ok(changed)
}

/// Tables that both sides have and whose access can differ because `written` hold other rows.
pub fn reached_by_rows(
    before: &Definitions,
    after: &Definitions,
    written: &BTreeSet<Name>,
) -> BTreeSet<Name> {
    let graph = Graph::new(after, before, after);
    let seeds = written.iter().map(|name| {
        let key = Key::new(Kind::Table, name.clone());
        (key, How::Whole)
    });
    let reached = graph.reached(seeds.collect()).into_iter();
    let both = reached.filter(|key| key.kind == Kind::Table && before.objects.contains_key(key));
    both.map(|key| key.name).collect()
}

/// Those of `tables` that hold a row, or of which that cannot be told.
pub async fn occupied(session: &Session, tables: &BTreeSet<Name>) -> Result<BTreeSet<Name>> {
    let mut found = BTreeSet::new();
    for table in tables {
        let sql = format!("select (exists (select from {}))::text", quote::name(table));
        if answered(session, table, &sql).await?.as_deref() != Some("false") {
            found.insert(table.clone());
        }
    }
    Ok(found)
}

/// What a proof says of the rows that it was shown with: how many each of `tables` holds.
pub async fn data_fingerprint(session: &Session, tables: &BTreeSet<Name>) -> Result<String> {
    let mut text = String::new();
    for table in tables {
        let rows = counted(session, table).await?.map(|(all, _)| all);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{table} {rows:?}");
    }
    Ok(super::fingerprint::hex(&text))
}

async fn stored(session: &Session) -> Result<BTreeMap<Name, Stored>> {
    let texts = session.texts("list what holds rows", TABLES).await?;
    let parse = |text: &String| {
        let stored: Stored = serde_json::from_str(text).ok()?;
        let (schema, name) = stored.0.clone();
        Some((Name::new(schema, name), stored))
    };
    Ok(texts.iter().filter_map(parse).collect())
}

/// How many rows, and how many of them younger than the database; `None` where it cannot be told.
async fn counted(session: &Session, table: &Name) -> Result<Option<(u64, u64)>> {
    let sql = format!(
        "select concat_ws(' ', count(*), count(*) filter (where age(t.xmin) < d.age)) from only {} t, \
         (select age(xmin) as age from pg_catalog.pg_database where datname = current_database()) d",
        quote::name(table)
    );
    let text = answered(session, table, &sql).await?;
    Ok(text.and_then(|text| {
        let (all, young) = text.split_once(' ')?;
        Some((all.parse().ok()?, young.parse().ok()?))
    }))
}

/// The answer to `sql` without policies; `None` where the server refuses it.
async fn answered(session: &Session, table: &Name, sql: &str) -> Result<Option<String>> {
    let doing = format!("look for rows of {table}");
    let limits = Limits {
        statement: Duration::ZERO,
        ..Limits::default()
    };
    session.begin_reading(limits).await?;
    // Rows that a policy hides would be missed: refused instead.
    let off = session
        .execute(&doing, "set local row_security = off")
        .await;
    let answer = match off {
        Ok(()) => session.texts(&doing, sql).await,
        Err(error) => Err(error),
    };
    session.end().await?;
    match answer {
        Ok(texts) => Ok(Some(texts.concat())),
        Err(error) if error.sqlstate.is_some() => Ok(None),
        Err(error) => Err(error),
    }
}
