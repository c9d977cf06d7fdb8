//! Copies of a whole database on the same server, for what must not be tried on the original.

use super::{Error, Result, Session, Target};
use crate::sql::quote::{ident, literal};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Every clone's name begins so; nothing else should.
const PREFIX: &str = "dbtune_clone_";
/// What a clone's own idle session calls itself.
const KEEPER: &str = "keeps the clone";
/// How long sessions that are just closing may take to go away.
const PATIENCE: Duration = Duration::from_millis(1500);
const DISK_FULL: &str = "53100";
/// SQLSTATE of a server that is starting or recovering.
const STARTING: &str = "57P03";
/// How long a server may take to recover.
const RECOVERY: Duration = Duration::from_mins(1);
/// How long a server may take to begin with that, and a backend to stop what it was told to stop.
const MOMENT: Duration = Duration::from_secs(5);
/// Advisory lock of the maintenance database: shared while a clone has no keeper yet, exclusive while leftovers are dropped.
const LOCK: i64 = 0x6462_7475_6e65;

/// A copy that is dropped by [`Clone::drop`], or found and dropped by the next run.
pub struct Clone {
    /// Where to connect to it.
    pub target: Target,
    /// Tells other runs that the clone is in use.
    keeper: Session,
}

impl Clone {
    pub fn name(&self) -> &str {
        &self.target.dbname
    }

    /// Ends every session on the clone and drops it. `maintenance` is on another database.
    pub async fn drop(self, maintenance: &Session) -> Result<()> {
        let name = self.target.dbname.clone();
        drop(self.keeper);
        drop_database(maintenance, &name).await
    }
}

impl Clone {
    /// Copies the clone once more, statistics included: two databases that differ in nothing. Where that fails, none is left.
    pub async fn twin(self, maintenance: &Session, name: &str) -> Result<(Self, Self)> {
        let Self { target, keeper } = self;
        lock(maintenance, "pg_advisory_lock_shared").await?;
        drop(keeper);
        let made = async {
            wait_until_unused(maintenance, &target.dbname).await?;
            let twin = create(maintenance, &target.dbname, name).await?;
            match Session::connect(&target, KEEPER).await {
                Ok(keeper) => Ok((
                    Self {
                        target: target.clone(),
                        keeper,
                    },
                    twin,
                )),
                Err(error) => {
                    let _ = twin.drop(maintenance).await;
                    Err(error)
                }
            }
        };
        let made = made.await;
        let unlocked = lock(maintenance, "pg_advisory_unlock_shared").await;
        if made.is_err() {
            // What went wrong first is the one to tell; the next run drops what is left.
            let _ = drop_database(maintenance, &target.dbname).await;
        }
        let made = made?;
        unlocked?;
        Ok(made)
    }
}

/// A session on `postgres` or `template1`: a database cannot be copied or dropped from within.
pub async fn maintenance(target: &Target) -> Result<Session> {
    match Session::connect(&target.with_dbname("postgres"), "maintenance").await {
        Ok(session) => Ok(session),
        Err(first) => Session::connect(&target.with_dbname("template1"), "maintenance")
            .await
            .map_err(|_| first),
    }
}

/// A clone's name that no other run uses at this time; `part` tells the clones of one run apart.
pub fn clone_name(part: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}_{number}_{part}", std::process::id())
}

/// `CREATE DATABASE name TEMPLATE source`, with the settings that `ALTER DATABASE` gave the source.
///
/// Refuses where another session is connected to the source, because PostgreSQL does.
pub async fn clone_database(maintenance: &Session, source: &str, name: &str) -> Result<Clone> {
    may_create(maintenance, source).await?;
    wait_until_unused(maintenance, source).await?;
    lock(maintenance, "pg_advisory_lock_shared").await?;
    let clone = create(maintenance, source, name).await;
    let unlocked = lock(maintenance, "pg_advisory_unlock_shared").await;
    let clone = clone?;
    unlocked?;
    Ok(clone)
}

/// Ends the session `maker`, which was making clones, and drops those of `names` that are there: what is left of a run that
/// was cut short, or whose server went down and is back. Waits a moment for such a server.
pub async fn remove_clones(source: &Target, names: &[String], maker: i32) -> Result<()> {
    let maintenance = back_again(source, names).await?;
    let doing = "end the making of a clone";
    let sql = format!(
        "select pg_terminate_backend(pid)::text from pg_stat_activity
         where pid = {maker} and usename = current_user and application_name like '% maintenance'"
    );
    // It is in the middle of a file, perhaps of a large one.
    let deadline = tokio::time::Instant::now() + MOMENT;
    while !maintenance.texts(doing, &sql).await?.is_empty()
        && tokio::time::Instant::now() < deadline
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for name in names {
        drop_database(&maintenance, name).await?;
    }
    Ok(())
}

async fn create(maintenance: &Session, source: &str, name: &str) -> Result<Clone> {
    let doing = || format!("clone database {source}");
    // From 15 on the default copies through the write-ahead log, which is slow for anything large.
    let strategy = if version(maintenance).await? >= 150_000 {
        " strategy file_copy"
    } else {
        ""
    };
    maintenance
        .execute(
            &doing(),
            &format!(
                "create database {} template {}{strategy}",
                ident(name),
                ident(source)
            ),
        )
        .await
        .map_err(|e| {
            if !e.is(DISK_FULL) {
                return e;
            }
            e.advise(
                "A clone takes as much room as the database, and before against after takes two: free so much where the \
                 database is, or measure databases that are there already (--before URL --after URL, or a baseline file).",
            )
        })?;
    let target = maintenance.target().with_dbname(name);
    let made = async {
        copy_settings(maintenance, source, name).await?;
        let comment = literal(&format!("made by dbtune from {source}; safe to drop"));
        let sql = format!("comment on database {} is {comment}", ident(name));
        maintenance.execute(&doing(), &sql).await?;
        Session::connect(&target, KEEPER).await
    };
    match made.await {
        Ok(keeper) => Ok(Clone { target, keeper }),
        Err(error) => {
            let _ = drop_database(maintenance, name).await;
            Err(error)
        }
    }
}

/// Drops the clones that nobody is connected to: what runs that were killed left behind. Returns their names.
pub async fn remove_leftovers(maintenance: &Session) -> Result<Vec<String>> {
    if !lock(maintenance, "pg_try_advisory_lock").await? {
        return Ok(Vec::new());
    }
    let removed = drop_unused(maintenance).await;
    lock(maintenance, "pg_advisory_unlock").await?;
    removed
}

async fn drop_unused(maintenance: &Session) -> Result<Vec<String>> {
    let doing = "look for clones left behind";
    let sql = "select datname::text from pg_database d
        where datname like $1 and pg_has_role(datdba, 'usage')
          and not exists (select from pg_stat_activity a where a.datid = d.oid)
        order by 1";
    let pattern = format!("{}%", PREFIX.replace('_', "\\_"));
    let rows = maintenance
        .client()
        .query(sql, &[&pattern])
        .await
        .map_err(|e| Error::pg(doing, &e))?;
    let mut removed = Vec::new();
    for row in rows {
        let name: String = row.try_get(0).map_err(|e| Error::pg(doing, &e))?;
        drop_database(maintenance, &name).await?;
        removed.push(name);
    }
    Ok(removed)
}

/// A session, as soon as the server takes one: at once, or when it has recovered.
async fn back_again(source: &Target, names: &[String]) -> Result<Session> {
    let begun = tokio::time::Instant::now();
    loop {
        let error = match maintenance(source).await {
            Ok(session) => return Ok(session),
            Err(error) => error,
        };
        let recovers = error.is(STARTING);
        let patience = if recovers { RECOVERY } else { MOMENT };
        if begun.elapsed() >= patience {
            let drops = names
                .iter()
                .map(|name| format!("drop database if exists {} with (force);", ident(name)));
            let drops: Vec<String> = drops.collect();
            return Err(error.advise(format!(
                "The next run drops what is left here, or do it yourself: {}",
                drops.join(" ")
            )));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn lock(maintenance: &Session, function: &str) -> Result<bool> {
    let sql = format!("select {function}({LOCK})::text is distinct from 'false'");
    maintenance
        .client()
        .query_one(&sql, &[])
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|e| Error::pg("lock the making of clones", &e))
}

async fn drop_database(maintenance: &Session, name: &str) -> Result<()> {
    let doing = format!("drop the clone {name}");
    let name = ident(name);
    let sql = format!("drop database if exists {name} with (force)");
    let forced = maintenance.execute(&doing, &sql).await;
    let dropped = match forced {
        // What only a superuser may end is a worker of autovacuum, which leaves by itself when a plain DROP waits for it.
        Err(error) if error.is("42501") => {
            let sql = format!("drop database if exists {name}");
            maintenance.execute(&doing, &sql).await
        }
        other => other,
    };
    dropped.map_err(|e| {
        e.advise(format!(
            "It is a copy and safe to drop: drop database {name} with (force);"
        ))
    })
}

async fn version(maintenance: &Session) -> Result<i32> {
    maintenance
        .client()
        .query_one("select current_setting('server_version_num')::int", &[])
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|e| Error::pg("read the server's version", &e))
}

async fn may_create(maintenance: &Session, source: &str) -> Result<()> {
    let doing = || format!("clone database {source}");
    let sql = "select r.rolcreatedb or r.rolsuper, d.datistemplate or r.rolsuper or pg_has_role(d.datdba, 'member'),
          r.rolname::text, pg_get_userbyid(d.datdba)::text
        from pg_roles r, pg_database d where r.rolname = current_user and d.datname = $1";
    let row = maintenance
        .client()
        .query_opt(sql, &[&source])
        .await
        .map_err(|e| Error::pg(doing(), &e))?
        .ok_or_else(|| Error::new(doing(), "there is no such database"))?;
    let read = |e: tokio_postgres::Error| Error::pg(doing(), &e);
    let (creates, copies): (bool, bool) =
        (row.try_get(0).map_err(read)?, row.try_get(1).map_err(read)?);
    let (user, owner): (String, String) =
        (row.try_get(2).map_err(read)?, row.try_get(3).map_err(read)?);
    if !creates {
        return Err(
            Error::new(doing(), format!("role {user} may not create databases"))
                .advise(format!("alter role {} createdb;", ident(&user))),
        );
    }
    if !copies {
        return Err(Error::new(
            doing(),
            format!("role {user} does not own it, {owner} does"),
        )
        .advise(format!("grant {} to {};", ident(&owner), ident(&user))));
    }
    Ok(())
}

async fn wait_until_unused(maintenance: &Session, source: &str) -> Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let others = others(maintenance, source).await?;
        if others.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(Error::new(
                format!("clone database {source}"),
                format!(
                    "PostgreSQL copies only a database that nobody is connected to, and there is {}",
                    others.join("; ")
                ),
            )
            .advise(
                "Stop the application (or end the session: select pg_terminate_backend(<pid>);) and run again, or point --db \
                 to a restored copy.",
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn others(maintenance: &Session, source: &str) -> Result<Vec<String>> {
    let sql = "select format('pid %s (user %s, application \"%s\")', pid, coalesce(usename, '?'), coalesce(application_name, '?'))
        from pg_stat_activity
        where datname = $1 and pid <> pg_backend_pid() and coalesce(backend_type, 'client backend') <> 'autovacuum worker'
        order by pid limit 10";
    let rows = maintenance
        .client()
        .query(sql, &[&source])
        .await
        .map_err(|e| Error::pg("look for other sessions", &e))?;
    rows.iter()
        .map(|row| {
            row.try_get(0)
                .map_err(|e| Error::pg("look for other sessions", &e))
        })
        .collect()
}

/// `ALTER DATABASE … SET` is not part of the copy. What only a superuser may set is left out.
async fn copy_settings(maintenance: &Session, source: &str, name: &str) -> Result<()> {
    let doing = format!("copy the settings of database {source}");
    let sql = "select unnest(s.setconfig) from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
        where d.datname = $1 and s.setrole = 0";
    let rows = maintenance
        .client()
        .query(sql, &[&source])
        .await
        .map_err(|e| Error::pg(&doing, &e))?;
    for row in rows {
        let setting: String = row.try_get(0).map_err(|e| Error::pg(&doing, &e))?;
        let Some((key, value)) = setting.split_once('=') else {
            continue;
        };
        // A list such as search_path is stored quoted as it must be written; anything else is one value.
        let value = if is_list(key) {
            value.to_owned()
        } else {
            literal(value)
        };
        let key: Vec<_> = key.split('.').map(ident).collect();
        let sql = format!(
            "alter database {} set {} = {value}",
            ident(name),
            key.join(".")
        );
        match maintenance.execute(&doing, &sql).await {
            // What an extension or an API reads, and a superuser has set: every clone lacks it, so they stay alike.
            Err(error) if error.is("42501") => {}
            done => done?,
        }
    }
    Ok(())
}

/// Settings that PostgreSQL marks `GUC_LIST_QUOTE`: their stored text is a list of quoted names.
fn is_list(key: &str) -> bool {
    matches!(
        key,
        "search_path"
            | "temp_tablespaces"
            | "session_preload_libraries"
            | "shared_preload_libraries"
            | "local_preload_libraries"
            | "unix_socket_directories"
    )
}
