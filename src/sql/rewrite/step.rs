//! What a rewrite did, in words, and the audit rule whose finding it answers.

/// One kind of rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    pub words: &'static str,
    /// Id of the rule that finds what the rewrite mends; `None` where no rule looks for it.
    pub rule: Option<&'static str>,
}

const fn step(words: &'static str, rule: &'static str) -> Step {
    Step {
        words,
        rule: Some(rule),
    }
}

pub(super) const WRAP: Step = step(
    "calls that do not depend on the row are evaluated once a statement",
    "per-row-stable-call",
);
pub(super) const FUNCTION: Step = step(
    "the access function becomes a set, computed once a statement",
    "per-row-column-call",
);
pub(super) const CORRELATED: Step = step(
    "the correlated sub-select becomes a set, computed once a statement",
    "correlated-subselect-policy",
);
pub(super) const TURNED: Step = step(
    "the correlated sub-select is turned round and becomes a set",
    "correlated-subselect-policy",
);
pub(super) const IN_SELECT: Step = step(
    "in (select …) becomes = any(array(select …)), which an index can serve",
    "in-subselect-policy",
);
pub(super) const KEYS: Step = step(
    "a test that gives an index no column becomes a set of keys",
    "column-free-branch",
);
pub(super) const CASE: Step = Step {
    words: "case … then true else … becomes or, whose arms an index can serve",
    rule: None,
};
pub(super) const DISTINCT: Step = Step {
    words: "is not distinct from becomes =, which an index can serve",
    rule: None,
};
pub(super) const ARRAY: Step = Step {
    words: "= any(array column) becomes @>, which its GIN index can serve",
    rule: None,
};

/// Every kind, for whoever documents or checks them.
pub const STEPS: &[Step] = &[
    WRAP, FUNCTION, CORRELATED, TURNED, IN_SELECT, KEYS, CASE, DISTINCT, ARRAY,
];
