//! Columns that a statement gives a table.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableType, Node, ObjectType};
use std::collections::BTreeSet;

/// Names of the columns that `CREATE TABLE`, `ADD COLUMN` or a renaming makes; empty for anything else.
pub fn columns_made(statement: &str) -> BTreeSet<String> {
    let Ok(node) = super::tree::parse_statement(statement) else {
        return BTreeSet::new();
    };
    match node {
        NodeEnum::CreateStmt(create) => create.table_elts.iter().filter_map(column).collect(),
        NodeEnum::AlterTableStmt(alter) => alter
            .cmds
            .iter()
            .filter_map(|cmd| match &cmd.node {
                Some(NodeEnum::AlterTableCmd(cmd))
                    if cmd.subtype() == AlterTableType::AtAddColumn =>
                {
                    column(cmd.def.as_deref()?)
                }
                _ => None,
            })
            .collect(),
        NodeEnum::RenameStmt(rename) if rename.rename_type() == ObjectType::ObjectColumn => {
            BTreeSet::from([rename.newname])
        }
        _ => BTreeSet::new(),
    }
}

fn column(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::ColumnDef(column)) => Some(column.colname.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::columns_made;

    #[test]
    fn columns_of_each_statement() {
        for (sql, expected) in [
            (
                "create table t (a int, \"B\" text, primary key (a))",
                &["B", "a"][..],
            ),
            (
                "alter table t add column c int, add d text, drop e",
                &["c", "d"],
            ),
            ("alter table t rename column a to z", &["z"]),
            ("create index on t (a)", &[]),
            ("no sql", &[]),
        ] {
            let found = columns_made(sql);
            assert_eq!(
                found.iter().map(String::as_str).collect::<Vec<_>>(),
                expected,
                "{sql}"
            );
        }
    }
}
