use super::sink::{Found, count};
use super::{Category, Facts, Sink, fix, rule};
use crate::model::{ForeignKey, Index, Name, ObjectKind, Severity, Table};

rule! {
    /// ## What it finds
    /// A foreign key of a table with many rows whose columns no usable index starts with, in any order.
    ///
    /// ## Why it matters
    /// Deleting a row of the referenced table, or changing its key, reads the whole referencing table once a row. Joins
    /// along the key do too.
    ///
    /// ## What to do
    /// Create an index on the foreign key's columns.
    /// ```sql,bad
    /// create table parent (id int primary key);
    /// insert into parent select generate_series(1, 1000);
    /// create table child (id int primary key, parent_id int not null references parent on delete cascade);
    /// insert into child select n, 1 + n % 1000 from generate_series(1, 20000) n;
    /// ```
    /// ```sql,good
    /// create table parent (id int primary key);
    /// insert into parent select generate_series(1, 1000);
    /// create table child (id int primary key, parent_id int not null references parent on delete cascade);
    /// create index on child (parent_id);
    /// insert into child select n, 1 + n % 1000 from generate_series(1, 20000) n;
    /// ```
    "unindexed-foreign-key" {
        summary: "a foreign key without an index on its columns",
        category: Category::Index,
        also: &["splinter 0001_unindexed_foreign_keys"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for name in facts.catalog.tables.keys() {
        let Some(table) = facts.large(name) else {
            continue;
        };
        for key in &table.foreign_keys {
            if !table.indexes.iter().any(|index| supports(index, key)) {
                report(facts, name, table, key, sink);
            }
        }
    }
}

/// Whether the index finds the rows of one referenced key.
pub(super) fn supports(index: &Index, key: &ForeignKey) -> bool {
    let leading: Vec<_> = index
        .keys
        .iter()
        .take(key.columns.len())
        .filter_map(|k| k.column.as_ref())
        .collect();
    // The checks look for values, so leaving out rows without one is all right; no other predicate is looked into.
    let whole = index.predicate.as_ref().is_none_or(|p| {
        key.columns.len() == 1
            && p == &format!(
                "({} IS NOT NULL)",
                crate::sql::quote::ident(&key.columns.concat())
            )
    });
    index.valid
        && index.ready
        && whole
        && matches!(index.method.as_str(), "btree" | "hash")
        && leading.len() == key.columns.len()
        && key.columns.iter().all(|c| leading.contains(&c))
}

fn report(facts: &Facts<'_>, name: &Name, table: &Table, key: &ForeignKey, sink: &mut Sink<'_>) {
    let rows = table.row_estimate();
    let parent = facts.catalog.table(&key.references);
    let deleted = parent.map_or(0, |p| p.activity.deleted);
    let follows = matches!(key.on_delete, 'c' | 'n' | 'd');
    let severity = if rows >= 10_000.0 && (follows || deleted > 0 || rows >= 100_000.0) {
        Severity::Warning
    } else {
        Severity::Note
    };
    let columns: Vec<&str> = key.columns.iter().map(String::as_str).collect();
    let (sql, words) = fix::create_index(name, table, &columns);
    let mut found = Found::new(
        severity,
        ObjectKind::Column,
        name,
        Some(&key.columns.join(", ")),
        format!(
            "foreign key {} to {} has no index: each row deleted there reads {} rows here ({} deleted so far)",
            key.name,
            key.references,
            count(rows),
            deleted
        ),
    )
    .evidence("rows", rows)
    .evidence("referenced_deletes", deleted)
    .evidence("on_delete", key.on_delete.to_string())
    .fix(sql);
    if let Some(words) = words {
        found = found.advice(words);
    }
    sink.report(found);
}
