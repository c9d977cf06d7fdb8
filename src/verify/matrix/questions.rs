//! What is asked about a table as one identity: each expression once, for all clauses together.

use super::found::By;
use crate::model::Catalog;
use crate::verify::cells::is_volatile;
use crate::verify::effective::{CLAUSES, Clause, Effective, applicable, effective};
use crate::verify::pairing::Subject;
use crate::verify::reach::reach;
use crate::verify::rights::Rights;
use std::collections::BTreeSet;

/// The clauses for which a role has the privilege.
#[derive(Clone, Debug, Default)]
pub(super) struct Questions {
    /// Of policies.
    pub(super) expressions: Vec<Expression>,
    /// Which made-up rows the role can bring about.
    pub(super) reaches: Vec<String>,
    pub(super) asked: Vec<Asked>,
    pub(super) volatile: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression {
    pub(super) text: String,
    /// Whether it is asked of rows that are there too: a check is of those that are to come.
    pub(super) of_those_there: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) clause: Clause,
    pub(super) by: By,
    /// The columns that are granted, where not all are.
    pub(super) columns: Option<Vec<String>>,
    pub(super) permissive: Vec<Part>,
    pub(super) restrictive: Vec<Part>,
    /// Place in [`Questions::reaches`].
    pub(super) reach: Option<usize>,
    pub(super) effective: Effective,
}

/// A policy, and the place of its expression.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) policy: String,
    pub(super) at: usize,
}

impl Questions {
    pub(super) fn new(subject: &Subject, rights: &Rights, catalog: &Catalog) -> Self {
        let table = &subject.before;
        let mut questions = Self::default();
        for clause in CLAUSES {
            let columns = rights.columns(table, clause);
            if columns.is_empty() {
                continue;
            }
            let exempt = rights.exempt(table);
            let tested = effective(table, clause, &rights.roles, exempt);
            let by = match &tested {
                Effective::All if exempt => By::Exempt,
                Effective::All => By::Open,
                Effective::Nothing => By::Nobody,
                Effective::Tested(_) => By::Policies,
            };
            let mut asked = Asked {
                clause,
                by,
                columns: granted(subject, clause, &columns),
                permissive: Vec::new(),
                restrictive: Vec::new(),
                reach: None,
                effective: tested,
            };
            if by == By::Policies {
                for policy in applicable(table, clause, &rights.roles) {
                    let Some(text) = clause.of(policy) else {
                        continue;
                    };
                    let part = Part {
                        policy: policy.name.clone(),
                        at: expression(&mut questions.expressions, text, clause),
                    };
                    if policy.permissive {
                        asked.permissive.push(part);
                    } else {
                        asked.restrictive.push(part);
                    }
                }
                let using = effective(table, Clause::Update, &rights.roles, exempt);
                let condition = reach(subject, false, clause, &columns, &using, catalog);
                asked.reach = condition.map(|text| place(&mut questions.reaches, &text));
                questions.volatile |= is_volatile(&asked.effective, catalog);
            }
            questions.asked.push(asked);
        }
        questions
    }

    /// Whether anything must be asked of the server.
    pub(super) fn is_tested(&self) -> bool {
        self.asked.iter().any(|a| a.by == By::Policies)
    }
}

/// DELETE has no columns.
fn granted(subject: &Subject, clause: Clause, columns: &BTreeSet<&str>) -> Option<Vec<String>> {
    let grantable = |writable: bool| !clause.of_new_rows() && clause != Clause::Update || writable;
    let all = subject.before.columns.iter();
    let lacks = all
        .filter(|c| grantable(c.writable))
        .any(|c| !columns.contains(c.name.as_str()));
    (lacks && clause != Clause::Delete).then(|| columns.iter().map(|c| (*c).to_owned()).collect())
}

fn place(all: &mut Vec<String>, text: &str) -> usize {
    if let Some(at) = all.iter().position(|t| t == text) {
        return at;
    }
    all.push(text.to_owned());
    all.len() - 1
}

fn expression(all: &mut Vec<Expression>, text: &str, clause: Clause) -> usize {
    let of_those_there = !clause.of_new_rows();
    for (at, known) in all.iter_mut().enumerate() {
        if known.text == text {
            known.of_those_there |= of_those_there;
            return at;
        }
    }
    all.push(Expression {
        text: text.to_owned(),
        of_those_there,
    });
    all.len() - 1
}
