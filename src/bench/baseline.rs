//! One side recorded in a file, to be compared with another one on another day.

use super::comparison::Measured;
use super::environment::Environment;
use super::machine::digest;
use crate::db::{Error, Result};
use crate::model::{Gap, Query, Samples, Workload};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What `bench --before -o FILE` writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Of the file's form.
    pub version: u64,
    pub recorded_at: DateTime<Utc>,
    /// What was measured, in words.
    pub side: String,
    pub environment: Environment,
    /// By `query@persona`.
    pub queries: Recordings,
}

/// What was measured on one side, by `query@persona`.
pub type Recordings = BTreeMap<String, Recorded>;

/// One query of a side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// A digest of the statement, its values, and who sent it.
    pub statement: String,
    pub samples: Samples,
}

/// What a workload says of a query of two sides, next to what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// `query@persona`.
    pub id: String,
    pub weight: f64,
    pub slo_ms: f64,
    /// Whether equal data may give other rows.
    pub is_limited: bool,
}

const FORM: u64 = 2;

/// `samples` are those of the queries of `workload`, in its order.
pub fn recordings(workload: &Workload, samples: Vec<Samples>) -> Recordings {
    let queries = workload.queries.iter().zip(samples);
    queries
        .map(|(query, samples)| {
            let statement = statement(query);
            (query.id.clone(), Recorded { statement, samples })
        })
        .collect()
}

fn statement(query: &Query) -> String {
    let settings = query.persona.settings.iter().chain(&query.settings);
    let settings: Vec<String> = settings.map(|(k, v)| format!("{k}={v}")).collect();
    let draws: Vec<String> = query.draws.iter().map(|d| format!("{d:?}")).collect();
    digest(&[
        &query.sql,
        &query.types.join(","),
        &query.persona.role,
        &settings.join("\n"),
        &draws.join("\n"),
    ])
}

impl Baseline {
    pub fn new(
        recorded_at: DateTime<Utc>,
        side: String,
        environment: Environment,
        queries: Recordings,
    ) -> Self {
        Self {
            version: FORM,
            recorded_at,
            side,
            environment,
            queries,
        }
    }

    /// Reads the text of `file`, which is named in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        const AGAIN: &str = "Record it again: dbtune bench --before -o FILE";
        let fail = |message: String| Error::new(format!("read the baseline {file}"), message);
        let alien =
            |why: String| fail(format!("it is no file that dbtune recorded: {why}")).advise(AGAIN);
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|e| alien(e.to_string()))?;
        let form = value.get("version").and_then(serde_json::Value::as_u64);
        let form = form.ok_or_else(|| alien("it has no version".to_owned()))?;
        if form < FORM {
            let old = "an earlier dbtune recorded it, whose digests of the data cannot be compared with today's";
            return Err(fail(old.to_owned()).advise(AGAIN));
        }
        if form > FORM {
            return Err(fail(format!("a later dbtune recorded it (form {form})"))
                .advise("Read it with that one, or record it again with this one."));
        }
        serde_json::from_value(value).map_err(|e| alien(e.to_string()))
    }
}

/// Pairs two sides that were not measured in turns; what cannot be paired comes second.
pub fn paired(
    asked: &[Asked],
    before: &Recordings,
    after: &Recordings,
) -> (Vec<Measured>, Vec<Gap>) {
    let mut measured = Vec::new();
    let mut gaps = Vec::new();
    for query in asked {
        let why = match (before.get(&query.id), after.get(&query.id)) {
            (Some(b), Some(a)) if b.statement == a.statement => {
                measured.push(Measured {
                    query: query.id.clone(),
                    weight: query.weight,
                    slo_ms: query.slo_ms,
                    before: b.samples.clone(),
                    after: a.samples.clone(),
                    repeatable: !query.is_limited,
                    thresholds: None,
                    allowed: None,
                });
                continue;
            }
            (Some(_), Some(_)) => {
                "it was recorded with another text, other values or another persona"
            }
            (None, Some(_)) => "it is not in the baseline before",
            (Some(_), None) => "it is not in the baseline after",
            (None, None) => "it is in neither baseline",
        };
        gaps.push(Gap {
            what: query.id.clone(),
            why: why.to_owned(),
            remedy: Some("record the baseline again with this workload".to_owned()),
        });
    }
    (measured, gaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_same_is_paired() {
        let recorded = |statement: &str| Recorded {
            statement: statement.to_owned(),
            samples: Samples::default(),
        };
        let side = |queries: &[(&str, &str)]| -> Recordings {
            let queries = queries.iter();
            queries
                .map(|(id, statement)| ((*id).to_owned(), recorded(statement)))
                .collect()
        };
        let asked = ["a@p", "b@p", "c@p", "d@p"].map(|id| Asked {
            id: id.to_owned(),
            weight: 1.0,
            slo_ms: 100.0,
            is_limited: false,
        });
        let before = side(&[("a@p", "1"), ("b@p", "1"), ("d@p", "1")]);
        let after = side(&[("a@p", "1"), ("b@p", "2"), ("c@p", "1")]);
        let (measured, gaps) = paired(&asked, &before, &after);
        let ids: Vec<&str> = measured.iter().map(|m| m.query.as_str()).collect();
        assert_eq!(ids, ["a@p"]);
        let words: Vec<&str> = gaps.iter().map(|g| g.why.as_str()).collect();
        assert!(words[0].contains("another text"), "{words:?}");
        assert!(
            words[1].contains("before") && words[2].contains("after"),
            "{words:?}"
        );
    }

    #[test]
    fn other_files_are_refused_with_what_to_do() {
        for (text, words) in [
            ("{\"version\": 1, \"queries\": {}}", "earlier dbtune"),
            ("{\"version\": 9}", "later dbtune"),
            ("[1]", "no file that dbtune recorded"),
            ("not json", "no file that dbtune recorded"),
        ] {
            let error = Baseline::parse("b.json", text).unwrap_err().to_string();
            assert!(error.contains("b.json") && error.contains(words), "{error}");
            assert!(error.contains("again"), "{error}");
        }
    }
}
