//! The roles that policies name or reach.

use super::asks::Asks;
use crate::model::{Catalog, Gap, Table};
use crate::sql::quote;
use crate::sql::ties::Claim;
use std::collections::{BTreeMap, BTreeSet};

/// A role to look as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) name: String,
    /// It owns a guarded table.
    pub(super) owner: bool,
    /// Claims that the policies for it read.
    pub(super) claims: BTreeSet<Claim>,
}

/// Roles that a policy names, those with a grant on a guarded table, owners, and those of `in_rows` that reach a guarded
/// table: never one that no policy binds.
pub(super) fn find(
    (before, after): (&Catalog, &Catalog),
    asks: &Asks,
    in_rows: &[String],
    gaps: &mut Vec<Gap>,
) -> Vec<Role> {
    let mut names: BTreeMap<String, bool> = BTreeMap::new();
    let mut to_everybody = false;
    for catalog in [before, after] {
        for table in catalog.tables.values().filter(|t| guarded(t)) {
            let policies = table.policies.iter().flat_map(|p| &p.roles);
            for name in policies.chain(grantees(table)) {
                to_everybody |= name == "public";
                names.entry(name.clone()).or_default();
            }
            if table.rls_enabled {
                names.insert(table.owner.clone(), true);
            }
        }
        let reached = in_rows.iter().chain(&asks.ties.user_names);
        for name in reached.filter(|n| reaches(catalog, n)).take(FEW) {
            names.entry(name.clone()).or_default();
        }
    }
    let bound = |name: &str| {
        let sides = [before.roles.get(name), after.roles.get(name)];
        sides.iter().any(Option::is_some)
            && !name.starts_with("pg_")
            && sides
                .iter()
                .flatten()
                .all(|r| !r.superuser && !r.bypass_rls)
    };
    names.retain(|name, _| bound(name));
    if to_everybody && names.values().all(|owner| *owner) {
        let others = before.roles.iter().filter(|(n, r)| r.settable && bound(n));
        let others: Vec<String> = others.map(|(n, _)| n.clone()).take(FEW).collect();
        names.extend(others.into_iter().map(|name| (name, false)));
    }
    names.retain(|name, _| settable(before, after, name, gaps));
    let mut roles: Vec<Role> = names
        .into_iter()
        .map(|(name, owner)| Role {
            claims: claims(&name, before, asks),
            owner,
            name,
        })
        .collect();
    // Those of whom policies ask most first, owners last.
    roles.sort_by_key(|r| (r.owner, std::cmp::Reverse(r.claims.len())));
    roles
}

/// Roles taken where any would do.
const FEW: usize = 4;

fn guarded(table: &Table) -> bool {
    table.rls_enabled || !table.policies.is_empty()
}

fn grantees(table: &Table) -> impl Iterator<Item = &String> {
    let columns = table.columns.iter().flat_map(|c| c.grants.keys());
    let all = table.grants.keys().chain(columns);
    all.filter(|name| **name != table.owner)
}

fn reaches(catalog: &Catalog, name: &str) -> bool {
    let Some(role) = catalog.roles.get(name) else {
        return false;
    };
    let holds = |granted: &String| {
        granted == "public" || granted == name || role.inherit && role.member_of.contains(granted)
    };
    let mut tables = catalog.tables.values().filter(|t| guarded(t));
    tables.any(|table| grantees(table).any(holds))
}

fn settable(before: &Catalog, after: &Catalog, name: &str, gaps: &mut Vec<Gap>) -> bool {
    let sides = [before, after];
    let known = sides.iter().find_map(|c| Some((*c, c.roles.get(name)?)));
    let Some((catalog, role)) = known else {
        return false;
    };
    if role.settable || catalog.server.user == name {
        return true;
    }
    let inherits = if catalog.server.version_num >= 160_000 {
        " with inherit false, set true"
    } else {
        ""
    };
    gaps.push(Gap {
        what: format!("role {name}"),
        why: format!(
            "{} may not become it: nobody is looked at with this role",
            catalog.server.user
        ),
        remedy: Some(format!(
            "grant {} to {}{inherits};",
            quote::ident(name),
            quote::ident(&catalog.server.user)
        )),
    });
    false
}

fn claims(name: &str, catalog: &Catalog, asks: &Asks) -> BTreeSet<Claim> {
    let member = catalog.roles.get(name);
    let inherited = member.filter(|r| r.inherit).map(|r| &r.member_of);
    let granted = inherited.into_iter().flatten().map(String::as_str);
    [name, "public"]
        .into_iter()
        .chain(granted)
        .filter_map(|role| asks.by_role.get(role))
        .flatten()
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Command, Name, Policy, Role as Known, Server};

    fn catalog() -> Catalog {
        let mut catalog = Catalog {
            server: Server {
                user: "me".to_owned(),
                version_num: 160_000,
                ..Server::default()
            },
            ..Catalog::default()
        };
        for (name, superuser, bypass_rls, settable) in [
            ("app", false, false, true),
            ("far", false, false, false),
            ("god", true, false, true),
            ("by", false, true, true),
            ("me", false, false, true),
        ] {
            let role = Known {
                superuser,
                bypass_rls,
                settable,
                ..Known::default()
            };
            catalog.roles.insert(name.to_owned(), role);
        }
        let grants = ["app", "god", "by"].map(|r| (r.to_owned(), vec!["SELECT".to_owned()]));
        let policy = Policy {
            name: "p".to_owned(),
            permissive: true,
            roles: vec!["public".to_owned(), "far".to_owned()],
            command: Command::All,
            using: Some("true".to_owned()),
            check: None,
        };
        let table = Table {
            owner: "me".to_owned(),
            rls_enabled: true,
            grants: grants.into(),
            policies: vec![policy],
            ..Table::default()
        };
        catalog.tables.insert(Name::new("public", "t"), table);
        catalog
    }

    #[test]
    fn only_roles_that_policies_bind() {
        let catalog = catalog();
        let both = (&catalog, &catalog);
        let mut gaps = Vec::new();
        let roles = find(both, &Asks::of(both), &[], &mut gaps);
        let names: Vec<_> = roles.iter().map(|r| (r.name.as_str(), r.owner)).collect();
        assert_eq!(names, [("app", false), ("me", true)]);
        let [gap] = gaps.as_slice() else {
            panic!("{gaps:?}")
        };
        assert_eq!(
            gap.remedy.as_deref(),
            Some("grant far to me with inherit false, set true;")
        );
    }
}
