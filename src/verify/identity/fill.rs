//! What claims hold: settings out of values.

use super::asks::Asks;
use super::crowd::{Crowd, somebody};
use super::reader::{Reader, text};
use super::size::ways;
use crate::db::Result;
use crate::sql::quote;
use crate::sql::ties::{CLAIMS, Claim, Form};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a claim holds. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) values: Vec<String>,
    pub(super) form: Option<Form>,
    /// Numbers and booleans are written without quotes.
    pub(super) bare: bool,
}

impl Filled {
    pub(super) fn text(value: &str) -> Self {
        Self {
            values: vec![value.to_owned()],
            form: None,
            bare: false,
        }
    }

    /// The claim is left out, whatever every session must hold.
    pub(super) fn nothing() -> Self {
        Self {
            values: Vec::new(),
            form: None,
            bare: false,
        }
    }

    fn is_nothing(&self) -> bool {
        self.values.is_empty() && self.form.is_none()
    }

    fn json(&self) -> Value {
        match &self.form {
            None => self.values.first().map_or(Value::Null, |v| self.element(v)),
            Some(Form::Texts) => self.values.iter().cloned().map(Value::String).collect(),
            Some(Form::Json) => self.values.iter().map(|v| self.element(v)).collect(),
            Some(_) => Value::String(self.plain()),
        }
    }

    fn element(&self, value: &str) -> Value {
        let bare = self.bare.then(|| serde_json::from_str::<Value>(value).ok());
        match bare.flatten() {
            Some(scalar @ (Value::Number(_) | Value::Bool(_))) => scalar,
            _ => Value::String(value.to_owned()),
        }
    }

    fn plain(&self) -> String {
        match &self.form {
            None => self.values.first().cloned().unwrap_or_default(),
            Some(Form::Texts | Form::Json) => self.json().to_string(),
            Some(Form::Delimited(by)) => self.values.join(by),
            Some(Form::Array) => {
                let quoted = self.values.iter().map(|v| {
                    let inner = v.replace('\\', "\\\\").replace('"', "\\\"");
                    format!("\"{inner}\"")
                });
                format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// The settings of a session of `role` in which claims hold `values`, and beside them what every session must hold.
pub(super) fn settings(
    asks: &Asks,
    role: &str,
    values: &BTreeMap<Claim, Filled>,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for claim in &asks.needed {
        let filled = values.get(claim).cloned();
        let default = asks.defaults.get(claim).map(|text| Filled::text(text));
        let own = asks.role_claims.contains(claim).then(|| Filled::text(role));
        if let Some(filled) = filled.or(own).or(default) {
            all.insert(claim.clone(), filled);
        }
    }
    if asks.ties.documents().contains(CLAIMS) {
        let role_claim = Claim {
            setting: CLAIMS.to_owned(),
            path: vec!["role".to_owned()],
        };
        all.entry(role_claim).or_insert_with(|| Filled::text(role));
    }
    all.retain(|_, filled| !filled.is_nothing());
    let mut documents: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut settings = BTreeMap::new();
    for (claim, filled) in all {
        if claim.path.is_empty() {
            settings.insert(claim.setting, filled.plain());
        } else {
            let fields = documents.entry(claim.setting).or_default();
            put(fields, &claim.path, filled.json());
        }
    }
    let documents = documents.into_iter();
    settings.extend(documents.map(|(name, fields)| (name, Value::Object(fields).to_string())));
    settings
}

fn put(fields: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            fields.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = fields
                .entry(first.clone())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// Gives everyone in the crowd at `at` the other claims that belong to them: from a row that holds both, otherwise any.
pub(super) async fn beside(
    reader: &mut Reader<'_>,
    asks: &Asks,
    crowds: &mut [Crowd],
    at: usize,
) -> Result<()> {
    let others: Vec<(Claim, Option<Form>, bool, Option<String>)> = crowds
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != at)
        .map(|(_, c)| (c.claim.clone(), c.form.clone(), c.bare, somebody(c)))
        .collect();
    for (claim, form, bare, any) in others {
        let Some(crowd) = crowds.get_mut(at) else {
            return Ok(());
        };
        let all = crowd
            .people
            .iter()
            .filter_map(|p| p.values.first().cloned());
        let found = owned(reader, asks, &crowd.claim, &claim, all.collect()).await?;
        for one in &mut crowd.people {
            let own = one.values.first().and_then(|v| found.get(v));
            if let Some(value) = own.or(any.as_ref()) {
                let filled = Filled {
                    values: vec![value.clone()],
                    form: form.clone(),
                    bare,
                };
                one.beside.insert(claim.clone(), filled);
            }
        }
    }
    Ok(())
}

/// For values of one claim what another holds beside them in a table.
async fn owned(
    reader: &mut Reader<'_>,
    asks: &Asks,
    claim: &Claim,
    other: &Claim,
    values: Vec<String>,
) -> Result<BTreeMap<String, String>> {
    let subject = |claim: &Claim| asks.subjects.iter().find(|s| s.claim == *claim);
    let (Some(one), Some(other)) = (subject(claim), subject(other)) else {
        return Ok(BTreeMap::new());
    };
    let mut ways = ways(asks, one);
    // What sub-selects read says who belongs where; rows that policies guard only happen to name both.
    ways.sort_by_key(|w| !asks.ties.inner.contains(&w.table));
    let both = ways.into_iter().find_map(|way| {
        let table = asks.tables.get(&way.table)?;
        let column = table.columns.iter().find(|c| {
            let place = (way.table.clone(), c.name.clone());
            c.name != way.column
                && c.type_category != 'A'
                && other.places.iter().any(|p| asks.alike(p, &place))
        })?;
        Some((way, quote::ident(&column.name)))
    });
    let Some((way, column)) = both else {
        return Ok(BTreeMap::new());
    };
    let sql = format!(
        "select json_build_array({0}::text, min(m.{column}::text))::text from {1} \
         where {0}::text = any ($1::text[]) and m.{column} is not null group by {0} order by 1",
        way.user, way.from
    );
    let doing = "find what belongs to somebody";
    let rows = reader.ask(doing, &sql, &[values]).await?;
    let rows = rows.unwrap_or_default();
    let pairs = rows
        .iter()
        .filter_map(|row| Some((text(row, 0)?, text(row, 1)?)));
    Ok(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_numbers_are_written_as_they_are_read() {
        let of = |form, bare| Filled {
            values: vec!["7".to_owned(), "a\"b".to_owned()],
            form,
            bare,
        };
        assert_eq!(of(None, true).json().to_string(), "7");
        assert_eq!(of(None, false).json().to_string(), "\"7\"");
        assert_eq!(of(Some(Form::Json), true).plain(), r#"[7,"a\"b"]"#);
        assert_eq!(of(Some(Form::Texts), true).plain(), r#"["7","a\"b"]"#);
        assert_eq!(of(Some(Form::Array), true).plain(), r#"{"7","a\"b"}"#);
        let comma = Form::Delimited(",".to_owned());
        assert_eq!(of(Some(comma), true).plain(), "7,a\"b");
    }

    #[test]
    fn fields_of_fields() {
        let mut fields = Map::new();
        let path = ["a".to_owned(), "b".to_owned()];
        put(&mut fields, &path, Value::Bool(true));
        put(&mut fields, &path[..1], Value::Null);
        assert_eq!(Value::Object(fields).to_string(), r#"{"a":null}"#);
    }
}
