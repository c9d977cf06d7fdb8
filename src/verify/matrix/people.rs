//! Who is looked at.

use super::found::Person;
use crate::db::Result;
use crate::model::{Gap, Persona};
use std::collections::BTreeSet;

/// Somebody, with what tells who it is.
#[derive(Clone, Debug)]
pub struct Somebody {
    pub persona: Persona,
    pub person: Person,
}

/// Those that can be looked at: those who were asked for, and each of their roles without any claim.
///
/// # Errors
/// Where the data cannot be read.
#[expect(clippy::unused_async, reason = "the data is asked who there is")]
pub async fn people(asked: &[Persona]) -> Result<(Vec<Somebody>, Vec<Gap>)> {
    let mut all: Vec<Somebody> = asked.iter().map(asked_for).collect();
    let roles: BTreeSet<&str> = asked.iter().map(|p| p.role.as_str()).collect();
    for role in roles {
        if all
            .iter()
            .any(|s| s.persona.role == role && s.persona.settings.is_empty())
        {
            continue;
        }
        let persona = Persona {
            name: format!("{role} without claims"),
            role: role.to_owned(),
            settings: [].into(),
        };
        let mut somebody = asked_for(&persona);
        somebody.person.about = "no setting was ever made".to_owned();
        all.push(somebody);
    }
    Ok((all, Vec::new()))
}

fn asked_for(persona: &Persona) -> Somebody {
    Somebody {
        persona: persona.clone(),
        person: Person {
            name: persona.name.clone(),
            role: persona.role.clone(),
            about: "named by the workload".to_owned(),
            outside: persona.settings.is_empty(),
        },
    }
}
