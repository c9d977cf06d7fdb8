//! A persona while its claims are put together.

use super::yaml::Noted;
use crate::model::PersonaSpec;
use crate::sql::ties::{CLAIMS, Claim, Ties};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Claims and settings of a persona while they are put together.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) claims: Map<String, Value>,
    pub(super) settings: BTreeMap<String, String>,
    /// Columns of the sample beside the first.
    pub(super) columns: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl Draft {
    pub(super) fn put(&mut self, claim: &Claim, value: &str) {
        if claim.path.is_empty() {
            self.settings
                .insert(claim.setting.clone(), value.to_owned());
            return;
        }
        if claim.setting == CLAIMS {
            put_at(&mut self.claims, &claim.path, value);
            return;
        }
        let text = self.settings.entry(claim.setting.clone()).or_default();
        let mut fields = serde_json::from_str(text).unwrap_or_default();
        put_at(&mut fields, &claim.path, value);
        *text = Value::Object(fields).to_string();
    }

    /// A claim that the sample does not draw: a literal of the policies where they name one.
    pub(super) fn put_other(&mut self, claim: &Claim, ties: &Ties) {
        let named = describe(claim);
        let literals = ties.literals.get(claim);
        match literals.and_then(|l| l.first()) {
            Some(first) => {
                self.put(claim, first);
                let all: Vec<&str> = literals
                    .into_iter()
                    .flatten()
                    .map(String::as_str)
                    .collect();
                self.notes.push(format!(
                    "{named}: the policies ask for one of {}; the first is taken.",
                    all.join(", ")
                ));
            }
            None => self.notes.push(format!(
                "{named}: the policies read it, and nothing says where its values are. Set it here, or draw it in `sample:`."
            )),
        }
    }

    pub(super) fn spec(
        self,
        role: &str,
        about: String,
        sample: Option<String>,
    ) -> Noted<PersonaSpec> {
        Noted {
            value: PersonaSpec {
                role: role.to_owned(),
                claims: self.claims.into_iter().collect(),
                settings: self.settings,
                sample,
                about: Some(about),
            },
            notes: self.notes,
        }
    }
}

fn put_at(fields: &mut Map<String, Value>, path: &[String], value: &str) {
    match path {
        [] => {}
        [last] => {
            fields.insert(last.clone(), Value::String(value.to_owned()));
        }
        [first, rest @ ..] => {
            let inner = fields
                .entry(first.clone())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put_at(inner, rest, value);
            }
        }
    }
}

fn describe(claim: &Claim) -> String {
    if claim.path.is_empty() {
        format!("Setting {}", claim.setting)
    } else {
        format!("Claim {}", claim.path.join("."))
    }
}
