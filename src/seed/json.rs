//! JSON documents with placeholders in them.

use super::random::Draw;
use super::template::{Lists, Row, Template};
use serde_json::{Map, Value};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(super) enum Document {
    Fixed(Value),
    Text(Template),
    Int(i64, i64),
    Bool(f64),
    Word(Arc<[String]>),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Document {
    pub(super) fn parse(value: &Value, lists: &Lists, columns: &[String]) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::parse(text, lists, columns)?),
            Value::Array(items) => Self::List(
                items
                    .iter()
                    .map(|item| Self::parse(item, lists, columns))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(fields) => {
                if let Some((key, argument)) = fields.iter().find(|(key, _)| key.starts_with('$')) {
                    return Self::drawn(key, argument, lists);
                }
                let fields = fields.iter().map(|(key, field)| {
                    Self::parse(field, lists, columns).map(|field| (key.clone(), field))
                });
                Self::Object(fields.collect::<Result<_, _>>()?)
            }
            fixed => Self::Fixed(fixed.clone()),
        })
    }

    fn drawn(key: &str, argument: &Value, lists: &Lists) -> Result<Self, String> {
        let range = || match argument.as_array()?.as_slice() {
            [from, to] => Some((from.as_i64()?, to.as_i64()?)).filter(|(from, to)| from <= to),
            _ => None,
        };
        match key {
            "$int" => range().map(|(from, to)| Self::Int(from, to)),
            "$bool" => argument.as_f64().map(Self::Bool),
            "$list" => argument
                .as_str()
                .and_then(|name| lists.get(name).cloned())
                .map(Self::Word),
            _ => None,
        }
        .ok_or_else(|| {
            format!("`{key}: {argument}` is none of $int: [FROM, TO], $bool: CHANCE, $list: NAME of a word list")
        })
    }

    pub(super) fn fill(&self, draw: &mut Draw, row: &impl Row) -> Value {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(template) => Value::String(template.fill(draw, row)),
            Self::Int(from, to) => draw.between(*from, *to).into(),
            Self::Bool(chance) => draw.chance(*chance).into(),
            Self::Word(list) => draw.pick(list).cloned().unwrap_or_default().into(),
            Self::List(items) => items.iter().map(|item| item.fill(draw, row)).collect(),
            Self::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(key, field)| (key.clone(), field.fill(draw, row)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    pub(super) fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Text(template) => vec![template],
            Self::List(items) => items.iter().flat_map(Self::templates).collect(),
            Self::Object(fields) => fields
                .iter()
                .flat_map(|(_, field)| field.templates())
                .collect(),
            _ => Vec::new(),
        }
    }
}
