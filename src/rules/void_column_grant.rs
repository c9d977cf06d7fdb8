use super::exposure;
use super::reach::list;
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Name, ObjectKind, Severity, Table};
use crate::sql::quote;
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A privilege that is granted to a role on some columns, where the role holds it on the whole table as well: by a
    /// grant of its own, through PUBLIC, or through a role that it inherits from. Often the grant on the table comes from
    /// `ALTER DEFAULT PRIVILEGES` or from `grant all on all tables`.
    ///
    /// ## Why it matters
    /// Privileges add up: the list of columns says nothing. Whoever wrote it meant the other columns to be out of reach,
    /// such as `is_admin` beside `display_name`, and policies decide about rows, never about columns.
    ///
    /// ## What to do
    /// Revoke the privilege on the table, then grant the columns: a REVOKE on the table takes the grants on its columns
    /// with it.
    /// ```sql,bad
    /// create table profile (id uuid primary key, display_name text, is_admin boolean not null default false);
    /// alter table profile enable row level security;
    /// create policy own on profile for all to app using (id = (select auth.uid()));
    /// grant select, update on profile to app;
    /// grant update (display_name) on profile to app;
    /// ```
    /// ```sql,good
    /// create table profile (id uuid primary key, display_name text, is_admin boolean not null default false);
    /// alter table profile enable row level security;
    /// create policy own on profile for all to app using (id = (select auth.uid()));
    /// grant select on profile to app;
    /// grant update (display_name) on profile to app;
    /// ```
    "void-column-grant" {
        summary: "a grant on columns is void beside the grant on the whole table",
        category: Category::Safety,
        also: &[],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        if table.extension.is_some() || exposure::platform(&name.schema) {
            continue;
        }
        let roles: BTreeSet<&String> = table.columns.iter().flat_map(|c| c.grants.keys()).collect();
        for role in roles {
            for privilege in ["SELECT", "INSERT", "UPDATE"] {
                let columns: Vec<&str> = table
                    .columns
                    .iter()
                    .filter(|c| {
                        c.grants
                            .get(role)
                            .is_some_and(|p| p.iter().any(|h| h == privilege))
                    })
                    .map(|c| c.name.as_str())
                    .collect();
                // A list of all columns keeps nobody from anything.
                if columns.is_empty() || columns.len() == table.columns.len() {
                    continue;
                }
                if let Some(wide) = wide(facts, table, role, privilege) {
                    report((name, table), (role, wide), (privilege, &columns), sink);
                }
            }
        }
    }
}

/// Who holds the privilege on the whole table, of those that the role acts as.
fn wide<'t>(facts: &Facts<'_>, table: &'t Table, role: &str, privilege: &str) -> Option<&'t str> {
    let holds = |granted: &&String| {
        let all = table.grants.get(*granted).map_or(&[][..], Vec::as_slice);
        all.iter().any(|held| held == privilege)
    };
    if facts.acts_as(role, &table.owner) {
        return None;
    }
    let mut holders: Vec<&String> = table
        .grants
        .keys()
        .filter(|granted| *granted == "public" || facts.acts_as(role, granted))
        .filter(holds)
        .collect();
    // Its own grant first: that is the one to revoke.
    holders.sort_by_key(|granted| *granted != role);
    holders.first().map(|granted| granted.as_str())
}

fn report(
    (name, table): (&Name, &Table),
    (role, wide): (&str, &str),
    (privilege, columns): (&str, &[&str]),
    sink: &mut Sink<'_>,
) {
    let others: Vec<&str> = table
        .columns
        .iter()
        .map(|c| c.name.as_str())
        .filter(|c| !columns.contains(c))
        .collect();
    let through = if wide == role {
        String::new()
    } else {
        format!(" through {wide}")
    };
    let found = Found::new(
        Severity::Warning,
        ObjectKind::Table,
        name,
        None,
        format!(
            "{privilege} is granted to {role} on {} alone, but {role} holds it on the whole table{through}: {} as well",
            list(columns),
            list(&others)
        ),
    )
    .evidence("role", role)
    .evidence("privilege", privilege)
    .evidence("columns", columns.to_vec())
    .evidence("through", wide);
    let quoted: Vec<String> = columns.iter().map(|c| quote::ident(c)).collect();
    let verb = privilege.to_lowercase();
    let (on, to) = (quote::name(name), quote::ident(role));
    let advice = "New tables get the privilege again where ALTER DEFAULT PRIVILEGES grants it: take it out there too.";
    sink.report(if wide == role && role != "public" {
        found
            .fix(format!(
                "revoke {verb} on {on} from {to}; grant {verb} ({}) on {on} to {to};",
                quoted.join(", ")
            ))
            .advice(advice)
    } else {
        found.advice(format!(
            "Revoke {verb} on the table from {wide}, and grant there what others need by name. {advice}"
        ))
    });
}
