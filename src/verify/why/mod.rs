//! Why an identity sees or may change one row, or why not: which policy says so, and which part of it.
//!
//! Nothing is written. The row is read by the connected role, and each expression is asked of those values alone, as the identity.

mod ask;
mod found;
mod row;
mod show;

pub use found::{Ground, Part, Policy, Says, Told, Why};
pub use show::report;

use super::effective::{CLAUSES, Clause, Effective, applicable, effective};
use super::rights::{self, Rights};
use super::side;
use crate::db::{Error, Limits, Result, Session, Target};
use crate::model::Persona;
use ask::Asker;
use row::Row;

/// Asks about the row of `table` that `key` names: `id=42`, `a=1,b=2`, or the value of a primary key of one column.
///
/// # Errors
/// Where there is no such table or row, or it cannot be read.
pub async fn why(
    target: &Target,
    persona: &Persona,
    (table, key): (&str, &str),
    limits: Limits,
) -> Result<Why> {
    let session = Session::connect(target, "verify").await?;
    let side = side::read_all(&session, limits).await?;
    let subject = row::table(&side, table)?;
    let conditions = row::conditions(&subject.before, key)?;
    let row = Row::read(&session, &subject, &conditions, limits).await?;
    let oids = [subject.before.oid];
    let rights = rights::read(&session, &persona.role, &oids, limits).await?;
    let fresh = Session::connect(target, "verify").await?;
    let asker = Asker {
        session: &fresh,
        persona,
        subject: &subject,
        row: &row,
        limits,
    };
    let mut why = Why {
        identity: persona.name.clone(),
        role: persona.role.clone(),
        table: subject.name(),
        key: key.to_owned(),
        clauses: Vec::new(),
        server: None,
    };
    for clause in CLAUSES {
        why.clauses.push(told(&asker, &rights, clause).await?);
    }
    if let Some(select) = why.clauses.first()
        && !matches!(select.ground, Ground::NoPrivilege)
    {
        why.server = asker.seen(&conditions).await?;
    }
    Ok(why)
}

async fn told(asker: &Asker<'_>, rights: &Rights, clause: Clause) -> Result<Told> {
    let table = &asker.subject.before;
    let mut told = Told {
        clause,
        ground: Ground::Policies,
        policies: Vec::new(),
        aside: Vec::new(),
        admitted: None,
    };
    let tested = effective(table, clause, &rights.roles, rights.exempt(table));
    (told.ground, told.admitted) = match tested {
        _ if rights.columns(table, clause).is_empty() => (Ground::NoPrivilege, Some(false)),
        Effective::All if !table.rls => (Ground::Open, Some(true)),
        Effective::All => (Ground::Exempt, Some(true)),
        Effective::Nothing => (Ground::Nobody, Some(false)),
        Effective::Tested(_) => (Ground::Policies, None),
    };
    let applied = applicable(table, clause, &rights.roles);
    let aside = table.policies.iter().filter(|p| clause.covered_by(p));
    told.aside = aside
        .filter(|p| !applied.iter().any(|a| a.name == p.name))
        .map(|p| p.name.clone())
        .collect();
    if told.ground != Ground::Policies {
        return Ok(told);
    }
    for policy in applied {
        let Some(text) = clause.of(policy) else {
            continue;
        };
        let says = if policy.whole_row || policy.reads.iter().any(|n| *n < 0) {
            Part::unknown(text, "reads more of the row than its columns")
        } else {
            asker.policy(text).await?
        };
        told.policies.push(Policy {
            name: policy.name.clone(),
            permissive: policy.permissive,
            says,
        });
    }
    told.admitted = told.sum();
    Ok(told)
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new("look at the row", what)
}
