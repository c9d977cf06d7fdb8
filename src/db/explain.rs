//! EXPLAIN as the persona that runs the statement, with its real parameters.

use super::value::Value;
use super::{Error, Result, Session};
use crate::model::{Plan, Query};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explain {
    /// What the planner would do; nothing is executed.
    Plan,
    /// Executed, with buffers and times. What it writes is taken back by [`Session::end`].
    Analyze,
    /// Executed with buffers but without the clock of every node, which slows a statement down.
    Measure,
}

/// Plans `query` with the parameters of `draw` (modulo the number of draws) inside its open transaction.
///
/// The transaction is one of [`Session::begin_query`], or of [`Session::begin_as`] where the query's own settings do not
/// matter. The parameters are bound, so the plan is a custom one.
pub async fn explain(session: &Session, query: &Query, draw: usize, how: Explain) -> Result<Plan> {
    let options = match how {
        Explain::Plan => "format json, verbose",
        Explain::Analyze => "format json, verbose, analyze, buffers",
        Explain::Measure => "format json, verbose, analyze, buffers, timing off",
    };
    let doing = || format!("explain {}", query.id);
    let sql = format!("explain ({options}) {}", query.sql);
    let prepared = session.prepare_text(query, &sql).await?;
    let values: Vec<_> = draw_of(query, draw)
        .iter()
        .map(|v| Value(v.as_deref()))
        .collect();
    let explained: serde_json::Value = session
        .explain_row(&prepared, &values)
        .await
        .map_err(|e| Error::pg(doing(), &e))?;
    Plan::from_json(&explained).map_err(|message| Error::new(doing(), message))
}

/// Plans `query` once for all values, as a prepared statement under `plan_cache_mode = force_generic_plan` is planned.
///
/// Inside the transaction of [`Session::begin_query`] of a session with [`super::Plans::Generic`].
pub async fn explain_generic(session: &Session, query: &Query, draw: usize) -> Result<Plan> {
    let doing = || format!("explain {} with a generic plan", query.id);
    let failed = |e: &tokio_postgres::Error| Error::pg(doing(), e);
    let types = query.types.join(", ");
    let signature = if types.is_empty() {
        String::new()
    } else {
        format!("({types})")
    };
    let places: Vec<String> = (1..=query.types.len()).map(|n| format!("${n}")).collect();
    let given = if places.is_empty() {
        String::new()
    } else {
        format!("({})", places.join(", "))
    };
    let arguments = crate::sql::bound(&given, draw_of(query, draw), &query.types)
        .ok_or_else(|| Error::new(doing(), "its parameters could not be written into its text"))?;
    let prepare = format!("prepare dbtune_generic{signature} as {}", query.sql);
    let client = session.client();
    client
        .batch_execute(&prepare)
        .await
        .map_err(|e| failed(&e))?;
    let sql = format!(
        "explain (format json, verbose, analyze, buffers, timing off) execute dbtune_generic{arguments}"
    );
    let explained = client.query_one(&sql, &[]).await;
    let explained = explained
        .and_then(|row| row.try_get(0))
        .map_err(|e| failed(&e));
    // A failed statement leaves the transaction unable to do this; the connection's next one prepares it anew.
    if explained.is_ok() {
        client
            .batch_execute("deallocate dbtune_generic")
            .await
            .map_err(|e| failed(&e))?;
    }
    Plan::from_json(&explained?).map_err(|message| Error::new(doing(), message))
}

/// One draw of a query's parameters, counted round.
pub fn draw_of(query: &Query, draw: usize) -> &[Option<String>] {
    let draw = draw % query.draws.len().max(1);
    query.draws.get(draw).map_or(&[], Vec::as_slice)
}
