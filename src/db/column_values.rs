//! Values that the statistics hold: rows of the database, so read only where somebody asks for them.

use super::catalog::decode::{get, query};
use super::{Limits, Result, Session};
use crate::model::{Catalog, ColumnValues};
use std::collections::BTreeMap;

/// Puts the most common values and histogram bounds that the role may see into `catalog`; how many columns have some.
pub async fn read_column_values(session: &Session, catalog: &mut Catalog) -> Result<usize> {
    session.begin_reading(Limits::default()).await?;
    let sql = include_str!("queries/column_values.sql");
    let rows = query(session, "read the values of column statistics", sql).await;
    session.end().await?;
    let mut found: BTreeMap<(u32, String), ColumnValues> = BTreeMap::new();
    for row in rows? {
        let values = ColumnValues {
            most_common: get(&row, "most_common")?,
            frequencies: get(&row, "frequencies")?,
            histogram: get(&row, "histogram")?,
        };
        found.insert((get(&row, "oid")?, get(&row, "column")?), values);
    }
    let mut filled = 0;
    for table in catalog.tables.values_mut() {
        for column in &mut table.columns {
            column.values = found.remove(&(table.oid, column.name.clone()));
            filled += usize::from(column.values.is_some());
        }
    }
    Ok(filled)
}
