//! Emptying the server's own cache of one database.

use super::{Error, Result, Session};

/// The first version that can, without being started anew.
const OLDEST: i32 = 17;

/// The statement that empties the server's cache of the database of `session`, and of the catalogs that all databases
/// share; what others have cached stays. An error says what would allow it.
pub async fn find_eviction(session: &Session) -> Result<String> {
    let doing = "empty the server's cache for --cold";
    let row = session
        .client()
        .query_one(
            "select current_setting('server_version_num')::int / 10000, current_setting('is_superuser') = 'on',
               (select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace
                where e.extname = 'pg_buffercache')",
            &[],
        )
        .await
        .map_err(|e| Error::pg(doing, &e))?;
    let read = |e: tokio_postgres::Error| Error::pg(doing, &e);
    let major: i32 = row.try_get(0).map_err(read)?;
    let superuser: bool = row.try_get(1).map_err(read)?;
    let schema: Option<String> = row.try_get(2).map_err(read)?;
    if major < OLDEST {
        return Err(Error::new(
            doing,
            format!("PostgreSQL {major} empties it only when it is started anew"),
        )
        .advise(format!(
            "Measure on a copy of the database on PostgreSQL {OLDEST} or later, with `create extension pg_buffercache;`."
        )));
    }
    if !superuser {
        let user = crate::sql::quote::ident(&session.target().user);
        return Err(Error::new(doing, "only a superuser may").advise(format!(
            "On a server that is not production: alter role {user} superuser; or name a superuser in --db."
        )));
    }
    let Some(schema) = schema else {
        return Err(Error::new(doing, "the extension pg_buffercache is missing")
            .advise("create extension pg_buffercache;"));
    };
    Ok(format!(
        "select count({schema}.pg_buffercache_evict(bufferid)) from {schema}.pg_buffercache
         where reldatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))"
    ))
}
