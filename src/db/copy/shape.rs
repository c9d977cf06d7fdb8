use crate::db::{Error, Result};
use crate::model::Name;
use serde::Deserialize;
use tokio_postgres::Client;

/// What must be known of a table to fill it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TableShape {
    pub name: Name,
    pub columns: Vec<ColumnShape>,
    pub references: Vec<Reference>,
    /// Columns of each primary key and unique constraint or index (no expressions, no predicates).
    pub unique: Vec<Vec<String>>,
    /// Names of check and exclusion constraints.
    pub checks: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ColumnShape {
    pub name: String,
    /// The element's for arrays and the base type's for domains, as `pg_type.typname`, e.g. `int4`.
    pub type_name: String,
    /// Length, or precision and scale, as `format_type` prints it: `character varying(20)`, `numeric(10,2)`.
    pub full_type: String,
    pub array: bool,
    /// Labels of an enum, in order.
    pub labels: Vec<String>,
    pub not_null: bool,
    /// The server fills it when it is left out: a default, an identity.
    pub has_default: bool,
    /// Computed from other columns: the server refuses a value. (COPY may fill an identity column, even `always`.)
    pub generated: bool,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Reference {
    pub name: String,
    pub columns: Vec<String>,
    pub table: Name,
    pub referenced: Vec<String>,
}

impl TableShape {
    pub fn column(&self, name: &str) -> Option<&ColumnShape> {
        self.columns.iter().find(|c| c.name == name)
    }
}

pub(super) async fn read(client: &Client) -> Result<Vec<TableShape>> {
    let doing = "read the tables to seed";
    let rows = client
        .query(include_str!("shape.sql"), &[])
        .await
        .map_err(|e| Error::pg(doing, &e))?;
    rows.iter()
        .map(|row| {
            let text: String = row.try_get(0).map_err(|e| Error::pg(doing, &e))?;
            serde_json::from_str(&text).map_err(|e| Error::new(doing, e.to_string()))
        })
        .collect()
}
