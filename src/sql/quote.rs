//! Identifiers and literals as PostgreSQL reads them back.

use crate::model::Name;

/// `quote_ident`: quoted unless it is a plain lower-case word that is no reserved word.
pub fn ident(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !is_keyword(text) {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('"', "\"\""))
    }
}

/// `schema.name`, each part quoted where it must be.
pub fn name(name: &Name) -> String {
    if name.schema.is_empty() {
        ident(&name.name)
    } else {
        format!("{}.{}", ident(&name.schema), ident(&name.name))
    }
}

/// `quote_literal`.
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// Whether the word has a meaning of its own somewhere in the grammar. Asked of the parser, because the list grows.
fn is_keyword(word: &str) -> bool {
    pg_query::scan(word).map_or(true, |scan| {
        scan.tokens
            .first()
            .is_none_or(|t| t.keyword_kind() != pg_query::protobuf::KeywordKind::NoKeyword)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_what_must_be() {
        assert_eq!(ident("inventory_items"), "inventory_items");
        assert_eq!(ident("order"), "\"order\"");
        assert_eq!(ident("Ärzte"), "\"Ärzte\"");
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(ident(""), "\"\"");
        assert_eq!(literal("o'x"), "'o''x'");
        assert_eq!(literal("a\\b"), " E'a\\\\b'");
    }
}
