use super::sink::Found;
use super::{Category, Facts, Sink, rule, tested};
use crate::model::{ObjectKind, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A table that has policies but does not have row-level security enabled.
    ///
    /// ## Why it matters
    /// The policies are ignored: every role with privileges on the table sees every row.
    ///
    /// ## What to do
    /// Enable row-level security, or drop policies that are no longer meant.
    /// ```sql,bad
    /// create table doc (id int primary key, tenant int);
    /// create policy p on doc for select to app using (tenant = 1);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, tenant int);
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app using (tenant = 1);
    /// ```
    "policies-without-rls" {
        summary: "policies on a table whose row-level security is off",
        category: Category::Safety,
        also: &["splinter 0007_policy_exists_rls_disabled", "pgrls SEC032"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        if table.rls_enabled || table.policies.is_empty() || table.extension.is_some() {
            continue;
        }
        // Below a table whose policies are on, the grants of the child are what matters.
        if tested::ancestors(facts, table).any(|(_, above)| above.rls_enabled) {
            continue;
        }
        let number = table.policies.len();
        let (word, are) = if number == 1 {
            ("policy", "is")
        } else {
            ("policies", "are")
        };
        sink.report(
            Found::new(
                Severity::Error,
                ObjectKind::Table,
                name,
                None,
                format!("row-level security is off, so {number} {word} {are} ignored"),
            )
            .evidence("policies", number)
            .fix(format!(
                "alter table {} enable row level security;",
                quote::name(name)
            )),
        );
    }
}
