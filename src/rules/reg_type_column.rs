use super::exposure;
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity, TableKind};
use crate::sql::quote;

/// Types whose values are object ids that `pg_upgrade` does not keep.
const TYPES: [&str; 8] = [
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
];

rule! {
    /// ## What it finds
    /// A stored column of a type that names a system object by its number, other than `regclass`, `regrole` and
    /// `regtype`.
    ///
    /// ## Why it matters
    /// `pg_upgrade` refuses to upgrade a cluster with such a column, because the numbers are not the same afterwards. A
    /// managed server cannot be upgraded until it is gone.
    ///
    /// ## What to do
    /// Store the name as text and cast where it is used.
    /// ```sql,bad
    /// create table job (id int primary key, callback regprocedure);
    /// ```
    /// ```sql,good
    /// create table job (id int primary key, callback text);
    /// ```
    "reg-type-column" {
        summary: "a column's type keeps pg_upgrade from upgrading the server",
        category: Category::Safety,
        also: &["splinter 0018_unsupported_reg_types"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        let stored = matches!(
            table.kind,
            TableKind::Ordinary | TableKind::Partitioned | TableKind::MaterializedView
        );
        if !stored || table.extension.is_some() || exposure::platform(&name.schema) {
            continue;
        }
        for column in &table.columns {
            let base = column.type_name.trim_end_matches("[]");
            if !TYPES.contains(&base) {
                continue;
            }
            let sql = quote::ident(&column.name);
            let change = if table.kind == TableKind::MaterializedView {
                "Let the query cast it to text.".to_owned()
            } else {
                let array = if base == column.type_name { "" } else { "[]" };
                format!(
                    "alter table {} alter column {sql} type text{array} using {sql}::text{array}; rewrites the table \
                     under an exclusive lock.",
                    quote::name(name)
                )
            };
            sink.report(
                Found::new(
                    Severity::Warning,
                    ObjectKind::Column,
                    name,
                    Some(&column.name),
                    format!("is of type {}, which pg_upgrade refuses", column.type_name),
                )
                .evidence("type", column.type_name.clone())
                .advice(change),
            );
        }
    }
}
