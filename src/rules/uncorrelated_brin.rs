use super::sink::{Found, count, size};
use super::{Category, Facts, Sink, rule};
use crate::model::{Index, ObjectKind, Severity, Table};

rule! {
    /// ## What it finds
    /// A BRIN index on a column whose values lie in no order in the table (correlation under 0.5 either way), on a
    /// table of at least two of its block ranges. Bloom and multi-range operator classes, made for that, are left out.
    ///
    /// ## Why it matters
    /// It keeps the smallest and largest value of each range of pages. Where every range has all values it excludes none,
    /// and each scan reads the whole table, with the policy evaluated on every row.
    ///
    /// ## What to do
    /// Replace it by a btree index, or by a BRIN index with a `minmax_multi` or `bloom` operator class.
    /// ```sql,bad
    /// create table doc (id int primary key, org int, title text);
    /// insert into doc select n, (n * 7919) % 1000, repeat('x', 50) from generate_series(1, 50000) n;
    /// create index doc_org on doc using brin (org);
    /// analyze doc;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int, title text);
    /// insert into doc select n, n / 50, repeat('x', 50) from generate_series(1, 50000) n;
    /// create index doc_org on doc using brin (org);
    /// analyze doc;
    /// ```
    "uncorrelated-brin" {
        summary: "a BRIN index on values that lie in no order",
        category: Category::Index,
        check: check,
    }
}

const MIN_CORRELATION: f64 = 0.5;
/// Two ranges of the usual 128 pages: with one there is nothing to exclude.
const MIN_PAGES: i64 = 256;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for table in facts.catalog.tables.values() {
        let brins = table
            .indexes
            .iter()
            .filter(|i| i.method == "brin" && i.valid);
        for index in brins.filter(|_| table.pages >= MIN_PAGES) {
            judge(table, index, sink);
        }
    }
}

fn judge(table: &Table, index: &Index, sink: &mut Sink<'_>) {
    let correlations: Option<Vec<(&str, f64)>> = index
        .keys
        .iter()
        .map(|key| {
            let name = key.column.as_deref()?;
            let stats = table.column(name)?.stats.as_ref()?;
            // Inclusion, multi-range and bloom classes work without order.
            key.opclass.is_none().then_some((name, stats.correlation?))
        })
        .collect();
    // One column in order is what a scan may go by.
    let Some(correlations) = correlations.filter(|c| !c.is_empty()) else {
        return;
    };
    if correlations.iter().any(|(_, c)| c.abs() >= MIN_CORRELATION) {
        return;
    }
    let shown: Vec<String> = correlations
        .iter()
        .map(|(name, c)| format!("{name} {c:.2}"))
        .collect();
    sink.report(
        Found::new(
            Severity::Warning,
            ObjectKind::Index,
            &index.name,
            None,
            format!(
                "is BRIN on values in no order (correlation: {}): nearly every range of the {} rows ({}) matches",
                shown.join(", "),
                count(table.row_estimate()),
                size(table.bytes)
            ),
        )
        .evidence(
            "correlation",
            correlations.iter().map(|(_, c)| *c).collect::<Vec<_>>(),
        )
        .evidence("pages", table.pages)
        .evidence("scans", index.scans)
        .advice(format!(
            "Create a btree index on the same columns, then: drop index concurrently {};",
            crate::sql::quote::name(&index.name)
        )),
    );
}
