//! Which words and columns a piece of SQL speaks of.

use super::tree::{names, parse_expression, parts};
use pg_query::{Node, NodeEnum};
use std::collections::BTreeSet;

/// Every identifier in a piece of SQL or of a procedural language; `None` where its quotes do not match.
///
/// Says what a text may speak of: a name that is not among them, it does not use.
pub fn words(text: &str) -> Option<BTreeSet<String>> {
    let scanned = pg_query::scan(text).ok()?;
    let word =
        |start: i32, end: i32| text.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?);
    let found = scanned.tokens.iter().filter_map(|token| {
        let word = word(token.start, token.end)?;
        let inner = word.strip_prefix('"').and_then(|w| w.strip_suffix('"'));
        Some(inner.map_or_else(|| word.to_lowercase(), |w| w.replace("\"\"", "\"")))
    });
    Some(found.collect())
}

/// The columns that an expression over one row names, without those inside sub-selects; `None` where it is not understood.
pub fn columns(expression: &str) -> Option<BTreeSet<String>> {
    fn walk(node: &Node, found: &mut BTreeSet<String>) -> Option<()> {
        if let Some(NodeEnum::ColumnRef(column)) = &node.node {
            found.extend(names(&column.fields).last().map(|name| (*name).to_owned()));
        }
        for part in parts(node)? {
            walk(&part, found)?;
        }
        Some(())
    }
    let mut found = BTreeSet::new();
    walk(&parse_expression(expression).ok()?, &mut found)?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_columns() {
        let found = words("select Status, \"My \"\"Col\" from t where x = 'status2'").unwrap();
        assert!(found.contains("status") && found.contains("My \"Col"));
        assert!(!found.contains("status2"));
        let found = columns("((deleted_at IS NULL) AND (kind = 'open'::text))").unwrap();
        let found: Vec<_> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["deleted_at", "kind"]);
    }
}
