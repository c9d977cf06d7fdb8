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
        })
    }
}

/// States of a [`Step`].
pub mod state {
    pub const APPLYING: &str = "applying";
    pub const APPLIED: &str = "applied";
    pub const REVERTING: &str = "reverting";
}

/// A line of the audit trail.
#[derive(Clone, Debug)]
pub struct AuditLine<'a> {
    /// `apply` or `rollback`.
    pub action: &'a str,
    pub version: i64,
    pub slug: &'a str,
    /// Of the text that ran, in hexadecimal.
    pub digest: &'a str,
    /// `started`, `done`, `failed` or `cancelled`.
    pub outcome: &'a str,
    pub sqlstate: Option<&'a str>,
    pub milliseconds: Option<i64>,
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

fn tool() -> &'static str {
    concat!("dbtune ", env!("CARGO_PKG_VERSION"))
}

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
            "select version, slug, up, down, checksum, state, started_at, finished_at, by, tool, made
             from dbtune.steps order by version",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(|e| Error::sqlx("read dbtune.steps", &e))
    }

    /// Writes a step down in `state`, whatever was there of its version before.
    pub async fn put_step(
        &mut self,
        version: i64,
        slug: &str,
        texts: (&str, Option<&str>),
        checksum: &[u8],
        state: &str,
    ) -> Result<()> {
        sqlx::query(
            "insert into dbtune.steps (version, slug, up, down, checksum, state, tool)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (version) do update set slug = excluded.slug, up = excluded.up, down = excluded.down,
               checksum = excluded.checksum, state = excluded.state, tool = excluded.tool,
               by = session_user, started_at = clock_timestamp(), finished_at = null, made = '[]'",
        )
        .bind(version)
        .bind(slug)
        .bind(texts.0)
        .bind(texts.1)
        .bind(checksum)
        .bind(state)
        .bind(tool())
        .execute(&mut self.connection)
        .await
        .map(|_| ())
        .map_err(|e| Error::sqlx("write dbtune.steps", &e))
    }

    /// Writes down that a step is being taken back, whoever applied it.
    pub async fn mark_reverting(
        &mut self,
        version: i64,
        slug: &str,
        texts: (&str, Option<&str>),
        checksum: &[u8],
    ) -> Result<()> {
        if !self.own_tables {
            return Ok(());
        }
        sqlx::query(
            "insert into dbtune.steps (version, slug, up, down, checksum, state, tool)
             values ($1, $2, $3, $4, $5, 'reverting', $6)
             on conflict (version) do update set slug = excluded.slug, up = excluded.up, down = excluded.down,
               checksum = excluded.checksum, state = excluded.state,
               started_at = clock_timestamp(), finished_at = null",
        )
        .bind(version)
        .bind(slug)
        .bind(texts.0)
        .bind(texts.1)
        .bind(checksum)
        .bind(tool())
        .execute(&mut self.connection)
        .await
        .map(|_| ())
        .map_err(|e| Error::sqlx("write dbtune.steps", &e))
    }

    /// Takes back that a step was begun, where it left nothing behind.
    pub async fn forget_applying(&mut self, version: i64) -> Result<()> {
        sqlx::query("delete from dbtune.steps where version = $1 and state = 'applying'")
            .bind(version)
            .execute(&mut self.connection)
            .await
            .map(|_| ())
            .map_err(|e| Error::sqlx("write dbtune.steps", &e))
    }

    /// Takes back [`Writer::mark_reverting`], where nothing was taken back.
    pub async fn unmark_reverting(&mut self, version: i64) -> Result<()> {
        if !self.own_tables {
            return Ok(());
        }
        sqlx::query(
            "update dbtune.steps set state = 'applied', finished_at = started_at
             where version = $1 and state = 'reverting'",
        )
        .bind(version)
        .execute(&mut self.connection)
        .await
        .map(|_| ())
        .map_err(|e| Error::sqlx("write dbtune.steps", &e))
    }

    /// The version is applied: both ledgers say so. Run inside a transaction.
    pub async fn record_applied(
        &mut self,
        table: &str,
        version: i64,
        slug: &str,
        checksum: &[u8],
        made: &str,
    ) -> Result<()> {
        let doing = "write the ledger";
        let sql = format!(
            "insert into {table} (version, description, success, checksum, execution_time)
             values ($1, $2, true, $3, -1)"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(version)
            .bind(slug.replace('_', " "))
            .bind(checksum)
            .execute(&mut self.connection)
            .await
            .map_err(|e| Error::sqlx(doing, &e))?;
        sqlx::query(
            "update dbtune.steps set state = 'applied', finished_at = clock_timestamp(), made = $2 where version = $1",
        )
        .bind(version)
        .bind(made)
        .execute(&mut self.connection)
        .await
        .map(|_| ())
        .map_err(|e| Error::sqlx(doing, &e))
    }

    /// How long it took; the ledger is true without it.
    pub async fn record_duration(&mut self, table: &str, version: i64, nanos: i64) -> Result<()> {
        let sql = format!("update {table} set execution_time = $2 where version = $1");
        sqlx::query(AssertSqlSafe(sql))
            .bind(version)
            .bind(nanos)
            .execute(&mut self.connection)
            .await
            .map(|_| ())
            .map_err(|e| Error::sqlx("write the ledger", &e))
    }

    /// The version is not applied: neither ledger holds it. Run inside a transaction.
    pub async fn record_reverted(&mut self, table: &str, version: i64) -> Result<()> {
        let doing = "write the ledger";
        let sql = format!("delete from {table} where version = $1");
        sqlx::query(AssertSqlSafe(sql))
            .bind(version)
            .execute(&mut self.connection)
            .await
            .map_err(|e| Error::sqlx(doing, &e))?;
        if !self.own_tables {
            return Ok(());
        }
        sqlx::query("delete from dbtune.steps where version = $1")
            .bind(version)
            .execute(&mut self.connection)
            .await
            .map(|_| ())
            .map_err(|e| Error::sqlx(doing, &e))
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

    /// Adds a line to the audit trail.
    pub async fn audit(&mut self, line: &AuditLine<'_>) -> Result<()> {
        if !self.own_tables {
            return Ok(());
        }
        sqlx::query(
            "insert into dbtune.audit (tool, action, version, slug, digest, outcome, sqlstate, milliseconds)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(tool())
        .bind(line.action)
        .bind(line.version)
        .bind(line.slug)
        .bind(line.digest)
        .bind(line.outcome)
        .bind(line.sqlstate)
        .bind(line.milliseconds)
        .execute(&mut self.connection)
        .await
        .map(|_| ())
        .map_err(|e| Error::sqlx("write dbtune.audit", &e))
    }
}
