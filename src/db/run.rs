//! One query as one persona, the way an API sends it: transaction, claims, role, statement, rollback.

use super::value::{Fnv, Value, types};
use super::{Error, Limits, Protocol, Result, Session};
use crate::model::Query;
use futures_util::TryStreamExt;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Row, SimpleQueryMessage, SimpleQueryRow, Statement};

/// A statement parsed by the server for one connection, as the persona that was current then.
pub struct Prepared {
    statement: Statement,
    types: Vec<Type>,
}

/// One execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// From sending the parameters to the last row; set-up and parsing are not in it.
    pub elapsed: Duration,
    /// Rows returned, or touched by a statement that returns none.
    pub rows: u64,
    /// Of the returned rows whatever their order; `None` where it was not asked for.
    pub digest: Option<u64>,
}

impl Session {
    /// Opens the transaction in which `query` runs: read-only unless it writes, planned with its actual values.
    ///
    /// End it with [`Session::end`], which takes back what the query wrote.
    pub async fn begin_query(&self, query: &Query, limits: Limits) -> Result<()> {
        if self.begin_at_once(query, limits).await.is_ok() {
            return Ok(());
        }
        // Once more, step by step, for an error that says which step.
        self.end().await?;
        self.begin_as(&query.persona, !query.write, limits).await?;
        let set = self.apply(&query.settings, &query.id).await;
        if set.is_err() {
            self.end().await?;
        }
        set
    }

    /// Everything in one round trip.
    async fn begin_at_once(
        &self,
        query: &Query,
        limits: Limits,
    ) -> Result<(), tokio_postgres::Error> {
        let access = if query.write {
            "read write"
        } else {
            "read only"
        };
        let opening = format!(
            "begin {access}; {}; set local plan_cache_mode = {}",
            limits.to_sql(),
            self.way().plans.setting()
        );
        let role = format!(
            "set local role {}",
            crate::sql::quote::ident(&query.persona.role)
        );
        let settings = [&query.persona.settings, &query.settings].map(settings_as_json);
        let client = self.client();
        let set = |settings: &serde_json::Value| {
            let settings = settings.clone();
            async move {
                // Most queries have none of their own.
                if settings.as_object().is_none_or(serde_json::Map::is_empty) {
                    return Ok(());
                }
                let sql = "select count(set_config(key, value, true)) from json_each_text($1)";
                client
                    .query_typed(sql, &[(&settings, Type::JSON)])
                    .await
                    .map(drop)
            }
        };
        let [persona, query_own] = &settings;
        // Sent together: the futures are polled in order before any of them waits.
        let (opened, claims, became, own) = tokio::join!(
            biased;
            client.batch_execute(&opening),
            set(persona),
            client.batch_execute(&role),
            set(query_own)
        );
        opened.and(claims).and(became).and(own)
    }

    async fn apply(&self, settings: &BTreeMap<String, String>, query: &str) -> Result<()> {
        for (name, value) in settings {
            self.client()
                .query_one("select set_config($1, $2, true) is null", &[name, value])
                .await
                .map_err(|e| Error::pg(format!("set {name} for query {query}"), &e))?;
        }
        Ok(())
    }

    /// Parses `query` inside its open transaction.
    pub async fn prepare_query(&self, query: &Query) -> Result<Prepared> {
        self.prepare_text(query, &query.sql).await
    }

    pub(super) async fn prepare_text(&self, query: &Query, sql: &str) -> Result<Prepared> {
        let types = types(self, &query.id, &query.types).await?;
        let statement = self
            .client()
            .prepare_typed(sql, &types)
            .await
            .map_err(|e| Error::pg(format!("prepare {}", query.id), &e))?;
        let (expected, given) = (statement.params().len(), query.types.len());
        if expected != given {
            return Err(Error::new(
                format!("prepare {}", query.id),
                format!("the statement has {expected} parameters and the workload gives {given}"),
            ));
        }
        Ok(Prepared { statement, types })
    }

    pub(super) async fn explain_row(
        &self,
        prepared: &Prepared,
        values: &[Value<'_>],
    ) -> Result<serde_json::Value, tokio_postgres::Error> {
        let rows = self.client().query_raw(&prepared.statement, values).await?;
        let rows: Vec<Row> = rows.try_collect().await?;
        rows.first()
            .map_or(Ok(serde_json::Value::Null), |row| row.try_get(0))
    }

    /// Runs a prepared query once with one draw, inside its open transaction.
    pub async fn run_query(
        &self,
        query: &Query,
        prepared: &Prepared,
        draw: &[Option<String>],
        digest: bool,
    ) -> Result<Execution> {
        let failed = |e: &tokio_postgres::Error| Error::pg(format!("run {}", query.id), e);
        let values: Vec<_> = draw.iter().map(|v| Value(v.as_deref())).collect();
        if self.way().protocol == Protocol::Simple {
            return self.run_text(query, draw, digest).await;
        }
        let start = Instant::now();
        let client = self.client();
        let stream = if self.way().protocol == Protocol::Extended {
            let types = prepared.types.iter().cloned();
            client
                .query_typed_raw(&query.sql, values.iter().zip(types))
                .await
        } else {
            client.query_raw(&prepared.statement, &values).await
        };
        let stream = stream.map_err(|e| failed(&e))?;
        let mut stream = pin!(stream);
        let mut kept = Vec::new();
        let mut returned = 0;
        while let Some(row) = stream.try_next().await.map_err(|e| failed(&e))? {
            returned += 1;
            if digest {
                kept.push(row);
            }
        }
        let elapsed = start.elapsed();
        Ok(Execution {
            elapsed,
            rows: stream.rows_affected().unwrap_or(returned).max(returned),
            digest: digest.then(|| kept.iter().map(hash_row).fold(0, u64::wrapping_add)),
        })
    }

    /// The same with the values in the text.
    async fn run_text(
        &self,
        query: &Query,
        draw: &[Option<String>],
        digest: bool,
    ) -> Result<Execution> {
        let doing = || format!("run {}", query.id);
        let sql = crate::sql::bound(&query.sql, draw, &query.types).ok_or_else(|| {
            Error::new(doing(), "its parameters could not be written into its text")
        })?;
        let start = Instant::now();
        let messages = self.client().simple_query(&sql).await;
        let elapsed = start.elapsed();
        let messages = messages.map_err(|e| Error::pg(doing(), &e))?;
        let mut rows = 0;
        let mut sum = 0_u64;
        for message in &messages {
            match message {
                SimpleQueryMessage::Row(row) if digest => sum = sum.wrapping_add(hash_text(row)),
                SimpleQueryMessage::CommandComplete(n) => rows = *n,
                _ => {}
            }
        }
        Ok(Execution {
            elapsed,
            rows,
            digest: digest.then_some(sum),
        })
    }
}

fn hash_text(row: &SimpleQueryRow) -> u64 {
    let mut hasher = Fnv::default();
    for at in 0..row.len() {
        match row.try_get(at) {
            Ok(Some(text)) => {
                hasher.write(&(text.len() as u64).to_be_bytes());
                hasher.write(text.as_bytes());
            }
            _ => hasher.write(&u64::MAX.to_be_bytes()),
        }
    }
    hasher.value()
}

fn settings_as_json(settings: &BTreeMap<String, String>) -> serde_json::Value {
    settings
        .iter()
        .map(|(k, v)| (k.clone(), serde_json::Value::from(v.as_str())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The bytes of a value as the server sent them.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn hash_row(row: &Row) -> u64 {
    let mut hasher = Fnv::default();
    for (at, column) in row.columns().iter().enumerate() {
        match row.try_get::<_, Option<Raw<'_>>>(at) {
            Ok(Some(Raw(bytes))) => {
                hasher.write(&(bytes.len() as u64).to_be_bytes());
                match float(column.type_(), bytes) {
                    // Another plan adds in another order: the last digits of a sum may differ.
                    Some(value) => hasher.write(format!("{value:.9e}").as_bytes()),
                    None => hasher.write(bytes),
                }
            }
            _ => hasher.write(&u64::MAX.to_be_bytes()),
        }
    }
    hasher.value()
}

fn float(kind: &Type, bytes: &[u8]) -> Option<f64> {
    (*kind == Type::FLOAT8)
        .then(|| bytes.try_into().ok())
        .flatten()
        .map(f64::from_be_bytes)
}
