//! A workload file meets the data: personas are sampled, parameters are drawn by seed.

use super::value::Fnv;
use super::{Error, Limits, Result, Session};
use crate::model::{
    ParamSpec, Persona, PersonaSpec, Query, QuerySpec, RunAs, Workload, WorkloadFile,
};
use crate::sql::single;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tokio_postgres::SimpleQueryMessage;

/// The setting that holds a persona's claims.
const CLAIMS: &str = "request.jwt.claims";
/// Rows of a parameter's statement that are drawn from; further ones are not read.
const CANDIDATES: usize = 10_000;

/// What a workload file leaves open.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    pub slo_ms: f64,
    /// Draws of the parameters of each query; at least one.
    pub draws: usize,
    pub limits: Limits,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            slo_ms: 100.0,
            draws: 20,
            limits: Limits::default(),
        }
    }
}

/// Samples every persona and draws every parameter, in read-only transactions.
///
/// Equal seeds over equal data give equal draws, whatever the plan that delivered the candidates. Errors name the persona or
/// query, never a value.
pub async fn resolve(
    session: &Session,
    file: &WorkloadFile,
    defaults: Defaults,
) -> Result<Workload> {
    let mut personas = BTreeMap::new();
    for (name, spec) in &file.personas {
        let persona = sample(session, name, spec, defaults.limits).await?;
        personas.insert(name.as_str(), persona);
    }
    let mut queries = Vec::new();
    for spec in &file.queries {
        for name in &spec.personas {
            let persona = personas.get(name.as_str()).ok_or_else(|| {
                Error::new(
                    format!("draw query {}", spec.name),
                    format!("persona {name} is not in the workload"),
                )
            })?;
            queries.push(draw(session, file.seed, spec, persona, defaults).await?);
        }
    }
    Ok(Workload {
        personas: personas.into_values().collect(),
        queries,
    })
}

async fn sample(
    session: &Session,
    name: &str,
    spec: &PersonaSpec,
    limits: Limits,
) -> Result<Persona> {
    let doing = || format!("sample persona {name}");
    let row = match &spec.sample {
        None => Map::new(),
        Some(sql) => {
            let sql = single(sql).map_err(|e| Error::new(doing(), e))?.text;
            session.begin_reading(limits).await?;
            let found = session
                .client()
                .query_opt(
                    &format!("select to_jsonb(s) from (\n{sql}\n) s limit 1"),
                    &[],
                )
                .await
                .and_then(|row| row.map(|r| r.try_get::<_, Value>(0)).transpose())
                .map_err(|e| Error::pg(doing(), &e));
            session.end().await?;
            match found? {
                Some(Value::Object(row)) => row,
                _ => {
                    return Err(Error::new(doing(), "its sample returns no row")
                        .advise("Seed the database first, or sample from a table that has rows."));
                }
            }
        }
    };
    let fill = |value: &Value| filled(value, &row).map_err(|e| Error::new(doing(), e));
    let mut settings = BTreeMap::new();
    for (key, text) in &spec.settings {
        let value = fill(&Value::String(text.clone()))?;
        settings.insert(key.clone(), text_of(&value));
    }
    if !spec.claims.is_empty() {
        let mut claims = Map::new();
        for (key, value) in &spec.claims {
            claims.insert(key.clone(), fill(value)?);
        }
        settings.insert(CLAIMS.to_owned(), Value::Object(claims).to_string());
    }
    Ok(Persona {
        name: name.to_owned(),
        role: spec.role.clone(),
        settings,
    })
}

/// `value` with every `${column}` in it replaced: the column's own JSON value where it is the whole string, its text elsewhere.
fn filled(value: &Value, row: &Map<String, Value>) -> Result<Value, String> {
    match value {
        Value::String(text) => filled_text(text, row),
        Value::Array(items) => items
            .iter()
            .map(|v| filled(v, row))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Value::Object(fields) => fields
            .iter()
            .map(|(k, v)| Ok((k.clone(), filled(v, row)?)))
            .collect::<Result<_, String>>()
            .map(Value::Object),
        other => Ok(other.clone()),
    }
}

fn filled_text(text: &str, row: &Map<String, Value>) -> Result<Value, String> {
    let column = |name: &str| {
        row.get(name).ok_or_else(|| {
            let columns: Vec<_> = row.keys().map(String::as_str).collect();
            format!(
                "${{{name}}} names no column of its sample, which has: {}",
                columns.join(", ")
            )
        })
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, end)) = after.split_once('}') else {
            break;
        };
        let value = column(name)?;
        if before.is_empty() && end.is_empty() && out.is_empty() {
            return Ok(value.clone());
        }
        out.push_str(before);
        out.push_str(&text_of(value));
        rest = end;
    }
    out.push_str(rest);
    Ok(Value::String(out))
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

async fn draw(
    session: &Session,
    seed: u64,
    spec: &QuerySpec,
    persona: &Persona,
    defaults: Defaults,
) -> Result<Query> {
    let id = format!("{}@{}", spec.name, persona.name);
    let mut columns = Vec::new();
    for (number, param) in (1..).zip(&spec.params) {
        let doing = format!("draw ${number} of {id}");
        let values = candidates(session, &doing, param, persona, defaults.limits).await?;
        if values.is_empty() {
            return Err(Error::new(doing, "its statement returns no row").advise(match param.run_as {
                RunAs::Persona => "The persona sees no such row: draw with `as: owner`, or sample another persona.",
                RunAs::Owner => "Seed the database first, or draw from a table that has rows.",
            }));
        }
        columns.push(values);
    }
    let mut draws = ChaCha8Rng::seed_from_u64(seed_of(seed, &id));
    let count = if columns.is_empty() {
        1
    } else {
        defaults.draws.max(1)
    };
    let draws = (0..count)
        .map(|_| {
            columns
                .iter()
                .map(|values| {
                    values
                        .get(draws.random_range(0..values.len()))
                        .cloned()
                        .flatten()
                })
                .collect()
        })
        .collect();
    Ok(Query {
        id,
        name: spec.name.clone(),
        persona: persona.clone(),
        sql: spec.sql.clone(),
        types: spec.params.iter().map(|p| p.type_name.clone()).collect(),
        draws,
        weight: spec.weight,
        slo_ms: spec.slo_ms.unwrap_or(defaults.slo_ms),
        write: spec.write,
        settings: spec.settings.clone(),
    })
}

/// A query's own stream, so that adding another query changes nothing about it.
fn seed_of(seed: u64, id: &str) -> u64 {
    let mut hasher = Fnv::default();
    hasher.write(&seed.to_be_bytes());
    hasher.write(id.as_bytes());
    hasher.value()
}

async fn candidates(
    session: &Session,
    doing: &str,
    param: &ParamSpec,
    persona: &Persona,
    limits: Limits,
) -> Result<Vec<Option<String>>> {
    match param.run_as {
        RunAs::Persona => session.begin_as(persona, true, limits).await?,
        RunAs::Owner => session.begin_reading(limits).await?,
    }
    let read = read_column(session, doing, &param.sql).await;
    session.end().await?;
    let mut values = read?;
    // Rows come in any order; the draw must not depend on it.
    values.sort_unstable();
    Ok(values)
}

async fn read_column(session: &Session, doing: &str, sql: &str) -> Result<Vec<Option<String>>> {
    let sql = single(sql).map_err(|e| Error::new(doing, e))?.text;
    session
        .execute(
            doing,
            &format!("declare dbtune_draw no scroll cursor for {sql}"),
        )
        .await?;
    let messages = session
        .client()
        .simple_query(&format!("fetch {CANDIDATES} from dbtune_draw"))
        .await
        .map_err(|e| Error::pg(doing, &e))?;
    let mut values = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            if row.len() != 1 {
                return Err(Error::new(
                    doing,
                    format!("its statement returns {} columns, expected one", row.len()),
                ));
            }
            values.push(row.get(0).map(str::to_owned));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn placeholders_are_filled_at_any_depth() {
        let Value::Object(row) = json!({ "id": 7, "list": ["a"], "name": "x" }) else {
            unreachable!()
        };
        let claims = json!({ "sub": "${id}", "in": [{ "all": "${list}" }], "text": "u-${id}/${name}", "n": 1 });
        assert_eq!(
            filled(&claims, &row).unwrap(),
            json!({ "sub": 7, "in": [{ "all": ["a"] }], "text": "u-7/x", "n": 1 })
        );
        assert_eq!(filled(&json!("${"), &row).unwrap(), json!("${"));
        let error = filled(&json!("${nope}"), &row).unwrap_err();
        assert!(error.contains("nope") && error.contains("list"), "{error}");
    }
}
