//! What policies and statements read, and in which forms each policy may be written.

use crate::model::{Catalog, Change, Command, Name, Policy, PolicyText, Query};
use crate::sql::access::{Access, of_function_body, of_policy, of_statement};
use crate::sql::rewrite::{
    Companion, Depth, Step, is_reprintable, refusals, rewrite, rewrite_using,
};
use std::collections::{BTreeMap, BTreeSet};

/// One form of one policy, with what must exist before it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Form {
    /// `None` for the form it has now.
    pub depth: Option<Depth>,
    pub text: PolicyText,
    pub companions: Vec<Companion>,
    pub steps: Vec<Step>,
}

/// A policy that can be written better. The forms go from the one it has now to the one changed most.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rewritable {
    pub table: Name,
    pub policy: String,
    pub forms: Vec<Form>,
}

impl Rewritable {
    /// The changes that bring the policy from one form to another; companions come first.
    pub(super) fn changes(&self, from: usize, to: usize) -> Vec<Change> {
        let (Some(before), Some(after)) = (self.forms.get(from), self.forms.get(to)) else {
            return Vec::new();
        };
        let mut changes: Vec<Change> = after
            .companions
            .iter()
            .filter(|c| !before.companions.contains(c))
            .map(|c| Change::CreateFunction {
                name: c.name.clone(),
                body: c.body.clone(),
                create: c.create.clone(),
                drop: c.drop.clone(),
            })
            .collect();
        changes.push(Change::ReplacePolicy {
            table: self.table.clone(),
            policy: self.policy.clone(),
            before: before.text.clone(),
            after: after.text.clone(),
        });
        changes
    }
}

/// Every policy of a table worth the trouble that a rewrite changes, with what could not be read and what looks as if
/// it could be rewritten and is left as it is.
pub(super) fn rewritable(catalog: &Catalog, least_rows: f64) -> (Vec<Rewritable>, Vec<String>) {
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    for (name, table) in &catalog.tables {
        let rows = table.row_estimate();
        if !table.rls_enabled || table.extension.is_some() || rows < least_rows {
            continue;
        }
        for policy in &table.policies {
            match forms(policy, name, catalog) {
                Ok(forms) if forms.len() > 1 => found.push(Rewritable {
                    table: name.clone(),
                    policy: policy.name.clone(),
                    forms,
                }),
                Ok(_) => {}
                Err(error) => unread.push(format!("policy {} on {name}: {error}", policy.name)),
            }
            let refused = refusals(policy, name, catalog).unwrap_or_default();
            unread.extend(
                refused
                    .iter()
                    .map(|refusal| format!("policy {} on {name}: {refusal}", policy.name)),
            );
        }
    }
    (found, unread)
}

fn forms(
    policy: &Policy,
    table: &Name,
    catalog: &Catalog,
) -> Result<Vec<Form>, crate::sql::tree::Unreadable> {
    let mut forms = vec![Form {
        depth: None,
        text: PolicyText {
            using: policy.using.clone(),
            check: policy.check.clone(),
        },
        companions: Vec::new(),
        steps: Vec::new(),
    }];
    if !is_reprintable(policy, table, catalog) {
        return Ok(forms);
    }
    for depth in [Depth::Wrap, Depth::Sets, Depth::Domain] {
        let mut form = Form {
            depth: Some(depth),
            text: PolicyText {
                using: policy.using.clone(),
                check: policy.check.clone(),
            },
            companions: Vec::new(),
            steps: Vec::new(),
        };
        let using = rewrite_using(policy, table, catalog, depth)?;
        let check = match &policy.check {
            Some(check) => rewrite(check, table, catalog, depth)?,
            None => None,
        };
        for (made, text) in [(using, &mut form.text.using), (check, &mut form.text.check)] {
            if let Some(made) = made {
                *text = Some(made.expression);
                form.companions.extend(made.companions);
                form.steps.extend(made.steps);
            }
        }
        form.companions.dedup();
        form.steps.sort_unstable();
        form.steps.dedup();
        if !form.steps.is_empty() && forms.iter().all(|f| f.text != form.text) {
            forms.push(form);
        }
    }
    Ok(forms)
}

/// Who reads which table how: statements, policies, and the functions that policies call.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    statements: BTreeMap<Name, Vec<Access>>,
    policies: BTreeMap<Name, Vec<Access>>,
    inner: BTreeMap<Name, Vec<Access>>,
    functions: BTreeMap<Name, Vec<Access>>,
}

impl Reads {
    pub(super) fn new(catalog: &Catalog, queries: &[Query]) -> Self {
        let mut reads = Self::default();
        for query in queries {
            for access in of_statement(&query.sql, catalog).unwrap_or_default() {
                put(&mut reads.statements, access);
            }
        }
        for (name, table) in catalog.tables.iter().filter(|(_, t)| t.rls_enabled) {
            for policy in &table.policies {
                // A check alone reads no row of its own table.
                let own = policy.command != Command::Insert;
                for (expression, reading) in [(&policy.using, own), (&policy.check, false)] {
                    let Some(expression) = expression else {
                        continue;
                    };
                    for access in of_policy(expression, name, catalog).unwrap_or_default() {
                        let of_the_row = access.table == *name && access.returns.is_empty();
                        match (of_the_row, reading) {
                            (true, true) => put(&mut reads.policies, access),
                            (true, false) => {}
                            (false, _) => put(&mut reads.inner, access),
                        }
                    }
                }
            }
        }
        for function in &catalog.functions {
            if function.extension.is_none() {
                for access in of_function_body(&function.body, catalog) {
                    put(&mut reads.functions, access);
                }
            }
        }
        reads
    }

    /// The ways a policy of `table` admits a row; one empty way where there is none.
    pub(super) fn policy_branches(&self, table: &Name) -> Vec<Access> {
        let mut branches = self.policies.get(table).cloned().unwrap_or_default();
        branches.push(Access::default());
        branches
    }

    /// How statements and the sub-selects of policies read `table`.
    pub(super) fn of(&self, table: &Name) -> impl Iterator<Item = &Access> {
        self.statements
            .get(table)
            .into_iter()
            .chain(self.inner.get(table))
            .chain(self.functions.get(table))
            .flatten()
    }

    /// How the bodies of functions read `table`.
    pub(super) fn in_functions(&self, table: &Name) -> impl Iterator<Item = &Access> {
        self.functions.get(table).into_iter().flatten()
    }
}

fn put(map: &mut BTreeMap<Name, Vec<Access>>, access: Access) {
    let list = map.entry(access.table.clone()).or_default();
    if !list.contains(&access) {
        list.push(access);
    }
}

/// The tables a statement reads, and those that their policies and the policies' functions read in turn.
pub(super) fn touched(query: &Query, catalog: &Catalog) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    let mut pending: Vec<Name> = crate::sql::access::tables(&query.sql, catalog);
    while let Some(name) = pending.pop() {
        let Some(table) = catalog.table(&name).filter(|_| found.insert(name.clone())) else {
            continue;
        };
        for policy in &table.policies {
            for expression in [&policy.using, &policy.check].into_iter().flatten() {
                pending.extend(crate::sql::access::tables(
                    &format!("select {expression}"),
                    catalog,
                ));
            }
        }
    }
    found
}
