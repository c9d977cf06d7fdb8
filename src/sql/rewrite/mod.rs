//! Rewrites of policy expressions that keep every row's visibility.
//!
//! A rewrite is made only where its conditions are proven from the parse tree and the catalog; what is
//! not understood stays as it is. See PostgreSQL documentation, "Row Security Policies" and
//! "Function Volatility Categories".

mod array;
mod bind;
#[cfg(test)]
mod breaches;
mod case;
mod distinct;
mod domain;
mod exists;
mod function;
mod grants;
mod home;
mod known;
mod membership;
mod opened;
mod printed;
mod quiet;
mod raising;
mod refusal;
mod shape;
mod split;
mod step;
mod still;
#[cfg(test)]
mod tests;
mod total;
mod typed;
mod wrap;

pub use function::Companion;
pub(in crate::sql) use opened::plpgsql_tree;
pub use refusal::Refusal;
pub use step::{STEPS, Step};

use super::tree::{Unreadable, parse_expression, print_expression};
use crate::model::{Catalog, Name, Policy};
use pg_query::Node;

/// An expression after rewriting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rewritten {
    pub expression: String,
    /// Functions the new expression calls and the database does not have yet.
    pub companions: Vec<Companion>,
    /// What was done, once each.
    pub steps: Vec<Step>,
    /// What looks as if it could be rewritten and is left as it is.
    pub refusals: Vec<Refusal>,
}

impl Rewritten {
    fn refuse(&mut self, node: &Node, reason: impl Into<String>) {
        let refusal = Refusal::new(node, reason);
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }
}

/// How far a rewrite goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Row-independent stable calls are evaluated once: `(select f())`.
    Wrap,
    /// Membership tests become `column = any(array(select …))` as well.
    Sets,
    /// Tests that give an index no column become sets of keys that a foreign key points to.
    Domain,
}

/// Rewrites an expression of a policy of `table`, as far as it may be done without knowing the policy; `None` where
/// there is nothing to do.
pub fn rewrite(
    expression: &str,
    table: &Name,
    catalog: &Catalog,
    depth: Depth,
) -> Result<Option<Rewritten>, Unreadable> {
    finish(attempt(expression, None, table, catalog, depth)?)
}

/// Rewrites the USING clause of a policy of `table`; `None` where there is nothing to do.
pub fn rewrite_using(
    policy: &Policy,
    table: &Name,
    catalog: &Catalog,
    depth: Depth,
) -> Result<Option<Rewritten>, Unreadable> {
    match &policy.using {
        Some(using) => finish(attempt(using, Some(policy), table, catalog, depth)?),
        None => Ok(None),
    }
}

/// What of a policy of `table` looks as if it could be rewritten and is left as it is, and why.
pub fn refusals(
    policy: &Policy,
    table: &Name,
    catalog: &Catalog,
) -> Result<Vec<Refusal>, Unreadable> {
    let mut found = Vec::new();
    for (text, whole) in [(&policy.using, Some(policy)), (&policy.check, None)] {
        if let Some(text) = text {
            let (_, made) = attempt(text, whole, table, catalog, Depth::Domain)?;
            found.extend(made.refusals);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Whether both clauses of a policy mean the same after they are made anew from their texts, as whoever changes one of
/// them, or takes the change back, makes them.
pub fn is_reprintable(policy: &Policy, table: &Name, catalog: &Catalog) -> bool {
    [&policy.using, &policy.check]
        .into_iter()
        .flatten()
        .all(|text| {
            parse_expression(text)
                .is_ok_and(|node| printed::changes(&node, table, catalog).is_none())
        })
}

/// The expression as far as it may be rewritten, with no step where it may not be touched at all.
fn attempt(
    expression: &str,
    policy: Option<&Policy>,
    table: &Name,
    catalog: &Catalog,
    depth: Depth,
) -> Result<(Node, Rewritten), Unreadable> {
    let mut node = parse_expression(expression)?;
    let mut made = Rewritten::default();
    let changes = still::during(expression, table, catalog);
    let untouchable = printed::changes(&node, table, catalog).or_else(|| {
        let why = changes.settings.as_ref()?;
        Some(format!("settings may change inside a statement: {why}"))
    });
    if let Some(reason) = untouchable {
        made.refuse(&node, reason);
        return Ok((node, made));
    }
    let catalog = quiet::proven(&node, &changes, catalog);
    let levels = typed::of_table(table);
    if depth >= Depth::Sets {
        shape::rewrite(&mut node, table, &levels, &catalog, &mut made);
        membership::rewrite(&mut node, false, &levels, &catalog, &mut made);
    }
    if let Some(policy) = policy.filter(|_| depth == Depth::Domain) {
        domain::rewrite(&mut node, policy, table, &catalog, &mut made);
    }
    if wrap::rewrite(&mut node, &catalog) {
        made.steps.push(step::WRAP);
    }
    Ok((node, made))
}

fn finish((node, mut made): (Node, Rewritten)) -> Result<Option<Rewritten>, Unreadable> {
    if made.steps.is_empty() {
        return Ok(None);
    }
    made.expression = print_expression(&node)?;
    // What dbtune printed must be readable by the same grammar.
    parse_expression(&made.expression)?;
    Ok(Some(made))
}
