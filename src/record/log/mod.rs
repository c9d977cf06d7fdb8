//! Statements with their parameters from a csvlog or a jsonlog.
//!
//! PostgreSQL writes `duration: 1.2 ms  execute <unnamed>: select … $1` with `parameters: $1 = '…'` beside it, or
//! `duration: 1.2 ms  statement: select … 'x'` for a statement with its values inside.

mod csv;
mod json;
mod message;

use super::Seen;
use crate::model::Gap;
use crate::sql::fingerprint::{fingerprint, normalized};
use message::{Logged, becomes, logged};
use std::collections::BTreeMap;
use std::io::{self, BufRead};

/// What to take from a log.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Lines of other databases are passed over.
    pub database: Option<String>,
    /// Who ran what no `SET ROLE` of the session says.
    pub role: Option<String>,
    pub keep_values: bool,
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    pub seen: Vec<Seen>,
    pub gaps: Vec<Gap>,
}

/// One line, of either format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line {
    database: String,
    session: String,
    message: String,
    detail: String,
}

/// Most values that are kept of one statement.
const VALUES: usize = 50;

/// Reads a log to its end. An error is one of reading; lines that are no records are counted.
pub fn read(mut from: impl BufRead, options: &Options) -> io::Result<Read> {
    let mut found = Found::default();
    let json = from.fill_buf()?.first() == Some(&b'{');
    let mut take = |line: Option<Line>| match line {
        Some(line) => found.line(&line, options),
        None => found.unread += 1,
    };
    if json {
        json::lines(from, &mut take)?;
    } else {
        csv::records(from, &mut take)?;
    }
    Ok(found.finish())
}

#[derive(Default)]
struct Found {
    /// By role and fingerprint.
    statements: BTreeMap<(Option<String>, String), Seen>,
    /// The role of each session, and whether it ends with the transaction.
    roles: BTreeMap<String, (String, bool)>,
    unread: usize,
    cut: usize,
    lines: usize,
}

impl Found {
    fn line(&mut self, line: &Line, options: &Options) {
        self.lines += 1;
        if options
            .database
            .as_ref()
            .is_some_and(|d| *d != line.database)
        {
            return;
        }
        let Some(logged) = logged(&line.message, &line.detail) else {
            return;
        };
        if let Some(change) = becomes(&logged) {
            match change {
                message::Becomes::Role(role, local) => {
                    self.roles.insert(line.session.clone(), (role, local));
                }
                message::Becomes::Nobody => {
                    self.roles.remove(&line.session);
                }
                message::Becomes::TransactionEnd => {
                    if self
                        .roles
                        .get(&line.session)
                        .is_some_and(|(_, local)| *local)
                    {
                        self.roles.remove(&line.session);
                    }
                }
            }
            return;
        }
        let role = self.roles.get(&line.session).map(|(role, _)| role.clone());
        self.statement(logged, role.or_else(|| options.role.clone()), options);
    }

    fn statement(&mut self, logged: Logged, role: Option<String>, options: &Options) {
        let (Some(print), Some(text)) = (fingerprint(&logged.text), normalized(&logged.text))
        else {
            self.cut += 1;
            return;
        };
        let seen = self
            .statements
            .entry((role.clone(), print))
            .or_insert_with(|| Seen {
                text,
                role,
                ..Seen::default()
            });
        seen.calls += 1;
        seen.total_ms += logged.duration_ms;
        let whole = logged.complete && !logged.parameters.is_empty();
        if options.keep_values && whole && seen.values.len() < VALUES {
            seen.values.push(logged.parameters);
        }
    }

    fn finish(self) -> Read {
        let gap = |n: usize, what: &str, why: &str| {
            (n > 0).then(|| Gap {
                what: format!("{n} {what}"),
                why: why.to_owned(),
                remedy: None,
            })
        };
        let nothing = (self.lines > 0 && self.statements.is_empty()).then(|| Gap {
            what: "the log".to_owned(),
            why: "no line of this database has a statement with its duration".to_owned(),
            remedy: Some("alter system set log_min_duration_statement = 0;".to_owned()),
        });
        let gaps = [
            gap(
                self.unread,
                "lines of the log",
                "they are no records of a csvlog or jsonlog",
            ),
            gap(
                self.cut,
                "statements of the log",
                "their texts are cut off or no SQL",
            ),
            nothing,
        ];
        Read {
            seen: self.statements.into_values().collect(),
            gaps: gaps.into_iter().flatten().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = concat!(
        r#"2025-01-01 00:00:00.000 UTC,"api","shop",1,"[local]",s1,1,"SELECT",2025-01-01 00:00:00 UTC,3/1,0,LOG,00000,"duration: 0.1 ms  statement: set local role ""app""",,,,,,,,,"""",,0"#,
        "\n",
        r#"2025-01-01 00:00:00.001 UTC,"api","shop",1,"[local]",s1,2,"SELECT",2025-01-01 00:00:00 UTC,3/1,0,LOG,00000,"duration: 2.5 ms  execute <unnamed>: select * from doc"#,
        "\n",
        r#"where id = $1 and kind = $2","parameters: $1 = '7', $2 = 'it''s'",,,,,,,,"""",,0"#,
        "\n",
        r#"2025-01-01 00:00:00.002 UTC,"api","shop",1,"[local]",s1,3,"COMMIT",2025-01-01 00:00:00 UTC,3/1,0,LOG,00000,"duration: 0.1 ms  statement: commit",,,,,,,,,"""",,0"#,
        "\n",
        r#"2025-01-01 00:00:00.003 UTC,"api","shop",1,"[local]",s1,4,"SELECT",2025-01-01 00:00:00 UTC,3/1,0,LOG,00000,"duration: 1.5 ms  statement: select * from doc where id = 8 and kind = 'x'",,,,,,,,,"""",,0"#,
        "\n",
        r#"2025-01-01 00:00:00.003 UTC,"api","other",1,"[local]",s2,4,"SELECT",2025-01-01 00:00:00 UTC,3/1,0,LOG,00000,"duration: 1.5 ms  statement: select 1",,,,,,,,,"""",,0"#,
        "\n",
    );

    fn options(keep_values: bool) -> Options {
        Options {
            database: Some("shop".to_owned()),
            role: None,
            keep_values,
        }
    }

    #[test]
    fn csv_knows_roles_and_keeps_no_value() {
        let found = read(CSV.as_bytes(), &options(false)).unwrap();
        assert_eq!(found.gaps, []);
        let roles: Vec<_> = found.seen.iter().map(|s| s.role.as_deref()).collect();
        assert_eq!(roles, [None, Some("app")], "{found:?}");
        let shown = format!("{:?}", found.seen);
        assert!(
            !shown.contains("it's") && !shown.contains("'x'") && !shown.contains("= 8"),
            "{shown}"
        );
        let kept = read(CSV.as_bytes(), &options(true)).unwrap();
        let values: Vec<_> = kept.seen[1].values.clone();
        assert_eq!(values, [[Some("7".to_owned()), Some("it's".to_owned())]]);
    }

    #[test]
    fn json_says_the_same() {
        let line = |message: &str, detail: Option<&str>| {
            let mut json = serde_json::json!({ "user": "api", "dbname": "shop", "session_id": "s", "error_severity": "LOG", "message": message });
            if let Some(detail) = detail {
                json["detail"] = detail.into();
            }
            format!("{json}\n")
        };
        let text = line(
            "duration: 1 ms  statement: select set_config('role', 'app', true)",
            None,
        ) + &line(
            "duration: 2.5 ms  execute x: select * from doc where id = $1",
            Some("Parameters: $1 = NULL"),
        ) + "no json\n";
        let found = read(text.as_bytes(), &options(true)).unwrap();
        assert_eq!(found.seen.len(), 1);
        assert_eq!(found.seen[0].role.as_deref(), Some("app"));
        assert_eq!(found.seen[0].values, [[None]]);
        assert_eq!(found.gaps.len(), 1);
    }
}
