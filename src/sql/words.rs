//! Which words and columns a piece of SQL speaks of.

use super::tree::{names, parse_expression, parts};
use pg_query::protobuf::{ScanToken, Token};
use pg_query::{Node, NodeEnum};
use std::collections::BTreeSet;

/// Every identifier in a piece of SQL or of a procedural language; `None` where its quotes do not match.
///
/// Says what a text may speak of: a name that is not among them, it does not use.
pub fn words(text: &str) -> Option<BTreeSet<String>> {
    let scanned = pg_query::scan(text).ok()?;
    let found = scanned.tokens.iter().filter_map(|token| {
        let word = spelled(text, token)?;
        let inner = word.strip_prefix('"').and_then(|w| w.strip_suffix('"'));
        Some(inner.map_or_else(|| word.to_lowercase(), |w| w.replace("\"\"", "\"")))
    });
    Some(found.collect())
}

/// Every word inside the strings of a piece of SQL, as written and in lower case; `None` where its quotes do not match.
pub fn quoted(text: &str) -> Option<BTreeSet<String>> {
    let scanned = pg_query::scan(text).ok()?;
    let strings = scanned
        .tokens
        .iter()
        .filter(|t| matches!(t.token(), Token::Sconst | Token::Usconst));
    let mut found = BTreeSet::new();
    for string in strings.filter_map(|token| spelled(text, token)) {
        let words = string.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        for word in words.filter(|w| !w.is_empty()) {
            found.insert(word.to_owned());
            found.insert(word.to_lowercase());
        }
    }
    Some(found)
}

/// Whether a text that is no SQL may yet be a query: by its first word. A server, or dbtune itself, puts `$1` in place of
/// constants where the grammar of commands such as `SET` has no room for it.
pub fn may_be_query(text: &str) -> bool {
    let Ok(scanned) = pg_query::scan(text) else {
        return true;
    };
    let first = scanned.tokens.first().and_then(|t| spelled(text, t));
    first.is_none_or(|word| {
        let queries = [
            "(", "select", "with", "insert", "update", "delete", "merge", "table", "values",
        ];
        queries.contains(&word.to_lowercase().as_str())
    })
}

fn spelled<'a>(text: &'a str, token: &ScanToken) -> Option<&'a str> {
    text.get(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?)
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
        let found = quoted("perform nextval('public.Doc_seq'); execute $q$drop x$q$").unwrap();
        for word in ["public", "Doc_seq", "doc_seq", "drop", "x"] {
            assert!(found.contains(word), "{word}");
        }
        assert!(!found.contains("nextval") && quoted("'open").is_none());
        assert!(may_be_query("select from from") && may_be_query("  With x as"));
        assert!(!may_be_query("set role $1") && !may_be_query("do $1"));
        let found = columns("((deleted_at IS NULL) AND (kind = 'open'::text))").unwrap();
        let found: Vec<_> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["deleted_at", "kind"]);
    }
}
