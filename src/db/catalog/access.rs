//! Who may reach what, and what stands between tables and their readers: schemas, grants on columns, default
//! privileges, publications, triggers, views.

use super::Reader;
use super::decode::{get, letter};
use super::tables::{Names, Parts};
use crate::db::Result;
use crate::model::{Catalog, DefaultPrivilege, Name, Schema, Trigger};

impl Reader<'_> {
    /// What belongs to no table.
    pub(super) async fn read_access(&self, catalog: &mut Catalog) -> Result<()> {
        let sql = include_str!("../queries/schemas.sql");
        for row in self.rows("read schemas", sql).await? {
            let schema = Schema {
                owner: get(&row, "owner")?,
                usage: get(&row, "usage")?,
                create: get(&row, "create")?,
            };
            catalog.schemas.insert(get(&row, "name")?, schema);
        }
        let sql = include_str!("../queries/default_privileges.sql");
        for row in self.rows("read default privileges", sql).await? {
            catalog.default_privileges.push(DefaultPrivilege {
                owner: get(&row, "owner")?,
                schema: get(&row, "schema")?,
                kind: letter(&row, "kind")?,
                grantee: get(&row, "grantee")?,
                privileges: get(&row, "privileges")?,
            });
        }
        let sql = include_str!("../queries/publications.sql");
        for row in self.rows("read publications", sql).await? {
            let schemas: Vec<String> = get(&row, "schemas")?;
            let tables: Vec<String> = get(&row, "tables")?;
            let names = schemas.into_iter().zip(tables);
            let names = names.map(|(schema, table)| Name::new(schema, table));
            catalog
                .publications
                .insert(get(&row, "name")?, names.collect());
        }
        let sql = include_str!("../queries/api_settings.sql");
        for row in self.rows("read the settings of PostgREST", sql).await? {
            let (name, value) = (get(&row, "name")?, get(&row, "value")?);
            catalog.server.settings.insert(name, value);
        }
        Ok(())
    }

    /// What belongs to tables and views, once these are read.
    pub(super) async fn read_table_access(
        &self,
        catalog: &mut Catalog,
        names: &Names,
    ) -> Result<()> {
        let mut each = Parts { catalog, names };
        let sql = include_str!("../queries/column_grants.sql");
        for row in self.rows("read grants on columns", sql).await? {
            let name: &str = get(&row, "column")?;
            let (role, privileges) = (get(&row, "role")?, get(&row, "privileges")?);
            each.put(&row, |table| {
                if let Some(column) = table.columns.iter_mut().find(|c| c.name == name) {
                    column.grants.insert(role, privileges);
                }
            })?;
        }
        let sql = include_str!("../queries/parents.sql");
        for row in self.rows("read inheritance", sql).await? {
            let parent = names.get(&get(&row, "parent")?).cloned();
            each.put(&row, |table| table.parents.extend(parent))?;
        }
        let sql = include_str!("../queries/triggers.sql");
        for row in self.rows("read triggers", sql).await? {
            let trigger = Trigger {
                name: get(&row, "name")?,
                function: Name::new(get::<&str>(&row, "schema")?, get::<&str>(&row, "function")?),
                enabled: get(&row, "enabled")?,
                events: get(&row, "events")?,
            };
            each.put(&row, |table| table.triggers.push(trigger))?;
        }
        let sql = include_str!("../queries/view_definitions.sql");
        for row in self.rows("read view definitions", sql).await? {
            let definition: Option<String> = get(&row, "definition")?;
            each.put(&row, |table| table.definition = definition)?;
        }
        let sql = include_str!("../queries/view_calls.sql");
        for row in self.rows("read what views call", sql).await? {
            let name = Name::new(get::<&str>(&row, "schema")?, get::<&str>(&row, "name")?);
            each.put(&row, |table| table.calls.push(name))?;
        }
        Ok(())
    }
}
