//! `pg_stat_statements`, whatever its version and schema.

use super::catalog::decode::{get, query};
use super::{Error, Limits, Result, Session};
use crate::model::{Catalog, Gap, Statement, Statements};
use crate::sql::constants::without_constants;
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
        Ok(read) => {
            catalog.gaps.extend(read.gaps(&catalog.server.user));
            Ok(Some(read.statements))
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

/// The statements that the role may see, and what of them is missing.
struct Read {
    statements: Statements,
    /// Other people's, which show no id.
    unseen: usize,
    /// Whose text the server has lost.
    lost: usize,
    /// Whose text is no SQL to the parser.
    unparsed: usize,
}

async fn read_in_transaction(session: &Session, schema: &str) -> Result<Read> {
    session
        .execute("empty the search path", "set local search_path = ''")
        .await?;
    let columns = columns(session, &format!("{schema}.{EXTENSION}")).await?;
    let rows = query(session, DOING, &statement_query(schema, &columns)).await?;
    let mut read = Read {
        statements: Statements::default(),
        unseen: 0,
        lost: 0,
        unparsed: 0,
    };
    for row in &rows {
        match statement(row)? {
            None => read.unseen += 1,
            Some((statement, text)) => {
                match text {
                    Text::Lost => read.lost += 1,
                    Text::Unparsed => read.unparsed += 1,
                    Text::Known => {}
                }
                read.statements.statements.push(statement);
            }
        }
    }
    // Since 14; the view comes with version 1.9 of the extension.
    let info = format!("{schema}.pg_stat_statements_info");
    if !self::columns(session, &info).await?.is_empty() {
        let sql = format!("select stats_reset, dealloc from {info}");
        if let Some(row) = query(session, DOING, &sql).await?.first() {
            read.statements.since = get(row, "stats_reset")?;
            read.statements.evicted = get(row, "dealloc")?;
        }
    }
    Ok(read)
}

impl Read {
    fn gaps(&self, user: &str) -> Vec<Gap> {
        let all = self.unseen + self.statements.statements.len();
        let gap = |number: usize, why: String, remedy: Option<String>| {
            (number > 0).then(|| Gap {
                what: format!("{number} of {all} statements"),
                why,
                remedy,
            })
        };
        let evicted = self.statements.evicted.filter(|n| *n > 0);
        [
            gap(
                self.unseen,
                format!("{user} may see only its own statements in {EXTENSION}"),
                Some(format!("grant pg_read_all_stats to {};", quote::ident(user))),
            ),
            gap(
                self.lost,
                format!("{EXTENSION} has lost their texts: its file of texts was full or damaged"),
                None,
            ),
            gap(
                self.unparsed,
                "their texts are no SQL that dbtune can read (cut off, or of an extension): their times count, what they read is unknown"
                    .to_owned(),
                None,
            ),
            evicted.map(|times| Gap {
                what: "rare statements".to_owned(),
                why: format!("{EXTENSION} was full {times} times and threw the least used ones out"),
                remedy: Some(format!(
                    "alter system set {EXTENSION}.max = 10000; -- or more than now; restart the server"
                )),
            }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
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
         s.temp_blks_read + s.temp_blks_written as temp_blocks, s.temp_blks_written as temp_written, \
         {wal}::int8 as wal_bytes, {top} as top_level, \
         {plans}::int8 as plans, {since}::timestamptz as stats_since \
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
        plans = first(&["plans"], "0"),
        since = first(&["stats_since"], "null"),
    )
}

enum Text {
    Known,
    Lost,
    Unparsed,
}

/// `None` for other people's statements, which the extension shows without their id.
fn statement(row: &Row) -> Result<Option<(Statement, Text)>> {
    let Some(query_id) = get(row, "queryid")? else {
        return Ok(None);
    };
    let written = get::<Option<&str>>(row, "query")?.filter(|text| *text != HIDDEN);
    let bare = written.map(without_constants);
    let known = match &bare {
        None => Text::Lost,
        Some(bare) if !bare.parsed => Text::Unparsed,
        Some(_) => Text::Known,
    };
    let statement = Statement {
        query_id,
        text: bare.and_then(|b| b.text),
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
        plans: get(row, "plans")?,
        since: get(row, "stats_since")?,
        top_level: get(row, "top_level")?,
    };
    Ok(Some((statement, known)))
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
