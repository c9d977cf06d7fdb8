use super::measure::float;
use super::sink::count;
use super::slow_statement::{MIN_CALLS, estimated_p95};
use super::{Category, Facts, Sink, rule};
use crate::model::Severity;

rule! {
    /// ## What it finds
    /// A statement that meets its target, yet takes a fifth or more of the time of all statements, a minute at least.
    /// Statements over their target are `slow-statement`.
    ///
    /// ## Why it matters
    /// Half its time is a tenth of the server's work: nothing else repays tuning as much.
    ///
    /// ## What to do
    /// Run it less often, or make each call cheaper: look at its plan as the role that runs it.
    /// ```sql,bad shown
    /// select * from doc where org = $1;    -- 2,000,000 calls of 3 ms: 61 % of all time
    /// ```
    /// ```sql,good shown
    /// select * from doc where org = $1;    -- 2,000,000 calls of 0.1 ms: 5 % of all time
    /// ```
    "dominant-statement" {
        summary: "a statement that takes a large share of all time",
        category: Category::Workload,
        severity: Severity::Note,
        check: check,
    }
}

const MIN_SHARE: f64 = 20.0;
const MIN_MS: f64 = 60_000.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let Some(traffic) = facts.traffic() else {
        return;
    };
    for used in traffic.top() {
        let statement = used.statement;
        let share = traffic.share(statement.total_ms);
        if share < MIN_SHARE || statement.total_ms < MIN_MS {
            continue;
        }
        if statement.calls < MIN_CALLS || estimated_p95(statement) > facts.slo_ms {
            continue;
        }
        let busy = traffic
            .hours
            .map(|hours| statement.total_ms / 3_600_000.0 / hours);
        let sessions = busy
            .filter(|b| *b >= 0.01)
            .map_or_else(String::new, |busy| {
                format!(", {busy:.2} sessions busy with it at any time")
            });
        sink.report(
            used.found(
                Severity::Note,
                format!(
                    "{share:.0} % of all time: {} calls of {:.2} ms{sessions}",
                    count(float(statement.calls)),
                    statement.mean_ms
                ),
            )
            .evidence("share_percent", share)
            .evidence("busy_sessions", busy)
            .evidence("blocks_per_call", used.blocks_per_call()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::rules::traffic::fixture::{catalog, judge, statement};

    #[test]
    fn heavy_fast_statements_on_a_busy_database() {
        let catalog = catalog();
        let heavy = statement("select * from doc where org = $1", 2_000_000, 3.0);
        let rest = statement("select 1 from doc where id = $1", 1_000_000, 2.0);
        let found = judge(&RULE, &catalog, &[heavy, rest.clone()]);
        assert_eq!(found.len(), 2);
        assert!((found[0].evidence["share_percent"].as_f64().unwrap() - 75.0).abs() < 0.01);
        assert_eq!(found[0].evidence["role"], "app");
        let idle = statement("select * from doc where org = $1", 200, 3.0);
        assert_eq!(judge(&RULE, &catalog, &[idle]), [], "an idle database");
        let slow = statement("select * from doc where org = $1", 20_000, 300.0);
        assert_eq!(judge(&RULE, &catalog, &[slow]), [], "said by another rule");
    }
}
