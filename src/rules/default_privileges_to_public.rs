use super::exposure;
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Name, ObjectKind, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// Default privileges that let PUBLIC read or change every table made from now on.
    ///
    /// ## Why it matters
    /// A table made later is open to every role of the server the moment it is there, without a grant that anybody
    /// wrote. Only row-level security, if it is not forgotten, stands between.
    ///
    /// ## What to do
    /// Revoke the default, and grant to the roles that need a table. Tables that are there keep what they have.
    /// ```sql,bad
    /// alter default privileges in schema public grant select on tables to public;
    /// ```
    /// ```sql,good
    /// alter default privileges in schema public grant select on tables to app;
    /// ```
    "default-privileges-to-public" {
        summary: "tables made from now on are open to every role",
        category: Category::Safety,
        also: &["pgrls SEC044"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for default in &facts.catalog.default_privileges {
        let platform = default.schema.as_deref().is_some_and(exposure::platform);
        if default.kind != 'r' || default.grantee != "public" || platform {
            continue;
        }
        let rows = ["SELECT", "INSERT", "UPDATE", "DELETE"];
        let granted: Vec<&str> = rows
            .into_iter()
            .filter(|p| default.privileges.iter().any(|d| d == p))
            .collect();
        if granted.is_empty() {
            continue;
        }
        let place = default.schema.as_ref();
        let words = place.map_or_else(|| "any schema".to_owned(), |s| format!("schema {s}"));
        let clause = place.map_or_else(String::new, |s| format!(" in schema {}", quote::ident(s)));
        sink.report(
            Found::new(
                Severity::Warning,
                ObjectKind::Role,
                &Name::new("", &default.owner),
                place.map(String::as_str),
                format!(
                    "tables that {} makes in {words} grant {} to every role",
                    default.owner,
                    granted.join(", ")
                ),
            )
            .evidence("schema", default.schema.clone())
            .evidence("privileges", granted.clone())
            .fix(format!(
                "alter default privileges for role {}{clause} revoke {} on tables from public;",
                quote::ident(&default.owner),
                granted.join(", ").to_lowercase()
            )),
        );
    }
}
