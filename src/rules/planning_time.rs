use super::measure::{float, is_off};
use super::sink::count;
use super::traffic::Traffic;
use super::{Category, Facts, Sink, rule};
use crate::model::Severity;

rule! {
    /// ## What it finds
    /// A statement whose planning takes as long as its execution or longer: a millisecond a call, a minute in all, a
    /// hundred calls at least. Needs `pg_stat_statements.track_planning`.
    ///
    /// ## Why it matters
    /// Policies are planned with every statement, nested ones too, and a partitioned table has its policies and indexes
    /// looked at once a partition.
    ///
    /// ## What to do
    /// Prepare the statement once and run it often; compare the partition key with a constant so that most partitions are
    /// left out early; drop indexes that are never used.
    /// ```sql,bad shown
    /// select * from measurement where id = $1;                     -- 365 partitions: plans 12 ms, runs 0.3 ms
    /// ```
    /// ```sql,good shown
    /// select * from measurement where day = '2026-01-01' and id = $1;  -- one partition: plans 0.2 ms, runs 0.1 ms
    /// ```
    "planning-time" {
        summary: "a statement that takes longer to plan than to run",
        category: Category::Workload,
        severity: Severity::Note,
        check: check,
    }
}

const MIN_CALLS: i64 = 100;
const MIN_EACH_MS: f64 = 1.0;
const MIN_ALL_MS: f64 = 60_000.0;
/// What runs longer is rarely planned for longer still.
const SHORT_MS: f64 = 10.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let Some(traffic) = facts.traffic() else {
        return;
    };
    let server = &facts.catalog.server;
    if is_off(server, "pg_stat_statements.track_planning") {
        uncounted(traffic, sink);
        return;
    }
    for used in traffic.top() {
        let statement = used.statement;
        // A statement may be planned less often than it is called, never more often.
        let each = statement.plan_ms / float(statement.calls.max(1));
        if statement.calls < MIN_CALLS
            || each < MIN_EACH_MS
            || statement.plan_ms < MIN_ALL_MS
            || statement.plan_ms < statement.total_ms
        {
            continue;
        }
        let partitions = facts
            .catalog
            .tables
            .values()
            .filter(|t| {
                t.partition_of
                    .as_ref()
                    .is_some_and(|p| used.tables.contains(p))
            })
            .count();
        let behind = if partitions > 1 {
            format!(" over {partitions} partitions")
        } else {
            String::new()
        };
        let share = traffic.share(statement.plan_ms);
        sink.report(
            used.found(
                if share >= 10.0 {
                    Severity::Warning
                } else {
                    Severity::Note
                },
                format!(
                    "plans for {each:.1} ms and runs for {:.1} ms{behind}, {} times",
                    statement.mean_ms,
                    count(float(statement.calls))
                ),
            )
            .evidence("plan_ms_per_call", each)
            .evidence("plan_ms", statement.plan_ms)
            .evidence("partitions", partitions),
        );
    }
}

/// It is off by default, so it is worth a word only where something would be found with luck: statements that run so
/// often, and for so short a time, that a millisecond of planning each would be seen.
fn uncounted(traffic: &Traffic<'_>, sink: &mut Sink<'_>) {
    let short = traffic.top().filter(|used| {
        let statement = used.statement;
        float(statement.calls) * MIN_EACH_MS >= MIN_ALL_MS && statement.mean_ms < SHORT_MS
    });
    let short = short.count();
    if short == 0 {
        return;
    }
    let which = if short == 1 {
        "a statement runs".to_owned()
    } else {
        format!("{short} statements run")
    };
    sink.gap(
        format!(
            "planning times are not counted, and {which} so often and so briefly that planning may take the longer part"
        ),
        Some("alter system set pg_stat_statements.track_planning = on; -- costs a little on many short statements".to_owned()),
    );
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::{Statement, Statements};
    use crate::rules::{Scope, audit};
    use crate::rules::traffic::fixture::{catalog, judge, statement};

    #[test]
    fn planning_against_execution() {
        let catalog = catalog();
        let planned = |calls, plan_ms, mean| Statement {
            plan_ms,
            ..statement("select * from doc where id = $1", calls, mean)
        };
        let found = judge(&RULE, &catalog, &[planned(10_000, 120_000.0, 0.3)]);
        assert!(
            found[0]
                .message
                .starts_with("plans for 12.0 ms and runs for 0.3 ms, 10,000 times"),
            "{found:?}"
        );
        for silent in [
            planned(50, 120_000.0, 0.3),
            planned(10_000, 5_000.0, 0.3),
            planned(10_000, 90_000.0, 20.0),
        ] {
            assert_eq!(judge(&RULE, &catalog, &[silent]), []);
        }
    }
    #[test]
    fn what_is_not_counted_is_said_only_where_it_may_matter() {
        let mut catalog = catalog();
        let settings = &mut catalog.server.settings;
        settings.insert("pg_stat_statements.track_planning".into(), "off".into());
        let gaps = |calls, mean| {
            let statements = Statements {
                statements: vec![statement("select * from doc where id = $1", calls, mean)],
                ..Statements::default()
            };
            let scope = Scope {
                only: vec!["planning-time".into()],
                ..Scope::default()
            };
            let (_, gaps) = audit(&catalog, Some(&statements), &scope);
            gaps.iter().filter(|g| g.what == "planning-time").count()
        };
        assert_eq!(gaps(100_000, 0.3), 1);
        assert_eq!((gaps(1_000, 0.3), gaps(100_000, 80.0)), (0, 0));
    }
}
