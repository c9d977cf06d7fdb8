//! The matrix as tests that stand alone: one SQL file a table, of pgTAP functions only, in a transaction that is rolled back.
//!
//! A file holds the expressions that decide now, and asserts that the server still decides so, over whatever rows there are.
//! No value out of the database is in it: who an identity is, the file asks the database again.

mod claims;
mod file;
mod tried;

pub use claims::Claims;

use super::decide::raised_by_expression;
use super::effective::{Clause, effective};
use super::faithful::doubts;
use super::matrix::Somebody;
use super::pairing::{Subject, single};
use super::rights::{self, Rights};
use super::side;
use crate::db::{Limits, Result, Session, Target};
use crate::model::{Gap, PersonaSpec};
use file::{File, Inserted, Seen};
use std::collections::BTreeMap;
use tried::Trial;

/// What is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Name and text.
    pub files: Vec<(String, String)>,
    pub tests: usize,
    pub gaps: Vec<Gap>,
}

/// Writes the tests of every table with row-level security. Each assertion is tried on `clone` first; what does not hold there
/// is left out, and said.
///
/// # Errors
/// Where the clone cannot be read.
pub async fn export(
    clone: &Target,
    everybody: &[Somebody],
    specs: &BTreeMap<String, PersonaSpec>,
    limits: Limits,
    note: &mut dyn FnMut(u64, u64, &str),
) -> Result<Exported> {
    let session = Session::connect(clone, "verify").await?;
    let side = side::read_all(&session, limits).await?;
    let oids: Vec<u32> = side.tables.keys().copied().collect();
    let mut rights: BTreeMap<&str, Rights> = BTreeMap::new();
    for somebody in everybody {
        let role = somebody.persona.role.as_str();
        if !rights.contains_key(role) {
            rights.insert(role, rights::read(&session, role, &oids, limits).await?);
        }
    }
    // Settings that were never made come first: they cannot be unmade.
    let mut order: Vec<&Somebody> = everybody.iter().collect();
    order.sort_by_key(|s| !s.persona.settings.is_empty());
    let mut subjects = single(&side);
    subjects.retain(|s| s.before.rls);
    let mut exported = Exported::default();
    let total = subjects.len() as u64;
    for (at, subject) in subjects.iter().enumerate() {
        note(at as u64, total, &subject.name().to_string());
        if let Some((policy, why)) = doubts(&session, subject, false).await?.into_iter().next() {
            exported.gaps.push(Gap {
                what: format!("tests of {}", subject.name()),
                why: format!("its policy {policy} {why}"),
                remedy: None,
            });
            continue;
        }
        let mut file = File::new(subject);
        for somebody in &order {
            if let Some(rights) = rights.get(somebody.persona.role.as_str()) {
                let trial = Trial {
                    clone,
                    subject,
                    persona: &somebody.persona,
                    limits,
                };
                let spec = specs.get(&somebody.person.name);
                let claims = Claims::new(&somebody.persona, spec);
                add(&trial, rights, claims, &mut file, &mut exported.gaps).await?;
            }
        }
        if file.tests() > 0 {
            exported.tests += file.tests();
            exported.files.push((name_of(subject), file.text()));
        }
    }
    Ok(exported)
}

/// What one identity sees and may insert.
async fn add(
    trial: &Trial<'_>,
    rights: &Rights,
    claims: Claims,
    file: &mut File,
    gaps: &mut Vec<Gap>,
) -> Result<()> {
    let table = &trial.subject.before;
    let who = &trial.persona.name;
    let exempt = rights.exempt(table);
    let mut left_out = |what: &str, why: String| {
        gaps.push(Gap {
            what: format!("test that {who} {what} {}", trial.subject.name()),
            why,
            remedy: None,
        });
    };
    let mut seen = None;
    if !rights.columns(table, Clause::Select).is_empty() {
        let expression = effective(table, Clause::Select, &rights.roles, exempt);
        let test = Seen::new(trial.subject, expression.sql());
        match trial.holds(&test.actual, &test.expected).await {
            Ok(true) => seen = Some(test),
            Ok(false) => left_out(
                "sees exactly its rows of",
                "it does not hold on a copy of the database".to_owned(),
            ),
            Err(error) if error.sqlstate.as_deref().is_some_and(raised_by_expression) => {
                left_out("sees exactly its rows of", error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    let mut inserted = None;
    let columns = rights.columns(table, Clause::Insert);
    let writable: Vec<&str> = table
        .columns
        .iter()
        .filter(|c| c.writable && columns.contains(c.name.as_str()))
        .map(|c| c.name.as_str())
        .collect();
    if !writable.is_empty() && !exempt {
        let expression = effective(table, Clause::Insert, &rights.roles, exempt);
        let test = Inserted::new(trial.subject, expression.sql(), &writable);
        match trial.refused(&test).await {
            Ok(true) => inserted = Some(test),
            Ok(false) => {}
            Err(error) if error.sqlstate.as_deref().is_some_and(raised_by_expression) => {
                left_out("may not insert foreign rows into", error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    if seen.is_some() || inserted.is_some() {
        file.add(trial.persona, claims, seen, inserted);
    }
    Ok(())
}

fn name_of(subject: &Subject) -> String {
    let name: String = subject
        .name()
        .to_string()
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') {
                c
            } else {
                '_'
            }
        })
        .collect();
    format!("{name}.sql")
}
