//! How a statement or a policy narrows, joins and orders each table it reads: the raw material of index candidates.

mod named;
mod scope;
mod tested;

pub use named::{commands, deleted_from, tables};
pub use tested::{Tested, shape};

use super::tree::{
    IntoNode, Unreadable, all_of, conjuncts, disjuncts, parse_expression, parse_statement, parts,
};
use crate::model::{Catalog, Name};
use pg_query::protobuf::{JoinType, SelectStmt, SubLink};
use pg_query::{Node, NodeEnum};
use scope::Scope;

/// One appearance of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub table: Name,
    /// Columns compared by `=`, `in` or `= any` with what is known before the scan.
    pub equals: Vec<String>,
    /// Columns compared by `=` with a column of another table.
    pub joins: Vec<String>,
    /// Columns compared by `<`, `<=`, `>`, `>=` or `between`.
    pub ranges: Vec<String>,
    /// Constant tests, as an index predicate may hold them.
    pub predicates: Vec<Predicate>,
    /// The ORDER BY, where it is of this table alone.
    pub order: Vec<OrderKey>,
    pub limited: bool,
    /// Plain columns that a sub-select returns.
    pub returns: Vec<String>,
    /// Every comparison with what is known before the scan, whatever its operator.
    pub tests: Vec<Tested>,
}

/// `column is null`, `column = 'constant'`, `column` or `not column`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Predicate {
    pub column: String,
    pub text: String,
    /// `column = 'constant'`.
    pub equality: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    pub column: String,
    pub descending: bool,
    pub nulls_first: bool,
}

/// The accesses of a whole statement, sub-selects included.
pub fn of_statement(sql: &str, catalog: &Catalog) -> Result<Vec<Access>, Unreadable> {
    let mut found = Vec::new();
    let select = match parse_statement(sql)? {
        NodeEnum::SelectStmt(select) => *select,
        NodeEnum::UpdateStmt(update) => narrowed(
            update.relation.map(NodeEnum::RangeVar),
            update.from_clause,
            update.where_clause,
        ),
        NodeEnum::DeleteStmt(delete) => narrowed(
            delete.relation.map(NodeEnum::RangeVar),
            delete.using_clause,
            delete.where_clause,
        ),
        NodeEnum::InsertStmt(insert) => match insert.select_stmt.and_then(|s| s.node) {
            Some(NodeEnum::SelectStmt(select)) => *select,
            _ => return Ok(found),
        },
        _ => return Ok(found),
    };
    visit_select(&select, catalog, &mut found);
    Ok(found)
}

fn narrowed(
    relation: Option<NodeEnum>,
    others: Vec<Node>,
    condition: Option<Box<Node>>,
) -> SelectStmt {
    SelectStmt {
        from_clause: relation
            .map(IntoNode::into_node)
            .into_iter()
            .chain(others)
            .collect(),
        where_clause: condition,
        ..Default::default()
    }
}

/// The accesses of a policy on `table`: one of the table itself for each branch of its OR, then those of sub-selects.
pub fn of_policy(
    expression: &str,
    table: &Name,
    catalog: &Catalog,
) -> Result<Vec<Access>, Unreadable> {
    let root = parse_expression(expression)?;
    let scope = Scope {
        relations: vec![(table.name.clone(), table.clone())],
        catalog,
    };
    let mut found = Vec::new();
    for branch in branches(&root) {
        let mut own = vec![Access {
            table: table.clone(),
            ..Access::default()
        }];
        for conjunct in conjuncts(&branch) {
            scope.classify(&conjunct, &mut own);
        }
        found.extend(own);
    }
    visit_sublinks(&root, catalog, &mut found);
    Ok(found)
}

/// The accesses of a function's body, where it is one SELECT.
pub fn of_function_body(body: &str, catalog: &Catalog) -> Vec<Access> {
    of_statement(body, catalog).unwrap_or_default()
}

/// `a and (b or c)` has the branches `a and b` and `a and c`, up to a sensible number.
fn branches(root: &Node) -> Vec<Node> {
    const MOST: usize = 16;
    let mut combined: Vec<Vec<Node>> = vec![Vec::new()];
    for conjunct in conjuncts(root) {
        let alternatives = disjuncts(&conjunct);
        if combined.len() * alternatives.len() > MOST {
            continue;
        }
        combined = combined
            .iter()
            .flat_map(|base| {
                alternatives.iter().map(|alternative| {
                    let mut branch = base.clone();
                    branch.extend(conjuncts(alternative));
                    branch
                })
            })
            .collect();
    }
    combined.into_iter().filter_map(all_of).collect()
}

fn visit_select(select: &SelectStmt, catalog: &Catalog, found: &mut Vec<Access>) {
    for side in [&select.larg, &select.rarg].into_iter().flatten() {
        visit_select(side, catalog, found);
    }
    if let Some(with) = &select.with_clause {
        for cte in &with.ctes {
            if let Some(NodeEnum::CommonTableExpr(cte)) = &cte.node
                && let Some(NodeEnum::SelectStmt(inner)) =
                    cte.ctequery.as_ref().and_then(|q| q.node.as_ref())
            {
                visit_select(inner, catalog, found);
            }
        }
    }
    let mut scope = Scope {
        relations: Vec::new(),
        catalog,
    };
    let mut conditions = Vec::new();
    for item in &select.from_clause {
        visit_from(item, &mut scope, &mut conditions, found);
    }
    conditions.extend(
        select
            .where_clause
            .as_deref()
            .into_iter()
            .flat_map(conjuncts),
    );
    let mut own: Vec<Access> = scope
        .relations
        .iter()
        .map(|(_, table)| Access {
            table: table.clone(),
            limited: select.limit_count.is_some(),
            ..Access::default()
        })
        .collect();
    for condition in &conditions {
        scope.classify(condition, &mut own);
        visit_sublinks(condition, catalog, found);
    }
    for target in &select.target_list {
        if let Some(NodeEnum::ResTarget(target)) = &target.node
            && let Some(value) = target.val.as_deref()
        {
            visit_sublinks(value, catalog, found);
            if let Some((at, column)) = scope.column(value) {
                own.get_mut(at)
                    .into_iter()
                    .for_each(|a| a.returns.push(column.clone()));
            }
        }
    }
    scope.order(&select.sort_clause, &mut own);
    found.extend(own);
}

fn visit_from(
    node: &Node,
    scope: &mut Scope<'_>,
    conditions: &mut Vec<Node>,
    found: &mut Vec<Access>,
) {
    match &node.node {
        Some(NodeEnum::RangeVar(range)) => {
            if let Some((name, _)) = scope.catalog.resolve(&range.schemaname, &range.relname) {
                let alias = range
                    .alias
                    .as_ref()
                    .map_or(&range.relname, |a| &a.aliasname);
                scope.relations.push((alias.clone(), name.clone()));
            }
        }
        Some(NodeEnum::JoinExpr(join)) => {
            for side in [&join.larg, &join.rarg].into_iter().flatten() {
                visit_from(side, scope, conditions, found);
            }
            // The condition of an outer join does not narrow its outer side, but it is how the inner one is looked up.
            if join.jointype() != JoinType::JoinFull {
                conditions.extend(join.quals.as_deref().into_iter().flat_map(conjuncts));
            }
        }
        Some(NodeEnum::RangeSubselect(sub)) => {
            if let Some(NodeEnum::SelectStmt(select)) =
                sub.subquery.as_ref().and_then(|q| q.node.as_ref())
            {
                visit_select(select, scope.catalog, found);
            }
        }
        _ => {}
    }
}

fn visit_sublinks(node: &Node, catalog: &Catalog, found: &mut Vec<Access>) {
    if let Some(NodeEnum::SubLink(link)) = &node.node {
        let SubLink { subselect, .. } = &**link;
        if let Some(NodeEnum::SelectStmt(select)) = subselect.as_ref().and_then(|s| s.node.as_ref())
        {
            visit_select(select, catalog, found);
        }
    }
    for part in parts(node).unwrap_or_default() {
        visit_sublinks(&part, catalog, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, Table};

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        let mut put = |name: &str, columns: &[&str]| {
            let columns = columns
                .iter()
                .map(|c| Column {
                    name: (*c).to_owned(),
                    ..Default::default()
                })
                .collect();
            catalog.tables.insert(
                Name::new("public", name),
                Table {
                    columns,
                    ..Default::default()
                },
            );
        };
        put(
            "items",
            &[
                "id",
                "location_id",
                "status",
                "created_at",
                "deleted_at",
                "active",
            ],
        );
        put("members", &["user_id", "loc"]);
        catalog
    }

    fn only(sql: &str) -> Access {
        let found = of_statement(sql, &catalog()).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn filters_and_order() {
        let access = only(
            "select * from items i where i.location_id = $1 and created_at >= $2 and deleted_at is null
             and status = 'open' and active order by created_at desc, id limit 20",
        );
        assert_eq!(access.equals, ["location_id", "status"]);
        assert_eq!(access.ranges, ["created_at"]);
        let texts: Vec<_> = access.predicates.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(texts, ["deleted_at IS NULL", "status = 'open'", "active"]);
        assert!(access.limited && access.order.len() == 2);
        assert!(
            access
                .order
                .iter()
                .any(|k| k.descending && k.nulls_first && k.column == "created_at")
        );
    }

    #[test]
    fn joins_and_writes() {
        let found = of_statement(
            "select * from items join members m on m.loc = items.location_id where m.user_id = $1",
            &catalog(),
        )
        .unwrap();
        let get = |t: &str| found.iter().find(|a| a.table.name == t).unwrap();
        assert_eq!(get("items").joins, ["location_id"]);
        assert_eq!(
            (
                get("members").joins.as_slice(),
                get("members").equals.as_slice()
            ),
            (&["loc".to_owned()][..], &["user_id".to_owned()][..])
        );
        assert_eq!(
            only("update items set status = 'x' where id = $1").equals,
            ["id"]
        );
        assert_eq!(
            only("delete from items where location_id in ($1, $2)").equals,
            ["location_id"]
        );
    }

    #[test]
    fn policies_have_branches_and_sets() {
        let found = of_policy(
            "(deleted_at IS NULL) AND ((SELECT is_admin()) OR (location_id = ANY (ARRAY(SELECT m.loc FROM public.members m WHERE m.user_id = (SELECT auth.uid())))))",
            &Name::new("public", "items"),
            &catalog(),
        )
        .unwrap();
        let own: Vec<_> = found.iter().filter(|a| a.table.name == "items").collect();
        assert_eq!(own.len(), 2);
        assert!(
            own.iter()
                .any(|a| a.equals == ["location_id"] && a.predicates.len() == 1)
        );
        let set = found.iter().find(|a| a.table.name == "members").unwrap();
        assert_eq!(
            (set.equals.as_slice(), set.returns.as_slice()),
            (&["user_id".to_owned()][..], &["loc".to_owned()][..])
        );
    }
}
