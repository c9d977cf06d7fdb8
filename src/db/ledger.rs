//! What was applied: sqlx's table, and dbtune's own with each step's text and state.

use super::writer::Writer;
use super::{Error, Result};
use crate::sql::quote;
use crate::sql::script::Object;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, Row};

/// The schema of dbtune's own tables.
pub const OWN_SCHEMA: &str = "dbtune";

/// sqlx's table. Found and made by the search path, as sqlx does it.
pub const SQLX_TABLE: &str = "_sqlx_migrations";

/// A row of sqlx's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub version: i64,
    pub description: String,
    pub installed_on: DateTime<Utc>,
    pub success: bool,
    pub checksum: Vec<u8>,
    /// Nanoseconds; -1 where it was not measured.
    pub execution_time: i64,
}

/// A row of `dbtune.steps`: a version that is applied, or was being applied or taken back when a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub version: i64,
    pub slug: String,
    pub up: String,
    pub down: Option<String>,
    /// Of `up`, as in sqlx's table.
    pub checksum: Vec<u8>,
    pub state: String,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub by: String,
    pub tool: String,
    /// What it made, as the server wrote it down then: a JSON array of objects with their definitions.
    pub made: String,
    /// For how long the server has counted the use of what it made, in seconds.
    pub watched_for: i64,
}

impl FromRow<'_, PgRow> for Applied {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            version: row.try_get("version")?,
            description: row.try_get("description")?,
            installed_on: row.try_get("installed_on")?,
            success: row.try_get("success")?,
            checksum: row.try_get("checksum")?,
            execution_time: row.try_get("execution_time")?,
        })
    }
}

impl FromRow<'_, PgRow> for Step {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            version: row.try_get("version")?,
            slug: row.try_get("slug")?,
            up: row.try_get("up")?,
            down: row.try_get("down")?,
            checksum: row.try_get("checksum")?,
            state: row.try_get("state")?,
            started_at: row.try_get("started_at")?,
            finished_at: row.try_get("finished_at")?,
            by: row.try_get("by")?,
            tool: row.try_get("tool")?,
            made: row.try_get("made")?,
            watched_for: row.try_get("watched_for")?,
        })
    }
}

/// States of a [`Step`].
pub mod state {
    pub const APPLYING: &str = "applying";
    pub const APPLIED: &str = "applied";
    pub const REVERTING: &str = "reverting";
}

const CREATE_SQLX: &str = "create table if not exists _sqlx_migrations (
    version bigint primary key,
    description text not null,
    installed_on timestamptz not null default now(),
    success boolean not null,
    checksum bytea not null,
    execution_time bigint not null
)";

const CREATE_OWN: &[&str] = &[
    "create table if not exists dbtune.steps (
    version bigint primary key,
    slug text not null,
    up text not null,
    down text,
    checksum bytea not null,
    state text not null check (state in ('applying', 'applied', 'reverting')),
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    by text not null default session_user,
    tool text not null,
    made text not null default '[]'
)",
    "comment on table dbtune.steps is 'dbtune: each migration with its text and state, so that rollback needs nothing but a connection'",
    "create table if not exists dbtune.audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    by text not null default session_user,
    client text not null default coalesce(host(inet_client_addr()), 'local'),
    tool text not null,
    action text not null,
    version bigint not null,
    slug text not null,
    digest text not null,
    outcome text not null,
    sqlstate text,
    milliseconds bigint
)",
    "comment on table dbtune.audit is 'dbtune: who applied and took back what, and how it ended'",
];

impl Writer {
    /// sqlx's table, qualified and quoted; `None` where there is none on the search path.
    pub async fn sqlx_table(&mut self) -> Result<Option<String>> {
        let schema: Option<String> = sqlx::query_scalar(
            "select (select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where c.oid = to_regclass('_sqlx_migrations'))",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(|e| Error::sqlx("look for the ledger", &e))?;
        Ok(schema.map(|schema| format!("{}.{SQLX_TABLE}", quote::ident(&schema))))
    }

    /// Whether `dbtune.steps` is there. Until it was seen, nothing is written to it.
    pub async fn has_steps(&mut self) -> Result<bool> {
        self.own_tables = sqlx::query_scalar("select to_regclass('dbtune.steps') is not null")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|e| Error::sqlx("look for the ledger", &e))?;
        Ok(self.own_tables)
    }

    /// Makes what is not there yet of both ledgers; returns sqlx's table, qualified.
    pub async fn prepare_ledger(&mut self) -> Result<String> {
        let doing = "create the ledger";
        let user = quote::ident(self.user());
        if self.sqlx_table().await?.is_none() {
            self.execute(doing, CREATE_SQLX).await.map_err(|e| {
                if e.is("42501") {
                    e.advise(format!(
                        "As the schema's owner: grant create on schema public to {user};"
                    ))
                } else {
                    e
                }
            })?;
        }
        if !self.has_steps().await? {
            self.create_own().await?;
            self.own_tables = true;
        }
        self.sqlx_table().await?.ok_or_else(|| {
            Error::new(doing, format!("{SQLX_TABLE} is not on the search_path"))
                .advise("Set search_path for this role so that it names an existing schema.")
        })
    }

    async fn create_own(&mut self) -> Result<()> {
        let doing = "create dbtune's tables";
        let there: bool = sqlx::query_scalar("select to_regnamespace('dbtune') is not null")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|e| Error::sqlx(doing, &e))?;
        if !there {
            let database = quote::ident(self.database());
            let user = quote::ident(self.user());
            self.execute(doing, "create schema dbtune").await.map_err(|e| {
                if e.is("42501") {
                    e.advise(format!(
                        "As an administrator: create schema dbtune authorization {user}; (or: grant create on database {database} to {user};)"
                    ))
                } else {
                    e
                }
            })?;
        }
        for sql in CREATE_OWN {
            self.execute(doing, sql).await?;
        }
        Ok(())
    }

    /// Every row of sqlx's `table`, oldest version first.
    pub async fn applied(&mut self, table: &str) -> Result<Vec<Applied>> {
        let sql = format!(
            "select version, description, installed_on, success, checksum, execution_time from {table} order by version"
        );
        sqlx::query_as(AssertSqlSafe(sql))
            .fetch_all(&mut self.connection)
            .await
            .map_err(|e| Error::sqlx("read the ledger", &e))
    }

    pub async fn steps(&mut self) -> Result<Vec<Step>> {
        sqlx::query_as(
            "select version, slug, up, down, checksum, state, started_at, finished_at, by, tool, made,
               coalesce(extract(epoch from clock_timestamp() - greatest(finished_at, d.stats_reset)), 0)::int8 as watched_for
             from dbtune.steps left join pg_stat_database d on d.datname = current_database() order by version",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(|e| Error::sqlx("read dbtune.steps", &e))
    }

    /// How the server writes down an index or policy now; `None` where it is not there.
    pub async fn definition(&mut self, object: &Object) -> Result<Option<String>> {
        let (sql, table, name) = match object {
            Object::Index { table, name } => (
                "select pg_get_indexdef(c.oid) from pg_class t
                 join pg_class c on c.relnamespace = t.relnamespace and c.relkind in ('i', 'I')
                 where t.oid = to_regclass($1) and c.relname = $2",
                table,
                name,
            ),
            Object::Policy { table, name } => (
                "select concat_ws(' ', case when polpermissive then 'permissive' else 'restrictive' end, polcmd,
                   polroles::regrole[]::text, 'using ' || pg_get_expr(polqual, polrelid),
                   'check ' || pg_get_expr(polwithcheck, polrelid))
                 from pg_policy where polrelid = to_regclass($1) and polname = $2",
                table,
                name,
            ),
        };
        sqlx::query_scalar(sql)
            .bind(quote::name(table))
            .bind(name)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|e| Error::sqlx(format!("look up {name}"), &e))
    }
}
