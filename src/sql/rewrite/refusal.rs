//! Why a test that looks rewritable is left as it is.

use crate::sql::tree::print_expression;
use pg_query::Node;
use std::fmt;

/// A part of a policy that is left as it is, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// The beginning of the expression.
    pub place: String,
    pub reason: String,
}

/// Longer places are cut.
const LONGEST: usize = 80;

impl Refusal {
    pub(super) fn new(node: &Node, reason: impl Into<String>) -> Self {
        let text = print_expression(node).unwrap_or_else(|_| "an expression".to_owned());
        let mut place: String = text.chars().take(LONGEST).collect();
        if place.len() < text.len() {
            place.push('…');
        }
        Self {
            place,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is left as it is: {}", self.place, self.reason)
    }
}

/// A rewrite; `Ok(None)` where the expression is none of its kind, and words where it is one that is not understood.
pub(super) type Attempt<T> = Result<Option<T>, String>;
