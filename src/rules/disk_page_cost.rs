use super::measure::{database, float, number, percent};
use super::sink::{Found, size};
use super::{Category, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// `random_page_cost` four times `seq_page_cost` or more, as it was for spinning disks, on a database of a gigabyte or
    /// more that finds 99 % of its blocks in shared buffers.
    ///
    /// ## Why it matters
    /// The planner takes an index scan for far dearer than it is, and reads whole tables where an index on the policy's
    /// column would do.
    ///
    /// ## What to do
    /// Set it to 1.1 for the database, and look at the plans of the heaviest statements before and after.
    /// ```sql,bad shown
    /// alter database app reset random_page_cost;  -- 4
    /// ```
    /// ```sql,good shown
    /// alter database app set random_page_cost = 1.1;
    /// ```
    "disk-page-cost" {
        summary: "the planner counts on spinning disks for data that is in memory",
        category: Category::Workload,
        severity: Severity::Note,
        check: check,
    }
}

const MIN_BLOCKS: f64 = 10_000_000.0;
const MIN_BYTES: u64 = 1 << 30;
const MIN_HIT: f64 = 99.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    let (Some(random), Some(sequential)) = (
        number(server, "random_page_cost"),
        number(server, "seq_page_cost"),
    ) else {
        return;
    };
    let load = &server.load;
    let blocks = float(load.blocks_hit + load.blocks_read);
    let hit = percent(float(load.blocks_hit), blocks);
    let quiet = blocks < MIN_BLOCKS || hit < MIN_HIT || server.database_bytes < MIN_BYTES;
    if quiet || random < 4.0 * sequential {
        return;
    }
    let cost = 1.1 * sequential;
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Database,
            &database(server),
            None,
            format!(
                "random_page_cost is {random}, yet {hit:.1} % of the blocks asked for were in memory ({} of data)",
                size(server.database_bytes)
            ),
        )
        .evidence("random_page_cost", random)
        .evidence("seq_page_cost", sequential)
        .evidence("hit_percent", hit)
        .evidence("database_bytes", server.database_bytes)
        .fix(format!(
            "alter database {} set random_page_cost = {cost};",
            quote::ident(&server.database)
        )),
    );
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::rules::traffic::fixture::{catalog, judge};

    #[test]
    fn only_a_large_database_in_memory() {
        let mut catalog = catalog();
        let set = |catalog: &mut crate::model::Catalog, name: &str, value: &str| {
            let setting = (name.to_owned(), value.to_owned());
            catalog.server.settings.extend([setting]);
        };
        set(&mut catalog, "random_page_cost", "4");
        set(&mut catalog, "seq_page_cost", "1");
        catalog.server.load.blocks_hit = 99_900_000;
        catalog.server.load.blocks_read = 100_000;
        assert_eq!(judge(&RULE, &catalog, &[]), [], "small");
        catalog.server.database_bytes = 5 << 30;
        let found = judge(&RULE, &catalog, &[]);
        assert_eq!(
            found[0].fix.as_deref(),
            Some("alter database app set random_page_cost = 1.1;")
        );
        set(&mut catalog, "random_page_cost", "1.1");
        assert_eq!(judge(&RULE, &catalog, &[]), []);
        set(&mut catalog, "random_page_cost", "4");
        catalog.server.load.blocks_read = 50_000_000;
        assert_eq!(judge(&RULE, &catalog, &[]), [], "really reads from disk");
    }
}
