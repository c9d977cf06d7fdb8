//! A migration file as the server will see it: its statements, and what each of them does.

use super::lock::{self, Lock};
use super::partition;
use crate::model::Name;
use pg_query::protobuf::{ObjectType, RangeVar, Token};
use pg_query::{NodeEnum, protobuf};

/// One statement of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Without the comments before it and the semicolon after it.
    pub sql: String,
    /// Of its first word, from 1.
    pub line: usize,
    pub kind: Kind,
    /// The strongest lock it takes on something that others use.
    pub lock: Option<Lock>,
    /// The index or policy that is there, in this form, once it has run.
    pub makes: Option<Object>,
    /// The columns that an index holds; expressions are left out.
    pub index_columns: Vec<String>,
    /// The table that lacks statistics once it has run: the planner knows nothing of an index's expression before an
    /// ANALYZE of its table.
    pub analyze: Option<Name>,
    pub creates_table: Option<Name>,
}

/// Something a migration makes and `status` can look up again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Object {
    Index { table: Name, name: String },
    Policy { table: Name, name: String },
}

/// What a migration runner must know of a statement. Names without a schema leave it empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    CreateIndexConcurrently {
        table: Name,
        /// `None` where the server chooses it.
        index: Option<String>,
        if_not_exists: bool,
    },
    DropIndexConcurrently {
        index: Name,
        if_exists: bool,
    },
    ReindexConcurrently {
        /// The index, or the table whose indexes are rebuilt.
        name: Name,
        is_table: bool,
    },
    /// `ALTER INDEX … ATTACH PARTITION`.
    AttachIndex {
        parent: Name,
        child: Name,
    },
    /// `BEGIN`, `COMMIT`, `ROLLBACK`: would break the runner's own transaction.
    TransactionControl,
    /// Exchanges rows with the client (`COPY … FROM STDIN`), which a migration has none of.
    NeedsInput,
    /// The server refuses it inside a transaction.
    OutsideTransaction,
    Other,
}

impl Kind {
    /// Whether the server refuses the statement inside a transaction.
    pub fn needs_no_transaction(&self) -> bool {
        matches!(
            self,
            Self::CreateIndexConcurrently { .. }
                | Self::DropIndexConcurrently { .. }
                | Self::ReindexConcurrently { .. }
                | Self::OutsideTransaction
        )
    }
}

/// Why a script cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub line: usize,
    pub message: String,
}

/// The statements of `text`, in order.
///
/// # Errors
/// Where the text holds psql's own commands, or is not SQL.
pub fn parse(text: &str) -> Result<Vec<Statement>, Problem> {
    let tokens = pg_query::scan(text).map_err(|e| Problem {
        line: 1,
        message: message_of(&e),
    })?;
    if let Some(token) = tokens.tokens.iter().find(|t| t.token() == Token::Ascii92) {
        return Err(psql_command(text, offset(token.start)));
    }
    // Where each word starts, and whether it is a semicolon.
    let words: Vec<(usize, bool)> = tokens
        .tokens
        .iter()
        .filter(|t| !matches!(t.token(), Token::SqlComment | Token::CComment))
        .map(|t| (offset(t.start), t.token() == Token::Ascii59))
        .collect();
    let parsed = pg_query::parse(text, 0).map_err(|e| locate(text, &words, &e))?;
    let mut statements = Vec::new();
    for raw in &parsed.protobuf.stmts {
        let from = offset(raw.stmt_location);
        let to = match raw.stmt_len {
            0 => text.len(),
            len => from + offset(len),
        };
        let start = words
            .iter()
            .map(|(at, _)| *at)
            .find(|at| *at >= from)
            .unwrap_or(from);
        let Some(node) = raw.stmt.as_ref().and_then(|s| s.node.as_ref()) else {
            continue;
        };
        statements.push(Statement {
            sql: text.get(start..to).unwrap_or_default().trim().to_owned(),
            line: line_at(text, start),
            kind: kind(node),
            lock: lock::of(node),
            makes: makes(node),
            index_columns: index_columns(node),
            analyze: analyze(node),
            creates_table: match node {
                NodeEnum::CreateStmt(s) => Some(relation(s.relation.as_ref())),
                _ => None,
            },
        });
    }
    Ok(statements)
}

fn offset(position: i32) -> usize {
    usize::try_from(position).unwrap_or(0)
}

fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|b| **b == b'\n')
        .count()
        + 1
}

fn psql_command(text: &str, at: usize) -> Problem {
    let word = text
        .get(at..)
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or("\\");
    Problem {
        line: line_at(text, at),
        message: format!(
            "`{word}` is a command of psql, not SQL: only psql can run it. Write plain SQL into the file"
        ),
    }
}

/// The parser gives no position: the statement after the longest beginning that parses is the one.
fn locate(text: &str, words: &[(usize, bool)], error: &pg_query::Error) -> Problem {
    let good = words
        .iter()
        .filter(|(_, ends_statement)| *ends_statement)
        .map(|(at, _)| *at)
        .take_while(|at| *at < text.len())
        .filter(|at| {
            text.get(..*at)
                .is_some_and(|t| pg_query::parse(t, 0).is_ok())
        })
        .last();
    let start = words
        .iter()
        .map(|(at, _)| *at)
        .find(|at| good.is_none_or(|good| *at > good))
        .unwrap_or(0);
    Problem {
        line: line_at(text, start),
        message: message_of(error),
    }
}

fn message_of(error: &pg_query::Error) -> String {
    match error {
        pg_query::Error::Parse(message) | pg_query::Error::Scan(message) => message.clone(),
        other => other.to_string(),
    }
}

fn kind(node: &NodeEnum) -> Kind {
    match node {
        NodeEnum::IndexStmt(index) if index.concurrent => Kind::CreateIndexConcurrently {
            table: relation(index.relation.as_ref()),
            index: Some(index.idxname.clone()).filter(|n| !n.is_empty()),
            if_not_exists: index.if_not_exists,
        },
        NodeEnum::DropStmt(drop)
            if drop.concurrent && drop.remove_type() == ObjectType::ObjectIndex =>
        {
            match drop.objects.as_slice() {
                [one] => Kind::DropIndexConcurrently {
                    index: listed_name(one),
                    if_exists: drop.missing_ok,
                },
                // The server takes one index only; it says so itself.
                _ => Kind::OutsideTransaction,
            }
        }
        NodeEnum::ReindexStmt(reindex) if has_option(&reindex.params, "concurrently") => {
            match reindex.relation.as_ref() {
                Some(name) => Kind::ReindexConcurrently {
                    name: relation(Some(name)),
                    is_table: reindex.kind() == protobuf::ReindexObjectType::ReindexObjectTable,
                },
                None => Kind::OutsideTransaction,
            }
        }
        NodeEnum::ReindexStmt(reindex) if reindex.relation.is_none() => Kind::OutsideTransaction,
        NodeEnum::TransactionStmt(_) => Kind::TransactionControl,
        NodeEnum::CopyStmt(copy) if copy.filename.is_empty() && !copy.is_program => {
            Kind::NeedsInput
        }
        NodeEnum::VacuumStmt(vacuum) if vacuum.is_vacuumcmd => Kind::OutsideTransaction,
        NodeEnum::AlterTableStmt(alter) if detaches_concurrently(alter) => Kind::OutsideTransaction,
        NodeEnum::AlterTableStmt(alter) => {
            partition::attachment(alter).map_or(Kind::Other, |(parent, child)| Kind::AttachIndex {
                parent,
                child,
            })
        }
        NodeEnum::CreatedbStmt(_)
        | NodeEnum::DropdbStmt(_)
        | NodeEnum::CreateTableSpaceStmt(_)
        | NodeEnum::DropTableSpaceStmt(_)
        | NodeEnum::AlterSystemStmt(_) => Kind::OutsideTransaction,
        _ => Kind::Other,
    }
}

fn makes(node: &NodeEnum) -> Option<Object> {
    match node {
        NodeEnum::IndexStmt(index) if !index.idxname.is_empty() => Some(Object::Index {
            table: relation(index.relation.as_ref()),
            name: index.idxname.clone(),
        }),
        NodeEnum::CreatePolicyStmt(policy) => Some(Object::Policy {
            table: relation(policy.table.as_ref()),
            name: policy.policy_name.clone(),
        }),
        NodeEnum::AlterPolicyStmt(policy) => Some(Object::Policy {
            table: relation(policy.table.as_ref()),
            name: policy.policy_name.clone(),
        }),
        _ => None,
    }
}

/// An index of a partitioned table alone (`ON ONLY`) holds nothing to gather statistics of.
fn analyze(node: &NodeEnum) -> Option<Name> {
    let NodeEnum::IndexStmt(index) = node else {
        return None;
    };
    let table = index.relation.as_ref().filter(|r| r.inh)?;
    index
        .index_params
        .iter()
        .any(|p| matches!(&p.node, Some(NodeEnum::IndexElem(e)) if e.expr.is_some()))
        .then(|| relation(Some(table)))
}

fn index_columns(node: &NodeEnum) -> Vec<String> {
    let NodeEnum::IndexStmt(index) = node else {
        return Vec::new();
    };
    index
        .index_params
        .iter()
        .chain(&index.index_including_params)
        .filter_map(|p| match &p.node {
            Some(NodeEnum::IndexElem(e)) if !e.name.is_empty() => Some(e.name.clone()),
            _ => None,
        })
        .collect()
}

fn detaches_concurrently(alter: &protobuf::AlterTableStmt) -> bool {
    alter.cmds.iter().any(|cmd| {
        let Some(NodeEnum::AlterTableCmd(cmd)) = &cmd.node else {
            return false;
        };
        matches!(cmd.def.as_ref().and_then(|d| d.node.as_ref()), Some(NodeEnum::PartitionCmd(p)) if p.concurrent)
    })
}

fn has_option(params: &[protobuf::Node], name: &str) -> bool {
    params
        .iter()
        .any(|p| matches!(&p.node, Some(NodeEnum::DefElem(e)) if e.defname == name))
}

pub(super) fn relation(range: Option<&RangeVar>) -> Name {
    range.map_or_else(Name::default, |r| Name::new(&r.schemaname, &r.relname))
}

/// A name in a DROP's list: one to three strings.
pub(super) fn listed_name(node: &protobuf::Node) -> Name {
    let Some(NodeEnum::List(list)) = &node.node else {
        return Name::default();
    };
    let mut parts = list.items.iter().rev().filter_map(|item| match &item.node {
        Some(NodeEnum::String(s)) => Some(s.sval.clone()),
        _ => None,
    });
    let name = parts.next().unwrap_or_default();
    Name::new(parts.next().unwrap_or_default(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(sql: &str) -> Statement {
        let mut all = parse(sql).unwrap();
        assert_eq!(all.len(), 1, "{sql}");
        all.remove(0)
    }

    #[test]
    fn statements_keep_their_text_and_line() {
        let all = parse("-- a; comment\n\nselect ';' ;\n/* b */ create function f() returns int language sql as $$ select 1; $$;\n").unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].sql.as_str(), all[0].line), ("select ';'", 3));
        assert_eq!(all[1].line, 4);
        assert!(all[1].sql.ends_with("$$"), "{}", all[1].sql);
        assert!(parse("-- nothing\n").unwrap().is_empty());
    }

    #[test]
    fn concurrent_index_statements_are_told_apart() {
        assert_eq!(
            only(r#"create index concurrently if not exists "My idx" on "S"."T" (lower(a))"#).kind,
            Kind::CreateIndexConcurrently {
                table: Name::new("S", "T"),
                index: Some("My idx".into()),
                if_not_exists: true,
            }
        );
        assert_eq!(
            only("drop index concurrently if exists s.i").kind,
            Kind::DropIndexConcurrently {
                index: Name::new("s", "i"),
                if_exists: true,
            }
        );
        assert_eq!(
            only("reindex table concurrently t").kind,
            Kind::ReindexConcurrently {
                name: Name::new("", "t"),
                is_table: true,
            }
        );
        assert_eq!(only("create index i on t (a)").kind, Kind::Other);
    }

    #[test]
    fn an_expression_among_the_keys_asks_for_statistics() {
        let table = Some(Name::new("", "t"));
        for (sql, analyze) in [
            ("create index i on t (a, (a + 1))", &table),
            ("create index concurrently on t (lower(a))", &table),
            ("create index i on t (a) where lower(a) = 'x'", &None),
            ("create index i on only t (lower(a))", &None),
            ("create table t (a int)", &None),
        ] {
            assert_eq!(&only(sql).analyze, analyze, "{sql}");
        }
    }

    #[test]
    fn what_a_runner_cannot_run_is_named() {
        assert_eq!(only("commit").kind, Kind::TransactionControl);
        assert_eq!(only("copy t from stdin").kind, Kind::NeedsInput);
        assert_eq!(only("vacuum t").kind, Kind::OutsideTransaction);
        assert_eq!(only("analyze t").kind, Kind::Other);
        let problem = parse("select 1;\n\\i other.sql\n").unwrap_err();
        assert_eq!(problem.line, 2);
        assert!(problem.message.starts_with("`\\i`"), "{}", problem.message);
        let problem = parse("select 1;\n\nselec 2;\nselect 3;").unwrap_err();
        assert_eq!(problem.line, 3, "{problem:?}");
        // Inside a string it is only a backslash.
        assert_eq!(only(r"select '\i'").kind, Kind::Other);
    }
}
