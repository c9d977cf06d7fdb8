use super::measure::{float, number, option, percent, whole};
use super::sink::{Found, count, size};
use super::{Category, Facts, Sink, rule};
use crate::model::{Column, ObjectKind, Severity, Table, TableKind};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A table that takes more than twice the pages its rows need, 20 MB or more too much. It is an estimate, from the
    /// average width of each column: dead rows that wait for VACUUM are not counted (that is `dead-rows`), and columns
    /// without statistics mean no finding.
    ///
    /// ## Why it matters
    /// Every sequential scan reads the empty pages too, and they push others out of memory. VACUUM makes the space usable
    /// for new rows but does not give it back.
    ///
    /// ## What to do
    /// If the table will not grow back into it, rewrite it: `pg_repack` without stopping anybody, `vacuum full` with an
    /// exclusive lock. Then keep it from happening again by an earlier autovacuum.
    /// ```sql,bad shown
    /// insert into doc select n, repeat('x', 200) from generate_series(1, 1000000) n;
    /// delete from doc where id % 10 <> 0;
    /// vacuum analyze doc;
    /// ```
    /// ```sql,good shown
    /// insert into doc select n, repeat('x', 200) from generate_series(1, 1000000) n;
    /// vacuum analyze doc;
    /// ```
    "bloated-table" {
        summary: "a table that is mostly empty space",
        category: Category::Index,
        severity: Severity::Note,
        also: &["splinter 0020_table_bloat"],
        check: check,
    }
}

const MIN_WASTE: f64 = 20.0 * 1024.0 * 1024.0;
/// Percent of the table.
const MIN_SHARE: f64 = 50.0;
/// Page header, and line pointer of each row.
const PAGE_HEADER: f64 = 24.0;
const POINTER: f64 = 4.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let page = number(&facts.catalog.server, "block_size").unwrap_or(8192.0);
    for (name, table) in &facts.catalog.tables {
        let stored = matches!(
            table.kind,
            TableKind::Ordinary | TableKind::MaterializedView
        );
        if !stored || table.extension.is_some() {
            continue;
        }
        let Some(width) = row_width(table) else {
            continue;
        };
        let fill = option(table, "fillfactor")
            .and_then(|v| v.parse().ok())
            .unwrap_or(100.0)
            / 100.0;
        let rows = table.rows.unwrap_or(0.0) + float(table.activity.dead);
        let per_page = ((page - PAGE_HEADER) * fill / (width + POINTER))
            .floor()
            .max(1.0);
        let needed = (rows / per_page).ceil();
        let pages = float(table.pages);
        let waste = (pages - needed) * page;
        let share = percent(pages - needed, pages);
        if waste < MIN_WASTE || share < MIN_SHARE {
            continue;
        }
        sink.report(
            Found::new(
                if share >= 80.0 { Severity::Warning } else { Severity::Note },
                ObjectKind::Table,
                name,
                None,
                format!(
                    "about {} of its {} are empty ({share:.0} %, an estimate): {} rows of {width:.0} bytes fit in {}",
                    size(whole(waste)),
                    size(whole(pages * page)),
                    count(rows),
                    size(whole(needed * page))
                ),
            )
            .evidence("pages", table.pages)
            .evidence("pages_needed_estimate", needed)
            .evidence("waste_bytes_estimate", waste)
            .evidence("share_percent", share)
            .evidence("row_bytes_estimate", width)
            .advice(format!(
                "If it will not grow back: pg_repack, or, with an exclusive lock while it runs, vacuum (full, analyze) {};",
                quote::name(name)
            )),
        );
    }
}

/// Bytes of an average row with its header; `None` without statistics on every column.
fn row_width(table: &Table) -> Option<f64> {
    const HEADER: f64 = 23.0;
    let nulls = table
        .columns
        .iter()
        .any(|c| c.stats.as_ref().is_some_and(|s| s.null_fraction > 0.0));
    let columns = float(i64::try_from(table.columns.len()).ok()?);
    let bitmap = if nulls { (columns / 8.0).ceil() } else { 0.0 };
    let mut data = 0.0;
    for column in &table.columns {
        // A virtual column takes no room, yet has statistics of its own on newer servers.
        let stats = column.stats.as_ref()?;
        data = aligned(data, alignment(column));
        data += f64::from(stats.average_width) * (1.0 - stats.null_fraction);
    }
    (columns > 0.0).then(|| aligned(aligned(HEADER + bitmap, 8.0) + data, 8.0))
}

/// Where a value may begin. Short values of variable length begin anywhere.
pub(super) fn alignment(column: &Column) -> f64 {
    let width = column.stats.as_ref().map_or(0, |s| s.average_width);
    match (column.type_name.as_str(), width) {
        ("uuid" | "name", _) => 1.0,
        (_, 2) => 2.0,
        (_, 4) => 4.0,
        (_, 8) | ("interval", _) => 8.0,
        _ => 1.0,
    }
}

pub(super) fn aligned(offset: f64, to: f64) -> f64 {
    (offset / to).ceil() * to
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::{Catalog, ColumnStats};
    use crate::rules::traffic::fixture::{catalog, doc, judge};

    /// A million rows of four integers: 40 bytes and a pointer of 4 make 185 rows a page, 5406 pages.
    fn with(pages: i64, dead: i64) -> Catalog {
        let mut catalog = catalog();
        let table = catalog.tables.get_mut(&doc()).unwrap();
        for column in &mut table.columns {
            column.stats = Some(ColumnStats {
                average_width: 4,
                ..ColumnStats::default()
            });
        }
        table.pages = pages;
        table.activity.dead = dead;
        catalog
    }

    #[test]
    fn pages_against_what_the_rows_need() {
        let found = judge(&RULE, &with(20_000, 0), &[]);
        assert_eq!(found[0].evidence["row_bytes_estimate"], 40.0);
        assert_eq!(found[0].evidence["pages_needed_estimate"], 5406.0);
        assert!(
            found[0]
                .message
                .starts_with("about 114.0 MB of its 156.2 MB are empty (73 %, an estimate)"),
            "{found:?}"
        );
        assert_eq!(judge(&RULE, &with(6_000, 0), &[]), []);
        assert_eq!(
            judge(&RULE, &with(12_000, 1_000_000), &[]),
            [],
            "dead rows are another rule's"
        );
        let mut unknown = with(20_000, 0);
        unknown.tables.get_mut(&doc()).unwrap().columns[2].stats = None;
        assert_eq!(judge(&RULE, &unknown, &[]), []);
    }
}
