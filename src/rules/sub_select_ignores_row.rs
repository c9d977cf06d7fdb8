use super::meaning::{is_identity, table_of};
use super::reach::{COMMANDS, list};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::Severity;
use crate::sql::expr::{Expr, How, SubSelect};
use crate::sql::qual::ScopeKind;
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A policy that compares a column with itself, as `m.org = m.org`, and an EXISTS that asks for a row of the caller
    /// but not about the row that is judged, although both tables have the column that tells whose row it is.
    ///
    /// ## Why it matters
    /// In `exists (select from member m where m.org = org)` the second `org` is that of `member` too: a sub-select's own
    /// column comes before the column of the table outside. The comparison is true for every row, so that whoever is a
    /// member of one organisation sees the rows of all.
    ///
    /// ## What to do
    /// Write the table's name before the column: `m.org = doc.org`.
    /// ```sql,bad
    /// create table doc (id int primary key, org_id int);
    /// create table member (org_id int, user_id uuid);
    /// grant select on doc, member to app;
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app
    ///   using (exists (select from member m where m.org_id = org_id and m.user_id = (select auth.uid())));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org_id int);
    /// create table member (org_id int, user_id uuid);
    /// grant select on doc, member to app;
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app
    ///   using (exists (select from member m where m.org_id = doc.org_id and m.user_id = (select auth.uid())));
    /// ```
    "sub-select-ignores-row" {
        summary: "membership anywhere opens the rows of everybody",
        category: Category::Safety,
        severity: Severity::Error,
        also: &["pgrls SEC005"],
        check: check,
    }
}

enum Ignored {
    /// `m.org = m.org`.
    Itself(String),
    /// The column that both have, and the table that is read.
    Shared(String, String),
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let mut found = None;
        for (_, qual) in policy.quals() {
            qual.expr.walk(&mut |e| {
                if found.is_none() {
                    found = ignored(facts, policy, e);
                }
            });
        }
        if let Some(found) = found {
            report(facts, policy, &found, sink);
        }
    }
}

fn ignored(facts: &Facts<'_>, policy: &PolicyFacts<'_>, expr: &Expr) -> Option<Ignored> {
    match expr {
        Expr::Compare(c) if c.how == How::Plain && c.operator == "=" => match (&c.left, &c.right) {
            (Expr::Column(a), Expr::Column(b)) if a == b => {
                let dot = if a.relation.is_empty() { "" } else { "." };
                Some(Ignored::Itself(format!("{}{dot}{}", a.relation, a.name)))
            }
            _ => None,
        },
        Expr::SubSelect(sub) if sub.kind == ScopeKind::Exists && facts.binds(sub) => {
            shared(facts, policy, sub)
        }
        _ => None,
    }
}

/// A column that tells whose row it is, in both tables, and that the sub-select does not mention.
fn shared(facts: &Facts<'_>, policy: &PolicyFacts<'_>, sub: &SubSelect) -> Option<Ignored> {
    let mut mentioned = BTreeSet::new();
    let mut of_row = false;
    for part in sub.select.parts() {
        part.walk(&mut |e| {
            if let Expr::Column(column) = e {
                of_row |= column.row;
                mentioned.insert(column.name.as_str());
            }
        });
    }
    let [source] = sub.select.sources()[..] else {
        return None;
    };
    let (name, table) = table_of(facts, source).filter(|(name, _)| *name != policy.name)?;
    if of_row {
        return None;
    }
    let mut columns = table.columns.iter().map(|c| c.name.as_str());
    let column = columns
        .find(|c| is_identity(c) && !mentioned.contains(c) && policy.table.column(c).is_some())?;
    Some(Ignored::Shared(column.to_owned(), name.to_string()))
}

fn report(facts: &Facts<'_>, policy: &PolicyFacts<'_>, found: &Ignored, sink: &mut Sink<'_>) {
    let roles = facts.reached(policy, &COMMANDS);
    let (severity, message, column) = match found {
        Ignored::Itself(column) => (
            Severity::Error,
            format!(
                "compares {column} with itself, so whose row it is does not matter for {}",
                list(&roles)
            ),
            column,
        ),
        Ignored::Shared(column, table) => (
            Severity::Warning,
            format!(
                "asks for any row of the caller in {table}, not for one of the row's {column}: it opens all rows to {}",
                list(&roles)
            ),
            column,
        ),
    };
    let severity = if roles.is_empty() {
        Severity::Note
    } else {
        severity
    };
    sink.report(
        policy
            .found(severity, message)
            .evidence("column", column.clone())
            .evidence("roles", roles)
            .advice(format!(
                "Compare with the row's column, with its table's name before it: {}.{}.",
                policy.name.name,
                column.rsplit('.').next().unwrap_or_default()
            )),
    );
}
