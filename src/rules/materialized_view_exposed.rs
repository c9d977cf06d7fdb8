use super::exposure::{self, Reach};
use super::sink::Found;
use super::{Category, Facts, Sink, rule, tested};
use crate::model::{Name, ObjectKind, Severity, Table, TableKind};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A materialised view that a role of the application may read, over something that the same role may not read
    /// itself, or whose policies hold it. Where the view was filled past the policies, `view-bypasses-rls` speaks.
    ///
    /// ## Why it matters
    /// A materialised view holds the rows that its owner saw at the last refresh. It has no row-level security: whoever
    /// may read it reads all of them.
    ///
    /// ## What to do
    /// Revoke SELECT and let a view that filters stand in front, unless every row is meant for everybody.
    /// ```sql,bad
    /// create table salary (person text, amount numeric);
    /// create materialized view salary_by_person as select person, sum(amount) from salary group by person;
    /// grant select on salary_by_person to anon;
    /// ```
    /// ```sql,good
    /// create table salary (person text, amount numeric);
    /// create materialized view salary_by_person as select person, sum(amount) from salary group by person;
    /// ```
    "materialized-view-exposed" {
        summary: "a materialised view shows the application's roles what they may not read in its tables",
        category: Category::Safety,
        severity: Severity::Note,
        also: &["splinter 0016_materialized_view_in_api", "pgrls SEC054", "pgrls VIEW003"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, view) in &facts.catalog.tables {
        let ours = view.extension.is_none() && !exposure::platform(&name.schema);
        if view.kind != TableKind::MaterializedView || !ours {
            continue;
        }
        if !tested::unguarded(facts, &view.owner, view.reads.iter()).is_empty() {
            continue;
        }
        let mut reach = facts.exposure.with("SELECT", name, view);
        reach.retain(|r| view.reads.iter().any(|read| tested::hidden(facts, r, read)));
        if !reach.is_empty() {
            report(name, view, &reach, sink);
        }
    }
}

fn report(name: &Name, view: &Table, reach: &[Reach<'_>], sink: &mut Sink<'_>) {
    let reads: Vec<String> = view.reads.iter().map(ToString::to_string).collect();
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Table,
            name,
            None,
            format!(
                "shows {} every row that {} saw in {} at the last refresh; no policy can filter it",
                exposure::who(reach),
                view.owner,
                reads.join(", ")
            ),
        )
        .evidence("roles", exposure::roles(reach))
        .evidence("owner", view.owner.clone())
        .evidence("reads", reads)
        .advice(format!(
            "Unless every row is meant for them, revoke select on {} and let a view that filters stand in front.",
            quote::name(name)
        )),
    );
}
