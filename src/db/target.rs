//! Where to connect: `--db`, `DATABASE_URL`, the `PG*` variables, `pg_service.conf` and `~/.pgpass`, by libpq's rules
//! (PostgreSQL documentation, "Database Connection Control Functions").

use super::conninfo::{from_pairs, from_url, home, password_from_file, read_service};
use super::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The process environment, read once at the edge.
pub type Env = BTreeMap<String, String>;

/// libpq's keyword and the variable that gives its default.
const VARIABLES: &[(&str, &str)] = &[
    ("host", "PGHOST"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("options", "PGOPTIONS"),
    ("application_name", "PGAPPNAME"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("passfile", "PGPASSFILE"),
    ("service", "PGSERVICE"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// A resolved connection. `Display` and `Debug` mask the password.
#[derive(Clone)]
pub struct Target {
    /// A host name, an address, or a folder with a unix socket.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub dbname: String,
    pub tls: TlsMode,
    pub root_cert: Option<PathBuf>,
    pub application_name: String,
    pub options: Option<String>,
    pub connect_timeout: Duration,
    password: Option<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = if self.password.is_some() { ":***" } else { "" };
        if self.host.starts_with('/') {
            write!(
                f,
                "postgresql://{}{secret}@/{}?host={}&port={}",
                self.user, self.dbname, self.host, self.port
            )
        } else {
            write!(
                f,
                "postgresql://{}{secret}@{}:{}/{}",
                self.user, self.host, self.port, self.dbname
            )
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Target {
    /// Resolves `given` (a URL, or `keyword=value` pairs) over service file, environment and defaults.
    pub fn resolve(given: Option<&str>, env: &Env) -> Result<Self> {
        let mut params = match given.map(str::trim) {
            None | Some("") => BTreeMap::new(),
            Some(text) if text.contains("://") => from_url(text)?,
            Some(text) => from_pairs(text)?,
        };
        let service = params
            .get("service")
            .or_else(|| env.get("PGSERVICE"))
            .cloned();
        if let Some(service) = service {
            for (key, value) in read_service(&service, env)? {
                params.entry(key).or_insert(value);
            }
        }
        for (key, variable) in VARIABLES {
            if let Some(value) = env.get(*variable).filter(|v| !v.is_empty()) {
                params
                    .entry((*key).to_owned())
                    .or_insert_with(|| value.clone());
            }
        }
        Self::from_params(params, env)
    }

    fn from_params(mut params: BTreeMap<String, String>, env: &Env) -> Result<Self> {
        let user = params
            .remove("user")
            .or_else(|| env.get("USER").cloned())
            .unwrap_or_else(|| "postgres".to_owned());
        let dbname = params.remove("dbname").unwrap_or_else(|| user.clone());
        let host = params.remove("host").unwrap_or_else(default_host);
        if host.contains(',') {
            return Err(bad("several hosts are given; name one").advise(
                "dbtune judges one server at a time: give the primary's address in --db.",
            ));
        }
        let port = match params.remove("port") {
            None => 5432,
            Some(text) => text
                .parse()
                .map_err(|_| bad(format!("`{text}` is not a port number")))?,
        };
        let tls = match params.remove("sslmode").as_deref() {
            Some("disable") => TlsMode::Disable,
            None | Some("prefer" | "allow") => TlsMode::Prefer,
            Some("require") => TlsMode::Require,
            Some("verify-ca") => TlsMode::VerifyCa,
            Some("verify-full") => TlsMode::VerifyFull,
            Some(other) => {
                return Err(bad(format!("sslmode `{other}` is unknown")).advise(
                    "It is one of disable, allow, prefer, require, verify-ca, verify-full.",
                ));
            }
        };
        let seconds = params
            .remove("connect_timeout")
            .and_then(|t| t.parse().ok())
            .filter(|s| *s > 0)
            .unwrap_or(10);
        let password = params.remove("password").or_else(|| {
            let file = params.remove("passfile").map(PathBuf::from);
            password_from_file(
                file.or_else(|| home(env, ".pgpass"))?,
                &host,
                port,
                &dbname,
                &user,
            )
        });
        Ok(Self {
            host,
            port,
            user,
            dbname,
            tls,
            root_cert: params
                .remove("sslrootcert")
                .filter(|f| f != "system")
                .map(PathBuf::from),
            application_name: params
                .remove("application_name")
                .unwrap_or_else(|| "dbtune".to_owned()),
            options: params.remove("options"),
            connect_timeout: Duration::from_secs(seconds),
            password,
        })
    }

    /// The same server and user, another database.
    #[must_use]
    pub fn with_dbname(&self, dbname: impl Into<String>) -> Self {
        Self {
            dbname: dbname.into(),
            ..self.clone()
        }
    }

    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

pub(super) fn bad(message: impl Into<String>) -> Error {
    Error::new("read the connection settings", message)
}

fn default_host() -> String {
    ["/var/run/postgresql", "/tmp"]
        .into_iter()
        .find(|dir| Path::new(dir).join(".s.PGSQL.5432").exists())
        .unwrap_or("localhost")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_url_wins_over_the_environment() {
        let env = env(&[
            ("PGHOST", "elsewhere"),
            ("PGPORT", "1"),
            ("PGSSLMODE", "require"),
        ]);
        let t = Target::resolve(Some("postgres://a:p%40ss@db.example:6000/shop"), &env).unwrap();
        assert_eq!((t.host.as_str(), t.port), ("db.example", 6000));
        assert_eq!((t.user.as_str(), t.dbname.as_str()), ("a", "shop"));
        assert_eq!((t.password(), t.tls), (Some("p@ss"), TlsMode::Require));
        assert!(!t.to_string().contains("ss@d"), "{t}");
    }

    #[test]
    fn pairs_and_sockets() {
        let t = Target::resolve(
            Some(r"host=/tmp/x user='o\'x' dbname=d port = 7"),
            &env(&[]),
        )
        .unwrap();
        assert_eq!(
            (t.host.as_str(), t.user.as_str(), t.port),
            ("/tmp/x", "o'x", 7)
        );
        let t = Target::resolve(Some("postgresql://u@/d?host=/tmp/x&port=7"), &env(&[])).unwrap();
        assert_eq!(
            (t.host.as_str(), t.dbname.as_str(), t.port),
            ("/tmp/x", "d", 7)
        );
    }

    #[test]
    fn nonsense_is_refused_without_showing_a_password() {
        for text in [
            "mysql://a:secret@b/c",
            "postgres://a:secret@b:99999/c",
            "secret",
        ] {
            let error = Target::resolve(Some(text), &env(&[]))
                .unwrap_err()
                .to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
