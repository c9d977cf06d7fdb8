//! Children of a guarded parent: the parent's visible rows are found once an identity, instead of once for each child.
//!
//! `exists (select … from parent …)` in a policy asks the parent's own policies for every tuple of the child. The parent was
//! decided by its own tuples, so its visible rows are put into a temporary table, which the child's expression then reads.

use super::decide::Judge;
use super::effective::Effective;
use super::pairing::{Pair, Subject};
use super::tuples;
use crate::db::Result;
use crate::model::Name;
use crate::sql::places;
use crate::sql::quote;
use std::collections::{BTreeMap, BTreeSet};

/// Subjects in an order in which those that others read come first, as far as they do not read each other.
pub(super) fn parents_first(subjects: &mut Vec<Subject>) {
    let names: BTreeMap<Name, usize> = subjects
        .iter()
        .flat_map(|s| [(s.before.name(), s.number), (s.after.name(), s.number)])
        .collect();
    let reads = |subject: &Subject| -> BTreeSet<usize> {
        let policies = subject
            .before
            .policies
            .iter()
            .chain(&subject.after.policies);
        let texts = policies.flat_map(|p| [&p.using, &p.check]).flatten();
        texts
            .flat_map(|text| places::relations(text))
            .filter_map(|name| names.get(&name).copied())
            .filter(|number| *number != subject.number)
            .collect()
    };
    let mut left: Vec<(Subject, BTreeSet<usize>)> = subjects
        .drain(..)
        .map(|s| {
            let reads = reads(&s);
            (s, reads)
        })
        .collect();
    let mut done: BTreeSet<usize> = BTreeSet::new();
    while !left.is_empty() {
        let next = left.iter().position(|(_, reads)| reads.is_subset(&done));
        // Where they read each other, one has to begin.
        let (subject, _) = left.remove(next.unwrap_or_default());
        done.insert(subject.number);
        subjects.push(subject);
    }
    for (number, subject) in subjects.iter_mut().enumerate() {
        subject.number = number;
    }
}

/// The parents of one identity on one side.
#[derive(Debug, Default)]
pub(super) struct Parents {
    /// Tables that were decided, with the expression that decided, and whether a copy was made or could not be.
    decided: BTreeMap<Name, (usize, Effective)>,
    copies: BTreeMap<Name, Option<Name>>,
}

impl Parents {
    /// Notes that `effective` decides who sees the rows of `subject`.
    pub(super) fn note(&mut self, subject: &Subject, after: bool, effective: &Effective) {
        if matches!(effective, Effective::Tested(_)) {
            let name = subject.on(after).name();
            self.decided
                .insert(name, (subject.number, effective.clone()));
        }
    }

    /// `effective` with the copies of the parents that it reads, made where they are not there yet; `None` where it reads none.
    pub(super) async fn instead(
        &mut self,
        judge: &Judge<'_>,
        subjects: &[Subject],
        columns: &dyn Fn(&Subject) -> BTreeSet<String>,
        effective: &Effective,
    ) -> Result<Option<Effective>> {
        let Effective::Tested(text) = effective else {
            return Ok(None);
        };
        let mut others = BTreeMap::new();
        for name in places::relations(text) {
            let Some((number, decides)) = self.decided.get(&name) else {
                continue;
            };
            if !self.copies.contains_key(&name) {
                let parent = subjects.iter().find(|s| s.number == *number);
                let made = match parent {
                    Some(parent) => copy(judge, parent, decides, &columns(parent)).await?,
                    None => None,
                };
                self.copies.insert(name.clone(), made);
            }
            if let Some(Some(copy)) = self.copies.get(&name) {
                others.insert(name, copy.clone());
            }
        }
        Ok((!others.is_empty()).then(|| Effective::Tested(places::instead(text, &others))))
    }
}

/// Puts the rows of `parent` that the identity sees into a temporary table; `None` where that cannot be done.
async fn copy(
    judge: &Judge<'_>,
    parent: &Subject,
    decides: &Effective,
    columns: &BTreeSet<String>,
) -> Result<Option<Name>> {
    // A hash over fewer columns than the policies read stands for several tuples.
    if !parent.columns.iter().all(Pair::shared) {
        return Ok(None);
    }
    let hash = tuples::hash(parent, judge.after);
    let table = parent.on(judge.after);
    let (number, alias) = (parent.number, table.alias());
    let (seen, copy) = (
        format!("pg_temp.dbtune_seen_{number}"),
        Name::new("pg_temp", format!("dbtune_parent_{number}")),
    );
    let doing = format!(
        "find the rows of {} that {} sees",
        parent.name(),
        judge.persona.name
    );
    let as_identity = format!(
        "create temporary table dbtune_seen_{number} as select distinct h from
           (select dbtune_h as h, ({}) as d from (select * from dbtune_verify.{} where dbtune_o = 0) as {alias} offset 0) x where d;
         grant select on dbtune_seen_{number} to public",
        decides.sql(),
        tuples::relation(parent)
    );
    let columns: Vec<String> = columns.iter().map(|c| quote::ident(c)).collect();
    let keys: Vec<String> = table
        .columns
        .iter()
        .filter(|c| c.key && columns.contains(&quote::ident(&c.name)))
        .map(|c| {
            format!(
                "; create index on {} ({})",
                quote::name(&copy),
                quote::ident(&c.name)
            )
        })
        .collect();
    let (place, role) = (quote::name(&copy), quote::ident(&judge.persona.role));
    let as_owner = format!(
        "set local row_security = off;
         create temporary table dbtune_parent_{number} as
           select {} from {} as {alias} where {hash} in (select h from {seen});
         grant select on {place} to {role}{}; analyze {place}",
        columns.join(", "),
        table.quoted(),
        keys.concat(),
    );
    let session = judge.session;
    session.begin_as(judge.persona, false, judge.limits).await?;
    let done = async {
        session.execute(&doing, &as_identity).await?;
        session.execute(&doing, "reset role").await?;
        session.execute(&doing, &as_owner).await
    };
    match done.await {
        Ok(()) => {
            session.execute(&doing, "commit").await?;
            Ok(Some(copy))
        }
        Err(error) => {
            session.end().await?;
            if error.sqlstate.is_none() {
                return Err(error);
            }
            Ok(None)
        }
    }
}
