use super::measure::float;
use super::traffic::Used;
use super::{Category, Facts, Sink, rule};
use crate::model::{Column, Name, Severity, Table};
use crate::sql::access;
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A statement whose calls differ widely (deviation twice the mean, the slowest ten times the mean and over the
    /// target) and which is narrowed, by itself or by a policy, by a column whose most common value holds ten times the
    /// rows of an average one. What it proves is the spread and the skew; that the one causes the other is likely, not
    /// certain.
    ///
    /// ## Why it matters
    /// One plan cannot suit a tenant with a million rows and one with ten. A prepared statement that has been run five
    /// times may get a generic plan, made for an average tenant that does not exist.
    ///
    /// ## What to do
    /// Compare the plans of a big and a small tenant. Where the small one's plan is used for the big one, have
    /// plans made for each: `plan_cache_mode = force_custom_plan` for the role.
    /// ```sql,bad shown
    /// select * from doc where org = $1;  -- mean 3 ms, slowest 900 ms; one org has 40 % of the rows
    /// ```
    /// ```sql,good shown
    /// select * from doc where id = $1;   -- mean 0.1 ms, slowest 2 ms
    /// ```
    "parameter-sensitive-statement" {
        summary: "a statement that is fast for most values and slow for a common one",
        category: Category::Workload,
        severity: Severity::Note,
        check: check,
    }
}

const MIN_CALLS: i64 = 50;
const MIN_SPREAD: f64 = 2.0;
const MIN_PEAK: f64 = 10.0;
/// How many times an average value's rows the most common one has.
const MIN_SKEW: f64 = 10.0;
const MIN_TOP: f64 = 0.02;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let Some(traffic) = facts.traffic() else {
        return;
    };
    for used in traffic.top() {
        let s = used.statement;
        let spread = s.stddev_ms >= MIN_SPREAD * s.mean_ms && s.max_ms >= MIN_PEAK * s.mean_ms;
        if s.calls < MIN_CALLS || !spread || s.max_ms <= facts.slo_ms || custom(facts, &s.role) {
            continue;
        }
        let skewed = skewed_columns(facts, used);
        let Some((name, column, top, skew)) = skewed.first() else {
            continue;
        };
        let columns: Vec<String> = skewed.iter().map(|(n, c, ..)| format!("{n}.{c}")).collect();
        let role = crate::sql::quote::ident(&s.role);
        sink.report(
            used.found(
                Severity::Note,
                format!(
                    "mean {:.1} ms, slowest {:.0} ms in {} calls; {:.0} % of the rows of {name} share one value of {column}, {skew:.0} times the average",
                    s.mean_ms, s.max_ms, s.calls, 100.0 * top
                ),
            )
            .evidence("max_ms", s.max_ms)
            .evidence("stddev_ms", s.stddev_ms)
            .evidence("skewed_columns", columns)
            .evidence("top_frequency", *top)
            .evidence("skew", *skew)
            .advice(format!(
                "Compare the plans of a big and a small value; if it is prepared and the generic plan is the wrong one: alter role {role} set plan_cache_mode = 'force_custom_plan';"
            )),
        );
    }
}

/// Whether every plan of the role is made for its values already.
fn custom(facts: &Facts<'_>, role: &str) -> bool {
    let entry = "plan_cache_mode=force_custom_plan";
    let server = &facts.catalog.server;
    let general = server.settings.get("plan_cache_mode");
    let own = facts.catalog.roles.get(role);
    general.is_some_and(|v| v == "force_custom_plan")
        || server.config.iter().any(|c| c == entry)
        || own.is_some_and(|r| {
            r.config
                .iter()
                .chain(&r.database_config)
                .any(|c| c == entry)
        })
}

/// Columns that the statement or the policies on its tables compare with a value, the most uneven first.
fn skewed_columns<'a>(facts: &Facts<'a>, used: &Used<'_>) -> Vec<(&'a Name, &'a str, f64, f64)> {
    let mut compared: BTreeSet<(Name, String)> = BTreeSet::new();
    for access in access::of_statement(used.text, facts.catalog).unwrap_or_default() {
        let columns = access.equals.into_iter();
        compared.extend(columns.map(|column| (access.table.clone(), column)));
    }
    for name in &used.tables {
        let table = facts.catalog.table(name);
        let guarded =
            table.filter(|t| t.rls_enabled && facts.meets_policies(&used.statement.role, t));
        let columns = guarded.map_or(&[][..], |t| &t.columns);
        compared.extend(
            columns
                .iter()
                .filter(|c| facts.compares(name, &c.name))
                .map(|c| (name.clone(), c.name.clone())),
        );
    }
    let mut found: Vec<_> = compared
        .iter()
        .filter_map(|(name, column)| {
            let (name, table) = facts.catalog.tables.get_key_value(name)?;
            let column = table.column(column)?;
            let (top, skew) = skew(table, column)?;
            Some((name, column.name.as_str(), top, skew))
        })
        .collect();
    found.sort_by(|a, b| b.3.total_cmp(&a.3));
    found
}

/// Share of the most common value, and how many times an average value's that is.
fn skew(table: &Table, column: &Column) -> Option<(f64, f64)> {
    let stats = column.stats.as_ref()?;
    let rows = table.row_estimate();
    let distinct = if stats.n_distinct < 0.0 {
        -stats.n_distinct * rows
    } else {
        stats.n_distinct
    };
    let skew = stats.top_frequency * distinct;
    let large = rows >= float(10_000);
    (large && stats.top_frequency >= MIN_TOP && skew >= MIN_SKEW)
        .then_some((stats.top_frequency, skew))
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::{Catalog, ColumnStats, Statement};
    use crate::rules::traffic::fixture::{catalog, doc, judge, statement};

    fn skewed(top_frequency: f64) -> Catalog {
        let mut catalog = catalog();
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.columns[1].stats = Some(ColumnStats {
            n_distinct: 500.0,
            top_frequency,
            ..ColumnStats::default()
        });
        catalog
    }

    fn uneven(text: &str) -> Statement {
        Statement {
            max_ms: 900.0,
            stddev_ms: 40.0,
            ..statement(text, 5000, 3.0)
        }
    }

    #[test]
    fn spread_and_skew_together() {
        let text = "select * from doc where org = $1";
        let found = judge(&RULE, &skewed(0.4), &[uneven(text)]);
        assert!(
            found[0].message.contains(
                "40 % of the rows of public.doc share one value of org, 200 times the average"
            ),
            "{found:?}"
        );
        assert_eq!(judge(&RULE, &skewed(0.005), &[uneven(text)]), [], "even");
        assert_eq!(
            judge(&RULE, &skewed(0.4), &[statement(text, 5000, 3.0)]),
            [],
            "steady"
        );
        let by_id = uneven("select * from doc where id = $1");
        assert_eq!(
            judge(&RULE, &skewed(0.4), &[by_id]),
            [],
            "by another column"
        );
        let mut custom = skewed(0.4);
        custom.server.config = vec!["plan_cache_mode=force_custom_plan".to_owned()];
        assert_eq!(judge(&RULE, &custom, &[uneven(text)]), [], "mended");
    }
}
