//! Rows of catalog queries become values, with an error where a panic would be.

use crate::db::{Error, Result, Session};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// One round trip and no named prepared statement, so that poolers do not mind.
pub(in crate::db) async fn query(session: &Session, doing: &str, sql: &str) -> Result<Vec<Row>> {
    session
        .client()
        .query_typed(sql, &[])
        .await
        .map_err(|e| Error::pg(doing, &e))
}

pub(in crate::db) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Result<T> {
    row.try_get(column)
        .map_err(|e| Error::pg(format!("read catalog column \"{column}\""), &e))
}

/// A one-letter code such as `relkind`; a space where it is empty.
pub(super) fn letter(row: &Row, column: &str) -> Result<char> {
    let text: &str = get(row, column)?;
    Ok(text.chars().next().unwrap_or(' '))
}

/// A size or count that the server cannot make negative.
pub(super) fn unsigned(row: &Row, column: &str) -> Result<u64> {
    let number: i64 = get(row, column)?;
    Ok(number.try_into().unwrap_or(0))
}
