//! What a statement of the workload does to which relations, in one parse.

use super::tree::names;
use pg_query::protobuf::{CmdType, RangeVar};
use pg_query::{Node, NodeEnum, NodeRef};
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verb {
    Select,
    Insert,
    Update,
    Delete,
    Merge,
    /// Utility commands, and more than one statement.
    #[default]
    Other,
}

/// A relation as written: `(schema, name)`, the schema empty where it is not given.
pub type Written = (String, String);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub verb: Verb,
    /// Every relation named, those in sub-selects too.
    pub relations: BTreeSet<Written>,
    /// Relations that rows are written to, and the columns that `SET` gives a value; none for INSERT and DELETE.
    pub written: Vec<(Written, Vec<String>)>,
    /// Ends in a `LIMIT`, and so may stop a scan early.
    pub limited: bool,
    /// `FOR UPDATE` and its kin.
    pub locking: bool,
}

/// `None` where the text is no SQL.
pub fn usage(text: &str) -> Option<Usage> {
    let parsed = pg_query::parse(text, 0).ok()?;
    let mut usage = Usage::default();
    if let [only] = parsed.protobuf.stmts.as_slice() {
        match only.stmt.as_ref().and_then(|s| s.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) => {
                usage.verb = Verb::Select;
                usage.limited = select.limit_count.is_some();
                usage.locking = !select.locking_clause.is_empty();
            }
            Some(NodeEnum::InsertStmt(_)) => usage.verb = Verb::Insert,
            Some(NodeEnum::UpdateStmt(_)) => usage.verb = Verb::Update,
            Some(NodeEnum::DeleteStmt(_)) => usage.verb = Verb::Delete,
            Some(NodeEnum::MergeStmt(_)) => usage.verb = Verb::Merge,
            _ => {}
        }
    }
    let common: BTreeSet<String> = parsed.cte_names.iter().cloned().collect();
    for (node, ..) in parsed.protobuf.nodes() {
        match node {
            NodeRef::RangeVar(range)
                if !range.schemaname.is_empty() || !common.contains(&range.relname) =>
            {
                usage.relations.insert(written(range));
            }
            NodeRef::InsertStmt(insert) => {
                let targets = insert.on_conflict_clause.as_deref();
                let targets = targets.map_or(&[][..], |c| &c.target_list);
                note(&mut usage, insert.relation.as_ref(), targets);
            }
            NodeRef::UpdateStmt(update) => {
                note(&mut usage, update.relation.as_ref(), &update.target_list);
            }
            NodeRef::DeleteStmt(delete) => note(&mut usage, delete.relation.as_ref(), &[]),
            NodeRef::MergeStmt(merge) => {
                let updates: Vec<Node> = merge
                    .merge_when_clauses
                    .iter()
                    .filter_map(|when| match &when.node {
                        Some(NodeEnum::MergeWhenClause(w))
                            if w.command_type() == CmdType::CmdUpdate =>
                        {
                            Some(w.target_list.clone())
                        }
                        _ => None,
                    })
                    .flatten()
                    .collect();
                note(&mut usage, merge.relation.as_ref(), &updates);
            }
            _ => {}
        }
    }
    Some(usage)
}

fn note(usage: &mut Usage, relation: Option<&RangeVar>, targets: &[Node]) {
    let Some(relation) = relation else {
        return;
    };
    usage.relations.insert(written(relation));
    let columns = targets.iter().filter_map(|target| match &target.node {
        Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
        _ => None,
    });
    usage.written.push((written(relation), columns.collect()));
}

fn written(range: &RangeVar) -> Written {
    (range.schemaname.clone(), range.relname.clone())
}

/// Every identifier in a piece of SQL or of a procedural language; `None` where its quotes do not match.
///
/// Says what a text may speak of: a name that is not among them, it does not use.
pub fn words(text: &str) -> Option<BTreeSet<String>> {
    let scanned = pg_query::scan(text).ok()?;
    let word =
        |start: i32, end: i32| text.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?);
    let found = scanned.tokens.iter().filter_map(|token| {
        let word = word(token.start, token.end)?;
        let inner = word.strip_prefix('"').and_then(|w| w.strip_suffix('"'));
        Some(inner.map_or_else(|| word.to_lowercase(), |w| w.replace("\"\"", "\"")))
    });
    Some(found.collect())
}

/// The columns that an expression over one row names, without those inside sub-selects; `None` where it is not understood.
pub fn columns(expression: &str) -> Option<BTreeSet<String>> {
    fn walk(node: &Node, found: &mut BTreeSet<String>) -> Option<()> {
        if let Some(NodeEnum::ColumnRef(column)) = &node.node {
            found.extend(names(&column.fields).last().map(|name| (*name).to_owned()));
        }
        for part in super::tree::parts(node)? {
            walk(&part, found)?;
        }
        Some(())
    }
    let mut found = BTreeSet::new();
    walk(&super::tree::parse_expression(expression).ok()?, &mut found)?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_relations_and_assigned_columns() {
        let found = usage(
            "with gone as (delete from old where id = $1 returning id)
             update app.doc d set title = $2, (a, b) = ($3, $4) from gone join member m using (id)
             where d.id = gone.id",
        )
        .unwrap();
        assert_eq!(found.verb, Verb::Update);
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
        let upsert = usage(
            "insert into doc (id, n) values ($1, $2) on conflict (id) do update set n = excluded.n",
        )
        .unwrap();
        assert_eq!(upsert.verb, Verb::Insert);
        assert_eq!(upsert.written[0].1, ["n"]);
        let merge = usage(
            "merge into doc d using new n on n.id = d.id when matched then update set n = n.n when not matched then insert values (n.id)",
        )
        .unwrap();
        assert_eq!(merge.written[0].1, ["n"]);
        assert_eq!(usage("vacuum doc").unwrap().verb, Verb::Other);
        assert!(usage("select $1 limit $2").unwrap().limited);
        assert_eq!(usage("selec"), None);
    }

    #[test]
    fn words_and_columns() {
        let found = words("select Status, \"My \"\"Col\" from t where x = 'status2'").unwrap();
        assert!(found.contains("status") && found.contains("My \"Col"));
        assert!(!found.contains("status2"));
        let found = columns("((deleted_at IS NULL) AND (kind = 'open'::text))").unwrap();
        let found: Vec<_> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["deleted_at", "kind"]);
    }
}
