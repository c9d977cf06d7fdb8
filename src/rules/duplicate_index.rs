use super::sink::{Found, size};
use super::{Category, FEW_ROWS, Facts, Sink, fix, rule};
use crate::model::{Index, ObjectKind, Severity, Table};

rule! {
    /// ## What it finds
    /// Two valid indexes of one table with the same method, keys, included columns, predicate and uniqueness.
    ///
    /// ## Why it matters
    /// One of them is never needed: it costs disk space, memory and a write for each row written.
    ///
    /// ## What to do
    /// Drop the one that no constraint needs.
    /// ```sql,bad
    /// create table doc (id int primary key, tag int);
    /// insert into doc select n, n from generate_series(1, 2000) n;
    /// create index doc_tag on doc (tag);
    /// create index doc_tag_again on doc (tag);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, tag int);
    /// insert into doc select n, n from generate_series(1, 2000) n;
    /// create index doc_tag on doc (tag);
    /// create index doc_tag_desc on doc (tag desc, id);
    /// ```
    "duplicate-index" {
        summary: "two indexes that are the same",
        category: Category::Index,
        also: &["splinter 0009_duplicate_index"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for table in facts.catalog.tables.values() {
        if table.row_estimate() < FEW_ROWS {
            continue;
        }
        let mut dropped = Vec::new();
        for (at, one) in table.indexes.iter().enumerate() {
            for other in table.indexes.iter().skip(at + 1) {
                if !same(one, other) {
                    continue;
                }
                let (keep, drop) =
                    if needed(one, table) || !needed(other, table) && one.scans >= other.scans {
                        (one, other)
                    } else {
                        (other, one)
                    };
                if !dropped.contains(&drop.oid) {
                    dropped.push(drop.oid);
                    report(table, keep, drop, sink);
                }
            }
        }
    }
}

fn same(a: &Index, b: &Index) -> bool {
    a.valid
        && b.valid
        && a.partition_of.is_none()
        && b.partition_of.is_none()
        && a.method == b.method
        && a.unique == b.unique
        && a.nulls_not_distinct == b.nulls_not_distinct
        && a.exclusion == b.exclusion
        && a.keys == b.keys
        && a.include == b.include
        && a.predicate == b.predicate
}

/// Whether something other than queries depends on the index.
pub(super) fn needed(index: &Index, table: &Table) -> bool {
    let referenced = index.constraint.is_some() || index.primary || index.exclusion;
    referenced || index.replica_identity || index.clustered || table.extension.is_some()
}

fn report(table: &Table, keep: &Index, drop: &Index, sink: &mut Sink<'_>) {
    let found = Found::new(
        Severity::Warning,
        ObjectKind::Index,
        &drop.name,
        None,
        format!(
            "is the same as {} ({}, {} scans)",
            keep.name,
            size(drop.bytes),
            drop.scans
        ),
    )
    .evidence("same_as", keep.name.to_string())
    .evidence("bytes", drop.bytes)
    .evidence("scans", drop.scans);
    sink.report(if needed(drop, table) {
        found.advice("Both belong to something: drop one of the two constraints.")
    } else if table.kind == crate::model::TableKind::Partitioned {
        // A partitioned index cannot be dropped concurrently.
        found.fix(format!(
            "drop index {};",
            crate::sql::quote::name(&drop.name)
        ))
    } else {
        found.fix(fix::drop_index(&drop.name))
    });
}
