//! SQL that mends what a rule found.

use crate::model::{Name, Table, TableKind};
use crate::sql::quote;

/// An index on plain columns, and what else there is to know about building it.
pub(super) fn create_index(
    name: &Name,
    table: &Table,
    columns: &[&str],
) -> (String, Option<String>) {
    let index = index_name(name, table, columns);
    let index = quote::ident(&index);
    let keys = columns
        .iter()
        .map(|c| quote::ident(c))
        .collect::<Vec<_>>()
        .join(", ");
    let on = quote::name(name);
    if table.kind == TableKind::Partitioned {
        let sql = format!("create index {index} on only {on} ({keys});");
        let words = "Then build it on each partition with `create index concurrently` and attach each with \
                     `alter index … attach partition`.";
        (sql, Some(words.to_owned()))
    } else {
        (
            format!("create index concurrently {index} on {on} ({keys});"),
            None,
        )
    }
}

pub(super) fn rebuild_index(name: &Name) -> String {
    format!("reindex index concurrently {};", quote::name(name))
}

pub(super) fn drop_index(name: &Name) -> String {
    format!("drop index concurrently {};", quote::name(name))
}

/// As PostgreSQL would name it, kept under the limit of 63 bytes and apart from the indexes there are.
pub(super) fn index_name(name: &Name, table: &Table, columns: &[&str]) -> String {
    let mut base = format!("{}_{}", name.name, columns.join("_"));
    while base.len() > 56 {
        base.pop();
    }
    let taken = |candidate: &str| table.indexes.iter().any(|i| i.name.name == candidate);
    let plain = format!("{base}_idx");
    if !taken(&plain) {
        return plain;
    }
    (1..1_000)
        .map(|n| format!("{base}_idx{n}"))
        .find(|candidate| !taken(candidate))
        .unwrap_or(plain)
}
