//! Who is looked at.

use super::found::Person;
use crate::db::{Result, Session, read_catalog};
use crate::model::{Catalog, Gap, Persona};
use crate::verify::identity::{Kind, find};
use std::collections::BTreeSet;

/// Somebody, with what tells who it is.
#[derive(Clone, Debug)]
pub struct Somebody {
    pub persona: Persona,
    pub person: Person,
}

/// Those that a policy can tell apart, found in policies and data of a throwaway clone, at most `most` beside those asked for.
///
/// # Errors
/// Where the clone cannot be read.
pub async fn everybody(
    clone: &Session,
    catalog: &Catalog,
    asked: &[Persona],
    most: usize,
) -> Result<(Vec<Somebody>, Vec<Gap>)> {
    let found = find(clone, (catalog, catalog), asked, most).await?;
    let outsider = |kind: Kind| {
        matches!(
            kind,
            Kind::NoClaims
                | Kind::Stranger
                | Kind::EmptyClaims
                | Kind::EmptyObject
                | Kind::Malformed
                | Kind::OtherRole
                | Kind::NoMembership
        )
    };
    let all = found.identities.into_iter().map(|identity| {
        let mut one = somebody(identity.persona, &identity.about, catalog);
        one.person.outside |= outsider(identity.kind);
        one
    });
    Ok((all.collect(), found.gaps))
}

/// Without a look at the data, those that can be looked at: those who were asked for, and without any claim each of their roles and of those that policies
/// name, as far as `session` may become them.
///
/// # Errors
/// Where the database cannot be read.
pub async fn people(session: &Session, asked: &[Persona]) -> Result<(Vec<Somebody>, Vec<Gap>)> {
    let catalog = read_catalog(session).await?;
    let mut all: Vec<Somebody> = asked
        .iter()
        .map(|persona| somebody(persona.clone(), "named by the workload", &catalog))
        .collect();
    let roles: BTreeSet<&str> = asked.iter().map(|p| p.role.as_str()).collect();
    let policies = catalog.tables.values().flat_map(|t| &t.policies);
    let named = policies.flat_map(|p| &p.roles).map(String::as_str);
    let may = |role: &&str| catalog.roles.get(*role).is_some_and(|r| r.settable);
    let roles: BTreeSet<&str> = roles.into_iter().chain(named.filter(may)).collect();
    for role in roles {
        let has_none = |s: &Somebody| s.persona.role == role && s.persona.settings.is_empty();
        if !all.iter().any(has_none) {
            let persona = Persona {
                name: format!("{role} without claims"),
                role: role.to_owned(),
                settings: [].into(),
            };
            all.push(somebody(persona, "no setting was ever made", &catalog));
        }
    }
    Ok((all, Vec::new()))
}

/// Whoever makes no setting is nobody, unless the role is exempt from policies anyway.
fn somebody(persona: Persona, about: &str, catalog: &Catalog) -> Somebody {
    let role = catalog.roles.get(&persona.role);
    let is_exempt = role.is_some_and(|r| r.superuser || r.bypass_rls);
    let person = Person {
        name: persona.name.clone(),
        role: persona.role.clone(),
        about: about.to_owned(),
        outside: persona.settings.is_empty() && !is_exempt,
    };
    Somebody { persona, person }
}
