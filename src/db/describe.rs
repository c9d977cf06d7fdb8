//! What the server says of a statement without running it.

use super::{Error, Limits, Result, Session};

impl Session {
    /// The types of a statement's placeholders, as `format_type` prints them with an empty search path's qualifiers left
    /// to the connection's own. Nothing is run.
    pub async fn parameter_types(
        &self,
        doing: &str,
        sql: &str,
        limits: Limits,
    ) -> Result<Vec<String>> {
        self.begin_reading(limits).await?;
        let found = self.described(doing, sql).await;
        self.end().await?;
        found
    }

    async fn described(&self, doing: &str, sql: &str) -> Result<Vec<String>> {
        let statement = self
            .client()
            .prepare(sql)
            .await
            .map_err(|e| Error::pg(doing, &e))?;
        let oids: Vec<u32> = statement
            .params()
            .iter()
            .map(tokio_postgres::types::Type::oid)
            .collect();
        let rows = self
            .client()
            .query(
                "select pg_catalog.format_type(o, null) from unnest($1::oid[]) with ordinality u(o, n) order by n",
                &[&oids],
            )
            .await
            .map_err(|e| Error::pg(doing, &e))?;
        rows.iter()
            .map(|row| row.try_get(0).map_err(|e| Error::pg(doing, &e)))
            .collect()
    }
}
