use super::sink::{Found, count};
use super::{Category, Facts, Sink, exposure, rule};
use crate::model::{Name, ObjectKind, Role, Severity};
use crate::sql::body;
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A role of the application that owns tables with row-level security, or may act as their owner, where it is not
    /// forced upon the owner. A role counts that requests run as, or that logs in and, by `pg_stat_statements`, runs
    /// statements on these tables. Superusers and roles with BYPASSRLS are left out: FORCE does not hold them either.
    ///
    /// ## Why it matters
    /// Policies do not apply to a table's owner, nor to members of the owning role. An application that works as one
    /// sees every row, and every test of the policies passes for the wrong reason.
    ///
    /// ## What to do
    /// Let the application work as a role that owns nothing, or force row-level security upon the owner.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc using (owner_id = (select auth.uid()));
    /// alter table doc owner to site_owner;
    /// set role site_owner;
    /// select count(*) from doc;
    /// reset role;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// alter table doc force row level security;
    /// create policy own on doc using (owner_id = (select auth.uid()));
    /// alter table doc owner to site_owner;
    /// set role site_owner;
    /// select count(*) from doc;
    /// reset role;
    /// ```
    "owner-bypasses-policies" {
        summary: "the application works as the owner of tables, whom their policies do not hold",
        category: Category::Safety,
        also: &["pgrls SEC002", "pgrls SEC048"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut owned: BTreeMap<&str, Vec<&Name>> = BTreeMap::new();
    for (name, table) in &facts.catalog.tables {
        let ours = table.extension.is_none() && !exposure::platform(&name.schema);
        if ours && table.rls_enabled && !table.rls_forced && !table.policies.is_empty() {
            owned.entry(&table.owner).or_default().push(name);
        }
    }
    owned.retain(|owner, _| facts.catalog.roles.get(*owner).is_some_and(held));
    if owned.is_empty() {
        return;
    }
    for (role, properties) in &facts.catalog.roles {
        if !held(properties) || role.starts_with("pg_") {
            continue;
        }
        for (owner, tables) in &owned {
            let becomes = properties.becomes.iter().any(|b| b == owner);
            if becomes || facts.acts_as(role, owner) {
                judge(facts, role, properties, owner, tables, sink);
            }
        }
    }
}

/// Whether forced policies would hold it.
fn held(role: &Role) -> bool {
    !role.superuser && !role.bypass_rls
}

fn judge(
    facts: &Facts<'_>,
    role: &str,
    properties: &Role,
    owner: &str,
    tables: &[&Name],
    sink: &mut Sink<'_>,
) {
    // Policies that name a role say nothing of whether it is the application.
    let outsider = facts
        .exposure
        .trust(role)
        .is_some_and(|t| t < exposure::Trust::Role);
    let calls = if properties.login || properties.becomes.is_empty() {
        calls(facts, role, tables)
    } else {
        0
    };
    if !outsider && calls == 0 {
        return;
    }
    let list = tables
        .iter()
        .take(3)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let more = match tables.len() {
        0..=3 => String::new(),
        n => format!(" and {} more", n - 3),
    };
    let how = if role == owner {
        "owns".to_owned()
    } else {
        format!("may act as {owner}, who owns")
    };
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let used = if calls > 0 {
        format!(" ({} calls counted)", count(calls as f64))
    } else {
        String::new()
    };
    sink.report(
        Found::new(
            if outsider {
                Severity::Error
            } else {
                Severity::Warning
            },
            ObjectKind::Role,
            &Name::new("", role),
            None,
            format!("{how} {list}{more}, so their policies do not hold what it runs{used}"),
        )
        .evidence("owner", owner)
        .evidence("calls", calls)
        .evidence(
            "tables",
            tables.iter().map(ToString::to_string).collect::<Vec<_>>(),
        )
        .advice(
            "Let the application work as a role that owns nothing, or alter table … force row level security; on each: \
             then the owner needs policies for what it does itself, such as migrating data.",
        ),
    );
}

/// Calls of statements on the tables, run as the role.
fn calls(facts: &Facts<'_>, role: &str, tables: &[&Name]) -> i64 {
    let tables: BTreeSet<&Name> = tables.iter().copied().collect();
    let statements = facts.statements.map_or(&[][..], |s| &s.statements);
    statements
        .iter()
        .filter(|s| s.role == role && s.top_level)
        .filter(|s| {
            let mentions = s.text.as_deref().and_then(body::mentions);
            mentions.is_some_and(|m| {
                m.kind == body::Kind::Query
                    && m.relations.iter().any(|(schema, name)| {
                        let found = facts.catalog.resolve(schema, name);
                        found.is_some_and(|(name, _)| tables.contains(name))
                    })
            })
        })
        .map(|s| s.calls)
        .sum()
}
