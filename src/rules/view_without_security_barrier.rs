use super::exposure;
use super::sink::Found;
use super::{Category, Facts, Sink, rule, tested};
use crate::model::{Name, ObjectKind, Severity, Table, TableKind};
use crate::sql::quote;
use crate::sql::touches::Touches;

rule! {
    /// ## What it finds
    /// A view that reads as its owner, whose own condition is all that hides rows from its readers, and that is no
    /// security barrier.
    ///
    /// ## Why it matters
    /// The server may run a reader's condition before the view's. A cheap function of the reader's own, or an error from
    /// a cast, then tells of rows that the view leaves out. Policies do not have this hole, and neither has a view whose
    /// reader meets the policies himself.
    ///
    /// ## What to do
    /// Set `security_barrier`. Conditions that are not leakproof then wait for the view's own.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid, body text);
    /// create view my_doc as select id, body from doc where owner_id = (select auth.uid());
    /// grant select on my_doc to anon;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid, body text);
    /// create view my_doc with (security_barrier) as select id, body from doc where owner_id = (select auth.uid());
    /// grant select on my_doc to anon;
    /// ```
    "view-without-security-barrier" {
        summary: "the condition of a view hides rows, but readers' conditions may run before it",
        category: Category::Safety,
        also: &["splinter 0010_security_definer_view", "pgrls VIEW002"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, view) in &facts.catalog.tables {
        let ours = view.extension.is_none() && !exposure::platform(&name.schema);
        if view.kind != TableKind::View || !ours || tested::invoker(view) || barrier(view) {
            continue;
        }
        let Some(touches) = view.definition.as_deref().and_then(Touches::of_query) else {
            continue;
        };
        // A condition on what the rows are, such as `where active`, hides nothing from anybody in particular.
        if !touches.filtered || !tested::asks_session(facts, &touches) {
            continue;
        }
        let mut reach = facts.exposure.with("SELECT", name, view);
        reach.retain(|r| view.reads.iter().any(|read| tested::hidden(facts, r, read)));
        if !reach.is_empty() {
            report(name, view, &exposure::who(&reach), sink);
        }
    }
}

fn barrier(view: &Table) -> bool {
    view.options.iter().any(|option| {
        option.split_once('=').is_some_and(|(name, value)| {
            name == "security_barrier" && matches!(value, "true" | "on" | "1" | "yes")
        })
    })
}

fn report(name: &Name, view: &Table, readers: &str, sink: &mut Sink<'_>) {
    let reads: Vec<String> = view.reads.iter().map(ToString::to_string).collect();
    sink.report(
        Found::new(
            Severity::Warning,
            ObjectKind::Table,
            name,
            None,
            format!(
                "its condition alone hides rows of {} from {readers}, and it is no security barrier",
                reads.join(", ")
            ),
        )
        .evidence("reads", reads)
        .evidence("owner", view.owner.clone())
        .fix(format!(
            "alter view {} set (security_barrier = true);",
            quote::name(name)
        )),
    );
}
