use super::exposure;
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A function marked LEAKPROOF by hand that takes arguments and that the application's roles may call, in a database
    /// with row-level security.
    ///
    /// ## Why it matters
    /// The server may run a leakproof function before a policy has said which rows may be seen. An error message, a
    /// notice or the time it takes then tells of rows that the policy hides. The server believes the mark; it checks
    /// nothing.
    ///
    /// ## What to do
    /// Take the mark away unless no argument can make the function fail, speak or take longer.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid, code text);
    /// alter table doc enable row level security;
    /// create policy own on doc to app using (owner_id = (select auth.uid()));
    /// create function as_number(code text) returns int language sql immutable leakproof as $$ select code::int $$;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid, code text);
    /// alter table doc enable row level security;
    /// create policy own on doc to app using (owner_id = (select auth.uid()));
    /// create function as_number(code text) returns int language sql immutable as $$ select code::int $$;
    /// ```
    "leakproof-function" {
        summary: "a function marked LEAKPROOF may run before policies have filtered",
        category: Category::Safety,
        also: &["pgrls SEC017"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    if !facts.catalog.tables.values().any(|t| t.rls_enabled) {
        return;
    }
    for function in &facts.catalog.functions {
        let ours = function.extension.is_none()
            && function.name.schema != "pg_catalog"
            && !exposure::platform(&function.name.schema);
        if !function.leakproof || !ours || function.argument_types.is_empty() {
            continue;
        }
        let reach = facts.exposure.of_function(function);
        if reach.is_empty() {
            continue;
        }
        sink.report(
            Found::new(
                Severity::Warning,
                ObjectKind::Function,
                &function.name,
                None,
                format!(
                    "is marked LEAKPROOF and {} may call it: it may see rows that policies hide",
                    exposure::who(&reach)
                ),
            )
            .evidence("arguments", function.arguments.clone())
            .evidence("language", function.language.clone())
            .evidence("roles", exposure::roles(&reach))
            .fix(format!(
                "alter function {}({}) not leakproof;",
                quote::name(&function.name),
                function.arguments
            )),
        );
    }
}
