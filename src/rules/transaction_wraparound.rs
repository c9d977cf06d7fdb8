use super::measure::{database, float, number};
use super::sink::{Found, count};
use super::{Category, Facts, Sink, rule, vacuum_held_back};
use crate::model::{Activity, Name, ObjectKind, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A database whose oldest transaction or multixact id is well past the age at which autovacuum freezes rows. Said
    /// once, with the tables that are furthest behind.
    ///
    /// ## Why it matters
    /// At about two billion the server refuses every write until it is vacuumed by hand.
    ///
    /// ## What to do
    /// End what holds VACUUM back, then freeze the oldest tables.
    /// ```sql,bad shown
    /// select age(datfrozenxid) from pg_database where datname = current_database();
    /// --  1600000000
    /// ```
    /// ```sql,good shown
    /// select age(datfrozenxid) from pg_database where datname = current_database();
    /// --   150000000
    /// ```
    "transaction-wraparound" {
        summary: "transaction ids are running out",
        category: Category::Workload,
        check: check,
    }
}

/// Where an id becomes ambiguous.
const LIMIT: f64 = 2_147_483_648.0;
/// Past three quarters of the way it is a matter of days on a busy server.
const CLOSE: f64 = 0.7 * LIMIT;
const SHOWN: usize = 5;

struct Kind {
    what: &'static str,
    setting: &'static str,
    usual: f64,
    age: fn(&Activity) -> i64,
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    let kinds = [
        (
            server.load.xid_age,
            Kind {
                what: "transaction",
                setting: "autovacuum_freeze_max_age",
                usual: 200_000_000.0,
                age: |a| a.xid_age,
            },
        ),
        (
            server.load.multixact_age,
            Kind {
                what: "multixact",
                setting: "autovacuum_multixact_freeze_max_age",
                usual: 400_000_000.0,
                age: |a| a.multixact_age,
            },
        ),
    ];
    for (age, kind) in kinds {
        let due = number(server, kind.setting).unwrap_or(kind.usual);
        if float(age) >= (1.5 * due).max(due + 100_000_000.0).min(CLOSE) {
            report(facts, float(age), due, &kind, sink);
        }
    }
}

fn report(facts: &Facts<'_>, age: f64, due: f64, kind: &Kind, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    let mut tables: Vec<(i64, &Name)> = facts
        .catalog
        .tables
        .iter()
        .map(|(name, table)| ((kind.age)(&table.activity), name))
        .filter(|(age, _)| float(*age) >= due)
        .collect();
    tables.sort_by(|a, b| b.cmp(a));
    let behind = tables.len();
    tables.truncate(SHOWN);
    let freeze: Vec<String> = tables
        .iter()
        .map(|(_, name)| format!("vacuum (freeze) {};", quote::name(name)))
        .collect();
    let held = vacuum_held_back::oldest(facts);
    let first = held
        .as_ref()
        .map_or_else(String::new, |h| format!("End {h} first. "));
    let freeze = if freeze.is_empty() {
        "vacuum (freeze);".to_owned()
    } else {
        freeze.join(" ")
    };
    let worst: Vec<_> = tables
        .iter()
        .map(|(age, name)| serde_json::json!({"table": name.to_string(), "age": age}))
        .collect();
    sink.report(
        Found::new(
            if age >= CLOSE { Severity::Error } else { Severity::Warning },
            ObjectKind::Database,
            &database(server),
            None,
            format!(
                "the oldest {} id is {} old, {:.0} % of the way to the end; autovacuum freezes at {}; {behind} tables are behind",
                kind.what,
                count(age),
                100.0 * age / LIMIT,
                count(due)
            ),
        )
        .evidence("age", age)
        .evidence("freeze_max_age", due)
        .evidence("tables_behind", behind)
        .evidence("oldest", worst)
        .evidence("held_back_by", held)
        .advice(format!("{first}{freeze}")),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::traffic::fixture::{catalog, doc, judge};

    #[test]
    fn age_is_judged_against_what_autovacuum_is_told() {
        let mut catalog = catalog();
        catalog.server.load.xid_age = 210_000_000;
        assert_eq!(judge(&RULE, &catalog, &[]), [], "autovacuum is at it");
        catalog.server.load.xid_age = 900_000_000;
        let found = judge(&RULE, &catalog, &[]);
        assert_eq!(found[0].severity, Severity::Warning);
        let setting = ("autovacuum_freeze_max_age", "1000000000");
        catalog
            .server
            .settings
            .insert(setting.0.to_owned(), setting.1.to_owned());
        assert_eq!(judge(&RULE, &catalog, &[]), [], "told to wait that long");
        catalog.server.load.xid_age = 1_600_000_000;
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.activity.xid_age = 1_599_000_000;
        let found = judge(&RULE, &catalog, &[]);
        assert_eq!(found[0].severity, Severity::Error);
        assert_eq!(found[0].evidence["tables_behind"], 1);
        assert_eq!(
            found[0].advice.as_deref(),
            Some("vacuum (freeze) public.doc;")
        );
    }
}
