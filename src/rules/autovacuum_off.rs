use super::measure::{database, float, is_off, option};
use super::sink::{Found, count};
use super::{Category, FEW_ROWS, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity, Table, TableKind};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A table in use for which autovacuum is switched off, or a server without autovacuum or without the counters that
    /// it works from.
    ///
    /// ## Why it matters
    /// Dead rows stay and are read by every scan, statistics grow old, and transaction ids run out until the server
    /// refuses to write.
    ///
    /// ## What to do
    /// Switch it on. Where it gets in the way of a bulk load, make it gentler instead: `autovacuum_vacuum_cost_delay`.
    /// ```sql,bad
    /// create table doc (id int primary key, org int) with (autovacuum_enabled = off);
    /// insert into doc select n, n % 3 from generate_series(1, 20000) n;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int) with (autovacuum_vacuum_scale_factor = 0.01);
    /// insert into doc select n, n % 3 from generate_series(1, 20000) n;
    /// ```
    "autovacuum-off" {
        summary: "autovacuum is switched off",
        category: Category::Workload,
        check: check,
    }
}

/// Fewer rows written since the statistics began are no use worth the name.
const MIN_WRITES: i64 = 10_000;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    for setting in ["autovacuum", "track_counts"] {
        if is_off(server, setting) {
            let message = format!(
                "{setting} is off: no table is vacuumed or analysed before its transaction ids run out"
            );
            sink.report(
                Found::new(
                    Severity::Error,
                    ObjectKind::Database,
                    &database(server),
                    None,
                    message,
                )
                .evidence("setting", setting)
                .fix(format!("alter system set {setting} = on;"))
                .advice("Then reload the configuration: select pg_reload_conf();"),
            );
        }
    }
    for (name, table) in &facts.catalog.tables {
        let stored = matches!(
            table.kind,
            TableKind::Ordinary | TableKind::MaterializedView
        );
        let activity = &table.activity;
        let writes = activity.inserted + activity.updated + activity.deleted;
        let used = writes >= MIN_WRITES && table.row_estimate() >= FEW_ROWS;
        if !stored || !switched_off(table) || !used || table.extension.is_some() {
            continue;
        }
        sink.report(
            Found::new(
                Severity::Warning,
                ObjectKind::Table,
                name,
                None,
                format!(
                    "autovacuum is off for it; {} rows were written since the statistics began and {} are dead",
                    count(float(writes)),
                    count(float(activity.dead))
                ),
            )
            .evidence("writes", writes)
            .evidence("dead", activity.dead)
            .evidence("rows", table.row_estimate())
            .fix(format!(
                "alter table {} reset (autovacuum_enabled);",
                quote::name(name)
            )),
        );
    }
}

/// As far as PostgreSQL's ways to write false go.
pub(super) fn switched_off(table: &Table) -> bool {
    option(table, "autovacuum_enabled")
        .is_some_and(|v| matches!(v.to_lowercase().as_str(), "off" | "false" | "no" | "0"))
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::Severity;
    use crate::rules::traffic::fixture::{catalog, judge};

    #[test]
    fn a_server_without_it_is_an_error_said_once() {
        let mut catalog = catalog();
        let set = |catalog: &mut crate::model::Catalog, value: &str| {
            let setting = ("autovacuum".to_owned(), value.to_owned());
            catalog.server.settings.extend([setting]);
        };
        set(&mut catalog, "on");
        assert_eq!(judge(&RULE, &catalog, &[]), []);
        set(&mut catalog, "off");
        let found = judge(&RULE, &catalog, &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Error);
        assert_eq!(found[0].object.to_string(), "app");
    }
}
