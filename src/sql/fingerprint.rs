//! What makes two texts the same statement with other values.

/// The statement's fingerprint in hexadecimal digits: equal for texts that differ in their constants, their spacing and
/// the number of items in a list. `None` where the text is no SQL.
pub fn fingerprint(text: &str) -> Option<String> {
    pg_query::fingerprint(text, 0, pg_query::FingerprintOptions::FULL_RELNAME)
        .ok()
        .map(|f| f.hex)
}

/// The text with its constants as placeholders, numbered after those that are there already; `None` where it is no SQL.
pub fn normalized(text: &str) -> Option<String> {
    pg_query::normalize(text).ok()
}

/// The statement as the server takes it. `pg_stat_statements` puts a placeholder where the grammar wants a constant
/// (`interval $1`, `timestamp $1`): those become casts, and comments go. Other texts keep their form.
pub fn runnable(text: &str) -> Option<String> {
    let parsed = pg_query::parse(text, 0).ok()?;
    let tokens = pg_query::scan_tokens(text).ok()?;
    let comment = tokens.iter().any(|t| {
        matches!(
            t.token(),
            pg_query::protobuf::Token::SqlComment | pg_query::protobuf::Token::CComment
        )
    });
    let typed = tokens.windows(2).any(|pair| {
        matches!(pair, [first, second]
            if second.token() == pg_query::protobuf::Token::Param && is_type(first.token()))
    });
    if comment || typed {
        return parsed.deparse(pg_query::DeparseOptions::default()).ok();
    }
    Some(text.trim().trim_end_matches(';').to_owned())
}

/// Whether running the statement takes more than reading: it writes, here or in a WITH query, or locks rows.
pub fn writes(text: &str) -> bool {
    let Ok(parsed) = pg_query::parse(text, 0) else {
        return false;
    };
    let locks = parsed.protobuf.nodes().iter().any(|(node, ..)| {
        matches!(node, pg_query::NodeRef::SelectStmt(select) if !select.locking_clause.is_empty())
    });
    locks || !parsed.dml_tables().is_empty()
}

fn is_type(token: pg_query::protobuf::Token) -> bool {
    use pg_query::protobuf::Token;
    matches!(
        token,
        Token::Interval | Token::Timestamp | Token::Time | Token::Zone | Token::Ident
    )
}

#[cfg(test)]
mod tests {
    use super::{fingerprint, runnable, writes};

    #[test]
    fn writers_are_told_from_readers() {
        for text in [
            "update t set a = 1",
            "with gone as (delete from t returning *) select * from gone",
            "select * from t for update",
        ] {
            assert!(writes(text), "{text}");
        }
        assert!(!writes("with s as (select 1) select * from s"));
    }

    #[test]
    fn values_make_no_difference() {
        let of = |text| fingerprint(text).unwrap();
        assert_eq!(
            of("select * from t where a = 1"),
            of("SELECT *  from t where a=$1")
        );
        assert_ne!(of("select a from t"), of("select b from t"));
        assert_eq!(fingerprint("selec"), None);
    }

    #[test]
    fn what_the_server_would_refuse_is_rewritten() {
        let text = "select * from t where a > now() - interval $1 and b = date $2";
        let found = runnable(text).unwrap();
        assert!(
            found.contains("$1::interval") && found.contains("$2::date"),
            "{found}"
        );
        assert_eq!(runnable("select  1 ;").as_deref(), Some("select  1 "));
        assert!(!runnable("select 1 /* x */").unwrap().contains('x'));
    }
}
