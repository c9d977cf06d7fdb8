//! A workload as plain SQL: statements under comment headers.
//!
//! `-- @query NAME`, then `-- @role R`, `-- @claims {json}`, `-- @write yes`, `-- @set name=value`, then the statement
//! until the next `@query`. Equal roles with equal claims are one persona.

use super::{Error, workload};
use crate::model::{PersonaSpec, QuerySpec, WorkloadFile};
use std::collections::BTreeMap;

/// Headers, for the message of an unknown one.
const KNOWN: &str = "@query, @role, @claims, @write, @set, @weight, @slo_ms";

#[derive(Default)]
struct Draft {
    line: u64,
    query: QuerySpec,
    persona: PersonaSpec,
    sql: String,
}

pub(super) fn parse(file: &str, text: &str) -> Result<WorkloadFile, Error> {
    let mut drafts: Vec<Draft> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some((word, value, column)) = header(line) else {
            match drafts.last_mut() {
                Some(draft) => {
                    draft.sql.push_str(line);
                    draft.sql.push('\n');
                }
                None if is_blank(line) => {}
                None => {
                    let message = "found a statement before any `-- @query NAME`";
                    return Err(Error::at(file, number, 1, message));
                }
            }
            continue;
        };
        let bad = |message: String| Error::at(file, number, column, message);
        if word == "query" {
            if value.is_empty() || value.contains('@') {
                return Err(bad(format!(
                    "query name `{value}`, expected some text without `@`"
                )));
            }
            if drafts.iter().any(|d| d.query.name == value) {
                return Err(bad(format!(
                    "query `{value}` stands here twice, expected a name of its own"
                )));
            }
            drafts.push(Draft::new(number, value));
        } else {
            drafts
                .last_mut()
                .ok_or_else(|| format!("found @{word} before any `-- @query NAME`"))
                .and_then(|draft| draft.take(word, value))
                .map_err(bad)?;
        }
    }
    assemble(file, drafts)
}

/// The word after `-- @`, the rest of the line, and the column of the word.
fn header(line: &str) -> Option<(&str, &str, u64)> {
    let rest = line.trim_start().strip_prefix("--")?.trim_start();
    let body = rest.strip_prefix('@')?;
    let column = (line.len() - rest.len()) as u64 + 1;
    let (word, value) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
    Some((word, value.trim(), column))
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with("--")
}

impl Draft {
    fn new(line: u64, name: &str) -> Self {
        Self {
            line,
            query: QuerySpec {
                name: name.to_owned(),
                weight: 1.0,
                ..QuerySpec::default()
            },
            ..Self::default()
        }
    }

    fn take(&mut self, word: &str, value: &str) -> Result<(), String> {
        match word {
            "role" if value.is_empty() => Err("@role without a name".to_owned()),
            "role" => {
                value.clone_into(&mut self.persona.role);
                Ok(())
            }
            "claims" => {
                // The claims stay out of the message.
                self.persona.claims = serde_json::from_str(value).map_err(|e| {
                    format!(
                        "@claims, expected a JSON object: error at its column {}",
                        e.column()
                    )
                })?;
                Ok(())
            }
            "write" => {
                self.query.write = match value {
                    "yes" | "true" => true,
                    "no" | "false" => false,
                    other => return Err(format!("@write `{other}`, expected yes or no")),
                };
                Ok(())
            }
            "set" => {
                let (name, value) = value
                    .split_once('=')
                    .ok_or_else(|| "@set, expected name=value".to_owned())?;
                self.query
                    .settings
                    .insert(name.trim().to_owned(), value.trim().to_owned());
                Ok(())
            }
            "weight" => number(word, value).map(|n| self.query.weight = n),
            "slo_ms" => number(word, value).map(|n| self.query.slo_ms = Some(n)),
            other => Err(format!("header @{other}, expected one of {KNOWN}")),
        }
    }
}

fn number(word: &str, value: &str) -> Result<f64, String> {
    value
        .parse::<f64>()
        .ok()
        .filter(|n| n.is_finite() && *n > 0.0)
        .ok_or_else(|| format!("@{word} `{value}`, expected a number over 0"))
}

fn assemble(file: &str, drafts: Vec<Draft>) -> Result<WorkloadFile, Error> {
    if drafts.is_empty() {
        let message = "no query, expected at least one `-- @query NAME`";
        return Err(Error::at(file, 1, 1, message));
    }
    let mut personas: BTreeMap<String, PersonaSpec> = BTreeMap::new();
    let mut queries = Vec::new();
    for mut draft in drafts {
        let at = |message: String| Error::at(file, draft.line, 1, message);
        if draft.persona.role.is_empty() {
            return Err(at(format!(
                "query `{}` has no `-- @role NAME`",
                draft.query.name
            )));
        }
        draft.query.sql = workload::statement(&draft.query.name, &draft.sql, 0).map_err(at)?;
        draft.query.personas = vec![name_persona(&mut personas, draft.persona)];
        queries.push(draft.query);
    }
    Ok(WorkloadFile {
        version: 1,
        seed: 0,
        personas,
        queries,
    })
}

/// The name of an equal persona, or a new one: the role, with a number where the role is taken.
fn name_persona(personas: &mut BTreeMap<String, PersonaSpec>, spec: PersonaSpec) -> String {
    if let Some((name, _)) = personas.iter().find(|(_, known)| **known == spec) {
        return name.clone();
    }
    let mut name = spec.role.clone();
    let mut number = 1;
    while personas.contains_key(&name) {
        number += 1;
        name = format!("{}_{number}", spec.role);
    }
    personas.insert(name.clone(), spec);
    name
}
