//! Many statements in one round trip.

use super::{Error, Result, Session};
use tokio_postgres::SimpleQueryMessage;

impl Session {
    /// Every row that `sql` returns, each column as text.
    pub(super) async fn text_rows(
        &self,
        doing: &str,
        sql: &str,
    ) -> Result<Vec<Vec<Option<String>>>> {
        let messages = self
            .client()
            .simple_query(sql)
            .await
            .map_err(|e| Error::pg(doing, &e))?;
        let mut rows = Vec::new();
        for message in &messages {
            if let SimpleQueryMessage::Row(row) = message {
                let texts = (0..row.len()).map(|at| row.get(at).map(str::to_owned));
                rows.push(texts.collect());
            }
        }
        Ok(rows)
    }

    /// Sends all statements of `sql` at once; the first column of every row that any of them returns, in order. NULL is the
    /// empty text.
    pub async fn texts_at_once(&self, doing: &str, sql: &str) -> Result<Vec<String>> {
        let messages = self
            .client()
            .simple_query(sql)
            .await
            .map_err(|e| Error::pg(doing, &e))?;
        let mut texts = Vec::new();
        for message in &messages {
            if let SimpleQueryMessage::Row(row) = message {
                texts.push(row.get(0).unwrap_or_default().to_owned());
            }
        }
        Ok(texts)
    }
}
