use super::{Error, annotated, from_yaml};
use crate::model::{QuerySpec, WorkloadFile};
use crate::sql::single;
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::{BTreeMap, BTreeSet};

/// Reads a workload: SQL with `-- @query` headers where the name ends in `.sql`, YAML elsewhere.
///
/// `file` is for messages; nothing is opened.
pub fn parse(file: &str, text: &str) -> Result<WorkloadFile, Error> {
    if std::path::Path::new(file)
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("sql"))
    {
        return annotated::parse(file, text);
    }
    let mut workload: WorkloadFile = from_yaml(file, text)?;
    let places: Places = from_yaml(file, text)?;
    check(file, &mut workload, &places)?;
    Ok(workload)
}

/// The same file once more, for the positions of what only makes sense as a whole.
#[derive(Deserialize)]
struct Places {
    version: Spanned<u32>,
    personas: BTreeMap<String, serde_json::Value>,
    queries: Spanned<Vec<QueryPlaces>>,
}

#[derive(Deserialize)]
struct QueryPlaces {
    name: Spanned<String>,
    personas: Spanned<Vec<Spanned<String>>>,
    sql: Spanned<String>,
    #[serde(default)]
    params: Vec<ParamPlaces>,
    weight: Option<Spanned<f64>>,
    slo_ms: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
struct ParamPlaces {
    sql: Spanned<String>,
}

fn check(file: &str, workload: &mut WorkloadFile, places: &Places) -> Result<(), Error> {
    if workload.version != 1 {
        let message = format!("version is {}, expected 1", workload.version);
        return Err(spanned(file, &places.version, message));
    }
    if workload.queries.is_empty() {
        return Err(spanned(
            file,
            &places.queries,
            "queries is empty, expected at least one",
        ));
    }
    let known = names(places.personas.keys());
    let mut seen = BTreeSet::new();
    for (query, place) in workload.queries.iter_mut().zip(&places.queries.value) {
        let name = &place.name.value;
        if !seen.insert(name) {
            let message = format!("query `{name}` stands here twice, expected a name of its own");
            return Err(spanned(file, &place.name, message));
        }
        if name.is_empty() || name.contains('@') {
            let message = format!("query name `{name}`, expected some text without `@`");
            return Err(spanned(file, &place.name, message));
        }
        if place.personas.value.is_empty() {
            let message = format!("query `{name}` has no persona, expected one of {known}");
            return Err(spanned(file, &place.personas, message));
        }
        for persona in &place.personas.value {
            if !places.personas.contains_key(&persona.value) {
                let message = format!("persona `{}`, expected one of {known}", persona.value);
                return Err(spanned(file, persona, message));
            }
        }
        for number in [&place.weight, &place.slo_ms].into_iter().flatten() {
            if !(number.value.is_finite() && number.value > 0.0) {
                let message = format!("found {}, expected a number over 0", number.value);
                return Err(spanned(file, number, message));
            }
        }
        check_sql(file, query, place)?;
    }
    Ok(())
}

fn check_sql(file: &str, query: &mut QuerySpec, place: &QueryPlaces) -> Result<(), Error> {
    query.sql = statement(&query.name, &query.sql, query.params.len())
        .map_err(|message| spanned(file, &place.sql, message))?;
    for (param, place) in query.params.iter_mut().zip(&place.params) {
        param.sql = single(&param.sql)
            .map_err(|e| format!("parameter of query `{}`: {e}", query.name))
            .and_then(|found| match found.parameters.first() {
                None => Ok(found.text),
                Some(n) => Err(format!(
                    "parameter of query `{}` uses ${n}, expected no placeholder",
                    query.name
                )),
            })
            .map_err(|message| spanned(file, &place.sql, message))?;
    }
    Ok(())
}

/// The one statement of a query, whose placeholders are exactly `$1` to `$params`.
pub(super) fn statement(query: &str, sql: &str, params: usize) -> Result<String, String> {
    let found = single(sql).map_err(|e| format!("query `{query}`: {e}"))?;
    let wanted: BTreeSet<u32> = (1..=u32::try_from(params).unwrap_or(u32::MAX)).collect();
    if let Some(n) = found.parameters.difference(&wanted).next() {
        return Err(format!(
            "query `{query}` uses ${n}, expected an entry in params for it (found {params})"
        ));
    }
    if let Some(n) = wanted.difference(&found.parameters).next() {
        return Err(format!(
            "query `{query}` does not use ${n}, expected a placeholder for each of its {params} params"
        ));
    }
    Ok(found.text)
}

fn spanned<T>(file: &str, place: &Spanned<T>, message: impl Into<String>) -> Error {
    Error::at(
        file,
        place.referenced.line(),
        place.referenced.column(),
        message,
    )
}

fn names<'a>(all: impl Iterator<Item = &'a String>) -> String {
    let quoted: Vec<_> = all.map(|n| format!("`{n}`")).collect();
    if quoted.is_empty() {
        "none (personas is empty)".to_owned()
    } else {
        quoted.join(", ")
    }
}
