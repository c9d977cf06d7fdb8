use super::Persona;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A workload file after parsing: personas and parameters may still be drawn from the data.
///
/// YAML (`version: 1`), or SQL with `-- @query` headers; see `config::workload`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadFile {
    pub version: u32,
    /// Seed of every draw, so that both sides of a benchmark see the same parameters.
    #[serde(default)]
    pub seed: u64,
    pub personas: BTreeMap<String, PersonaSpec>,
    pub queries: Vec<QuerySpec>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonaSpec {
    pub role: String,
    /// Becomes `request.jwt.claims`. A string `${column}` takes the value of that column of `sample`.
    #[serde(default)]
    pub claims: BTreeMap<String, serde_json::Value>,
    /// Further session settings, with the same placeholders.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// A statement run as the connecting role; its first row fills the placeholders.
    #[serde(default)]
    pub sample: Option<String>,
    #[serde(default)]
    pub about: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuerySpec {
    pub name: String,
    /// Names of personas; each runs the query on its own.
    pub personas: Vec<String>,
    /// One statement with `$1`, `$2` … for its parameters.
    pub sql: String,
    /// A parameter each: values are drawn with equal chance from the rows of the statement,
    /// which is run as the persona (`as: owner` runs it as the connecting role).
    #[serde(default)]
    pub params: Vec<ParamSpec>,
    /// Share of the workload; relative to the other queries.
    #[serde(default = "one")]
    pub weight: f64,
    /// Target for the 95th percentile in milliseconds; the default comes from the configuration.
    #[serde(default)]
    pub slo_ms: Option<f64>,
    /// Writes: always rolled back.
    #[serde(default)]
    pub write: bool,
    /// Session settings for this query alone, e.g. `work_mem`.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    #[serde(default)]
    pub about: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamSpec {
    /// PostgreSQL type the text value is cast to.
    #[serde(rename = "type")]
    pub type_name: String,
    /// One column of values, cast to text.
    pub sql: String,
    #[serde(default, rename = "as")]
    pub run_as: RunAs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunAs {
    #[default]
    Persona,
    Owner,
}

fn one() -> f64 {
    1.0
}

/// A workload with every persona and parameter drawn: what is planned, benchmarked and checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    pub personas: Vec<Persona>,
    pub queries: Vec<Query>,
}

/// One statement as one persona.
#[derive(Clone, Default, PartialEq)]
pub struct Query {
    /// `query@persona`: unique in a workload.
    pub id: String,
    pub name: String,
    pub persona: Persona,
    /// With `$n` placeholders.
    pub sql: String,
    /// PostgreSQL types of the parameters.
    pub types: Vec<String>,
    /// Draws of all parameters, each as text or NULL; never empty (one empty draw where there are no parameters).
    pub draws: Vec<Vec<Option<String>>>,
    pub weight: f64,
    pub slo_ms: f64,
    pub write: bool,
    pub settings: BTreeMap<String, String>,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query")
            .field("id", &self.id)
            .field("sql", &self.sql)
            .finish_non_exhaustive()
    }
}
