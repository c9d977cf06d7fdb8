//! One connection, and the transactions dbtune runs on it.

use super::direct::Direct;
use super::target::{Target, TlsMode};
use super::{Error, Result, Way, tls};
use crate::model::Persona;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{CancelToken, Client, Config, Connection, NoTls};

/// Moves what a session sends and receives; ends with the connection.
pub type Wire = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection to one database. Closes when dropped.
pub struct Session {
    client: Client,
    /// `None` where whoever connected polls the connection.
    driver: Option<JoinHandle<()>>,
    target: Target,
    way: Way,
}

/// What a transaction may cost other people.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `statement_timeout`; zero is none.
    pub statement: Duration,
    /// `lock_timeout`.
    pub lock: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement: Duration::from_secs(30),
            lock: Duration::from_secs(1),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

impl Session {
    /// Connects; `purpose` goes into `application_name` for the DBA who looks at `pg_stat_activity`.
    pub async fn connect(target: &Target, purpose: &str) -> Result<Self> {
        let (mut session, wire) = Self::connect_by_hand(target, purpose).await?;
        session.driver = Some(tokio::spawn(wire));
        Ok(session)
    }

    /// The same for those who count microseconds: nothing is sent or received but while the [`Wire`] is polled, which is
    /// best done in the task that waits for the answer, so that no task has to wake another.
    pub async fn connect_by_hand(target: &Target, purpose: &str) -> Result<(Self, Wire)> {
        let config = config(target, purpose);
        let doing = || format!("connect to {target}");
        let (client, connection) = config
            .connect(tls::connector(target)?)
            .await
            .map_err(|e| explain_refusal(target, Error::pg(doing(), &e)))?;
        Ok(Self::by_hand(target, client, connection))
    }

    /// The same over a socket on this machine, whose answers are waited for while the wire is polled, up to ten milliseconds;
    /// what comes third is true while that is so. `None` for a server elsewhere.
    pub async fn connect_directly(
        target: &Target,
        purpose: &str,
    ) -> Result<Option<(Self, Wire, Arc<AtomicBool>)>> {
        if !target.host.starts_with('/') || target.tls == TlsMode::Require {
            return Ok(None);
        }
        let doing = || format!("connect to {target}");
        let path = Path::new(&target.host).join(format!(".s.PGSQL.{}", target.port));
        let Ok((socket, awaiting)) = Direct::connect(&path) else {
            // The usual way explains what is wrong.
            return Ok(None);
        };
        let mut config = config(target, purpose);
        let connecting = config.ssl_mode(SslMode::Disable).connect_raw(socket, NoTls);
        let (client, connection) = connecting
            .await
            .map_err(|e| explain_refusal(target, Error::pg(doing(), &e)))?;
        let (session, wire) = Self::by_hand(target, client, connection);
        Ok(Some((session, wire, awaiting)))
    }

    fn by_hand<S, T>(target: &Target, client: Client, connection: Connection<S, T>) -> (Self, Wire)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let wire = Box::pin(async move {
            // An error here ends every pending request with an error of its own.
            let _ = connection.await;
        });
        let session = Self {
            client,
            driver: None,
            target: target.clone(),
            way: Way::default(),
        };
        (session, wire)
    }

    /// Sends and plans the queries of a workload in this way from now on.
    #[must_use]
    pub fn in_the_way(mut self, way: Way) -> Self {
        self.way = way;
        self
    }

    pub(super) fn way(&self) -> Way {
        self.way
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub fn cancel_token(&self) -> CancelToken {
        self.client.cancel_token()
    }

    /// Runs statements whose results do not matter.
    pub async fn execute(&self, doing: &str, sql: &str) -> Result<()> {
        self.client
            .batch_execute(sql)
            .await
            .map_err(|e| Error::pg(doing, &e))
    }

    /// The first column of every row, as text. One round trip and no named prepared statement, so that poolers do not mind.
    pub async fn texts(&self, doing: &str, sql: &str) -> Result<Vec<String>> {
        let rows = self
            .client
            .query_typed(sql, &[])
            .await
            .map_err(|e| Error::pg(doing, &e))?;
        rows.iter()
            .map(|row| row.try_get(0).map_err(|e| Error::pg(doing, &e)))
            .collect()
    }

    /// `BEGIN` of a read-only REPEATABLE READ transaction with its limits set. End it with [`Session::end`].
    pub async fn begin_reading(&self, limits: Limits) -> Result<()> {
        let sql = format!(
            "begin isolation level repeatable read read only; {}",
            limits.to_sql()
        );
        self.execute("start a read-only transaction", &sql).await
    }

    /// `BEGIN` of a transaction on a clone that may write and is taken back by [`Session::end`].
    pub async fn begin_trying(&self, limits: Limits) -> Result<()> {
        let sql = format!("begin read write; {}", limits.to_sql());
        self.execute("start a transaction", &sql).await
    }

    /// `BEGIN`, settings and `SET LOCAL ROLE` of `persona`, as an API does it. End it with [`Session::end`].
    ///
    /// `read_only` for everything but benchmarked writes, which [`Session::end`] rolls back.
    pub async fn begin_as(&self, persona: &Persona, read_only: bool, limits: Limits) -> Result<()> {
        let access = if read_only { "read only" } else { "read write" };
        let sql = format!("begin {access}; {}", limits.to_sql());
        self.execute("start a transaction", &sql).await?;
        let became = self.become_persona(persona).await;
        if became.is_err() {
            self.end().await?;
        }
        became
    }

    /// Settings and role of `persona` until the end of the open transaction.
    pub async fn become_persona(&self, persona: &Persona) -> Result<()> {
        for (name, value) in &persona.settings {
            self.client
                .query_one("select set_config($1, $2, true) is null", &[name, value])
                .await
                .map_err(|e| Error::pg(format!("set {name} for persona {}", persona.name), &e))?;
        }
        let role = crate::sql::quote::ident(&persona.role);
        let sql = format!("set local role {role}");
        self.client.batch_execute(&sql).await.map_err(|e| {
            let error = Error::pg(
                format!("become role {} for persona {}", persona.role, persona.name),
                &e,
            );
            match error.sqlstate.as_deref() {
                Some("42501") => error.advise(format!(
                    "grant {role} to {};",
                    crate::sql::quote::ident(&self.target.user)
                )),
                Some("22023" | "42704") => error.advise(format!(
                    "The role does not exist on this server: create role {role} nologin; or name another in the workload."
                )),
                _ => error,
            }
        })
    }

    /// `ROLLBACK`: nothing dbtune looks at is ever kept.
    pub async fn end(&self) -> Result<()> {
        self.execute("end a transaction", "rollback").await
    }
}

impl Limits {
    pub(super) fn to_sql(self) -> String {
        format!(
            "set local statement_timeout = {}; set local lock_timeout = {}",
            self.statement.as_millis(),
            self.lock.as_millis()
        )
    }
}

fn config(target: &Target, purpose: &str) -> Config {
    let mut config = Config::new();
    config
        .user(&target.user)
        .dbname(&target.dbname)
        .port(target.port)
        .connect_timeout(target.connect_timeout)
        .application_name(if purpose.is_empty() {
            target.application_name.clone()
        } else {
            format!("{} {purpose}", target.application_name)
        })
        .ssl_mode(match target.tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        });
    if target.host.starts_with('/') {
        config.host_path(&target.host);
    } else {
        config.host(&target.host);
    }
    if let Some(password) = target.password() {
        config.password(password);
    }
    if let Some(options) = &target.options {
        config.options(options);
    }
    debug_assert!(
        config
            .get_hosts()
            .iter()
            .all(|h| matches!(h, Host::Tcp(_) | Host::Unix(_)))
    );
    config
}

fn explain_refusal(target: &Target, error: Error) -> Error {
    if error.sqlstate.is_some() {
        return error;
    }
    // The driver notices it before the server is asked.
    if error.message.contains("password missing") {
        return error
            .advise("The server wants a password: set PGPASSWORD, or add a line to ~/.pgpass.");
    }
    let advice = if target.host.starts_with('/') {
        format!(
            "Is the server running, with its socket in {}? Name another in --db, DATABASE_URL or PGHOST.",
            target.host
        )
    } else {
        format!(
            "Is the server running on {}:{}, and does it accept connections from here? Check --db, DATABASE_URL or PGHOST.",
            target.host, target.port
        )
    };
    error.advise(advice)
}
