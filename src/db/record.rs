//! Writing both ledgers and the audit trail.

use super::writer::Writer;
use super::{Error, Result};
use sqlx::AssertSqlSafe;

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

fn tool() -> &'static str {
    concat!("dbtune ", env!("CARGO_PKG_VERSION"))
}

impl Writer {
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
