//! The tables a statement names, without how it reads them.

use crate::model::{Catalog, Command, Name};
use crate::sql::tree::parse_statement;
use pg_query::NodeEnum;
use pg_query::protobuf::{OnConflictAction, RangeVar, WithClause};
use std::collections::BTreeSet;

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

/// The tables a statement names, each with the commands whose policies are asked. Empty where it cannot be read.
pub fn commands(sql: &str, catalog: &Catalog) -> BTreeSet<(Name, Command)> {
    let mut found = BTreeSet::new();
    let (Ok(parsed), Ok(statement)) = (pg_query::parse(sql, 0), parse_statement(sql)) else {
        return found;
    };
    for dotted in parsed.select_tables() {
        let (schema, name) = dotted.rsplit_once('.').unwrap_or(("", &dotted));
        if let Some((name, _)) = catalog.resolve(schema, name) {
            found.insert((name.clone(), Command::Select));
        }
    }
    written(&statement, catalog, &mut found);
    found
}

fn written(node: &NodeEnum, catalog: &Catalog, found: &mut BTreeSet<(Name, Command)>) {
    use Command::{Delete, Insert, Select, Update};
    let mut put = |range: Option<&RangeVar>, commands: &[Command]| {
        let name = range.and_then(|r| catalog.resolve(&r.schemaname, &r.relname));
        for command in commands {
            found.extend(name.map(|(name, _)| (name.clone(), *command)));
        }
    };
    let with: Option<&WithClause> = match node {
        NodeEnum::InsertStmt(insert) => {
            let target = insert.relation.as_ref();
            put(target, &[Insert]);
            if insert.returning_clause.is_some() {
                put(target, &[Select]);
            }
            if let Some(conflict) = &insert.on_conflict_clause {
                put(target, &[Select]);
                if conflict.action == OnConflictAction::OnconflictUpdate as i32 {
                    put(target, &[Update]);
                }
            }
            insert.with_clause.as_ref()
        }
        NodeEnum::UpdateStmt(update) => {
            put(update.relation.as_ref(), &[Update, Select]);
            update.with_clause.as_ref()
        }
        NodeEnum::DeleteStmt(delete) => {
            put(delete.relation.as_ref(), &[Delete, Select]);
            delete.with_clause.as_ref()
        }
        NodeEnum::MergeStmt(merge) => {
            put(merge.relation.as_ref(), &[Insert, Update, Delete, Select]);
            merge.with_clause.as_ref()
        }
        NodeEnum::SelectStmt(select) => {
            if !select.locking_clause.is_empty() {
                // Locking a row asks what an UPDATE of it asks.
                let read: Vec<Name> = found.iter().map(|(name, _)| name.clone()).collect();
                found.extend(read.into_iter().map(|name| (name, Update)));
            }
            select.with_clause.as_ref()
        }
        _ => None,
    };
    for cte in with.iter().flat_map(|w| &w.ctes) {
        if let Some(NodeEnum::CommonTableExpr(cte)) = &cte.node
            && let Some(inner) = cte.ctequery.as_ref().and_then(|q| q.node.as_ref())
        {
            written(inner, catalog, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Table;

    #[test]
    fn a_statement_asks_the_policies_of_its_commands() {
        let mut catalog = Catalog::default();
        for name in ["a", "b"] {
            let name = Name::new("public", name);
            catalog.tables.insert(name, Table::default());
        }
        let asked = |sql: &str| -> Vec<String> {
            let found = commands(sql, &catalog);
            let word =
                |(name, command): &(Name, Command)| format!("{} {}", name.name, command.keyword());
            found.iter().map(word).collect()
        };
        assert_eq!(
            asked("select 1 from a where exists (select from b)"),
            ["a SELECT", "b SELECT"]
        );
        assert_eq!(
            asked("insert into a select * from b"),
            ["a INSERT", "b SELECT"]
        );
        assert_eq!(
            asked("insert into a values (1) returning x"),
            ["a SELECT", "a INSERT"]
        );
        assert_eq!(
            asked("insert into a values (1) on conflict (x) do update set x = 1"),
            ["a SELECT", "a INSERT", "a UPDATE"]
        );
        assert_eq!(
            asked("with d as (delete from a where x = 1 returning x) select 1 from d"),
            ["a SELECT", "a DELETE"]
        );
        assert_eq!(
            asked("select 1 from a for update"),
            ["a SELECT", "a UPDATE"]
        );
        assert_eq!(asked("select 1 from nowhere"), Vec::<String>::new());
        assert_eq!(asked("no sql"), Vec::<String>::new());
    }
}
