//! As whom worlds are looked at.

use super::reach::Reach;
use crate::model::{Catalog, Name, Persona, Policy};
use std::collections::BTreeSet;

/// Roles that look, at most.
pub(super) const MOST: usize = 4;

/// Whether a policy for the roles `named` is one for `role`.
pub(super) fn is_among(catalog: &Catalog, role: &str, named: &BTreeSet<String>) -> bool {
    let policy = Policy {
        roles: named.iter().cloned().collect(),
        ..Policy::default()
    };
    catalog.applies_to(&policy, role)
}

/// Roles to look as: those that changed policies name; for `public`, those of personas and whoever the table is granted to.
pub(super) fn candidates(
    before: &Catalog,
    after: &Catalog,
    table: &Name,
    reach: &Reach,
    personas: &[Persona],
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut put = |role: &String| {
        let known = before.roles.get(role);
        let plain = known.is_some_and(|r| r.settable && !r.superuser && !r.bypass_rls);
        if plain && !found.contains(role) {
            found.push(role.clone());
        }
    };
    let sides = [before.table(table), after.table(table)];
    let mut concerned = |role: &String| {
        let policies = sides.iter().flatten().flat_map(|t| &t.policies);
        let named = policies.filter(|p| p.roles.iter().any(|r| reach.named.contains(r)));
        if named.into_iter().any(|p| before.applies_to(p, role)) {
            put(role);
        }
    };
    for role in &reach.named {
        concerned(role);
    }
    for persona in personas {
        concerned(&persona.role);
    }
    for side in sides.iter().flatten() {
        for role in side.grants.keys() {
            concerned(role);
        }
    }
    if found.is_empty() && reach.named.contains("public") {
        found.extend(
            before
                .roles
                .iter()
                .filter(|(_, r)| r.settable && !r.superuser && !r.bypass_rls)
                .map(|(name, _)| name.clone())
                .filter(|name| !name.starts_with("pg_"))
                .take(MOST),
        );
    }
    found
}
