//! One statement and the parameters in it.

use std::collections::BTreeSet;

/// What a workload needs to know of a statement before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Single {
    /// The statement without a final semicolon.
    pub text: String,
    /// The numbers of its `$n` placeholders.
    pub parameters: BTreeSet<u32>,
}

/// Reads `text` as exactly one statement; the error completes "the SQL is not usable: …".
pub fn single(text: &str) -> Result<Single, String> {
    let parsed =
        pg_query::parse(text, pg_query::ParserOptions::default()).map_err(|e| e.to_string())?;
    match parsed.protobuf.stmts.len() {
        0 => return Err("expected one statement, found none".to_owned()),
        1 => {}
        n => return Err(format!("expected one statement, found {n}")),
    }
    let statements = pg_query::split_with_parser(text).map_err(|e| e.to_string())?;
    let statement = statements.first().map_or(text, |s| s.trim());
    let tokens = pg_query::scan_tokens(statement).map_err(|e| e.to_string())?;
    let parameters = tokens
        .iter()
        .filter(|t| t.token() == pg_query::protobuf::Token::Param)
        .filter_map(|t| {
            let (start, end) = (usize::try_from(t.start).ok()?, usize::try_from(t.end).ok()?);
            statement.get(start + 1..end)?.parse().ok()
        })
        .collect();
    Ok(Single {
        text: statement.to_owned(),
        parameters,
    })
}

/// Whether a statement cuts its own result short by LIMIT or FETCH: ties in its order leave open which rows it returns.
pub fn is_limited(text: &str) -> bool {
    let Ok(parsed) = pg_query::parse(text, pg_query::ParserOptions::default()) else {
        return false;
    };
    parsed.protobuf.stmts.iter().any(|raw| {
        let node = raw.stmt.as_ref().and_then(|s| s.node.as_ref());
        matches!(node, Some(pg_query::NodeEnum::SelectStmt(select))
            if select.limit_count.is_some() || select.limit_offset.is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::{is_limited, single};

    #[test]
    fn limits_are_seen_at_the_top() {
        assert!(is_limited("select * from t order by a limit $1"));
        assert!(is_limited("select * from t fetch first 3 rows only"));
        assert!(!is_limited("select count(*) from t"));
    }

    #[test]
    fn one_statement_and_its_parameters() {
        let found = single("-- why\nselect $1, '$7', $2::int, $1 -- $9\n;").unwrap();
        assert_eq!(found.parameters.into_iter().collect::<Vec<_>>(), [1, 2]);
        assert!(!found.text.contains(';'), "{}", found.text);
        assert!(
            single("select 1; select 2")
                .unwrap_err()
                .contains("found 2")
        );
        assert!(single("-- nothing").unwrap_err().contains("none"));
        assert!(single("selec 1").unwrap_err().contains("selec"));
    }
}
