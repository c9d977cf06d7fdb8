use super::meaning::table_of;
use super::reach::{COMMANDS, list};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Name, Severity};
use crate::sql::expr::{Expr, SubSelect};
use crate::sql::qual::ScopeKind;

rule! {
    /// ## What it finds
    /// An EXISTS in a policy that asks neither who calls nor about the row: `exists (select from admins where active)`.
    /// Over `auth.users` it is found too where it asks about the row alone.
    ///
    /// ## Why it matters
    /// It asks whether there is such a row at all. As soon as there is one, the condition is true for everybody. The
    /// comparison with the caller was forgotten.
    ///
    /// ## What to do
    /// Add the comparison with who asks, as `user_id = auth.uid()`. A switch for all users is a setting, not a policy's
    /// sub-select.
    ///
    /// Tables whose own policies apply to the caller are left out: those may do the comparing.
    /// ```sql,bad
    /// create table doc (id int primary key);
    /// create table staff (user_id uuid, role text);
    /// grant select on doc, staff to app;
    /// alter table doc enable row level security;
    /// create policy admins on doc for select to app using (exists (select from staff s where s.role = 'admin'));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key);
    /// create table staff (user_id uuid, role text);
    /// grant select on doc, staff to app;
    /// alter table doc enable row level security;
    /// create policy admins on doc for select to app
    ///   using (exists (select from staff s where s.role = 'admin' and s.user_id = (select auth.uid())));
    /// ```
    "exists-without-caller" {
        summary: "an EXISTS that is true for everybody as soon as one row matches",
        category: Category::Safety,
        also: &["pgrls SEC036"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let mut found: Option<(Vec<&Name>, bool)> = None;
        for (_, qual) in policy.quals() {
            qual.expr.walk(&mut |e| {
                if let Expr::SubSelect(sub) = e
                    && let Some(tables) = unbound(facts, sub)
                {
                    found.get_or_insert(tables);
                }
            });
        }
        if let Some((tables, users)) = found {
            report(facts, policy, &tables, users, sink);
        }
    }
}

/// The tables read, and whether that of all users is among them.
fn unbound<'c>(facts: &Facts<'c>, sub: &SubSelect) -> Option<(Vec<&'c Name>, bool)> {
    if sub.kind != ScopeKind::Exists || binds_caller(facts, sub) {
        return None;
    }
    let sources = sub.select.sources();
    let tables: Vec<_> = sources.iter().filter_map(|s| table_of(facts, s)).collect();
    let users = sources
        .iter()
        .any(|s| s.schema == "auth" && s.name == "users");
    if users {
        return Some((tables.into_iter().map(|(name, _)| name).collect(), true));
    }
    // A relation that is not known may be a view over who asks.
    let known = !tables.is_empty() && tables.len() == sources.len();
    let open = known
        && tables.iter().all(|(_, table)| {
            use crate::model::TableKind::{Ordinary, Partitioned};
            !table.rls_enabled && matches!(table.kind, Ordinary | Partitioned)
        });
    let of_the_row = sub.select.parts().into_iter().any(|part| {
        part.any(|e| matches!(e, Expr::Column(c) if c.row || !sources.iter().any(|s| s.alias == c.relation)))
    });
    (open && !of_the_row).then(|| (tables.into_iter().map(|(name, _)| name).collect(), false))
}

/// Whether the sub-select's own conditions ask who calls. What a further sub-select inside asks is about its rows.
fn binds_caller(facts: &Facts<'_>, sub: &SubSelect) -> bool {
    let mut parts = sub.select.parts().into_iter();
    parts.any(|part| {
        part.any_outside(|e| match e {
            Expr::SubSelect(inner) => {
                // `id in (select auth.uid())`, and `id = (select … where user_id = auth.uid())`.
                inner.kind != ScopeKind::Exists && facts.binds(inner)
            }
            e => facts.asks(e) || facts.is_closed(e),
        })
    })
}

fn report(
    facts: &Facts<'_>,
    policy: &PolicyFacts<'_>,
    tables: &[&Name],
    users: bool,
    sink: &mut Sink<'_>,
) {
    let roles = facts.reached(policy, &COMMANDS);
    let severity = match (users, roles.is_empty()) {
        (true, false) => Severity::Error,
        (false, true) => Severity::Note,
        _ => Severity::Warning,
    };
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    let of = if names.is_empty() {
        "auth.users".to_owned()
    } else {
        names.join(", ")
    };
    sink.report(
        policy
            .found(
                severity,
                format!(
                    "asks whether {of} has such a row at all, not one of the caller: with one it is true for {}",
                    list(&roles)
                ),
            )
            .evidence("tables", names)
            .evidence("roles", roles)
            .advice("Compare a column of the sub-select with who asks, such as user_id = (select auth.uid())."),
    );
}
