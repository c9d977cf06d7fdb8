use super::exposure::{self, Trust};
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity, TableKind};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A foreign table that a role of the application may read or change.
    ///
    /// ## Why it matters
    /// A foreign table has no row-level security: the server refuses to enable it. Whoever reaches the table reaches
    /// every remote row that the user mapping shows.
    ///
    /// ## What to do
    /// Revoke the grants, and let a view that filters, or a function, stand between.
    /// ```sql,bad
    /// create foreign data wrapper remote;
    /// create server elsewhere foreign data wrapper remote;
    /// create foreign table invoice (id int, tenant int) server elsewhere;
    /// grant select on invoice to anon;
    /// ```
    /// ```sql,good
    /// create foreign data wrapper remote;
    /// create server elsewhere foreign data wrapper remote;
    /// create foreign table invoice (id int, tenant int) server elsewhere;
    /// ```
    "foreign-table-exposed" {
        summary: "a foreign table, which no policy can guard, is within reach of the application's roles",
        category: Category::Safety,
        severity: Severity::Error,
        also: &["splinter 0017_foreign_table_in_api", "pgrls SEC053"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        let ours = table.extension.is_none() && !exposure::platform(&name.schema);
        if table.kind != TableKind::Foreign || !ours {
            continue;
        }
        let reach = facts.exposure.of_table(name, table);
        let severity = match exposure::least(&reach) {
            _ if reach.is_empty() => continue,
            Trust::Anonymous => Severity::Error,
            Trust::SignedIn => Severity::Warning,
            Trust::Role => Severity::Note,
        };
        sink.report(
            Found::new(
                severity,
                ObjectKind::Table,
                name,
                None,
                format!(
                    "is a foreign table, which no policy can guard, and {} reaches every remote row",
                    exposure::who(&reach)
                ),
            )
            .evidence("roles", exposure::roles(&reach))
            .advice(format!(
                "revoke all on {} from {}; and let a view that filters stand in front of it.",
                quote::name(name),
                exposure::who(&reach).replace("every role", "public")
            )),
        );
    }
}
