//! `pg_stat_statements`, whatever its version and schema.

use super::catalog::decode::{get, query};
use super::{Error, Limits, Result, Session};
use crate::model::{Catalog, Gap, Statement, Statements};
use crate::sql::quote;
use std::collections::BTreeSet;
use tokio_postgres::Row;

const EXTENSION: &str = "pg_stat_statements";
const DOING: &str = "read pg_stat_statements";
/// What the extension prints in place of other people's statements.
const HIDDEN: &str = "<insufficient privilege>";

/// The statements of this database, or `None` with the reason among the catalog's gaps.
///
/// Only the extension's presence is taken from `catalog`; gaps are added to it.
pub async fn read_statements(
    session: &Session,
    catalog: &mut Catalog,
) -> Result<Option<Statements>> {
    let Some(extension) = catalog.server.extensions.get(EXTENSION) else {
        let gap = absent(catalog);
        catalog.gaps.push(gap);
        return Ok(None);
    };
    let schema = quote::ident(&extension.schema);
    session.begin_reading(Limits::default()).await?;
    let read = read_in_transaction(session, &schema).await;
    session.end().await?;
    match read {
        Ok((statements, unseen)) => {
            let seen = statements.statements.len();
            catalog
                .gaps
                .extend(hidden(unseen, seen, &catalog.server.user));
            Ok(Some(statements))
        }
        Err(error) => match refusal(&error, catalog) {
            Some(gap) => {
                catalog.gaps.push(gap);
                Ok(None)
            }
            None => Err(error),
        },
    }
}

/// The statements that the role may see, and how many it may not.
async fn read_in_transaction(session: &Session, schema: &str) -> Result<(Statements, usize)> {
    session
        .execute("empty the search path", "set local search_path = ''")
        .await?;
    let columns = columns(session, &format!("{schema}.{EXTENSION}")).await?;
    let rows = query(session, DOING, &statement_query(schema, &columns)).await?;
    let mut statements = Statements {
        statements: rows
            .iter()
            .filter_map(|row| statement(row).transpose())
            .collect::<Result<_>>()?,
        ..Statements::default()
    };
    let unseen = rows.len() - statements.statements.len();
    // Since 14; the view comes with version 1.9 of the extension.
    let info = format!("{schema}.pg_stat_statements_info");
    if !self::columns(session, &info).await?.is_empty() {
        let sql = format!("select stats_reset, dealloc from {info}");
        if let Some(row) = query(session, DOING, &sql).await?.first() {
            statements.since = get(row, "stats_reset")?;
            statements.evicted = get(row, "dealloc")?;
        }
    }
    Ok((statements, unseen))
}

/// Names of a view's columns; empty where there is no such view.
async fn columns(session: &Session, view: &str) -> Result<BTreeSet<String>> {
    let sql = format!(
        "select a.attname::text as name from pg_catalog.pg_attribute a \
         where a.attrelid = to_regclass({}) and a.attnum > 0 and not a.attisdropped",
        quote::literal(view)
    );
    query(session, DOING, &sql)
        .await?
        .iter()
        .map(|row| get(row, "name"))
        .collect()
}

/// The extension may be older than the server, so its columns are asked for by what is there.
fn statement_query(schema: &str, columns: &BTreeSet<String>) -> String {
    let first = |names: &[&'static str], otherwise: &'static str| {
        names
            .iter()
            .find(|name| columns.contains(**name))
            .copied()
            .unwrap_or(otherwise)
    };
    format!(
        "select s.queryid, s.query, coalesce(r.rolname::text, s.userid::text) as role, s.calls, s.rows, \
         s.{total} as total_ms, s.{mean} as mean_ms, s.{min} as min_ms, s.{max} as max_ms, \
         s.{stddev} as stddev_ms, {plan}::float8 as plan_ms, s.shared_blks_hit, s.shared_blks_read, \
         s.temp_blks_read + s.temp_blks_written as temp_blocks, s.temp_blks_written as temp_written, {wal}::int8 as wal_bytes, {top} as top_level \
         from {schema}.{EXTENSION} s left join pg_catalog.pg_roles r on r.oid = s.userid \
         where s.dbid = (select d.oid from pg_catalog.pg_database d where d.datname = current_database()) \
         and s.calls > 0 \
         order by total_ms desc, s.queryid, role",
        total = first(&["total_exec_time"], "total_time"),
        mean = first(&["mean_exec_time"], "mean_time"),
        min = first(&["min_exec_time"], "min_time"),
        max = first(&["max_exec_time"], "max_time"),
        stddev = first(&["stddev_exec_time"], "stddev_time"),
        plan = first(&["total_plan_time"], "0"),
        wal = first(&["wal_bytes"], "0"),
        top = first(&["toplevel"], "true"),
    )
}

/// `None` for other people's statements, which the extension shows without their id.
fn statement(row: &Row) -> Result<Option<Statement>> {
    let Some(query_id) = get(row, "queryid")? else {
        return Ok(None);
    };
    Ok(Some(Statement {
        query_id,
        text: get::<Option<String>>(row, "query")?.filter(|text| text != HIDDEN),
        role: get(row, "role")?,
        calls: get(row, "calls")?,
        total_ms: get(row, "total_ms")?,
        mean_ms: get(row, "mean_ms")?,
        min_ms: get(row, "min_ms")?,
        max_ms: get(row, "max_ms")?,
        stddev_ms: get(row, "stddev_ms")?,
        plan_ms: get(row, "plan_ms")?,
        rows: get(row, "rows")?,
        shared_hit: get(row, "shared_blks_hit")?,
        shared_read: get(row, "shared_blks_read")?,
        temp_blocks: get(row, "temp_blocks")?,
        temp_written: get(row, "temp_written")?,
        wal_bytes: get(row, "wal_bytes")?,
        top_level: get(row, "top_level")?,
    }))
}

fn preloaded(catalog: &Catalog) -> Option<bool> {
    catalog
        .server
        .settings
        .get("shared_preload_libraries")
        .map(|libraries| libraries.split(',').any(|l| l.trim() == EXTENSION))
}

fn absent(catalog: &Catalog) -> Gap {
    let create = format!("create extension {EXTENSION};");
    let remedy = match preloaded(catalog) {
        Some(false) => preload(catalog, &create),
        _ => create,
    };
    Gap {
        what: "slow statements".to_owned(),
        why: format!("{EXTENSION} is not installed in this database"),
        remedy: Some(remedy),
    }
}

/// What to type where the library is not loaded; libraries that are loaded already stay.
fn preload(catalog: &Catalog, then: &str) -> String {
    let loaded = catalog
        .server
        .settings
        .get("shared_preload_libraries")
        .map_or("", String::as_str);
    let all = loaded
        .split(',')
        .map(str::trim)
        .filter(|l| !l.is_empty() && *l != EXTENSION)
        .chain([EXTENSION])
        .map(quote::literal)
        .collect::<Vec<_>>()
        .join(", ");
    format!(
        "alter system set shared_preload_libraries = {all}; -- restart the server, then: {then}"
    )
}

/// A refusal that is a gap, not a failure.
fn refusal(error: &Error, catalog: &Catalog) -> Option<Gap> {
    let user = quote::ident(&catalog.server.user);
    let remedy = match error.sqlstate.as_deref()? {
        "55000" => preload(catalog, "run this again"),
        "42501" => {
            let schema = &catalog.server.extensions.get(EXTENSION)?.schema;
            let schema = quote::ident(schema);
            format!(
                "grant usage on schema {schema} to {user}; grant select on {schema}.{EXTENSION} to {user}; \
                 grant pg_read_all_stats to {user};"
            )
        }
        _ => return None,
    };
    Some(Gap {
        what: "slow statements".to_owned(),
        why: error.message.clone(),
        remedy: Some(remedy),
    })
}

fn hidden(unseen: usize, seen: usize, user: &str) -> Option<Gap> {
    (unseen > 0).then(|| Gap {
        what: format!("{unseen} of {} statements", unseen + seen),
        why: format!("{user} may see only its own statements in {EXTENSION}"),
        remedy: Some(format!(
            "grant pg_read_all_stats to {};",
            quote::ident(user)
        )),
    })
}
