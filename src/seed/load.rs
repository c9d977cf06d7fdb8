//! A plan into a database.

use super::error::Error;
use super::fit::fit;
use super::plan::{At, Plan, Source};
use super::spec::Spec;
use crate::db::{self, Cell, Loader, Session};
use crate::model::Name;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Mutex;
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
    /// interrupted, or grows tables to a higher scale (the parents of `each` references must then be `fixed`).
    Append,
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Multiplies the rows of every table that is not `fixed`.
    pub scale: f64,
    pub existing: Existing,
    /// `VACUUM` and `ANALYZE` each table afterwards.
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

/// Told of a table, its rows done, and its rows in total.
pub type Progress<'a> = dyn FnMut(&Name, u64, u64) + Send + 'a;

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

/// Fills the tables of `spec`, parents first, each by one COPY: an interrupted run leaves whole tables only. A second
/// connection is opened, so that two tables are filled at a time.
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
    progress: &mut Progress<'_>,
) -> Result<Summary, Error> {
    let begun = Instant::now();
    let loader = Loader::new(session);
    let mut plan = Plan::compile(spec, options.scale)?;
    let parents = fit(&mut plan, &loader.shapes().await?)?;
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
    // A server works on two COPYs at once about twice as fast; where there is no second connection, one will do.
    let second = Session::connect(session.target(), "seed").await.ok();
    let loaders: Vec<Loader<'_>> = [Some(session), second.as_ref()]
        .into_iter()
        .flatten()
        .map(Loader::new)
        .collect();
    for loader in &loaders {
        loader.commit_durably().await?;
    }
    let load = Load {
        plan: &plan,
        parents: &parents,
        present: &present,
        progress: Mutex::new(progress),
    };
    summary.tables = load.all(&loaders).await?;
    if options.analyze {
        // Each only after the one before has ended everywhere: a COPY or an ANALYZE still open would keep VACUUM
        // from marking pages all-visible.
        load.each_table(&loaders, Loader::vacuum).await?;
        load.each_table(&loaders, Loader::analyze).await?;
    }
    summary.rows = summary.tables.iter().map(|t| t.rows).sum();
    summary.bytes = summary.tables.iter().map(|t| t.bytes).sum();
    summary.seconds = begun.elapsed().as_secs_f64();
    Ok(summary)
}

/// One load on its way.
struct Load<'a> {
    plan: &'a Plan,
    parents: &'a [BTreeSet<usize>],
    /// Rows in each table before.
    present: &'a [u64],
    progress: Mutex<&'a mut Progress<'a>>,
}

impl Load<'_> {
    /// Fills every table once its parents are full, as many at a time as there are loaders.
    async fn all(&self, loaders: &[Loader<'_>]) -> Result<Vec<Loaded>, Error> {
        let mut waiting = self.plan.order.clone();
        let mut full = BTreeSet::new();
        let mut filled = Vec::new();
        let mut idle: Vec<&Loader<'_>> = loaders.iter().collect();
        let mut running = FuturesUnordered::new();
        loop {
            while let Some(next) = self.largest_ready(&waiting, &full)
                && let Some(loader) = idle.pop()
            {
                waiting.retain(|place| *place != next);
                running.push(async move { (next, loader, self.fill(loader, next).await) });
            }
            let Some((place, loader, outcome)) = running.next().await else {
                break;
            };
            filled.push((place, outcome?));
            full.insert(place);
            idle.push(loader);
        }
        filled.sort_by_key(|(place, _)| self.plan.order.iter().position(|p| p == place));
        Ok(filled.into_iter().map(|(_, loaded)| loaded).collect())
    }

    /// Does `work` to every table, as many at a time as there are loaders.
    async fn each_table<'l>(
        &self,
        loaders: &'l [Loader<'l>],
        work: impl AsyncFn(&Loader<'l>, &Name) -> db::Result<()>,
    ) -> Result<(), Error> {
        let next = Mutex::new(self.plan.tables.iter());
        let take = || next.lock().ok().and_then(|mut tables| tables.next());
        let (work, take) = (&work, &take);
        let each = loaders.iter().map(|loader| async move {
            while let Some(table) = take() {
                work(loader, &table.name).await?;
            }
            Ok::<_, Error>(())
        });
        futures_util::future::try_join_all(each).await?;
        Ok(())
    }

    /// The largest first, so that none of them is left to run alone at the end.
    fn largest_ready(&self, waiting: &[usize], full: &BTreeSet<usize>) -> Option<usize> {
        let ready = waiting
            .iter()
            .filter(|place| self.parents.get(**place).is_some_and(|p| p.is_subset(full)));
        ready
            .max_by_key(|place| self.plan.tables.get(**place).map(|t| t.rows))
            .copied()
    }

    async fn fill(&self, loader: &Loader<'_>, place: usize) -> Result<Loaded, Error> {
        let begun = Instant::now();
        let Some(table) = self.plan.tables.get(place) else {
            return Err(Error::NoTables);
        };
        let start = self.present.get(place).copied().unwrap_or_default();
        self.report(&table.name, start, table.rows);
        let columns: Vec<String> = table.columns.iter().map(|c| c.name.clone()).collect();
        let mut copying = loader.copy(&table.name, &columns).await?;
        for row in start..table.rows {
            copying.push(&self.plan.row(place, row))?;
            if row % STRIDE == 0 {
                copying.flush().await?;
                self.report(&table.name, row, table.rows);
            }
        }
        let (rows, bytes) = copying.finish().await?;
        let numbers = table
            .columns
            .iter()
            .filter(|c| matches!(c.source, Source::Serial(_)));
        let numbers: Vec<String> = numbers.map(|c| c.name.clone()).collect();
        loader.advance_sequences(&table.name, &numbers).await?;
        self.report(&table.name, table.rows, table.rows);
        Ok(Loaded {
            table: table.name.clone(),
            rows,
            bytes,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    fn report(&self, table: &Name, done: u64, total: u64) {
        if let Ok(mut progress) = self.progress.lock() {
            progress(table, done, total);
        }
    }
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
