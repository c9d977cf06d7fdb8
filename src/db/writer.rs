//! The connection that changes a database, through sqlx.
//!
//! Statements go one a message over the simple protocol, as `CREATE INDEX CONCURRENTLY` needs it.

use super::target::{Target, TlsMode};
use super::{Error, Result};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, FromRow, Row};
use std::str::FromStr;
use std::time::Duration;

/// Closes when dropped; the server then ends what it was doing.
pub struct Writer {
    pub(super) connection: PgConnection,
    pid: i32,
    version_num: u32,
    database: String,
    user: String,
    /// Whether dbtune's own tables are there to write to.
    pub(super) own_tables: bool,
}

impl Target {
    /// The same connection for sqlx; `purpose` goes into `application_name`.
    fn sqlx_options(&self, purpose: &str) -> Result<PgConnectOptions> {
        let start = match &self.options {
            None => String::from("postgres://localhost"),
            Some(options) => format!(
                "postgres://localhost?options={}",
                percent_encoding::utf8_percent_encode(options, percent_encoding::NON_ALPHANUMERIC)
            ),
        };
        let mut sqlx = PgConnectOptions::from_str(&start)
            .map_err(|e| Error::sqlx("read the connection settings", &e))?
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .database(&self.dbname)
            .application_name(&format!("{} {purpose}", self.application_name))
            .ssl_mode(match self.tls {
                TlsMode::Disable => PgSslMode::Disable,
                TlsMode::Prefer => PgSslMode::Prefer,
                TlsMode::Require if self.root_cert.is_some() => PgSslMode::VerifyCa,
                TlsMode::Require => PgSslMode::Require,
                TlsMode::VerifyCa => PgSslMode::VerifyCa,
                TlsMode::VerifyFull => PgSslMode::VerifyFull,
            })
            // A pooler may hand every statement to another server connection.
            .statement_cache_capacity(0)
            // PgBouncer refuses start-up parameters it does not know.
            .extra_float_digits(None)
            .disable_statement_logging();
        if let Some(file) = &self.root_cert {
            sqlx = sqlx.ssl_root_cert(file);
        }
        if let Some(password) = self.password() {
            sqlx = sqlx.password(password);
        }
        Ok(sqlx)
    }
}

impl Writer {
    pub async fn connect(target: &Target, purpose: &str) -> Result<Self> {
        let doing = || format!("connect to {target}");
        let options = target.sqlx_options(purpose)?;
        let connecting = tokio::time::timeout(target.connect_timeout, options.connect());
        let connection = match connecting.await {
            Ok(connected) => connected.map_err(|e| Error::sqlx(doing(), &e))?,
            Err(_) => return Err(Error::new(doing(), "no answer in time")),
        };
        let mut writer = Self {
            connection,
            pid: 0,
            version_num: 0,
            database: String::new(),
            user: String::new(),
            own_tables: false,
        };
        // The simple protocol works through every pooler.
        let row = sqlx::raw_sql(
            "select pg_backend_pid(), current_setting('server_version_num')::int, current_database()::text, session_user::text",
        )
        .fetch_one(&mut writer.connection)
        .await
        .map_err(|e| Error::sqlx(doing(), &e))?;
        let (pid, version_num, database, user): (i32, i32, String, String) =
            FromRow::from_row(&row).map_err(|e| Error::sqlx(doing(), &e))?;
        writer.pid = pid;
        writer.version_num = u32::try_from(version_num).unwrap_or(0);
        writer.database = database;
        writer.user = user;
        Ok(writer)
    }

    /// The server process that does the work.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The server process behind the connection now: another one where a pooler gives each transaction its own.
    pub async fn current_pid(&mut self) -> Result<i32> {
        let doing = "ask for the server process";
        sqlx::raw_sql("select pg_backend_pid()")
            .fetch_one(&mut self.connection)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|e| Error::sqlx(doing, &e))
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    /// One message over the simple protocol.
    pub async fn execute(&mut self, doing: &str, sql: &str) -> Result<()> {
        self.connection
            .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
            .await
            .map(|_| ())
            .map_err(|e| Error::sqlx(doing, &e))
    }

    /// Forgets what the last migration set, and sets what holds for every statement of a runner.
    pub async fn settle(&mut self, lock_timeout: Duration) -> Result<()> {
        let doing = "set up the session";
        for sql in [
            "reset session authorization",
            "reset role",
            "reset all",
            // Caps meant for an API's statements would cut an index build short.
            "set statement_timeout = 0",
            "set idle_in_transaction_session_timeout = 0",
        ] {
            self.execute(doing, sql).await?;
        }
        self.limit_locks(lock_timeout, false).await?;
        if self.version_num >= 140_000 {
            // A killed runner's work ends soon after it. Not every platform can; it is a courtesy only.
            let _ = self
                .execute(doing, "set client_connection_check_interval = '1s'")
                .await;
        }
        Ok(())
    }

    /// `lock_timeout` of the statements that follow; of the open transaction only where `local`.
    pub async fn limit_locks(&mut self, limit: Duration, local: bool) -> Result<()> {
        let scope = if local { "local" } else { "session" };
        let sql = format!("set {scope} lock_timeout = {}", limit.as_millis().max(1));
        self.execute("set lock_timeout", &sql).await
    }

    /// sqlx's migration lock, without waiting: a session that waits for it holds a snapshot that a concurrent
    /// index build waits for.
    pub async fn try_lock(&mut self) -> Result<bool> {
        let id = migration_lock(&self.database);
        sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(id)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|e| Error::sqlx("take the migration lock", &e))
    }

    pub async fn unlock(&mut self) -> Result<()> {
        let id = migration_lock(&self.database);
        sqlx::query_scalar("select pg_advisory_unlock($1)")
            .bind(id)
            .fetch_one(&mut self.connection)
            .await
            .map(|_: bool| ())
            .map_err(|e| Error::sqlx("release the migration lock", &e))
    }

    pub async fn close(self) -> Result<()> {
        self.connection
            .close()
            .await
            .map_err(|e| Error::sqlx("close the connection", &e))
    }
}

/// The advisory lock that sqlx takes for migrations of `database`.
pub fn migration_lock(database: &str) -> i64 {
    0x3d32_ad9e * i64::from(crc32(database.as_bytes()))
}

/// CRC-32 of ISO HDLC, as sqlx hashes the database's name.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// The checksum that sqlx stores for a migration's text.
pub fn checksum(sql: &str) -> Vec<u8> {
    use sqlx::SqlSafeStr;
    let sql = AssertSqlSafe(sql).into_sql_str();
    let kind = sqlx::migrate::MigrationType::Simple;
    sqlx::migrate::Migration::new(0, "".into(), kind, sql, false)
        .checksum
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
