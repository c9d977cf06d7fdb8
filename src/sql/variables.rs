//! Statements in the dialect of pgbench, where `:name` is a variable wherever it stands.

use pg_query::protobuf::Token;

/// The statement with `$n` as `name(n)`, and with no colon that pgbench would take for a variable: those inside string
/// literals are written as escapes. `None` where the text is no SQL, or has such a colon elsewhere (`a[1:n]`).
pub fn for_pgbench(sql: &str, name: &dyn Fn(u32) -> String) -> Option<String> {
    let tokens = pg_query::scan(sql).ok()?.tokens;
    let mut out = String::with_capacity(sql.len() + 16);
    let mut at = 0;
    for token in &tokens {
        let start = usize::try_from(token.start).ok()?;
        let end = usize::try_from(token.end).ok()?;
        let gap = sql.get(at..start)?;
        let text = sql.get(start..end)?;
        out.push_str(gap);
        match token.token() {
            Token::Param => out.push_str(&name(text.get(1..)?.parse().ok()?)),
            Token::Sconst if is_variable(text) => out.push_str(&escaped(text)?),
            Token::SqlComment | Token::CComment => out.push(' '),
            _ if is_variable(text) => return None,
            _ => out.push_str(text),
        }
        // `[1:n]` comes as three tokens.
        if text == ":"
            && sql
                .get(end..)?
                .starts_with(|c: char| c.is_alphanumeric() || c == '_')
        {
            return None;
        }
        at = end;
    }
    out.push_str(sql.get(at..)?);
    Some(out)
}

/// Whether a colon with a name behind it is in the text.
fn is_variable(text: &str) -> bool {
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let named = chars
            .peek()
            .is_some_and(|next| next.is_alphanumeric() || *next == '_');
        if c == ':' && before != Some(':') && named {
            return true;
        }
        before = Some(c);
    }
    false
}

/// A plain literal with its colons as `\003A`, an escape string with `\x3A`.
fn escaped(literal: &str) -> Option<String> {
    if literal.starts_with(['e', 'E']) {
        return Some(literal.replace(':', "\\x3A"));
    }
    if literal.starts_with('\'') {
        let hidden = literal.replace('\\', "\\\\").replace(':', "\\003A");
        return Some(format!("U&{hidden}"));
    }
    // Dollar quotes have no escapes; they become a plain literal.
    let (tag, rest) = literal.get(1..)?.split_once('$')?;
    let body = rest.strip_suffix(&format!("${tag}$"))?;
    escaped(&format!("'{}'", body.replace('\'', "''")))
}

#[cfg(test)]
mod tests {
    use super::for_pgbench;

    #[test]
    fn only_parameters_become_variables() {
        let of = |sql: &str| for_pgbench(sql, &|n| format!(":p{n}"));
        for (sql, expected) in [
            (
                "select $1::int, a::text from t where b = $2 -- x:y",
                Some("select :p1::int, a::text from t where b = :p2  "),
            ),
            (
                "select timestamptz '2025-01-01 00:00+00', E'a:b', '{\"a\": 1}'",
                Some(r#"select timestamptz U&'2025-01-01 00\003A00+00', E'a\x3Ab', '{"a": 1}'"#),
            ),
            ("select $x$it's :y$x$", Some(r"select U&'it''s \003Ay'")),
            ("select a[1:n] from t", None),
        ] {
            assert_eq!(of(sql).as_deref(), expected, "{sql}");
        }
    }
}
