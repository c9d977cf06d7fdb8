use super::measure::{bytes, database, days, float, whole};
use super::sink::{Found, count, size};
use super::traffic::{Used, per_call};
use super::{Category, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A statement that writes a megabyte or more of temporary files each call, 100 MB in all: a sort, hash or
    /// materialised result that did not fit in `work_mem`. Without `pg_stat_statements`, a database that writes a
    /// gigabyte a day.
    ///
    /// ## Why it matters
    /// The same work in memory takes a fraction of the time, and no disk.
    ///
    /// ## What to do
    /// First let it sort less: an index in the order asked for, a filter before the join, fewer columns. Then raise
    /// `work_mem` for the role or the transaction, not for everybody.
    /// ```sql,bad shown
    /// set work_mem = '64kB';
    /// select id, org from doc order by seen;
    /// ```
    /// ```sql,good shown
    /// set work_mem = '64MB';
    /// select id, org from doc order by seen;
    /// ```
    "temp-spill" {
        summary: "a statement that works in temporary files",
        category: Category::Workload,
        check: check,
    }
}

const BLOCK: f64 = 8192.0;
const MEGABYTE: f64 = 1024.0 * 1024.0;
const MIN_EACH: f64 = MEGABYTE;
const MIN_ALL: f64 = 100.0 * MEGABYTE;
const MIN_DAILY: f64 = 1024.0 * MEGABYTE;
/// More memory than this for one node is no advice to give.
const MOST_MEMORY: f64 = 512.0 * MEGABYTE;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let Some(traffic) = facts.traffic() else {
        whole_database(facts, sink);
        return;
    };
    for used in traffic.top() {
        let each = per_call(used.statement, used.statement.temp_written) * BLOCK;
        let all = float(used.statement.temp_written) * BLOCK;
        if each >= MIN_EACH && all >= MIN_ALL {
            report(
                facts,
                used,
                each,
                all,
                traffic.share(used.statement.total_ms),
                sink,
            );
        }
    }
}

fn report(
    facts: &Facts<'_>,
    used: &Used<'_>,
    each: f64,
    all: f64,
    share: f64,
    sink: &mut Sink<'_>,
) {
    let server = &facts.catalog.server;
    let role = &used.statement.role;
    let own = facts.catalog.roles.get(role).and_then(|r| {
        let entry = r.config.iter().find(|c| c.starts_with("work_mem="))?;
        entry.split_once('=').map(|(_, value)| value.to_owned())
    });
    let now = own.or_else(|| server.settings.get("work_mem").cloned());
    let shown = now.clone().unwrap_or_else(|| "unknown".to_owned());
    let found = used
        .found(
            if share >= 5.0 {
                Severity::Warning
            } else {
                Severity::Note
            },
            format!(
                "{} of temporary files each call, {} in {} calls; work_mem is {shown}",
                size(whole(each)),
                size(whole(all)),
                count(float(used.statement.calls))
            ),
        )
        .evidence("temp_bytes_per_call", each)
        .evidence("temp_bytes", all)
        .evidence("work_mem", now)
        .evidence("share_percent", share);
    // Rows take more room in memory than in a file; twice to three times, rounded up to a power of two.
    let wanted = (2.0 * each / MEGABYTE).max(8.0).log2().ceil().exp2();
    sink.report(if wanted * MEGABYTE <= MOST_MEMORY {
        found.advice(format!(
            "If no index can give the order or the groups: alter role {} set work_mem = '{wanted:.0}MB'; or set it in the transaction.",
            quote::ident(role)
        ))
    } else {
        found.advice("Too much for memory: let it sort or join fewer rows.")
    });
}

fn whole_database(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    let written = float(server.load.temp_bytes);
    let Some(daily) = days(server).map(|days| written / days.max(1.0)) else {
        return;
    };
    if daily < MIN_DAILY {
        return;
    }
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Database,
            &database(server),
            None,
            format!(
                "{} temporary files, {} a day; work_mem is {}",
                count(float(server.load.temp_files)),
                size(whole(daily)),
                bytes(server, "work_mem").map_or_else(|| "unknown".to_owned(), |b| size(whole(b)))
            ),
        )
        .evidence("temp_files", server.load.temp_files)
        .evidence("temp_bytes", server.load.temp_bytes)
        .advice("Install pg_stat_statements to learn which statements write them."),
    );
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::Statement;
    use crate::rules::Facts;
    use crate::rules::sink::Sink;
    use crate::rules::traffic::fixture::{catalog, judge, statement};

    #[test]
    fn judged_by_the_call_and_in_all() {
        let mut catalog = catalog();
        let setting = ("work_mem".to_owned(), "4MB".to_owned());
        catalog.server.settings.extend([setting]);
        let spilling = |calls, temp_written| Statement {
            temp_written,
            ..statement("select id from doc order by seen", calls, 50.0)
        };
        let found = judge(&RULE, &catalog, &[spilling(100, 128_000)]);
        assert!(
            found[0].message.starts_with(
                "10.0 MB of temporary files each call, 1000.0 MB in 100 calls; work_mem is 4MB"
            ),
            "{found:?}"
        );
        assert!(
            found[0]
                .advice
                .as_ref()
                .unwrap()
                .contains("work_mem = '32MB'")
        );
        assert_eq!(
            judge(&RULE, &catalog, &[spilling(2, 2560)]),
            [],
            "little in all"
        );
        assert_eq!(
            judge(&RULE, &catalog, &[spilling(100_000, 128_000)]),
            [],
            "little each"
        );
    }

    #[test]
    fn without_statements_the_database_is_judged() {
        let mut catalog = catalog();
        catalog.server.load.temp_bytes = 100 << 30;
        let facts = Facts::new(&catalog, None, 100.0);
        let (mut findings, mut gaps) = (Vec::new(), Vec::new());
        (RULE.check)(&facts, &mut Sink::new(RULE.id, &mut findings, &mut gaps));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].object.to_string(), "app");
    }
}
