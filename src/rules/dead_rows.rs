use super::measure::{float, just_now, percent, storage};
use super::sink::{Found, count};
use super::{Category, Facts, Sink, rule, vacuum_held_back};
use crate::model::{ObjectKind, Severity, TableKind};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A table with at least 10,000 dead rows, a fifth of all or more, and more than twice as many as autovacuum waits
    /// for.
    ///
    /// ## Why it matters
    /// Every scan reads dead rows too, and under row-level security evaluates no policy on them but still fetches them.
    /// Autovacuum is behind, switched off, or held back by an old snapshot.
    ///
    /// ## What to do
    /// End what holds it back if something does, vacuum, and let autovacuum come to this table sooner:
    /// `alter table … set (autovacuum_vacuum_scale_factor = 0.02)`.
    /// ```sql,bad
    /// create table doc (id int primary key, org int) with (autovacuum_enabled = off);
    /// insert into doc select n, n % 3 from generate_series(1, 50000) n;
    /// delete from doc where id % 2 = 0;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int) with (autovacuum_enabled = off);
    /// insert into doc select n, n % 3 from generate_series(1, 50000) n;
    /// delete from doc where id % 2 = 0;
    /// vacuum doc;
    /// ```
    "dead-rows" {
        summary: "a table full of dead rows that autovacuum has not removed",
        category: Category::Workload,
        check: check,
    }
}

const MIN_DEAD: i64 = 10_000;
/// Percent of all rows.
const MIN_SHARE: f64 = 20.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    for (name, table) in &facts.catalog.tables {
        let activity = &table.activity;
        let (dead, live) = (float(activity.dead), float(activity.live));
        let share = percent(dead, dead + live);
        let base = storage(server, table, "autovacuum_vacuum_threshold", 50.0);
        let scale = storage(server, table, "autovacuum_vacuum_scale_factor", 0.2);
        let due = base + scale * table.row_estimate();
        let stored = matches!(
            table.kind,
            TableKind::Ordinary | TableKind::MaterializedView
        );
        let many = activity.dead >= MIN_DEAD && share >= MIN_SHARE && dead > 2.0 * due;
        if !stored || !many || just_now(server, activity.last_vacuum) {
            continue;
        }
        let last = activity.last_vacuum.map_or_else(
            || "never vacuumed".to_owned(),
            |at| format!("last vacuumed {}", at.format("%Y-%m-%d %H:%M UTC")),
        );
        let held = vacuum_held_back::oldest(facts);
        let why = held
            .as_ref()
            .map_or_else(String::new, |h| format!("; held back by {h}"));
        let found = Found::new(
            if share >= 50.0 {
                Severity::Warning
            } else {
                Severity::Note
            },
            ObjectKind::Table,
            name,
            None,
            format!(
                "{} dead rows, {share:.0} % of all, {last}; autovacuum comes after {}{why}",
                count(dead),
                count(due)
            ),
        )
        .evidence("dead", activity.dead)
        .evidence("live", activity.live)
        .evidence("share_percent", share)
        .evidence("due_after", due)
        .evidence("held_back_by", held.clone());
        let vacuum = format!("vacuum (analyze) {};", quote::name(name));
        sink.report(match held {
            None => found.fix(vacuum),
            // What the old snapshot may still see stays, whoever vacuums.
            Some(held) => found.advice(format!("End {held} first, then: {vacuum}")),
        });
    }
}
