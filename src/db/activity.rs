//! Who else is at work: what a migration waits for, and how far a build is.

use super::probe::{get, unsigned};
use super::{Error, Result, Session};
use std::fmt;
use std::time::Duration;
use tokio_postgres::Row;

/// A session that a migration waits for, or would wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    pub pid: i32,
    pub user: String,
    pub application: String,
    /// `idle in transaction`, `active` …; empty where the role may not see it.
    pub state: String,
    /// Age of its transaction.
    pub age: Duration,
}

/// `pg_stat_progress_create_index` of one build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    pub phase: String,
    /// Blocks or rows, whichever the phase counts; `total` is 0 where it counts none.
    pub done: u64,
    pub total: u64,
    /// The session it waits for now.
    pub waits_for: Option<i32>,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        if !self.user.is_empty() {
            write!(f, ", {}", self.user)?;
        }
        if !self.application.is_empty() {
            write!(f, " ({})", self.application)?;
        }
        if !self.state.is_empty() {
            write!(f, ", {}", self.state)?;
        }
        write!(f, ", for {} s", self.age.as_secs())
    }
}

impl Blocker {
    pub fn is_idle_in_transaction(&self) -> bool {
        self.state.starts_with("idle in transaction")
    }
}

const WHO: &str = "select a.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''),
    coalesce(a.state, ''), coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::int8
  from pg_stat_activity a";

/// One 64-bit advisory lock of this database.
const ADVISORY: &str =
    "join pg_locks l on l.pid = a.pid where l.locktype = 'advisory' and l.objsubid = 1
   and l.database = (select oid from pg_database where datname = current_database())
   and l.classid::int8 = ($1::int8 >> 32) & 4294967295 and l.objid::int8 = $1::int8 & 4294967295";

impl Session {
    /// Begins a transaction, and says which server process runs it. End it with [`Session::end`].
    pub async fn transaction_pid(&self) -> Result<i32> {
        let doing = "ask for the server process";
        let messages = self
            .client()
            .simple_query("begin; select pg_backend_pid()")
            .await
            .map_err(|e| Error::pg(doing, &e))?;
        messages
            .iter()
            .find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
                _ => None,
            })
            .ok_or_else(|| Error::new(doing, "the server gave no answer"))
    }

    /// Sessions that hold up the statement of `pid` right now.
    pub async fn blockers_of(&self, pid: i32) -> Result<Vec<Blocker>> {
        let sql = format!("{WHO} where a.pid = any(pg_blocking_pids($1)) order by a.xact_start");
        let rows = self
            .client()
            .query(&sql, &[&pid])
            .await
            .map_err(|e| Error::pg("ask who holds up the migration", &e))?;
        rows.iter().map(blocker).collect()
    }

    /// Transactions older than `age` that a concurrent build in this database would wait for.
    pub async fn long_transactions(&self, age: Duration) -> Result<Vec<Blocker>> {
        let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        let sql = format!(
            "{WHO} where a.datname = current_database() and a.pid <> pg_backend_pid()
               and a.backend_type = 'client backend' and (a.backend_xmin is not null or a.backend_xid is not null
                 or a.state like 'idle in transaction%')
               and a.xact_start < clock_timestamp() - $1 * interval '1 second' order by a.xact_start"
        );
        #[expect(clippy::cast_precision_loss, reason = "an interval of seconds")]
        let seconds = seconds as f64;
        let rows = self
            .client()
            .query(&sql, &[&seconds])
            .await
            .map_err(|e| Error::pg("look for long transactions", &e))?;
        rows.iter().map(blocker).collect()
    }

    /// The session that holds the advisory lock `id` in this database.
    pub async fn lock_holder(&self, id: i64) -> Result<Option<Blocker>> {
        let sql = format!("{WHO} {ADVISORY} and l.granted");
        let row = self
            .client()
            .query_opt(&sql, &[&id])
            .await
            .map_err(|e| Error::pg("ask who holds the migration lock", &e))?;
        row.as_ref().map(blocker).transpose()
    }

    /// Sessions that wait inside the server for the advisory lock `id`, each with a snapshot in its hand.
    pub async fn lock_waiters(&self, id: i64) -> Result<Vec<Blocker>> {
        let sql = format!("{WHO} {ADVISORY} and not l.granted order by a.pid");
        let rows = self
            .client()
            .query(&sql, &[&id])
            .await
            .map_err(|e| Error::pg("ask who waits for the migration lock", &e))?;
        rows.iter().map(blocker).collect()
    }

    /// How far the index build of `pid` is; `None` where it builds none.
    pub async fn build_of(&self, pid: i32) -> Result<Option<Build>> {
        let row = self
            .client()
            .query_opt(
                "select phase, case when blocks_total > 0 then blocks_done else tuples_done end,
                   case when blocks_total > 0 then blocks_total else tuples_total end,
                   nullif(current_locker_pid, 0)::int4
                 from pg_stat_progress_create_index where pid = $1",
                &[&pid],
            )
            .await
            .map_err(|e| Error::pg("ask how far the build is", &e))?;
        row.map(|row| {
            Ok(Build {
                phase: get(&row, 0)?,
                done: unsigned(get::<Option<i64>>(&row, 1)?.unwrap_or(0)),
                total: unsigned(get::<Option<i64>>(&row, 2)?.unwrap_or(0)),
                waits_for: get::<Option<i32>>(&row, 3)?,
            })
        })
        .transpose()
    }

    /// Cancels what `pid` runs.
    pub async fn cancel_backend(&self, pid: i32) -> Result<()> {
        self.signal("pg_cancel_backend", "cancel", pid).await
    }

    /// Ends the session `pid`.
    pub async fn end_backend(&self, pid: i32) -> Result<()> {
        self.signal("pg_terminate_backend", "end", pid).await
    }

    async fn signal(&self, function: &str, verb: &str, pid: i32) -> Result<()> {
        self.client()
            .query_one(&format!("select {function}($1)"), &[&pid])
            .await
            .map(|_| ())
            .map_err(|e| {
                let error = Error::pg(format!("{verb} session {pid}"), &e);
                if error.is("42501") {
                    let user = crate::sql::quote::ident(&self.target().user);
                    error.advise(format!("grant pg_signal_backend to {user};"))
                } else {
                    error
                }
            })
    }
}

fn blocker(row: &Row) -> Result<Blocker> {
    Ok(Blocker {
        pid: get(row, 0)?,
        user: get(row, 1)?,
        application: get(row, 2)?,
        state: get(row, 3)?,
        age: Duration::from_secs(unsigned(get(row, 4)?)),
    })
}
