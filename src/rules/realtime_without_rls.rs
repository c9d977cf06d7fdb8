use super::exposure::{self, Trust};
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity};
use crate::sql::quote;

/// Publications that Supabase's Realtime hands on to whoever subscribes.
const BROADCAST: [&str; 2] = [
    "supabase_realtime",
    "supabase_realtime_messages_publication",
];

rule! {
    /// ## What it finds
    /// A table without row-level security in the publication that Realtime broadcasts, which a role of the application
    /// may select from.
    ///
    /// ## Why it matters
    /// Realtime asks a table's policies, as each subscriber, which changes to send on. Where row-level security is off
    /// it sends every change to everybody who subscribes.
    ///
    /// ## What to do
    /// Enable row-level security and write policies for SELECT, or take the table out of the publication.
    /// ```sql,bad
    /// create table message (id int primary key, room int, body text);
    /// grant select on message to anon;
    /// create publication supabase_realtime for table message;
    /// ```
    /// ```sql,good
    /// create table message (id int primary key, room int, body text);
    /// alter table message enable row level security;
    /// create policy members on message for select to anon using (room = (select current_setting('app.room')::int));
    /// grant select on message to anon;
    /// create publication supabase_realtime for table message;
    /// ```
    "realtime-without-rls" {
        summary: "every change of a table is broadcast to whoever subscribes",
        category: Category::Safety,
        severity: Severity::Error,
        also: &["pgrls SEC051"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for publication in BROADCAST {
        let tables = facts.catalog.publications.get(publication);
        for name in tables.into_iter().flatten() {
            let Some(table) = facts.catalog.table(name).filter(|t| !t.rls_enabled) else {
                continue;
            };
            let reach = facts.exposure.with("SELECT", name, table);
            if reach.is_empty() || exposure::platform(&name.schema) {
                continue;
            }
            let severity = match exposure::least(&reach) {
                Trust::Anonymous => Severity::Error,
                _ => Severity::Warning,
            };
            sink.report(
                Found::new(
                    severity,
                    ObjectKind::Table,
                    name,
                    None,
                    format!(
                        "is published by {publication} without row-level security: every change goes to every \
                         subscriber that is {}",
                        exposure::who(&reach)
                    ),
                )
                .evidence("publication", publication)
                .evidence("roles", exposure::roles(&reach))
                .advice(format!(
                    "Enable row-level security with policies for select, or alter publication {publication} drop \
                     table {};",
                    quote::name(name)
                )),
            );
        }
    }
}
