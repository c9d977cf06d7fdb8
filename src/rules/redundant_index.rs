use super::duplicate_index::needed;
use super::sink::{Found, size};
use super::{Category, FEW_ROWS, Facts, Sink, rule};
use crate::model::{Index, ObjectKind, Severity};

rule! {
    /// ## What it finds
    /// A btree index whose keys are the first keys of another one with the same predicate, or the same keys as a unique
    /// one.
    ///
    /// ## Why it matters
    /// The longer index answers the same queries, so the shorter one mostly costs writes and space. It is smaller,
    /// though, and may be preferred for counting or by statements on a replica: a note, not an order.
    ///
    /// ## What to do
    /// Look at the scans of both, on replicas too, then drop the shorter one.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid, created_at timestamptz);
    /// insert into doc select n, gen_random_uuid(), now() from generate_series(1, 2000) n;
    /// create index on doc (owner_id);
    /// create index on doc (owner_id, created_at desc);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid, created_at timestamptz);
    /// insert into doc select n, gen_random_uuid(), now() from generate_series(1, 2000) n;
    /// create index on doc (owner_id, created_at desc);
    /// create index on doc (created_at);
    /// ```
    "redundant-index" {
        summary: "an index that is the beginning of another one",
        category: Category::Index,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for table in facts.catalog.tables.values() {
        if table.row_estimate() < FEW_ROWS {
            continue;
        }
        for index in table
            .indexes
            .iter()
            .filter(|i| !i.unique && !needed(i, table))
        {
            let longer = table.indexes.iter().find(|other| begins(index, other));
            if let Some(longer) = longer {
                report(index, longer, sink);
            }
        }
    }
}

/// Whether everything `index` can answer, `other` can too, in the same order.
fn begins(index: &Index, other: &Index) -> bool {
    let prefix = other.keys.len() >= index.keys.len()
        && index.keys.iter().zip(&other.keys).all(|(a, b)| a == b);
    let longer = other.keys.len() > index.keys.len()
        || other.unique
        || other.include.len() > index.include.len();
    let covers = index.include.iter().all(|column| {
        other.include.contains(column)
            || other.keys.iter().any(|k| k.column.as_ref() == Some(column))
    });
    index.oid != other.oid
        && index.valid
        && other.valid
        && index.partition_of.is_none()
        && index.method == "btree"
        && other.method == "btree"
        && index.predicate == other.predicate
        && prefix
        && longer
        && covers
}

fn report(index: &Index, longer: &Index, sink: &mut Sink<'_>) {
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Index,
            &index.name,
            None,
            format!(
                "is the beginning of {} ({}, {} scans against {})",
                longer.name,
                size(index.bytes),
                index.scans,
                longer.scans
            ),
        )
        .evidence("covered_by", longer.name.to_string())
        .evidence("bytes", index.bytes)
        .evidence("scans", index.scans)
        .evidence("covering_bytes", longer.bytes)
        .advice(format!(
            "If no replica prefers the smaller one: drop index concurrently {};",
            crate::sql::quote::name(&index.name)
        )),
    );
}
