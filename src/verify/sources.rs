//! Where the values of made-up rows come from: who the identities are, what policies and the functions they reach compare with,
//! and the clock.

use super::pool::Sources;
use super::side::Side;
use crate::db::{Result, Session};
use crate::model::{Catalog, Persona};
use crate::sql::said::said;
use crate::sql::words::words;
use std::collections::BTreeSet;

/// How deep functions that call functions are followed.
const DEPTH: usize = 6;

/// From both sides.
pub(super) async fn sources(
    session: &Session,
    sides: [(&Side, &Catalog); 2],
    personas: &[Persona],
) -> Result<Sources> {
    let mut found = Sources {
        times: times(session).await?,
        ..Sources::default()
    };
    for persona in personas {
        for value in persona.settings.values() {
            leaves(value, &mut found.claims);
        }
    }
    for (side, catalog) in sides {
        for text in reached(side, catalog) {
            if let Some(said) = said(&text) {
                found.constants.extend(said.strings);
                found.constants.extend(said.numbers);
            }
        }
    }
    Ok(found)
}

/// The texts of all policies and of the functions that they name, and that those name in turn.
pub(super) fn reached(side: &Side, catalog: &Catalog) -> Vec<String> {
    let mut texts: Vec<String> = side
        .tables
        .values()
        .flat_map(|t| &t.policies)
        .flat_map(|p| [&p.using, &p.check])
        .flatten()
        .cloned()
        .collect();
    let mut known = BTreeSet::new();
    let mut from = 0;
    for _ in 0..DEPTH {
        let spoken: BTreeSet<String> = texts
            .get(from..)
            .unwrap_or_default()
            .iter()
            .filter_map(|t| words(t))
            .flatten()
            .collect();
        from = texts.len();
        for function in &catalog.functions {
            if spoken.contains(&function.name.name) && known.insert(function.oid) {
                texts.push(function.body.clone());
            }
        }
    }
    texts
}

/// A setting's value, and what stands in it where it is JSON.
fn leaves(value: &str, found: &mut BTreeSet<String>) {
    fn walk(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::String(text) => {
                found.insert(text.clone());
            }
            serde_json::Value::Number(number) => {
                found.insert(number.to_string());
            }
            serde_json::Value::Array(all) => all.iter().for_each(|v| walk(v, found)),
            serde_json::Value::Object(all) => all.values().for_each(|v| walk(v, found)),
            serde_json::Value::Bool(_) | serde_json::Value::Null => {}
        }
    }
    match serde_json::from_str::<serde_json::Value>(value) {
        Ok(json) if json.is_object() || json.is_array() => walk(&json, found),
        _ => {
            found.insert(value.to_owned());
        }
    }
}

/// Around the server's clock.
async fn times(session: &Session) -> Result<Vec<String>> {
    session
        .texts(
            "read the server's clock",
            "select (date_trunc('second', now()) + i)::text from unnest(array[
               '-400 days', '-31 days', '-1 hour', '1 hour', '31 days', '400 days']::interval[]) i order by i",
        )
        .await
}
