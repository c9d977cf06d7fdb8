//! What a piece of SQL reads.

use crate::model::Command;
use pg_query::protobuf::{CmdType, ParseResult, RangeVar};
use pg_query::{Node, NodeEnum, NodeRef};
use std::collections::BTreeSet;

/// What kind of statement a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SELECT, INSERT, UPDATE, DELETE or MERGE.
    Query,
    Other,
}

/// A relation as written: `(schema, name)`, the schema empty where it is not given.
pub type Written = (String, String);

/// What a statement names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mentions {
    pub kind: Kind,
    /// What the statement does at its top; [`Command::All`] for MERGE and for what is no query.
    pub command: Command,
    /// Every relation named, those in sub-selects too.
    pub relations: BTreeSet<Written>,
    /// Relations that rows are written to, and the columns that `SET` gives a value; none for INSERT and DELETE.
    pub written: Vec<(Written, Vec<String>)>,
    /// A SELECT that ends in a `LIMIT`, and so may stop a scan early.
    pub limited: bool,
    /// `FOR UPDATE` and its kin.
    pub locking: bool,
}

/// What `text` names, or `None` where it is no SQL.
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
    let select = match top(&parsed.protobuf) {
        Some(NodeEnum::SelectStmt(select)) => Some(select),
        _ => None,
    };
    let mut mentions = Mentions {
        kind,
        command: command(&parsed.protobuf),
        relations: BTreeSet::new(),
        written: Vec::new(),
        limited: select.is_some_and(|s| s.limit_count.is_some()),
        locking: select.is_some_and(|s| !s.locking_clause.is_empty()),
    };
    let common: BTreeSet<&String> = parsed.cte_names.iter().collect();
    for (node, ..) in parsed.protobuf.nodes() {
        mentions.note(&node, &common);
    }
    Some(mentions)
}

impl Mentions {
    fn note(&mut self, node: &NodeRef<'_>, common: &BTreeSet<&String>) {
        match node {
            NodeRef::RangeVar(range)
                if !range.schemaname.is_empty() || !common.contains(&range.relname) =>
            {
                self.relations.insert(written(range));
            }
            NodeRef::InsertStmt(insert) => {
                let targets = insert.on_conflict_clause.as_deref();
                let targets = targets.map_or(&[][..], |c| &c.target_list);
                self.write(insert.relation.as_ref(), targets);
            }
            NodeRef::UpdateStmt(update) => {
                self.write(update.relation.as_ref(), &update.target_list);
            }
            NodeRef::DeleteStmt(delete) => self.write(delete.relation.as_ref(), &[]),
            NodeRef::MergeStmt(merge) => {
                let branches = merge.merge_when_clauses.iter();
                let updates = branches.filter_map(|when| match &when.node {
                    Some(NodeEnum::MergeWhenClause(w)) => {
                        (w.command_type() == CmdType::CmdUpdate).then(|| w.target_list.clone())
                    }
                    _ => None,
                });
                let targets: Vec<Node> = updates.flatten().collect();
                self.write(merge.relation.as_ref(), &targets);
            }
            _ => {}
        }
    }

    fn write(&mut self, relation: Option<&RangeVar>, targets: &[Node]) {
        let Some(relation) = relation else {
            return;
        };
        self.relations.insert(written(relation));
        let columns = targets.iter().filter_map(|target| match &target.node {
            Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
            _ => None,
        });
        self.written.push((written(relation), columns.collect()));
    }
}

fn written(range: &RangeVar) -> Written {
    (range.schemaname.clone(), range.relname.clone())
}

fn top(parsed: &ParseResult) -> Option<&NodeEnum> {
    let first = parsed.stmts.first().and_then(|s| s.stmt.as_ref());
    first.and_then(|s| s.node.as_ref())
}

fn command(parsed: &ParseResult) -> Command {
    match top(parsed) {
        Some(NodeEnum::SelectStmt(_)) => Command::Select,
        Some(NodeEnum::InsertStmt(_)) => Command::Insert,
        Some(NodeEnum::UpdateStmt(_)) => Command::Update,
        Some(NodeEnum::DeleteStmt(_)) => Command::Delete,
        _ => Command::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_and_assigned_columns() {
        let found = mentions(
            "with gone as (delete from old where id = $1 returning id)
             update app.doc d set title = $2, (a, b) = ($3, $4) from gone join member m using (id)
             where d.id = gone.id",
        )
        .unwrap();
        assert_eq!((found.kind, found.command), (Kind::Query, Command::Update));
        let names: Vec<&str> = found.relations.iter().map(|r| r.1.as_str()).collect();
        assert_eq!(names, ["member", "old", "doc"]);
        let set: Vec<_> = found
            .written
            .iter()
            .filter(|(_, c)| !c.is_empty())
            .collect();
        assert_eq!(set.len(), 1);
        assert_eq!(set[0].0, ("app".to_owned(), "doc".to_owned()));
        assert_eq!(set[0].1, ["title", "a", "b"]);
        let upsert = mentions(
            "insert into doc (id, n) values ($1, $2) on conflict (id) do update set n = excluded.n",
        )
        .unwrap();
        assert_eq!(upsert.command, Command::Insert);
        assert_eq!(upsert.written[0].1, ["n"]);
        let merge = mentions(
            "merge into doc d using new n on n.id = d.id when matched then update set n = n.n when not matched then insert values (n.id)",
        )
        .unwrap();
        assert_eq!(merge.written[0].1, ["n"]);
        assert_eq!(mentions("vacuum doc").unwrap().kind, Kind::Other);
        let select = mentions("select from \"a.b\".\"c.d\" limit $1 for update").unwrap();
        assert!(select.limited && select.locking);
        let name = ("a.b".to_owned(), "c.d".to_owned());
        assert!(
            select.relations.contains(&name),
            "dots inside are no dots between"
        );
        assert_eq!(mentions("selec"), None);
    }
}
