//! The constants in a piece of SQL or of a procedural language.

use pg_query::protobuf::Token;
use std::collections::BTreeSet;

/// Strings and numbers, without their quotes. A string that is itself code or a JSON path is among them: whoever asks for
/// values that a text can tell apart wants too many rather than too few.
pub fn literals(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Ok(scanned) = pg_query::scan(text) else {
        return found;
    };
    for token in &scanned.tokens {
        let (Ok(start), Ok(end)) = (usize::try_from(token.start), usize::try_from(token.end)) else {
            continue;
        };
        let Some(spelled) = text.get(start..end) else {
            continue;
        };
        match token.token() {
            Token::Iconst | Token::Fconst => {
                found.insert(spelled.to_owned());
            }
            Token::Sconst => found.extend(inside(spelled)),
            _ => {}
        }
    }
    found
}

/// What stands between the quotes; the constants of a body quoted by dollars as well.
fn inside(spelled: &str) -> BTreeSet<String> {
    let plain = spelled
        .trim_start_matches(['E', 'e'])
        .strip_prefix('\'')
        .and_then(|s| s.strip_suffix('\''));
    if let Some(text) = plain {
        return [text.replace("''", "'")].into();
    }
    let tag = spelled
        .strip_prefix('$')
        .and_then(|s| s.split_once('$'))
        .map(|(tag, _)| format!("${tag}$"));
    let body = tag.and_then(|tag| spelled.strip_prefix(&tag)?.strip_suffix(&tag));
    body.map(literals).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_numbers_and_bodies() {
        let found = literals("level >= 3 and role = 'o''x'::text and f($$ select 'in' $$) < 1.5");
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["1.5", "3", "in", "o'x"]);
    }
}
