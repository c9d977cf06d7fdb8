use super::bloated_table::{aligned, alignment};
use super::measure::{number, percent, whole};
use super::sink::{Found, count, size};
use super::{Category, Facts, Sink, fix, rule};
use crate::model::{Index, ObjectKind, Severity, Table, TableKind};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A btree index over plain columns, of the whole table, that takes more than twice the space its entries need,
    /// 20 MB or more too much. It is an estimate, from the average width of each column, and on the high side: sharing of
    /// equal keys (since 13) is not counted. Indexes on expressions and partial ones are left out.
    ///
    /// ## Why it matters
    /// Deleted and moved entries leave pages half empty, which every scan of the index reads and the cache holds.
    ///
    /// ## What to do
    /// Rebuild it concurrently.
    /// ```sql,bad shown
    /// create index doc_code on doc (code);       -- 5,000,000 rows
    /// delete from doc where id % 10 <> 0;
    /// vacuum analyze doc;
    /// ```
    /// ```sql,good shown
    /// reindex index concurrently doc_code;
    /// ```
    "bloated-index" {
        summary: "an index that is mostly empty space",
        category: Category::Index,
        severity: Severity::Note,
        check: check,
    }
}

const MIN_WASTE: f64 = 20.0 * 1024.0 * 1024.0;
/// Percent of the index. One filled in random order is a third empty and that is well.
const MIN_SHARE: f64 = 50.0;
/// Page header and the tree's own data on each page.
const PAGE_OVERHEAD: f64 = 40.0;
const ENTRY_HEADER: f64 = 8.0;
const POINTER: f64 = 4.0;
/// The default of `fillfactor`, and what inner pages add.
const FILL: f64 = 0.9;
const INNER: f64 = 1.01;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let page = number(&facts.catalog.server, "block_size").unwrap_or(8192.0);
    for table in facts.catalog.tables.values() {
        let stored = matches!(
            table.kind,
            TableKind::Ordinary | TableKind::MaterializedView
        );
        // Dead rows have entries until VACUUM comes; that is another rule's.
        let Some(rows) = table.rows.filter(|_| stored && table.extension.is_none()) else {
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let rows = rows + table.activity.dead as f64;
        for index in &table.indexes {
            let Some(entry) = entry_width(index, table) else {
                continue;
            };
            let per_page = ((page - PAGE_OVERHEAD) * FILL / (entry + POINTER))
                .floor()
                .max(1.0);
            let needed = (rows / per_page).ceil() * INNER * page;
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let bytes = index.bytes as f64;
            let waste = bytes - needed;
            let share = percent(waste, bytes);
            if waste >= MIN_WASTE && share >= MIN_SHARE {
                report(index, rows, (bytes, waste, share), sink);
            }
        }
    }
}

fn report(index: &Index, rows: f64, (bytes, waste, share): (f64, f64, f64), sink: &mut Sink<'_>) {
    let found = Found::new(
        if share >= 80.0 {
            Severity::Warning
        } else {
            Severity::Note
        },
        ObjectKind::Index,
        &index.name,
        None,
        format!(
            "about {} of its {} are empty ({share:.0} %, an estimate): {} entries fit in {}",
            size(whole(waste)),
            size(whole(bytes)),
            count(rows),
            size(whole(bytes - waste))
        ),
    )
    .evidence("bytes", bytes)
    .evidence("waste_bytes_estimate", waste)
    .evidence("share_percent", share);
    // An exclusion constraint's index cannot be rebuilt beside the old one.
    sink.report(if index.exclusion {
        found.advice(format!(
            "reindex index {}; it blocks writers",
            quote::name(&index.name)
        ))
    } else {
        found.fix(fix::rebuild_index(&index.name))
    });
}

/// Bytes of an average entry; `None` where it cannot be told.
fn entry_width(index: &Index, table: &Table) -> Option<f64> {
    let whole = index.valid && index.predicate.is_none() && index.method == "btree";
    if !whole {
        return None;
    }
    let mut data = 0.0;
    let mut nulls = false;
    let keys = index.keys.iter().map(|k| k.column.as_deref());
    for name in keys.chain(index.include.iter().map(|c| Some(c.as_str()))) {
        let column = table.column(name?)?;
        let stats = column.stats.as_ref()?;
        nulls |= stats.null_fraction > 0.0;
        data = aligned(data, alignment(column));
        data += f64::from(stats.average_width) * (1.0 - stats.null_fraction);
    }
    let header = if nulls {
        2.0 * ENTRY_HEADER
    } else {
        ENTRY_HEADER
    };
    Some(aligned(header + data, 8.0))
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::{Catalog, ColumnStats, Index, IndexKey, Name};
    use crate::rules::traffic::fixture::{catalog, doc, judge};

    /// A million entries of 16 bytes and a pointer of 4 make 366 a page: 22.6 MB.
    fn with(bytes: u64) -> Catalog {
        let mut catalog = catalog();
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.columns[1].stats = Some(ColumnStats {
            average_width: 4,
            ..ColumnStats::default()
        });
        table.indexes.push(Index {
            name: Name::new("public", "doc_org"),
            method: "btree".to_owned(),
            valid: true,
            bytes,
            keys: vec![IndexKey {
                column: Some("org".to_owned()),
                ..IndexKey::default()
            }],
            ..Index::default()
        });
        catalog
    }

    #[test]
    fn size_against_what_the_entries_need() {
        let found = judge(&RULE, &with(120 << 20), &[]);
        assert!(found[0].message.starts_with("about 98."), "{found:?}");
        assert_eq!(
            found[0].fix.as_deref(),
            Some("reindex index concurrently public.doc_org;")
        );
        assert_eq!(judge(&RULE, &with(35 << 20), &[]), []);
        let mut partial = with(120 << 20);
        let table = partial.tables.get_mut(&doc()).unwrap();
        table.indexes[0].predicate = Some("(status = 1)".to_owned());
        assert_eq!(judge(&RULE, &partial, &[]), []);
    }
}
