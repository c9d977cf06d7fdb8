//! A specification at one scale with every name resolved: any cell can be computed from its place alone.

use super::json::Document;
use super::random::{Shuffle, Stream};
use super::skew::Skew;
use super::template::Template;
use crate::model::Name;
use std::sync::{Arc, OnceLock};

/// What to load.
#[derive(Debug)]
pub struct Plan {
    pub(super) tables: Vec<Table>,
    /// Places in `tables`; a table comes after those it refers to.
    pub(super) order: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: Name,
    pub(super) rows: u64,
    pub(super) columns: Vec<Column>,
    /// Rows of the parent of the `each` column, if the table has one: child `n` belongs to parent `n % parents`.
    pub(super) parents: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) stream: Stream,
    pub(super) source: Source,
    pub(super) null_fraction: f64,
    pub(super) only_when: Option<(usize, Vec<String>)>,
}

/// Where a cell comes from. Tables and columns are places in [`Plan::tables`] and [`Table::columns`].
#[derive(Debug)]
pub(super) enum Source {
    Uuid,
    Ref {
        at: At,
        how: How,
    },
    /// `at` is the copied column of the table that `from` refers to.
    Copy {
        from: usize,
        at: At,
    },
    Member(Member),
    Serial(i64),
    Int(i64, i64),
    Decimal {
        from: i64,
        to: i64,
        places: u8,
    },
    Bool(f64),
    Choice {
        labels: Vec<String>,
        /// Running sums of the weights.
        sums: Vec<u64>,
    },
    Turn(Vec<String>),
    Nth(i64),
    Text(Template),
    Paragraph {
        of: Template,
        count: (u32, u32),
    },
    Array {
        of: Arc<[String]>,
        count: (u32, u32),
    },
    Json(Document),
    Date {
        from: i32,
        days: u32,
        rising: bool,
    },
    Every {
        from: i32,
        days: u32,
    },
    Timestamp {
        from: i64,
        micros: u64,
        rising: bool,
    },
    After {
        column: usize,
        seconds: (i64, i64),
    },
    Inet,
}

/// One column of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) table: usize,
    pub(super) column: usize,
}

/// Which row a reference points at.
#[derive(Debug)]
pub(super) enum How {
    Uniform,
    Skewed(Skew, Shuffle),
    Each,
    Earlier,
    Distinct {
        skew: Option<Skew>,
        shuffle: Shuffle,
        /// A reference of the parent.
        first: Option<At>,
    },
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) of: usize,
    /// A reference of `of` …
    pub(super) on: usize,
    /// … that agrees with this one of the row's own table.
    pub(super) own: usize,
    /// What the value is taken from: a reference of `of`, or its key.
    pub(super) at: At,
    pub(super) takes_reference: bool,
    /// Rows of `of` by the row that `on` refers to; made when first asked for.
    pub(super) groups: OnceLock<Vec<Vec<u64>>>,
}

impl Plan {
    /// Tables with their rows, in the order of loading.
    pub fn tables(&self) -> impl Iterator<Item = (&Name, u64)> {
        self.order
            .iter()
            .filter_map(|place| self.tables.get(*place))
            .map(|table| (&table.name, table.rows))
    }

    pub(super) fn column(&self, at: At) -> Option<&Column> {
        self.tables.get(at.table)?.columns.get(at.column)
    }

    /// The table that the rows of a reference stand in.
    pub(super) fn refers_to(&self, at: At) -> Option<usize> {
        match &self.column(at)?.source {
            Source::Ref { at, .. } => Some(at.table),
            Source::Copy { at, .. } => self.refers_to(*at),
            Source::Member(m) if m.takes_reference => self.refers_to(m.at),
            Source::Member(m) => Some(m.of),
            _ => None,
        }
    }

    /// Columns that `at` is computed from.
    pub(super) fn needs(&self, at: At) -> Vec<At> {
        let Some(column) = self.column(at) else {
            return Vec::new();
        };
        let own = |column| At {
            table: at.table,
            column,
        };
        let mut needs: Vec<At> = match &column.source {
            Source::Ref { at: target, how } => {
                let first = match how {
                    How::Distinct { first, .. } => *first,
                    _ => None,
                };
                [*target].into_iter().chain(first).collect()
            }
            Source::Copy { from, at } => vec![own(*from), *at],
            Source::Member(m) => vec![
                own(m.own),
                m.at,
                At {
                    table: m.of,
                    column: m.on,
                },
            ],
            Source::After { column, .. } => vec![own(*column)],
            Source::Text(template) | Source::Paragraph { of: template, .. } => {
                template.columns().map(own).collect()
            }
            Source::Json(document) => document
                .templates()
                .into_iter()
                .flat_map(Template::columns)
                .map(own)
                .collect(),
            _ => Vec::new(),
        };
        needs.extend(column.only_when.iter().map(|(column, _)| own(*column)));
        needs
    }
}
