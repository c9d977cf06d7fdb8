//! What is wrong with a script, found before anything runs.

use super::Problem;
use crate::model::Script;
use crate::sql::script::{self, Kind, Statement};

/// The statements of a script that can be run.
///
/// # Errors
/// Everything that would make it fail half way, or that dbtune could not clean up after.
pub(super) fn statements(file: &str, script: &Script) -> Result<Vec<Statement>, Vec<Problem>> {
    if let Some(line) = crlf_line(&script.sql) {
        return Err(vec![
            Problem::new(
                file,
                format!("has Windows line ends (CR LF): its checksum would differ from that of a checkout with Unix ones, and the ledger would call it edited. Convert it (sed -i 's/\\r$//' {file}), and keep it so with `*.sql text eol=lf` in .gitattributes"),
            )
            .at(line),
        ]);
    }
    statements_any_ends(file, script)
}

/// The same for a script whose checksum matters no more.
pub(super) fn statements_any_ends(
    file: &str,
    script: &Script,
) -> Result<Vec<Statement>, Vec<Problem>> {
    let text = &script.sql;
    if text.starts_with('\u{feff}') {
        return Err(vec![Problem::new(
            file,
            format!(
                "starts with a byte order mark, which the server takes for SQL: save it as UTF-8 without BOM (sed -i '1s/^\\xEF\\xBB\\xBF//' {file})"
            ),
        )]);
    }
    let statements =
        script::parse(text).map_err(|p| vec![Problem::new(file, p.message).at(p.line)])?;
    let problems: Vec<Problem> = statements
        .iter()
        .filter_map(|s| refuse(s, script.no_transaction).map(|m| Problem::new(file, m).at(s.line)))
        .chain(several(file, script, &statements))
        .collect();
    if problems.is_empty() {
        Ok(statements)
    } else {
        Err(problems)
    }
}

fn crlf_line(text: &str) -> Option<usize> {
    let at = text.find("\r\n")?;
    Some(text.bytes().take(at).filter(|b| *b == b'\n').count() + 1)
}

fn several(file: &str, script: &Script, statements: &[Statement]) -> Option<Problem> {
    let second = statements.get(1).filter(|_| script.no_transaction)?;
    Some(
        Problem::new(
            file,
            format!(
                "{} statements in a file without a transaction: if one failed, those before it would stay. Put each into a file of its own",
                statements.len()
            ),
        )
        .at(second.line),
    )
}

fn refuse(statement: &Statement, no_transaction: bool) -> Option<String> {
    match &statement.kind {
        Kind::TransactionControl => Some(
            "starts or ends a transaction: a migration runs in one of its own, together with its entry in the ledger. Take the statement out".to_owned(),
        ),
        Kind::NeedsInput => Some(
            "exchanges rows with the client, as only psql does: write INSERT statements, or load the data apart".to_owned(),
        ),
        Kind::CreateIndexConcurrently { index: None, .. } => Some(
            "gives the index no name: an interrupted build could not be found again. Write `create index concurrently NAME on …`".to_owned(),
        ),
        kind if kind.needs_no_transaction() && !no_transaction => Some(
            "cannot run inside a transaction: put `-- no-transaction` first in the file, with this statement alone".to_owned(),
        ),
        _ => None,
    }
}

/// Why an applied file and its checksum no longer match.
pub(super) fn only_line_ends_differ(text: &str, recorded: &[u8]) -> bool {
    let unix = text.replace("\r\n", "\n");
    let windows = unix.replace('\n', "\r\n");
    [unix, windows]
        .iter()
        .any(|t| crate::db::checksum(t) == recorded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(sql: &str) -> Problem {
        let problems = statements("f.sql", &Script::new(sql)).unwrap_err();
        problems.first().unwrap().clone()
    }

    #[test]
    fn each_trap_is_named_with_its_line() {
        for (sql, line, word) in [
            ("\u{feff}select 1", None, "byte order mark"),
            ("select 1;\r\nselect 2", Some(1), "Windows line ends"),
            ("select 1;\n\\c other", Some(2), "psql"),
            ("select 1;\ncommit;", Some(2), "transaction"),
            ("copy t from stdin;", Some(1), "psql"),
            (
                "create index concurrently i on t (a)",
                Some(1),
                "-- no-transaction",
            ),
            (
                "-- no-transaction\ncreate index concurrently on t (a)",
                Some(2),
                "no name",
            ),
            (
                "-- no-transaction\nvacuum a;\nvacuum b;",
                Some(3),
                "2 statements",
            ),
            ("creat table", Some(1), "syntax error"),
        ] {
            let problem = problem(sql);
            assert_eq!(problem.line, line, "{problem}");
            assert!(problem.message.contains(word), "{problem}");
        }
        let good = "-- no-transaction\n-- why\ncreate index concurrently i on t (a);\n";
        assert_eq!(statements("f", &Script::new(good)).unwrap().len(), 1);
    }

    #[test]
    fn line_ends_alone_are_recognised() {
        let recorded = crate::db::checksum("a\nb\n");
        assert!(only_line_ends_differ("a\r\nb\r\n", &recorded));
        assert!(!only_line_ends_differ("a\r\nc\r\n", &recorded));
    }
}
