use super::duplicate_index::needed;
use super::measure::{days, float};
use super::sink::{Found, count, size};
use super::unindexed_foreign_key::supports;
use super::{Category, Facts, Sink, rule};
use crate::model::{Index, Name, ObjectKind, Severity, Table, TableKind};

rule! {
    /// ## What it finds
    /// A table with five indexes or more, of which at least two were used less than once in a thousand writes that had to
    /// maintain them, 100,000 writes or more in a week or more. Left out: primary keys, unique and constraint indexes,
    /// those that support a foreign key or a policy, and those never used at all (`unused-index`).
    ///
    /// ## Why it matters
    /// Every insert, and every update that moves to another page, writes an entry to each of them.
    ///
    /// ## What to do
    /// See which of the rarely used indexes another one could stand in for, on replicas too, and drop those.
    /// ```sql,bad shown
    /// -- event: 9 indexes, 40,000,000 rows written; five of the indexes were used 200 times together
    /// insert into event (at, kind, payload) values (now(), $1, $2);
    /// ```
    /// ```sql,good shown
    /// -- event: 3 indexes, each used for more than it costs
    /// insert into event (at, kind, payload) values (now(), $1, $2);
    /// ```
    "over-indexed-table" {
        summary: "a table whose indexes are written far more than they are used",
        category: Category::Index,
        severity: Severity::Note,
        check: check,
    }
}

const MIN_INDEXES: usize = 5;
const MIN_WRITES: i64 = 100_000;
const WRITES_PER_SCAN: f64 = 1000.0;
const MIN_DAYS: f64 = 7.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    // A standby counts only its own scans.
    if server.in_recovery || days(server).is_none_or(|d| d < MIN_DAYS) {
        return;
    }
    for (name, table) in &facts.catalog.tables {
        let activity = &table.activity;
        let maintained = activity.inserted + (activity.updated - activity.hot_updated).max(0);
        let stored = table.kind == TableKind::Ordinary;
        if !stored || table.indexes.len() < MIN_INDEXES || maintained < MIN_WRITES {
            continue;
        }
        let rare: Vec<&Index> = table
            .indexes
            .iter()
            .filter(|i| is_rare(facts, name, table, i, maintained))
            .collect();
        if rare.len() >= 2 {
            report(name, table, &rare, maintained, sink);
        }
    }
}

fn is_rare(facts: &Facts<'_>, name: &Name, table: &Table, index: &Index, writes: i64) -> bool {
    let first = index.keys.first().and_then(|k| k.column.as_deref());
    index.valid
        && !index.unique
        && index.scans > 0
        && float(index.scans) * WRITES_PER_SCAN <= float(writes)
        && !needed(index, table)
        && !table.foreign_keys.iter().any(|key| supports(index, key))
        && !first.is_some_and(|column| facts.compares(name, column))
}

fn report(name: &Name, table: &Table, rare: &[&Index], writes: i64, sink: &mut Sink<'_>) {
    let scans: i64 = rare.iter().map(|i| i.scans).sum();
    let bytes: u64 = rare.iter().map(|i| i.bytes).sum();
    let names: Vec<String> = rare.iter().map(|i| i.name.to_string()).collect();
    let all: u64 = table.indexes.iter().map(|i| i.bytes).sum();
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Table,
            name,
            None,
            format!(
                "{} of its {} indexes were used {} times together, and written {} times each: {}",
                rare.len(),
                table.indexes.len(),
                count(float(scans)),
                count(float(writes)),
                names.join(", ")
            ),
        )
        .evidence("indexes", table.indexes.len())
        .evidence("rarely_used", names)
        .evidence("scans", scans)
        .evidence("index_writes_each", writes)
        .evidence("bytes", bytes)
        .evidence("index_bytes", all)
        .evidence("table_bytes", table.bytes)
        .advice(format!(
            "Without them: {} less, and {} index entries fewer to write since the statistics began. Look at replicas and rare jobs first.",
            size(bytes),
            count(float(writes) * float(i64::try_from(rare.len()).unwrap_or(0)))
        )),
    );
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::{Catalog, Index, Name};
    use crate::rules::traffic::fixture::{catalog, doc, judge};

    fn with(writes: i64, scans: [i64; 5]) -> Catalog {
        let mut catalog = catalog();
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.activity.inserted = writes;
        table.indexes = scans
            .iter()
            .enumerate()
            .map(|(n, scans)| Index {
                name: Name::new("public", format!("i{n}")),
                valid: true,
                scans: *scans,
                bytes: 1 << 20,
                ..Index::default()
            })
            .collect();
        catalog
    }

    #[test]
    fn rarely_used_beside_the_writes() {
        let found = judge(&RULE, &with(1_000_000, [5, 9_000, 40, 0, 80_000]), &[]);
        assert_eq!(
            found[0].evidence["rarely_used"],
            serde_json::json!(["public.i0", "public.i2"])
        );
        assert!(
            found[0].message.starts_with(
                "2 of its 5 indexes were used 45 times together, and written 1,000,000 times each"
            ),
            "{found:?}"
        );
        assert_eq!(
            judge(&RULE, &with(20_000, [5, 9_000, 4, 0, 80_000]), &[]),
            [],
            "few writes"
        );
        assert_eq!(
            judge(
                &RULE,
                &with(1_000_000, [5_000, 9_000, 4_000, 0, 80_000]),
                &[]
            ),
            []
        );
        let mut young = with(1_000_000, [5, 9_000, 40, 0, 80_000]);
        young.server.stats_since = young.server.read_at;
        assert_eq!(judge(&RULE, &young, &[]), []);
    }
}
