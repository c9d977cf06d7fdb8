//! Where the values of made-up rows come from: who the identities are, what policies and the functions they reach compare with,
//! and the clock.

use super::pool::Sources;
use super::side::Side;
use super::tuples::SCHEMA;
use crate::db::{Result, Session};
use crate::model::{Catalog, Name, Persona};
use crate::sql::quote;
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
    changed: &BTreeSet<Name>,
) -> Result<Sources> {
    let mut found = Sources {
        ..Sources::default()
    };
    for persona in personas {
        for value in persona.settings.values() {
            leaves(value, &mut found.claims);
        }
    }
    for (side, catalog) in sides {
        // What changed is reached somehow, be it through an operator or a cast.
        let functions = catalog.functions.iter();
        let bodies = functions
            .filter(|f| changed.contains(&f.name))
            .map(|f| f.body.clone());
        for text in reached(side, catalog).into_iter().chain(bodies) {
            if let Some(said) = said(&text) {
                found.constants.extend(said.strings);
                found.constants.extend(said.numbers);
            }
        }
    }
    found.times = times(session, &found.constants).await?;
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

/// Around the server's clock, and on either side of every interval that is compared with.
async fn times(session: &Session, constants: &BTreeSet<String>) -> Result<Vec<String>> {
    let texts: Vec<String> = constants.iter().map(|c| quote::literal(c)).collect();
    let sql = format!(
        "with said as (select case when {SCHEMA}.takes('interval', c) then c::interval end as i from unnest(array[{}]::text[]) c),
           near as (select i from said where abs(extract(epoch from i)) between 1 and 3e9 order by i limit 12)
         select (date_trunc('second', now()) + d)::text from (
           select unnest(array['-400 days', '-31 days', '-1 hour', '1 hour', '31 days', '400 days']::interval[]) as d
           union select s * i + e from near, unnest(array[1, -1]) s, unnest(array['-1 minute', '1 minute']::interval[]) e) t
         order by d",
        texts.join(", ")
    );
    session.texts("read the server's clock", &sql).await
}
