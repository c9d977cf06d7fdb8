//! The tables a statement names, without how it reads them.

use crate::model::{Catalog, Name};
use crate::sql::tree::parse_statement;
use pg_query::NodeEnum;

/// The table a DELETE deletes from, those inside CTEs too.
pub fn deleted_from(sql: &str, catalog: &Catalog) -> Vec<Name> {
    fn visit(node: &NodeEnum, catalog: &Catalog, found: &mut Vec<Name>) {
        let with = match node {
            NodeEnum::DeleteStmt(delete) => {
                if let Some(range) = &delete.relation
                    && let Some((name, _)) = catalog.resolve(&range.schemaname, &range.relname)
                {
                    found.push(name.clone());
                }
                &delete.with_clause
            }
            NodeEnum::SelectStmt(select) => &select.with_clause,
            _ => return,
        };
        for cte in with.iter().flat_map(|w| &w.ctes) {
            if let Some(NodeEnum::CommonTableExpr(cte)) = &cte.node
                && let Some(inner) = cte.ctequery.as_ref().and_then(|q| q.node.as_ref())
            {
                visit(inner, catalog, found);
            }
        }
    }
    let mut found = Vec::new();
    if let Ok(statement) = parse_statement(sql) {
        visit(&statement, catalog, &mut found);
    }
    found
}

/// The tables a statement names, and those that the bodies of the functions it calls name. Empty where it cannot be read.
pub fn tables(sql: &str, catalog: &Catalog) -> Vec<Name> {
    let Ok(parsed) = pg_query::parse(sql, 0) else {
        return Vec::new();
    };
    let resolve = |dotted: &String| {
        let (schema, name) = dotted.rsplit_once('.').unwrap_or(("", dotted));
        catalog.resolve(schema, name).map(|(name, _)| name.clone())
    };
    let mut found: Vec<Name> = parsed.tables().iter().filter_map(resolve).collect();
    for dotted in parsed.functions() {
        let (schema, name) = dotted.rsplit_once('.').unwrap_or(("", &dotted));
        for function in catalog.functions_named(schema, name) {
            // Recursive functions exist; a body is looked at for its tables alone.
            if let Ok(body) = pg_query::parse(&function.body, 0) {
                found.extend(body.tables().iter().filter_map(resolve));
            }
        }
    }
    found
}
