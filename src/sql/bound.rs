//! A statement with its parameters written into it, for a protocol that has none.

use super::quote::literal;
use pg_query::protobuf::Token;

/// `sql` with each `$n` replaced by the `n`th value, cast to the `n`th type; `None` where it cannot be read or names a
/// parameter that is not given.
pub fn bound(sql: &str, values: &[Option<String>], types: &[String]) -> Option<String> {
    let tokens = pg_query::scan(sql).ok()?.tokens;
    let mut out = String::with_capacity(sql.len());
    let mut at = 0;
    for token in tokens.iter().filter(|t| t.token() == Token::Param) {
        let start = usize::try_from(token.start).ok()?;
        let end = usize::try_from(token.end).ok()?;
        let number: usize = sql.get(start..end)?.strip_prefix('$')?.parse().ok()?;
        let index = number.checked_sub(1)?;
        let value = match values.get(index)? {
            Some(text) => literal(text),
            None => "null".to_owned(),
        };
        out.push_str(sql.get(at..start)?);
        out.extend(["(", &value, ")::", types.get(index)?]);
        at = end;
    }
    out.push_str(sql.get(at..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::bound;

    #[test]
    fn only_parameters_are_replaced() {
        let values = [Some("it's".to_owned()), None];
        let types = ["text".to_owned(), "int".to_owned()];
        let sql = "select '$1', $1, $2 -- $2";
        assert_eq!(
            bound(sql, &values, &types).as_deref(),
            Some("select '$1', ('it''s')::text, (null)::int -- $2")
        );
        assert_eq!(bound("select $3", &values, &types), None);
    }
}
