//! Indexes of partitions: which one is attached to which, and a partition's own after its parent's.

use super::ddl::Build;
use super::script::relation;
use super::tree::{Unreadable, parse_statement};
use crate::model::Name;
use pg_query::protobuf::{AlterTableStmt, AlterTableType, ObjectType};
use pg_query::{DeparseOptions, NodeEnum};

/// Parent and child of `ALTER INDEX … ATTACH PARTITION`.
pub(super) fn attachment(alter: &AlterTableStmt) -> Option<(Name, Name)> {
    if alter.objtype() != ObjectType::ObjectIndex {
        return None;
    }
    alter.cmds.iter().find_map(|cmd| {
        let Some(NodeEnum::AlterTableCmd(cmd)) = &cmd.node else {
            return None;
        };
        if cmd.subtype() != AlterTableType::AtAttachPartition {
            return None;
        }
        match cmd.def.as_ref()?.node.as_ref()? {
            NodeEnum::PartitionCmd(part) => Some((
                relation(alter.relation.as_ref()),
                relation(part.name.as_ref()),
            )),
            _ => None,
        }
    })
}

/// The statement that gives `table` an index `name` like the one that `definition` (`pg_get_indexdef`) makes.
///
/// # Errors
/// Where the definition is not that of an index, or holds what cannot be printed.
pub fn index_like(
    definition: &str,
    table: &Name,
    name: &str,
    build: Build,
) -> Result<String, Unreadable> {
    let NodeEnum::IndexStmt(mut index) = parse_statement(definition)? else {
        return Err(Unreadable("not an index's definition".to_owned()));
    };
    name.clone_into(&mut index.idxname);
    index.concurrent = build == Build::Concurrently;
    if let Some(relation) = &mut index.relation {
        relation.schemaname.clone_from(&table.schema);
        relation.relname.clone_from(&table.name);
        relation.inh = build != Build::OnlyParent;
    }
    NodeEnum::IndexStmt(index)
        .deparse(DeparseOptions::default())
        .map_err(|e| Unreadable(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_moves_to_another_table() {
        let definition = r#"CREATE UNIQUE INDEX i ON ONLY public."P" USING btree (a DESC, lower(b)) INCLUDE (c) WHERE (d IS NULL)"#;
        let made = |build| index_like(definition, &Name::new("s", "Part 1"), "i p", build).unwrap();
        assert_eq!(
            made(Build::Concurrently),
            r#"CREATE UNIQUE INDEX CONCURRENTLY "i p" ON s."Part 1" USING btree (a DESC, lower(b)) INCLUDE (c) WHERE d IS NULL"#
        );
        let parent = made(Build::OnlyParent);
        assert!(parent.contains(r#"ON ONLY s."Part 1""#), "{parent}");
        assert!(index_like("select 1", &Name::new("", "t"), "i", Build::Plain).is_err());
    }
}
