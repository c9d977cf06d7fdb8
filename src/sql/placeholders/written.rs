//! INSERT, UPDATE and DELETE: placeholders that are assigned to columns.

use super::{Name, Node, NodeEnum, Place, Unreadable, Walk, named, parameter};
use pg_query::protobuf::{DeleteStmt, InsertStmt, UpdateStmt};

impl Walk<'_> {
    pub(super) fn insert(&mut self, insert: &InsertStmt) -> Result<(), Unreadable> {
        self.with(insert.with_clause.as_ref())?;
        let table = self.relation(insert.relation.as_ref());
        let columns = self.columns(table.as_ref(), &insert.cols);
        let assigned = |at: usize| match (&table, columns.get(at)) {
            (Some(table), Some(column)) => Place::Assigned {
                table: table.clone(),
                column: column.clone(),
                inserted: true,
            },
            _ => Place::Inside("INSERT".to_owned()),
        };
        if let Some(NodeEnum::SelectStmt(select)) =
            insert.select_stmt.as_ref().and_then(|s| s.node.as_ref())
        {
            for row in &select.values_lists {
                if let Some(NodeEnum::List(row)) = &row.node {
                    for (at, value) in row.items.iter().enumerate() {
                        self.value(value, || assigned(at))?;
                    }
                }
            }
            if select.values_lists.is_empty() {
                for (at, target) in select.target_list.iter().enumerate() {
                    if let Some(NodeEnum::ResTarget(target)) = &target.node
                        && let Some(number) = target.val.as_deref().and_then(parameter)
                    {
                        self.put(number, assigned(at));
                    }
                }
                self.scopes.push(Vec::new());
                self.select(select)?;
                self.scopes.pop();
            }
        }
        if let Some(conflict) = &insert.on_conflict_clause {
            self.scopes
                .push(vec![("excluded".to_owned(), None), named(table.clone())]);
            self.set_list(&conflict.target_list, table.as_ref())?;
            self.maybe(conflict.where_clause.as_deref())?;
            self.scopes.pop();
        }
        self.returning(insert.returning_clause.as_ref())
    }

    pub(super) fn update(&mut self, update: &UpdateStmt) -> Result<(), Unreadable> {
        self.with(update.with_clause.as_ref())?;
        let table = self.relation(update.relation.as_ref());
        for item in &update.from_clause {
            self.from(item)?;
        }
        self.set_list(&update.target_list, table.as_ref())?;
        self.maybe(update.where_clause.as_deref())?;
        self.returning(update.returning_clause.as_ref())
    }

    pub(super) fn delete(&mut self, delete: &DeleteStmt) -> Result<(), Unreadable> {
        self.with(delete.with_clause.as_ref())?;
        self.relation(delete.relation.as_ref());
        for item in &delete.using_clause {
            self.from(item)?;
        }
        self.maybe(delete.where_clause.as_deref())?;
        self.returning(delete.returning_clause.as_ref())
    }

    fn returning(
        &mut self,
        clause: Option<&pg_query::protobuf::ReturningClause>,
    ) -> Result<(), Unreadable> {
        for target in clause.into_iter().flat_map(|c| &c.exprs) {
            if let Some(NodeEnum::ResTarget(target)) = &target.node
                && let Some(value) = target.val.as_deref()
            {
                self.value(value, || Place::Returned)?;
            }
        }
        Ok(())
    }

    fn set_list(&mut self, list: &[Node], table: Option<&Name>) -> Result<(), Unreadable> {
        for target in list {
            if let Some(NodeEnum::ResTarget(target)) = &target.node
                && let Some(value) = target.val.as_deref()
            {
                self.value(value, || match table {
                    Some(table) => Place::Assigned {
                        table: table.clone(),
                        column: target.name.clone(),
                        inserted: false,
                    },
                    None => Place::Inside("SET".to_owned()),
                })?;
            }
        }
        Ok(())
    }

    /// The columns that an INSERT names, or all that can be written.
    fn columns(&self, table: Option<&Name>, named: &[Node]) -> Vec<String> {
        if named.is_empty() {
            let table = table.and_then(|t| self.catalog.table(t));
            return table.map_or_else(Vec::new, |t| {
                t.columns.iter().map(|c| c.name.clone()).collect()
            });
        }
        named
            .iter()
            .filter_map(|n| match &n.node {
                Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
                _ => None,
            })
            .collect()
    }
}
