use super::measure::{database, days, float};
use super::sink::{Found, count};
use super::{Category, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity};

rule! {
    /// ## What it finds
    /// Ten deadlocks or more since the statistics began, one a day or more.
    ///
    /// ## Why it matters
    /// One of the transactions fails after `deadlock_timeout`, and whoever does not try again loses work.
    ///
    /// ## What to do
    /// Lock rows in the same order everywhere, e.g. by `order by id for update`. The server's log names both statements.
    /// ```sql,bad shown
    /// update account set n = n - 1 where id = 1;  -- another session starts with 2
    /// update account set n = n + 1 where id = 2;
    /// ```
    /// ```sql,good shown
    /// select from account where id in (1, 2) order by id for update;
    /// update account set n = n - 1 where id = 1;
    /// update account set n = n + 1 where id = 2;
    /// ```
    "deadlocks" {
        summary: "transactions that wait for each other",
        category: Category::Workload,
        check: check,
    }
}

const MIN_DEADLOCKS: i64 = 10;
const PER_DAY: f64 = 1.0;
/// One an hour.
const OFTEN: f64 = 24.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    let deadlocks = server.load.deadlocks;
    let Some(days) = days(server) else {
        return;
    };
    let rate = float(deadlocks) / days;
    if deadlocks < MIN_DEADLOCKS || rate < PER_DAY {
        return;
    }
    sink.report(
        Found::new(
            if rate >= OFTEN { Severity::Warning } else { Severity::Note },
            ObjectKind::Database,
            &database(server),
            None,
            format!(
                "{} deadlocks in {days:.1} days, about {rate:.1} a day",
                count(float(deadlocks))
            ),
        )
        .evidence("deadlocks", deadlocks)
        .evidence("days", days)
        .evidence("per_day", rate)
        .advice("Lock rows in the same order everywhere; the server's log names the statements of each."),
    );
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::Severity;
    use crate::rules::traffic::fixture::{catalog, judge};

    #[test]
    fn counted_by_the_day() {
        let mut catalog = catalog();
        catalog.server.load.deadlocks = 20;
        assert_eq!(judge(&RULE, &catalog, &[]), [], "less than one a day");
        catalog.server.load.deadlocks = 60;
        assert_eq!(judge(&RULE, &catalog, &[])[0].severity, Severity::Note);
        catalog.server.load.deadlocks = 6000;
        assert_eq!(judge(&RULE, &catalog, &[])[0].severity, Severity::Warning);
        catalog.server.stats_since = None;
        assert_eq!(judge(&RULE, &catalog, &[]), []);
    }
}
