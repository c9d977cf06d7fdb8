//! What a piece of SQL reads.

use crate::model::Command;
use pg_query::{NodeEnum, protobuf::ParseResult};
use std::collections::BTreeSet;

/// What kind of statement a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SELECT, INSERT, UPDATE, DELETE or MERGE.
    Query,
    Other,
}

/// What a statement names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mentions {
    pub kind: Kind,
    /// What the statement does at its top; [`Command::All`] for MERGE and for what is no query.
    pub command: Command,
    /// As written: `(schema, name)`, the schema empty where it is not given.
    pub relations: BTreeSet<(String, String)>,
}

/// Relations that `text` names, or `None` where it is no SQL.
pub fn mentions(text: &str) -> Option<Mentions> {
    let parsed = pg_query::parse(text, 0).ok()?;
    let queries = parsed.statement_types();
    let is_query = |t: &&str| {
        matches!(
            *t,
            "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt"
        )
    };
    let kind = if !queries.is_empty() && queries.iter().all(|t| is_query(&&**t)) {
        Kind::Query
    } else {
        Kind::Other
    };
    let relations = parsed
        .tables()
        .iter()
        .map(|name| match name.split_once('.') {
            Some((schema, name)) => (schema.to_owned(), name.to_owned()),
            None => (String::new(), name.clone()),
        })
        .collect();
    Some(Mentions {
        kind,
        command: command(&parsed.protobuf),
        relations,
    })
}

fn command(parsed: &ParseResult) -> Command {
    let first = parsed.stmts.first().and_then(|s| s.stmt.as_ref());
    match first.and_then(|s| s.node.as_ref()) {
        Some(NodeEnum::SelectStmt(_)) => Command::Select,
        Some(NodeEnum::InsertStmt(_)) => Command::Insert,
        Some(NodeEnum::UpdateStmt(_)) => Command::Update,
        Some(NodeEnum::DeleteStmt(_)) => Command::Delete,
        _ => Command::All,
    }
}
