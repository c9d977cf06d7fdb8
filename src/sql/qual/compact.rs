//! A large schema has a hundred thousand expressions in memory at once, most of their lists with one entry.

use super::{Clause, Qual, Test};

/// Gives back what lists have allocated beyond their entries.
pub(super) fn compact(qual: &mut Qual) {
    for scope in &mut qual.scopes {
        scope.relations.shrink_to_fit();
        conjunction(&mut scope.filter);
    }
    qual.scopes.shrink_to_fit();
    for call in &mut qual.calls {
        call.columns.shrink_to_fit();
    }
    qual.calls.shrink_to_fit();
}

fn conjunction(clauses: &mut Vec<Clause>) {
    for clause in clauses.iter_mut() {
        match clause {
            Clause::Test(test) => one(test),
            Clause::AnyOf(branches) => {
                branches.iter_mut().for_each(conjunction);
                branches.shrink_to_fit();
            }
        }
    }
    clauses.shrink_to_fit();
}

fn one(test: &mut Test) {
    test.columns.shrink_to_fit();
    test.calls.shrink_to_fit();
    test.scopes.shrink_to_fit();
}
