use super::measure::{float, option, percent};
use super::sink::{Found, count};
use super::{Category, Facts, Sink, rule};
use crate::model::{Index, Name, ObjectKind, Severity, Table, TableKind};
use crate::sql::{quote, words};
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A table with 10,000 updates or more of which at most half stayed on their page (HOT), and what keeps them from it:
    /// the indexes on columns that the updates of the workload set, or, where there is no such index, pages filled to the
    /// brim. One finding a table.
    ///
    /// ## Why it matters
    /// An update that changes an indexed column, or finds no room on its page, writes a new entry to every index of the
    /// table and leaves dead ones behind.
    ///
    /// ## What to do
    /// Drop the index on the column that is updated all the time if little uses it, or move the column to a table of its
    /// own. Where pages are full, leave room: `fillfactor = 90` (counts for pages written from then on).
    /// ```sql,bad shown
    /// create index on doc (seen_at);
    /// update doc set seen_at = now() where id = $1;   -- 1,000,000 calls, 0 % HOT
    /// ```
    /// ```sql,good shown
    /// alter table doc set (fillfactor = 90);
    /// update doc set seen_at = now() where id = $1;   -- 1,000,000 calls, 97 % HOT
    /// ```
    "non-hot-updates" {
        summary: "updates that write to every index of their table",
        category: Category::Index,
        check: check,
    }
}

const MIN_UPDATES: i64 = 10_000;
const MAX_HOT: f64 = 50.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let Some(traffic) = facts.traffic() else {
        return;
    };
    let mut set: BTreeMap<&Name, BTreeMap<&str, i64>> = BTreeMap::new();
    for used in &traffic.used {
        for (table, columns) in &used.written {
            for column in columns {
                let rows = set.entry(table).or_default();
                *rows.entry(column).or_default() += used.statement.rows.max(used.statement.calls);
            }
        }
    }
    for (name, table) in &facts.catalog.tables {
        let activity = &table.activity;
        let hot = percent(float(activity.hot_updated), float(activity.updated));
        let stored = table.kind == TableKind::Ordinary && table.extension.is_none();
        if !stored || activity.updated < MIN_UPDATES || hot > MAX_HOT || table.indexes.is_empty() {
            continue;
        }
        // Statements name the parent where the table is a partition.
        let assigned = set
            .get(name)
            .or_else(|| set.get(table.partition_of.as_ref()?));
        if let Some(assigned) = assigned {
            judge(facts, name, table, assigned, hot, sink);
        }
    }
}

fn judge(
    facts: &Facts<'_>,
    name: &Name,
    table: &Table,
    assigned: &BTreeMap<&str, i64>,
    hot: f64,
    sink: &mut Sink<'_>,
) {
    let summarising = facts.catalog.server.version_num >= 160_000;
    let breaking: Vec<(&Index, BTreeSet<String>)> = table
        .indexes
        .iter()
        .filter(|i| i.live && !(summarising && i.method == "brin"))
        .filter_map(|index| {
            let mut columns = columns(index);
            columns.retain(|c| assigned.contains_key(c.as_str()));
            (!columns.is_empty()).then_some((index, columns))
        })
        .collect();
    if breaking.is_empty() {
        full_pages(name, table, hot, sink);
        return;
    }
    let listed: Vec<String> = breaking
        .iter()
        .map(|(index, columns)| {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            format!("{} ({})", index.name, columns.join(", "))
        })
        .collect();
    let detail: Vec<_> = breaking
        .iter()
        .map(|(index, columns)| {
            let updates: i64 = columns.iter().filter_map(|c| assigned.get(c.as_str())).sum();
            serde_json::json!({
                "index": index.name.to_string(), "columns": columns, "updates": updates, "scans": index.scans,
            })
        })
        .collect();
    // A key, a policy's or a constraint's column is not given up for this.
    let free: Vec<&Index> = breaking
        .iter()
        .map(|(index, _)| *index)
        .filter(|i| !i.unique && i.constraint.is_none())
        .filter(|i| {
            let first = i.keys.first().and_then(|k| k.column.as_deref());
            !first.is_some_and(|column| facts.compares(name, column))
        })
        .collect();
    let written = float(table.activity.updated - table.activity.hot_updated);
    let found = Found::new(
        if free.is_empty() { Severity::Note } else { Severity::Warning },
        ObjectKind::Table,
        name,
        None,
        format!(
            "{} of {} updates wrote to all {} indexes ({hot:.0} % HOT), because the columns they set are indexed by {}",
            count(written),
            count(float(table.activity.updated)),
            table.indexes.len(),
            listed.join(", ")
        ),
    )
    .evidence("updated", table.activity.updated)
    .evidence("hot_updated", table.activity.hot_updated)
    .evidence("hot_percent", hot)
    .evidence("indexes", detail);
    sink.report(match free.iter().min_by_key(|i| i.scans) {
        Some(index) => found.advice(format!(
            "{} was used {} times; if that is worth less than the writes: drop index concurrently {};",
            index.name,
            index.scans,
            quote::name(&index.name)
        )),
        None => found.advice("Set the columns only when they change, or move them to a table of their own."),
    });
}

/// No index is in the way, so there was no room.
fn full_pages(name: &Name, table: &Table, hot: f64, sink: &mut Sink<'_>) {
    if option(table, "fillfactor").is_some_and(|v| v != "100") {
        return;
    }
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Table,
            name,
            None,
            format!(
                "{hot:.0} % of {} updates were HOT although no index has the columns they set: the pages are full (fillfactor 100)",
                count(float(table.activity.updated))
            ),
        )
        .evidence("updated", table.activity.updated)
        .evidence("hot_updated", table.activity.hot_updated)
        .evidence("hot_percent", hot)
        .fix(format!(
            "alter table {} set (fillfactor = 90);",
            quote::name(name)
        ))
        .advice("Counts for pages written from then on; a long transaction can keep pages full as well."),
    );
}

/// Every column the index depends on, its predicate's and expressions' too.
fn columns(index: &Index) -> BTreeSet<String> {
    let plain = index.keys.iter().filter_map(|k| k.column.clone());
    let expressions = index.keys.iter().filter_map(|k| k.expression.as_ref());
    let texts = expressions.chain(&index.predicate);
    plain
        .chain(index.include.iter().cloned())
        .chain(texts.filter_map(|text| words::columns(text)).flatten())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::{Catalog, Index, IndexKey, Name, Severity};
    use crate::rules::traffic::fixture::{catalog, doc, judge, statement};

    fn with(column: &str, hot_updated: i64) -> Catalog {
        let mut catalog = catalog();
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.activity.updated = 100_000;
        table.activity.hot_updated = hot_updated;
        table.indexes.push(Index {
            name: Name::new("public", "doc_x"),
            live: true,
            valid: true,
            keys: vec![IndexKey {
                column: Some(column.to_owned()),
                ..IndexKey::default()
            }],
            ..Index::default()
        });
        catalog
    }

    #[test]
    fn the_index_in_the_way_is_named() {
        let update = [statement(
            "update doc set seen = $1 where id = $2",
            100_000,
            0.1,
        )];
        let found = judge(&RULE, &with("seen", 500), &update);
        assert_eq!(found[0].severity, Severity::Warning);
        assert!(
            found[0].message.contains("indexed by public.doc_x (seen)"),
            "{found:?}"
        );
        assert_eq!(found[0].evidence["indexes"][0]["updates"], 100_000);
        assert_eq!(judge(&RULE, &with("seen", 80_000), &update), []);
        let full = judge(&RULE, &with("org", 500), &update);
        assert!(full[0].fix.as_ref().unwrap().contains("fillfactor = 90"));
        let mut roomy = with("org", 500);
        roomy.tables.get_mut(&doc()).unwrap().options = vec!["fillfactor=90".to_owned()];
        assert_eq!(judge(&RULE, &roomy, &update), [], "mended");
        assert_eq!(
            judge(&RULE, &with("seen", 500), &[]),
            [],
            "nobody knows what is set"
        );
    }

    #[test]
    fn predicates_and_brin() {
        let update = [statement(
            "update doc set seen = $1 where id = $2",
            100_000,
            0.1,
        )];
        let mut partial = with("org", 500);
        let table = partial.tables.get_mut(&doc()).unwrap();
        table.indexes[0].predicate = Some("(seen IS NULL)".to_owned());
        assert!(
            judge(&RULE, &partial, &update)[0]
                .message
                .contains("doc_x (seen)")
        );
        let mut brin = with("seen", 500);
        brin.tables.get_mut(&doc()).unwrap().indexes[0].method = "brin".to_owned();
        assert!(
            judge(&RULE, &brin, &update)[0]
                .message
                .contains("doc_x (seen)")
        );
        brin.server.version_num = 160_000;
        assert!(!judge(&RULE, &brin, &update)[0].message.contains("doc_x"));
    }
}
