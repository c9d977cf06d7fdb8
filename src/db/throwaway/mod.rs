//! A private PostgreSQL server that is gone without trace when its owner ends, however it ends.
//!
//! A small shell process, the guardian, builds the data directory, starts the server and then waits at a pipe
//! whose other end only this process holds. When the pipe closes (a drop, a panic, an exit, a SIGKILL) it stops
//! the server and removes the directory. It stands in a process group of its own, so Ctrl-C does not reach it.
//! Should the guardian be killed as well, [`Throwaway::start`] of the next run removes what it finds unowned.

mod account;
mod binaries;
mod guardian;
mod install;
mod place;

pub use binaries::Binaries;

use crate::db::{Error, Result};
use crate::model::Gap;
use account::Account;
use guardian::Guardian;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use place::Place;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PORT: u16 = 5432;
const SUPERUSER: &str = "postgres";
/// `initdb` takes about a second; a loaded machine with a slow disk some thirty.
const START_LIMIT: Duration = Duration::from_secs(90);

/// How to build the server.
#[derive(Clone, Debug)]
pub struct Options {
    pub binaries: Binaries,
    /// Where its directory is made; `None` for the first usable one of `TMPDIR`, `/tmp` and `/var/tmp`.
    pub parent: Option<PathBuf>,
    /// The environment, for `PATH`, `TMPDIR` and `SUDO_USER`.
    pub env: BTreeMap<String, String>,
    /// Settings for `postgresql.conf`, unquoted; they win over dbtune's own.
    pub settings: BTreeMap<String, String>,
}

/// A running server. Dropping it stops the server and removes its directory before `drop` returns.
#[derive(Debug)]
pub struct Throwaway {
    // Fields drop in this order: the server ends before its directory is removed.
    guardian: Guardian,
    place: Place,
    binaries: Binaries,
    account: Option<Account>,
    gaps: Vec<Gap>,
}

impl Options {
    /// The newest server that `env` leads to, with the default settings.
    pub fn from_env(env: &BTreeMap<String, String>) -> Result<Self> {
        Ok(Self {
            binaries: Binaries::find(env)?,
            parent: None,
            env: env.clone(),
            settings: BTreeMap::new(),
        })
    }
}

impl Throwaway {
    /// Builds and starts a server, and waits until it answers. Removes servers whose owners are gone first.
    ///
    /// `pg_stat_statements` and `hypopg` are created in `template1` where they are installed, so every database
    /// created later has them; what is not installed is in [`Throwaway::gaps`].
    ///
    /// # Errors
    /// Where no directory can be made, or the server does not come up: the end of its log is in the message.
    pub async fn start(options: Options) -> Result<Self> {
        let account = Account::for_server(&options.env)?;
        let parent = place::parent(options.parent.as_deref(), &options.env, account.as_ref())?;
        place::sweep(&parent, account.as_ref());
        let place = Place::create(&parent, account.as_ref())?;
        let mut gaps = Vec::new();
        let preload = options.binaries.has_library("pg_stat_statements");
        if !preload {
            gaps.push(missing("pg_stat_statements", options.binaries.version().0));
        }
        place.write("settings.conf", &settings(&options, place.root(), preload))?;
        let guardian = Guardian::spawn(
            place.root(),
            options.binaries.folder(),
            account.as_ref(),
            &options.env,
        )?;
        let mut server = Self {
            guardian,
            place,
            binaries: options.binaries,
            account,
            gaps,
        };
        let client = server.wait_until_ready().await?;
        server.create_extensions(&client).await?;
        Ok(server)
    }

    /// The directory that holds the server's socket; it is a valid `host` for every PostgreSQL client.
    pub fn socket_dir(&self) -> &Path {
        self.place.root()
    }

    /// Names the socket's file; the server listens on no network address.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// The role that `initdb` made. Connections over the private socket need no password.
    pub fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    /// A URL for tokio-postgres, sqlx and libpq.
    pub fn url(&self, database: &str, user: &str) -> String {
        format!(
            "postgresql://{}@/{}?host={}&port={PORT}",
            percent_encode(user),
            percent_encode(database),
            percent_encode(&self.socket_dir().to_string_lossy()),
        )
    }

    /// Extensions that this installation lacks, with what to install.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Major and minor version, e.g. `(15, 18)`.
    pub fn version(&self) -> (u32, u32) {
        self.binaries.version()
    }

    /// Stops the server and removes its directory without blocking the thread.
    pub async fn stop(mut self) -> Result<()> {
        self.guardian.release();
        let begun = Instant::now();
        while !self.guardian.ended() && begun.elapsed() < START_LIMIT {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let root = self.place.root().to_owned();
        drop(self);
        if root.exists() {
            return Err(Error::new(
                format!("remove {}", root.display()),
                "files are left in it",
            ));
        }
        Ok(())
    }

    /// Leaves the server running for good; the text tells how to connect and how to remove it.
    pub fn keep(mut self) -> Result<String> {
        self.place.write("kept", "")?;
        self.guardian.dismiss()?;
        self.place.abandon();
        let root = self.place.root().display().to_string();
        let stop = format!(
            "{}/pg_ctl stop -m immediate -D {root}/data",
            self.binaries.folder().display()
        );
        let stop = match &self.account {
            Some(account) => format!("runuser -u {} -- {stop}", account.name),
            None => stop,
        };
        Ok(format!(
            "The server keeps running.\n  connect  psql '{}'\n  remove   {stop} && rm -rf {root}",
            self.url("postgres", SUPERUSER)
        ))
    }

    async fn wait_until_ready(&mut self) -> Result<tokio_postgres::Client> {
        let begun = Instant::now();
        loop {
            if self.place.root().join("failed").exists() || self.guardian.ended() {
                return Err(self.start_error("the server did not come up"));
            }
            if let Ok(client) = self.connect("template1").await {
                return Ok(client);
            }
            if begun.elapsed() > START_LIMIT {
                return Err(self.start_error("it did not answer in time"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn connect(&self, database: &str) -> Result<tokio_postgres::Client> {
        let doing = "connect to the throwaway server";
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(self.socket_dir())
            .port(PORT)
            .user(SUPERUSER)
            .dbname(database)
            .application_name("dbtune")
            .connect(tokio_postgres::NoTls)
            .await
            .map_err(|e| Error::pg(doing, &e))?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn create_extensions(&mut self, client: &tokio_postgres::Client) -> Result<()> {
        let available = client
            .query(
                "select name::text from pg_available_extensions where name in ('hypopg', 'pg_stat_statements')",
                &[],
            )
            .await
            .map_err(|e| Error::pg("list the available extensions", &e))?;
        let available: Vec<String> = available
            .iter()
            .filter_map(|row| row.try_get(0).ok())
            .collect();
        for (name, statement) in [
            (
                "pg_stat_statements",
                "create extension if not exists pg_stat_statements",
            ),
            ("hypopg", "create extension if not exists hypopg"),
        ] {
            if available.iter().any(|a| a == name) {
                client
                    .batch_execute(statement)
                    .await
                    .map_err(|e| Error::pg(format!("create the extension {name}"), &e))?;
            } else if !self.gaps.iter().any(|gap| gap.what == name) {
                self.gaps.push(missing(name, self.version().0));
            }
        }
        Ok(())
    }

    fn start_error(&self, message: &str) -> Error {
        Error::new(
            "start a throwaway server",
            format!("{message}\n{}", self.place.log_tail()),
        )
        .advise(format!(
            "Used the server in {}; set DBTUNE_PG_BIN to the bin folder of another one.",
            self.binaries.folder().display()
        ))
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        self.guardian.release();
        self.guardian.wait();
    }
}

fn missing(extension: &str, major: u32) -> Gap {
    Gap {
        what: extension.to_owned(),
        why: "the extension is not installed on this server".to_owned(),
        remedy: install::extension_command(extension, major),
    }
}

fn settings(options: &Options, root: &Path, preload: bool) -> String {
    let root = root.to_string_lossy();
    let port = PORT.to_string();
    let own = [
        ("listen_addresses", ""),
        ("unix_socket_directories", root.as_ref()),
        ("port", port.as_str()),
        (
            "shared_preload_libraries",
            if preload { "pg_stat_statements" } else { "" },
        ),
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("full_page_writes", "off"),
        ("autovacuum", "on"),
        ("shared_buffers", "256MB"),
        ("max_connections", "200"),
        ("max_wal_size", "8GB"),
        ("checkpoint_timeout", "30min"),
        ("track_io_timing", "on"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
    ];
    let extra = options
        .settings
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()));
    let lines: Vec<String> = own
        .into_iter()
        .chain(extra)
        .map(|(name, value)| format!("{name} = '{}'", value.replace('\'', "''")))
        .collect();
    lines.join("\n") + "\n"
}

fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
