use super::measure::{float, percent};
use super::sink::{Found, count};
use super::{Category, Facts, Sink, rule};
use crate::model::{Command, Name, ObjectKind, Severity, Table, TableKind};

rule! {
    /// ## What it finds
    /// A table of 10,000 rows or more that was read from end to end, or most of the way, fifty times or more, where such
    /// scans are at least half of all scans or have read 100 million rows. Scans that a LIMIT stops early do not count.
    /// Names the statements that read as much of it in one call.
    ///
    /// ## Why it matters
    /// Under row-level security such a scan evaluates the policy on every row of every tenant, to return those of one.
    ///
    /// ## What to do
    /// See whether the policy's column and the statement's filter have an index that can be used; `dbtune propose` tries.
    /// Reports that need the whole table belong on a standby.
    /// ```sql,bad shown
    /// create policy own on doc using (org = (select current_setting('app.org'))::int);  -- no index on org
    /// select count(*) from doc;
    /// ```
    /// ```sql,good shown
    /// create index on doc (org);
    /// select count(*) from doc;
    /// ```
    "sequential-scans" {
        summary: "a large table that is read from end to end again and again",
        category: Category::Workload,
        also: &["pgrls PERF005"],
        check: check,
    }
}

const MIN_ROWS: f64 = 10_000.0;
const MIN_SCANS: i64 = 50;
const MIN_SHARE: f64 = 50.0;
const MANY_ROWS: f64 = 100_000_000.0;
/// Of the table that a scan must read to count as one of the whole.
const MOST: f64 = 0.3;
const SHOWN: usize = 3;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        let stored = matches!(
            table.kind,
            TableKind::Ordinary | TableKind::MaterializedView
        );
        let rows = table.row_estimate();
        let activity = &table.activity;
        if !stored || rows < MIN_ROWS || activity.seq_scans < MIN_SCANS || table.extension.is_some()
        {
            continue;
        }
        let each = float(activity.seq_rows) / float(activity.seq_scans);
        let share = percent(
            float(activity.seq_scans),
            float(activity.seq_scans + activity.idx_scans),
        );
        let often = share >= MIN_SHARE || float(activity.seq_rows) >= MANY_ROWS;
        if each >= MOST * rows && often {
            report(facts, name, table, share, each, sink);
        }
    }
}

fn report(
    facts: &Facts<'_>,
    name: &Name,
    table: &Table,
    share: f64,
    each: f64,
    sink: &mut Sink<'_>,
) {
    let activity = &table.activity;
    let pages = float(table.pages);
    let statements: Vec<_> = facts
        .traffic()
        .into_iter()
        .flat_map(|t| t.on(name))
        .filter(|u| !u.limited && u.command != Command::Insert && pages > 0.0)
        .filter(|u| u.blocks_per_call() >= MOST * pages)
        .take(SHOWN)
        .collect();
    let rls = if table.rls_enabled {
        " under row-level security"
    } else {
        ""
    };
    let by = statements.first().map_or_else(String::new, |u| {
        format!("; most time goes to {}: {}", u.statement.role, u.short())
    });
    let heavy = table.row_estimate() >= 100_000.0 || float(activity.seq_rows) >= MANY_ROWS;
    let listed: Vec<_> = statements
        .iter()
        .map(|u| {
            serde_json::json!({
                "role": u.statement.role, "query_id": u.statement.query_id.to_string(),
                "calls": u.statement.calls, "blocks_per_call": u.blocks_per_call(), "text": u.text,
            })
        })
        .collect();
    sink.report(
        Found::new(
            if heavy {
                Severity::Warning
            } else {
                Severity::Note
            },
            ObjectKind::Table,
            name,
            None,
            format!(
                "{} sequential scans{rls} of {} rows each, {share:.0} % of its scans{by}",
                count(float(activity.seq_scans)),
                count(each)
            ),
        )
        .evidence("seq_scans", activity.seq_scans)
        .evidence("seq_rows", activity.seq_rows)
        .evidence("idx_scans", activity.idx_scans)
        .evidence("rows", table.row_estimate())
        .evidence("rls", table.rls_enabled)
        .evidence("statements", listed),
    );
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::{Activity, Statement};
    use crate::rules::traffic::fixture::{catalog, doc, judge, statement};

    #[test]
    fn whole_scans_that_are_most_scans() {
        let mut catalog = catalog();
        let mut with = |seq_scans, seq_rows, idx_scans| {
            let table = catalog.tables.get_mut(&doc()).unwrap();
            table.activity = Activity {
                seq_scans,
                seq_rows,
                idx_scans,
                ..Activity::default()
            };
            let reading = Statement {
                shared_hit: 200 * 20_000,
                ..statement("select count(*) from doc where org = $1", 200, 90.0)
            };
            let keyed = statement("select * from doc where id = $1", 9000, 0.1);
            judge(&RULE, &catalog, &[reading, keyed])
        };
        let found = with(200, 200_000_000, 100);
        assert_eq!(found[0].evidence["statements"].as_array().unwrap().len(), 1);
        assert!(
            found[0]
                .message
                .contains("of 1,000,000 rows each, 67 % of its scans; most time goes to app"),
            "{found:?}"
        );
        assert_eq!(with(20, 20_000_000, 0), [], "few");
        assert_eq!(with(5000, 500_000, 0), [], "stopped early");
        assert_eq!(with(60, 60_000_000, 9_000), [], "some of many");
    }
}
