use super::duplicate_index::needed;
use super::sink::{Found, size};
use super::unindexed_foreign_key::supports;
use super::unreachable_partial_index::unreachable;
use super::{Category, FEW_ROWS, Facts, Sink, rule};
use crate::model::{Index, Name, ObjectKind, Severity, Table, TableKind};
use chrono::TimeDelta;

rule! {
    /// ## What it finds
    /// An index that no query has used since the statistics began, a week ago or more. Left out: unique indexes, indexes
    /// of constraints and replica identities, and indexes that support a foreign key or a policy.
    ///
    /// ## Why it matters
    /// Every write maintains it, it takes space, and it may keep updates from staying on their page.
    ///
    /// ## What to do
    /// Make sure that no replica and no monthly job uses it, then drop it concurrently.
    /// ```sql,bad
    /// create table doc (id int primary key, tag int, title text);
    /// insert into doc select n, n, 'title' from generate_series(1, 20000) n;
    /// create index doc_tag on doc (tag);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, tag int, title text);
    /// insert into doc select n, n, 'title' from generate_series(1, 20000) n;
    /// create index doc_tag on doc (tag);
    /// analyze doc;
    /// set enable_seqscan = off;
    /// select count(*) from doc where tag = 1;
    /// ```
    "unused-index" {
        summary: "an index that no query has used",
        category: Category::Index,
        also: &["splinter 0005_unused_index"],
        check: check,
    }
}

/// Statistics younger than this say nothing about weekly work.
const MIN_DAYS: i64 = 7;
/// Smaller indexes are not worth a word.
const MIN_BYTES: u64 = 128 * 1024;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    let unused: Vec<(&Table, &Index)> = facts
        .catalog
        .tables
        .iter()
        .filter(|(_, t)| t.row_estimate() >= FEW_ROWS && t.kind != TableKind::Partitioned)
        .flat_map(|(name, table)| table.indexes.iter().map(move |index| (name, table, index)))
        .filter(|(name, table, index)| is_unused(facts, name, table, index))
        .map(|(_, table, index)| (table, index))
        .collect();
    if unused.is_empty() {
        return;
    }
    let age = server
        .read_at
        .zip(server.stats_since)
        .map(|(now, since)| now - since);
    let Some(age) = age.filter(|age| *age >= TimeDelta::days(MIN_DAYS)) else {
        let days = age.map_or(0, |a| a.num_days());
        sink.gap(
            format!(
                "indexes without a scan so far: {}; the statistics count for {days} days only, {MIN_DAYS} are needed",
                unused.len()
            ),
            None,
        );
        return;
    };
    if server.in_recovery {
        sink.gap(
            "a standby counts only its own scans",
            Some("Run the audit on the primary.".to_owned()),
        );
        return;
    }
    for (table, index) in unused {
        report(table, index, age.num_days(), sink);
    }
}

fn is_unused(facts: &Facts<'_>, name: &Name, table: &Table, index: &Index) -> bool {
    let first = index.keys.first().and_then(|k| k.column.as_deref());
    index.scans == 0
        && index.valid
        && !index.unique
        && index.partition_of.is_none()
        && index.bytes >= MIN_BYTES
        && !needed(index, table)
        && !table.foreign_keys.iter().any(|key| supports(index, key))
        && !first.is_some_and(|column| facts.compares(name, column))
        // Where it is known why, that is said instead.
        && unreachable(facts, name, table, index).is_none()
}

fn report(table: &Table, index: &Index, days: i64, sink: &mut Sink<'_>) {
    let activity = &table.activity;
    let writes = activity.inserted + activity.updated + activity.deleted;
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Index,
            &index.name,
            None,
            format!(
                "no query has used it in {days} days of statistics; it takes {} and {writes} rows were written meanwhile",
                size(index.bytes)
            ),
        )
        .evidence("days", days)
        .evidence("bytes", index.bytes)
        .evidence("writes", writes)
        .advice(format!(
            "If no replica and no rare job uses it: drop index concurrently {};",
            crate::sql::quote::name(&index.name)
        )),
    );
}
