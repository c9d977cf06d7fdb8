//! A plan into a database.

use super::error::{Error, nearest};
use super::order;
use super::plan::{At, Plan, Source, Table};
use super::spec::Spec;
use crate::db::{Cell, Loader, Session, TableShape};
use crate::model::Name;
use serde::Serialize;
use std::time::Instant;

/// Rows between two calls of the progress callback, and between two looks at the buffer.
const STRIDE: u64 = 1_000;

/// What to do about tables that hold rows already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// [`Error::NotEmpty`], before anything is written.
    #[default]
    Refuse,
    /// Empty all tables of the specification first.
    Truncate,
    /// Go on after the rows that are there, taken for the first ones of the same specification: finishes what was
    /// interrupted, or grows a table to a higher scale.
    Append,
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Multiplies the rows of every table that is not `fixed`.
    pub scale: f64,
    pub existing: Existing,
    /// `VACUUM (ANALYZE)` each table afterwards.
    pub analyze: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scale: 1.0,
            existing: Existing::Refuse,
            analyze: true,
        }
    }
}

/// What was loaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    pub seed: u64,
    pub scale: f64,
    pub rows: u64,
    /// Sent to the server.
    pub bytes: u64,
    /// From the first look at the database to the last `ANALYZE`.
    pub seconds: f64,
    /// In the order of loading.
    pub tables: Vec<Loaded>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loaded {
    pub table: Name,
    pub rows: u64,
    pub bytes: u64,
    pub seconds: f64,
}

/// Fills the tables of `spec`, parents first, each by one COPY: an interrupted run leaves whole tables only.
///
/// The session needs INSERT on the tables and, with row-level security on them, to be their owner. `progress`
/// gets the table, its rows done, and its rows in total.
///
/// # Errors
/// Where the specification does not fit the database ([`Error::UnknownTable`], [`Error::UnknownColumn`],
/// [`Error::Column`]), a table holds rows and [`Existing::Refuse`] is asked for, or the server refuses a row.
pub async fn run(
    session: &Session,
    spec: &Spec,
    options: Options,
    progress: &mut (dyn FnMut(&Name, u64, u64) + Send),
) -> Result<Summary, Error> {
    let begun = Instant::now();
    let loader = Loader::new(session);
    let mut plan = Plan::compile(spec, options.scale)?;
    fit(&mut plan, &loader.shapes().await?)?;
    let mut present = vec![0; plan.tables.len()];
    match options.existing {
        Existing::Truncate => {
            let names: Vec<Name> = plan.tables.iter().map(|t| t.name.clone()).collect();
            loader.truncate(&names).await?;
        }
        Existing::Refuse | Existing::Append => {
            for (rows, table) in present.iter_mut().zip(&plan.tables) {
                *rows = loader.count(&table.name).await?;
                if *rows > 0 && options.existing == Existing::Refuse {
                    return Err(Error::NotEmpty {
                        table: table.name.clone(),
                        rows: *rows,
                    });
                }
            }
        }
    }
    let mut summary = Summary {
        seed: spec.seed,
        scale: options.scale,
        ..Summary::default()
    };
    for place in &plan.order {
        let start = present.get(*place).copied().unwrap_or_default();
        let filled = copy(&loader, &plan, *place, start, progress).await?;
        summary.rows += filled.rows;
        summary.bytes += filled.bytes;
        summary.tables.push(filled);
    }
    if options.analyze {
        for table in &plan.tables {
            loader.vacuum_analyze(&table.name).await?;
        }
    }
    summary.seconds = begun.elapsed().as_secs_f64();
    Ok(summary)
}

async fn copy(
    loader: &Loader<'_>,
    plan: &Plan,
    place: usize,
    start: u64,
    progress: &mut (dyn FnMut(&Name, u64, u64) + Send),
) -> Result<Loaded, Error> {
    let begun = Instant::now();
    let Some(table) = plan.tables.get(place) else {
        return Err(Error::NoTables);
    };
    progress(&table.name, start, table.rows);
    let columns: Vec<String> = table.columns.iter().map(|c| c.name.clone()).collect();
    let mut copying = loader.copy(&table.name, &columns).await?;
    for row in start..table.rows {
        copying.push(&plan.row(place, row))?;
        if row % STRIDE == 0 {
            copying.flush().await?;
            progress(&table.name, row, table.rows);
        }
    }
    let (rows, bytes) = copying.finish().await?;
    let numbers = table
        .columns
        .iter()
        .filter(|c| matches!(c.source, Source::Serial(_)));
    let numbers: Vec<String> = numbers.map(|c| c.name.clone()).collect();
    loader.advance_sequences(&table.name, &numbers).await?;
    progress(&table.name, table.rows, table.rows);
    Ok(Loaded {
        table: table.name.clone(),
        rows,
        bytes,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

impl Plan {
    /// All cells of one row, in the order of the table's columns.
    fn row(&self, table: usize, row: u64) -> Vec<Cell> {
        let columns = self.tables.get(table).map_or(0, |t| t.columns.len());
        (0..columns)
            .map(|column| self.cell(At { table, column }, row))
            .collect()
    }
}

/// Checks the plan against the database's tables, and orders it by their foreign keys too.
fn fit(plan: &mut Plan, shapes: &[TableShape]) -> Result<(), Error> {
    if plan.tables.is_empty() {
        return Err(Error::NoTables);
    }
    let mut keys = Vec::new();
    for (place, table) in plan.tables.iter().enumerate() {
        let Some(shape) = shapes.iter().find(|shape| shape.name == table.name) else {
            let known: Vec<String> = shapes.iter().map(|s| s.name.to_string()).collect();
            return Err(Error::UnknownTable {
                table: table.name.clone(),
                place: "the database",
                nearest: nearest(&table.name.to_string(), known.iter().map(String::as_str)),
            });
        };
        fit_columns(table, shape)?;
        for reference in &shape.references {
            let parent = plan.tables.iter().position(|t| t.name == reference.table);
            let followed = reference
                .columns
                .iter()
                .all(|column| table.columns.iter().any(|c| c.name == *column));
            keys.extend(parent.filter(|_| followed).map(|parent| (place, parent)));
        }
    }
    plan.order = order::tables(plan, &keys)?;
    Ok(())
}

fn fit_columns(table: &Table, shape: &TableShape) -> Result<(), Error> {
    let wrong = |column: &str, message: &str| Error::Column {
        table: table.name.clone(),
        column: column.to_owned(),
        message: message.to_owned(),
    };
    for column in &table.columns {
        let Some(found) = shape.column(&column.name) else {
            let known = shape.columns.iter().map(|c| c.name.as_str());
            return Err(Error::UnknownColumn {
                table: table.name.clone(),
                column: column.name.clone(),
                nearest: nearest(&column.name, known),
            });
        };
        if found.generated {
            return Err(wrong(
                &column.name,
                "the server generates this column: leave it out of the specification",
            ));
        }
    }
    for column in &shape.columns {
        let filled = table.columns.iter().any(|c| c.name == column.name);
        if column.not_null && !column.has_default && !column.generated && !filled {
            return Err(wrong(
                &column.name,
                "is NOT NULL without a default, and the specification has no generator for it",
            ));
        }
    }
    Ok(())
}
