//! Values that follow from a type alone.

use crate::model::Catalog;
use crate::sql::quote::literal;

/// A statement with values of the type, where it has few or where common ones are known.
pub(super) fn choices(kind: &str, catalog: &Catalog) -> Option<(String, &'static str)> {
    Some(match kind {
        "boolean" => (list(&["true", "false"]), "both values"),
        "interval" => (
            list(&["1 day", "7 days", "30 days"]),
            "common lengths: which one people ask for is not known",
        ),
        _ if is_enum(kind, catalog) => (
            format!(
                "select enumlabel::text from pg_catalog.pg_enum where enumtypid = {}::regtype order by enumsortorder",
                literal(kind).trim_start()
            ),
            "every value of the type",
        ),
        _ => return None,
    })
}

/// A value that is only passed through.
pub(super) fn any(kind: &str, catalog: &Catalog) -> Option<String> {
    if let Some((choices, _)) = choices(kind, catalog) {
        return Some(choices);
    }
    let value = match kind {
        "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" | "oid" => "1",
        "text" | "character varying" | "name" | "unknown" | "character" | "bytea" => "x",
        "date" | "timestamp without time zone" | "timestamp with time zone" => "2025-01-01",
        "json" | "jsonb" => "{}",
        "uuid" => "00000000-0000-0000-0000-000000000000",
        _ => return None,
    };
    Some(list(&[value]))
}

/// Values that no row has: for a column that must be unique.
pub(super) fn fresh(kind: &str, column: &str, table: &str) -> Option<String> {
    let value = match kind {
        "uuid" => "md5('dbtune ' || n)::uuid::text".to_owned(),
        "smallint" | "integer" | "bigint" | "numeric" => {
            format!("(coalesce((select max({column}) from {table}), 0) + n)::text")
        }
        "text" | "character varying" => "'dbtune ' || n".to_owned(),
        _ => return None,
    };
    Some(format!("select {value} from generate_series(1, 100) n"))
}

/// The values as rows.
pub(super) fn list(values: &[&str]) -> String {
    let values: Vec<String> = values
        .iter()
        .map(|v| format!("({})", literal(v).trim_start()))
        .collect();
    format!("values {}", values.join(", "))
}

fn is_enum(kind: &str, catalog: &Catalog) -> bool {
    catalog.tables.values().any(|t| {
        t.columns
            .iter()
            .any(|c| c.type_kind == 'e' && c.type_name == kind)
    })
}
