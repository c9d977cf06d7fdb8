use super::Derivation;
use crate::db::{ColumnShape, TableShape};
use crate::model::Gap;
use crate::seed::spec::{ArraySpec, DecimalSpec, Generator, SpanSpec};
use chrono::NaiveDate;
use serde_json::json;

impl Derivation<'_> {
    /// A generator of the column's type; `None`, and a gap, where there is none of it.
    pub(super) fn by_type(
        &mut self,
        table: &TableShape,
        column: &ColumnShape,
    ) -> Option<Generator> {
        let generator = if column.array {
            self.array(table, column)
        } else {
            scalar(column)
        };
        if generator.is_none() {
            let fate = match (column.has_default, column.not_null) {
                (true, _) => "it takes its default",
                (false, false) => "it stays NULL",
                (false, true) => {
                    "and it is NOT NULL without a default, so the table cannot be filled"
                }
            };
            self.gaps.push(Gap {
                what: format!("{}.{}", table.name, column.name),
                why: format!("no generator for the type {}: {fate}", column.full_type),
                remedy: None,
            });
        }
        generator
    }

    fn array(&mut self, table: &TableShape, column: &ColumnShape) -> Option<Generator> {
        let list = if !column.labels.is_empty() {
            let list = format!("labels of {}.{}", table.name, column.name);
            self.lists.insert(list.clone(), column.labels.clone());
            list
        } else if is_text(column) {
            "word".to_owned()
        } else if matches!(
            column.type_name.as_str(),
            "int2" | "int4" | "int8" | "numeric"
        ) {
            let list = "numbers".to_owned();
            let numbers = (1..=50).map(|n| n.to_string()).collect();
            self.lists.insert(list.clone(), numbers);
            list
        } else {
            return None;
        };
        Some(Generator::Array(ArraySpec {
            of: list,
            count: (0, 3),
        }))
    }
}

fn scalar(column: &ColumnShape) -> Option<Generator> {
    if !column.labels.is_empty() {
        let weights = column
            .labels
            .iter()
            .map(|label| (label.clone(), 1))
            .collect();
        return Some(Generator::Choice(weights));
    }
    Some(match column.type_name.as_str() {
        "uuid" => Generator::Uuid,
        "bool" => Generator::Bool(0.5),
        "int2" => Generator::Int(0, 100),
        "int4" | "int8" | "oid" => Generator::Int(0, 1_000),
        "float4" | "float8" => decimal(1_000.0, 3),
        "numeric" => numeric(column),
        "date" => Generator::Date(year(false)?),
        "timestamp" | "timestamptz" => Generator::Timestamp(year(true)?),
        // Seconds.
        "time" | "interval" => Generator::Int(0, 86_399),
        "json" | "jsonb" => {
            Generator::Json(json!({"word": "{word}", "number": {"$int": [1, 100]}}))
        }
        "inet" | "cidr" => Generator::Inet,
        "bytea" => Generator::Text("{word}".to_owned()),
        _ if is_text(column) => Generator::Text(text(column)),
        _ => return None,
    })
}

pub(super) fn is_text(column: &ColumnShape) -> bool {
    matches!(
        column.type_name.as_str(),
        "text" | "varchar" | "bpchar" | "name" | "citext"
    )
}

/// The most characters a value may have.
pub(super) fn length(column: &ColumnShape) -> Option<usize> {
    modifiers(column).first().copied()
}

fn text(column: &ColumnShape) -> String {
    let name = column.name.as_str();
    let template = if name.contains("email") {
        "{lower:first_name}.{lower:last_name}@mail.example"
    } else if name.contains("first_name") {
        "{first_name}"
    } else if name.contains("last_name") {
        "{last_name}"
    } else if name.contains("full_name") {
        "{first_name} {last_name}"
    } else if name.contains("phone") {
        "555-01{digits:2}"
    } else if name.contains("city") {
        "{city}"
    } else {
        "{word} {word}"
    };
    match length(column) {
        // The longest of what the templates above yield.
        Some(length) if length < 40 => format!("{{letters:{}}}", length.min(12)),
        _ => template.to_owned(),
    }
}

fn numeric(column: &ColumnShape) -> Generator {
    match modifiers(column).as_slice() {
        [precision, places] => {
            let places = u8::try_from(*places).unwrap_or(9).min(9);
            let whole = precision.saturating_sub(usize::from(places)).min(3);
            let limit = 10_f64.powi(i32::try_from(whole).unwrap_or(3));
            decimal(limit - 1.0, places)
        }
        _ => decimal(1_000.0, 2),
    }
}

fn decimal(to: f64, places: u8) -> Generator {
    // A scale without whole digits leaves only fractions; zero is one of them.
    Generator::Decimal(DecimalSpec {
        from: 0.0,
        to: to.max(0.0),
        places,
    })
}

/// `(20)` of `character varying(20)`, `(10,2)` of `numeric(10,2)`.
fn modifiers(column: &ColumnShape) -> Vec<usize> {
    let inside = column
        .full_type
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(inside, _)| inside);
    inside
        .into_iter()
        .flat_map(|list| list.split(','))
        .filter_map(|n| n.trim().parse().ok())
        .collect()
}

fn year(rising: bool) -> Option<SpanSpec> {
    Some(SpanSpec {
        from: NaiveDate::from_ymd_opt(2025, 1, 1)?,
        to: NaiveDate::from_ymd_opt(2026, 1, 1)?,
        rising,
    })
}
