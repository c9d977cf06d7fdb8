//! Rewrites of policy expressions that keep every row's visibility.
//!
//! A rewrite is made only where its conditions are proven from the parse tree and the catalog; what is
//! not understood stays as it is. See PostgreSQL documentation, "Row Security Policies" and
//! "Function Volatility Categories".

mod array;
mod case;
mod distinct;
mod domain;
mod exists;
mod function;
mod grants;
mod membership;
mod quiet;
mod shape;
mod split;
mod step;
#[cfg(test)]
mod tests;
mod wrap;

pub use function::Companion;
pub(in crate::sql) use function::plpgsql_tree;
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
    let node = parse_expression(expression)?;
    let catalog = quiet::proven(&node, table, catalog);
    finish(sets(node, table, &catalog, depth), &catalog)
}

/// Rewrites the USING clause of a policy of `table`; `None` where there is nothing to do.
pub fn rewrite_using(
    policy: &Policy,
    table: &Name,
    catalog: &Catalog,
    depth: Depth,
) -> Result<Option<Rewritten>, Unreadable> {
    let Some(using) = &policy.using else {
        return Ok(None);
    };
    let node = parse_expression(using)?;
    let catalog = quiet::proven(&node, table, catalog);
    let (mut node, mut made) = sets(node, table, &catalog, depth);
    if depth == Depth::Domain {
        domain::rewrite(&mut node, policy, table, &catalog, &mut made);
    }
    finish((node, made), &catalog)
}

fn sets(mut node: Node, table: &Name, catalog: &Catalog, depth: Depth) -> (Node, Rewritten) {
    let mut made = Rewritten::default();
    if depth >= Depth::Sets {
        shape::rewrite(&mut node, table, catalog, &mut made);
        membership::rewrite(&mut node, table, catalog, &mut made);
    }
    (node, made)
}

fn finish(
    (mut node, mut made): (Node, Rewritten),
    catalog: &Catalog,
) -> Result<Option<Rewritten>, Unreadable> {
    if wrap::rewrite(&mut node, catalog) {
        made.steps.push(step::WRAP);
    }
    if made.steps.is_empty() {
        return Ok(None);
    }
    made.expression = print_expression(&node)?;
    // What dbtune printed must be readable by the same grammar.
    parse_expression(&made.expression)?;
    Ok(Some(made))
}
