//! A statement's text without the values in it.

use pg_query::protobuf::Token;

/// A statement that may be shown and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bare {
    /// `None` where not even its words could be told apart.
    pub text: Option<String>,
    /// Whether it is SQL that this parser knows.
    pub parsed: bool,
}

/// Replaces constants as `pg_stat_statements` does, which leaves them in place in utility statements (a password in
/// `ALTER ROLE`, the text of a comment) and in what it could not normalise. Comments are dropped: applications put
/// request data there. What is normalised already stays as it is.
pub fn without_constants(text: &str) -> Bare {
    let normal = pg_query::normalize(text).ok();
    let parsed = normal.is_some();
    let text = normal.as_deref().unwrap_or(text);
    Bare {
        text: without_literals(text, parsed),
        parsed,
    }
}

/// Whatever the parser left of them: `'…'` for strings, 0 for numbers where they may be values.
fn without_literals(text: &str, parsed: bool) -> Option<String> {
    let tokens = pg_query::scan(text).ok()?.tokens;
    let first = tokens.iter().find(|t| !is_comment(t.token()));
    // A number that is left in a query is part of a type or names a column of the result.
    let query = parsed
        && first.is_some_and(|t| {
            matches!(
                t.token(),
                Token::Select
                    | Token::With
                    | Token::Insert
                    | Token::Update
                    | Token::DeleteP
                    | Token::Merge
                    | Token::Values
                    | Token::Table
                    | Token::Ascii40
            )
        });
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for token in &tokens {
        let start = usize::try_from(token.start).ok()?;
        let end = usize::try_from(token.end).ok()?;
        let replaced = match token.token() {
            comment if is_comment(comment) => "",
            Token::Sconst | Token::Usconst | Token::Bconst | Token::Xconst => "'…'",
            Token::Iconst | Token::Fconst if !query => "0",
            _ => continue,
        };
        out.push_str(text.get(at..start)?);
        out.push_str(replaced);
        at = end;
    }
    out.push_str(text.get(at..)?);
    Some(out.trim().to_owned())
}

fn is_comment(token: Token) -> bool {
    matches!(token, Token::SqlComment | Token::CComment)
}

#[cfg(test)]
mod tests {
    use super::without_constants;

    #[test]
    fn what_is_normalised_stays() {
        for text in [
            "select * from t where a = $1 and b in ($2, $3) order by 1 limit $4",
            "insert into t (a, b) values ($1, $2) on conflict do nothing",
            "select a::numeric(10,2) from \"It's\" where c = any ($1)",
            "update t set a = $1 where b = $2 returning *",
        ] {
            let bare = without_constants(text);
            assert_eq!(bare.text.as_deref(), Some(text));
            assert!(bare.parsed);
        }
    }

    #[test]
    fn values_are_gone() {
        for text in [
            "alter role bob password 's3cret'",
            "create user bob with password 's3cret' valid until 's3cret'",
            "comment on table t is 's3cret'",
            "do $$ begin perform 's3cret'; end $$",
            "create subscription s connection 'password=s3cret' publication p",
            "create user mapping for bob server s options (password 's3cret')",
            "select 1 /* s3cret */ -- s3cret",
            "select * from t where a = 's3cret' and b = E's3cret' and c = $q$s3cret$q$ and d = U&'s3cret'",
            "execute q ('s3cret', 4711)",
            "set app.key = 's3cret'",
            "prepare q as select 's3cret', 4711",
            "explain select 's3cret', 4711",
            "declare c cursor for select 's3cret', 4711",
            "selec 's3cret' frm 4711",
            "copy t from program 's3cret'",
            "call p('s3cret', 4711)",
        ] {
            let shown = format!("{:?}", without_constants(text).text);
            assert!(
                !shown.contains("s3cret") && !shown.contains("4711"),
                "{shown}"
            );
        }
        let odd = without_constants("select 'unfinished s3cret");
        assert!(odd.text.is_none() && !odd.parsed);
    }
}
