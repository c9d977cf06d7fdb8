use super::decode::{get, query, unsigned};
use super::{Reader, Sizes};
use crate::db::{Error, Result, Session};
use crate::model::{Catalog, Extension, Role};

impl<'a> Reader<'a> {
    /// Reads what is true of the whole server, then empties the search path, so that every name prints qualified.
    pub(super) async fn start(
        session: &'a Session,
        sizes: Sizes,
        catalog: &mut Catalog,
    ) -> Result<Self> {
        let doing = "read the server's version and settings";
        let rows = query(session, doing, include_str!("../queries/server.sql")).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::new(doing, "the server does not list its own database"))?;
        let version: i32 = get(row, "version_num")?;
        let reader = Self {
            session,
            version: version.try_into().unwrap_or(0),
            sizes,
        };
        if reader.version < 130_000 {
            let found = format!("this server is version {}", reader.version / 10_000);
            return Err(Error::new(doing, found).advise("dbtune knows PostgreSQL 13 and later."));
        }
        let server = &mut catalog.server;
        server.version_num = reader.version;
        server.database = get(row, "database")?;
        server.user = get(row, "user")?;
        server.user_is_superuser = get::<Option<bool>>(row, "superuser")?.unwrap_or(false);
        server.in_recovery = get(row, "in_recovery")?;
        server.started_at = get(row, "started_at")?;
        // Never reset means counting since the database was made, or since a crash: the start is the latest it can be.
        server.stats_since = get::<Option<_>>(row, "stats_reset")?.or(server.started_at);
        server.read_at = get(row, "read_at")?;
        server.database_bytes = unsigned(row, "bytes")?;
        server.search_path = get(row, "search_path")?;
        session
            .execute("empty the search path", "set local search_path = ''")
            .await?;
        for row in reader
            .rows("read settings", include_str!("../queries/settings.sql"))
            .await?
        {
            let value: Option<String> = get(&row, "value")?;
            server
                .settings
                .insert(get(&row, "name")?, value.unwrap_or_default());
        }
        for row in reader
            .rows("read extensions", include_str!("../queries/extensions.sql"))
            .await?
        {
            let extension = Extension {
                version: get(&row, "version")?,
                schema: get(&row, "schema")?,
                available: get(&row, "available")?,
            };
            server.extensions.insert(get(&row, "name")?, extension);
        }
        for row in reader
            .rows("read roles", include_str!("../queries/roles.sql"))
            .await?
        {
            let role = Role {
                superuser: get(&row, "superuser")?,
                bypass_rls: get(&row, "bypass_rls")?,
                login: get(&row, "login")?,
                inherit: get(&row, "inherit")?,
                member_of: get(&row, "member_of")?,
                becomes: get(&row, "becomes")?,
                settable: get(&row, "settable")?,
                connection_limit: get(&row, "connection_limit")?,
                config: get(&row, "config")?,
                database_config: get(&row, "database_config")?,
            };
            catalog.roles.insert(get(&row, "name")?, role);
        }
        Ok(reader)
    }
}
