//! How a file finds out who an identity is.

use crate::model::{Persona, PersonaSpec};
use crate::sql::quote::{ident, literal};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The setting that holds a persona's claims.
const CLAIMS: &str = "request.jwt.claims";

/// Settings, as SQL that finds their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// By the setting's name: an expression over the row `s` of `from`.
    settings: BTreeMap<String, String>,
    from: Option<String>,
    /// Variables that whoever runs the file gives, with the setting that each is for.
    pub(super) variables: BTreeMap<String, String>,
}

impl Claims {
    /// From what the workload says; where it says nothing, from variables of psql.
    pub fn new(persona: &Persona, spec: Option<&PersonaSpec>) -> Self {
        let mut claims = Self {
            settings: BTreeMap::new(),
            from: None,
            variables: BTreeMap::new(),
        };
        let Some(spec) = spec else {
            for setting in persona.settings.keys() {
                let variable = word(&format!("{}_{setting}", persona.name));
                claims
                    .settings
                    .insert(setting.clone(), format!(":'{variable}'"));
                claims.variables.insert(variable, setting.clone());
            }
            return claims;
        };
        claims.from = spec
            .sample
            .as_ref()
            .map(|sql| sql.trim().trim_end_matches(';').to_owned());
        for (setting, value) in &spec.settings {
            claims.settings.insert(setting.clone(), text(value));
        }
        if !spec.claims.is_empty() {
            let fields = spec.claims.iter();
            let fields: Vec<(&str, &Value)> = fields.map(|(k, v)| (k.as_str(), v)).collect();
            claims
                .settings
                .insert(CLAIMS.to_owned(), format!("({})::text", object(&fields)));
        }
        claims
    }

    /// Statements that set them, and take back what an identity before had.
    pub(super) fn sql(&self, earlier: &BTreeSet<String>) -> String {
        let mut lines: Vec<String> = earlier
            .iter()
            .filter(|name| !self.settings.contains_key(*name))
            .map(|name| {
                format!(
                    "select set_config({}, '', true) \\g /dev/null\n",
                    literal(name)
                )
            })
            .collect();
        let made: Vec<String> = self
            .settings
            .iter()
            .map(|(name, value)| format!("set_config({}, {value}, true)", literal(name)))
            .collect();
        if !made.is_empty() {
            let from = self
                .from
                .as_ref()
                .map(|sql| format!(" from (\n{sql}\n) s limit 1"))
                .unwrap_or_default();
            lines.push(format!("select {}{from} \\g /dev/null\n", made.join(", ")));
        }
        lines.concat()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.settings.keys()
    }
}

/// `${column}` is a value of the sample's row.
fn json(value: &Value) -> String {
    match value {
        Value::String(given) => match whole(given) {
            Some(column) => format!("to_jsonb(s) -> {}", literal(column)),
            None => format!("to_jsonb(({})::text)", text(given)),
        },
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(json).collect();
            format!("jsonb_build_array({})", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<(&str, &Value)> = fields.iter().map(|(k, v)| (k.as_str(), v)).collect();
            object(&fields)
        }
        other => format!("{}::jsonb", literal(&other.to_string())),
    }
}

fn object(fields: &[(&str, &Value)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(key, value)| format!("{}, {}", literal(key), json(value)))
        .collect();
    format!("jsonb_build_object({})", fields.join(", "))
}

fn whole(given: &str) -> Option<&str> {
    let inner = given.strip_prefix("${")?.strip_suffix('}')?;
    (!inner.contains('}')).then_some(inner)
}

fn text(given: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = given;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((column, end)) = after.split_once('}') else {
            break;
        };
        if !before.is_empty() {
            parts.push(literal(before));
        }
        parts.push(format!("coalesce(to_jsonb(s) ->> {}, '')", literal(column)));
        rest = end;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(literal(rest));
    }
    parts.join(" || ")
}

/// As a name of a variable.
fn word(given: &str) -> String {
    let word: String = given
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    ident(&word).trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_found_again_and_never_written() {
        let spec = PersonaSpec {
            role: "app".to_owned(),
            claims: [
                ("sub".to_owned(), Value::from("${id}")),
                ("mail".to_owned(), Value::from("${name}@x")),
                ("level".to_owned(), Value::from(3)),
            ]
            .into(),
            sample: Some("select id, name from users limit 1;".to_owned()),
            ..PersonaSpec::default()
        };
        let persona = Persona {
            name: "A b".to_owned(),
            role: "app".to_owned(),
            settings: [(CLAIMS.to_owned(), "{\"sub\": \"secret\"}".to_owned())].into(),
        };
        let sql = Claims::new(&persona, Some(&spec)).sql(&["app.x".to_owned()].into());
        assert_eq!(
            sql,
            "select set_config('app.x', '', true) \\g /dev/null\n\
             select set_config('request.jwt.claims', (jsonb_build_object('level', '3'::jsonb, 'mail', \
             to_jsonb((coalesce(to_jsonb(s) ->> 'name', '') || '@x')::text), 'sub', to_jsonb(s) -> 'id'))::text, true) \
             from (\nselect id, name from users limit 1\n) s limit 1 \\g /dev/null\n"
        );
        let found = Claims::new(&persona, None);
        let sql = found.sql(&BTreeSet::new());
        assert!(
            sql.contains(":'a_b_request_jwt_claims'") && !sql.contains("secret"),
            "{sql}"
        );
        assert_eq!(found.variables.len(), 1);
    }
}
