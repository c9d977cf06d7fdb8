//! Rows into tables by binary COPY.

mod cell;
mod encode;
mod shape;

pub use cell::Cell;
pub use shape::{ColumnShape, Reference, TableShape};

use super::{Error, Result, Session};
use crate::model::Name;
use crate::sql::quote;
use futures_util::SinkExt;
use std::io::Cursor;
use std::pin::Pin;
use tokio_postgres::CopyInSink;
use tokio_postgres::types::Type;

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// Bytes sent at once.
const CHUNK: usize = 128 * 1024;

/// Fills tables in one session.
pub struct Loader<'a> {
    session: &'a Session,
}

/// One COPY on its way. Dropping it unfinished aborts it: the table stays as it was.
pub struct Copying {
    sink: Pin<Box<CopyInSink<Cursor<Vec<u8>>>>>,
    buffer: Vec<u8>,
    table: Name,
    columns: Vec<(String, Type)>,
    bytes: u64,
}

impl<'a> Loader<'a> {
    pub fn new(session: &'a Session) -> Self {
        Self { session }
    }

    /// Every ordinary and partitioned table outside the system's schemas and extensions.
    pub async fn shapes(&self) -> Result<Vec<TableShape>> {
        shape::read(self.session.client()).await
    }

    /// Makes this session's commits wait for the log to be written. `VACUUM` takes no row for visible to all whose
    /// commit is not written yet, so without it (on a server with `synchronous_commit = off`) the visibility map
    /// of a table just filled would stay empty.
    pub async fn commit_durably(&self) -> Result<()> {
        self.session
            .execute(
                "set up a session for loading",
                "set synchronous_commit = on",
            )
            .await
    }

    /// Rows in the table now.
    pub async fn count(&self, table: &Name) -> Result<u64> {
        let sql = format!("select count(*) from {}", quote::name(table));
        let row = self.session.client().query_one(&sql, &[]).await;
        let count: i64 = row
            .and_then(|row| row.try_get(0))
            .map_err(|e| Error::pg(format!("count the rows of {table}"), &e))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Empties all the tables in one statement; refuses, as PostgreSQL does, where a table outside of them refers
    /// to one of them.
    pub async fn truncate(&self, tables: &[Name]) -> Result<()> {
        if tables.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = tables.iter().map(quote::name).collect();
        let sql = format!("truncate {}", names.join(", "));
        self.session.execute("empty the tables to seed", &sql).await
    }

    /// Starts a COPY into `columns` of `table`.
    pub async fn copy(&self, table: &Name, columns: &[String]) -> Result<Copying> {
        let client = self.session.client();
        let doing = || format!("copy rows into {table}");
        let list: Vec<String> = columns.iter().map(|c| quote::ident(c)).collect();
        let list = list.join(", ");
        let name = quote::name(table);
        let statement = client
            .prepare(&format!("select {list} from {name}"))
            .await
            .map_err(|e| Error::pg(doing(), &e))?;
        let types = statement.columns().iter().map(|c| c.type_().clone());
        let columns = columns.iter().cloned().zip(types).collect();
        let sql = format!("copy {name} ({list}) from stdin (format binary)");
        let sink = client.copy_in(&sql).await.map_err(|e| {
            let error = Error::pg(doing(), &e);
            if error.is("0A000") {
                error.advise(format!(
                    "COPY does not work under row-level security: connect as the table's owner, or `alter table {name} no force row level security`."
                ))
            } else {
                error
            }
        })?;
        Ok(Copying {
            sink: Box::pin(sink),
            buffer: HEADER.to_vec(),
            table: table.clone(),
            columns,
            bytes: 0,
        })
    }

    /// Sets the sequences behind `columns` (serial and identity) to the highest value in them, so that the next
    /// INSERT does not collide with what was copied.
    pub async fn advance_sequences(&self, table: &Name, columns: &[String]) -> Result<()> {
        let name = quote::name(table);
        for column in columns {
            let sql = format!(
                "select setval(s, (select max({}) from {name})) from pg_get_serial_sequence($1, $2) s where s is not null",
                quote::ident(column)
            );
            let client = self.session.client();
            client
                .query(&sql, &[&name, column])
                .await
                .map_err(|e| Error::pg(format!("set the sequence of {table}.{column}"), &e))?;
        }
        Ok(())
    }

    /// `VACUUM`: the visibility map as on a table that has lived for a while. An open snapshot in the same database,
    /// a running `ANALYZE` among them, keeps pages out of it.
    pub async fn vacuum(&self, table: &Name) -> Result<()> {
        let sql = format!("vacuum {}", quote::name(table));
        self.session.execute(&format!("vacuum {table}"), &sql).await
    }

    /// `ANALYZE`: statistics for the planner.
    pub async fn analyze(&self, table: &Name) -> Result<()> {
        let sql = format!("analyze {}", quote::name(table));
        self.session
            .execute(&format!("analyse {table}"), &sql)
            .await
    }
}

impl Copying {
    /// Adds one row, with a cell for each column. Call [`Copying::flush`] now and then.
    ///
    /// # Errors
    /// Where a cell does not fit its column's type; the message names the column, not the value.
    pub fn push(&mut self, row: &[Cell]) -> Result<()> {
        let width = i16::try_from(self.columns.len()).unwrap_or(i16::MAX);
        self.buffer.extend(width.to_be_bytes());
        for ((column, ty), cell) in self.columns.iter().zip(row) {
            encode::field(cell, ty, &mut self.buffer).map_err(|mismatch| {
                Error::new(
                    format!("copy rows into {}", self.table),
                    format!("column \"{column}\" is {}, and {mismatch}", ty.name()),
                )
                .advise("Give the column a generator of its type in the seed specification.")
            })?;
        }
        Ok(())
    }

    /// Sends what has been added, if it is worth a message.
    pub async fn flush(&mut self) -> Result<()> {
        if self.buffer.len() < CHUNK {
            return Ok(());
        }
        self.send().await
    }

    /// Ends the COPY; only now are the rows in the table. Returns rows and bytes sent.
    pub async fn finish(mut self) -> Result<(u64, u64)> {
        self.buffer.extend(TRAILER);
        self.send().await?;
        let rows = self.sink.as_mut().finish().await;
        let rows = rows.map_err(|e| Error::pg(format!("copy rows into {}", self.table), &e))?;
        Ok((rows, self.bytes))
    }

    async fn send(&mut self) -> Result<()> {
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK + CHUNK / 4));
        self.bytes += chunk.len() as u64;
        if let Err(closed) = self.sink.send(Cursor::new(chunk)).await {
            // The server has ended the COPY; its reason comes with the answer.
            let reason = self.sink.as_mut().finish().await.err().unwrap_or(closed);
            return Err(Error::pg(format!("copy rows into {}", self.table), &reason));
        }
        Ok(())
    }
}
