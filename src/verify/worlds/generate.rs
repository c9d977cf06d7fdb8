//! One world: an identity, a few rows in each table, and the rows that it tries to write.

use super::dice::Dice;
use super::identity::{Draws, Identity, Pattern};
use super::kind::fresh;
use super::pool::{Favourites, Pools};
use super::shape::Shape;
use crate::sql::quote;

/// What a column of a row is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Default,
    Text(String),
}

impl Cell {
    pub(super) fn to_sql(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Default => "default".to_owned(),
            Self::Text(text) => quote::literal(text),
        }
    }
}

/// A cell for each column of the shape.
pub(super) type Row = Vec<Cell>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) number: usize,
    pub(super) identity: Identity,
    /// Rows of each table, in the order of the shapes.
    pub(super) rows: Vec<Vec<Row>>,
    /// Rows that the identity inserts: one by one, and several at once.
    pub(super) candidates: Vec<Row>,
    pub(super) batches: Vec<Vec<Row>>,
    /// A column and what an UPDATE sets it to.
    pub(super) assignments: Vec<(usize, Cell)>,
}

/// What worlds are made of.
pub(super) struct Plan<'a> {
    pub(super) seed: u64,
    pub(super) shapes: &'a [Shape],
    /// Which of them is the policies' table.
    pub(super) subject: usize,
    pub(super) pools: &'a Pools,
    pub(super) draws: Draws<'a>,
    /// How many rows one INSERT writes.
    pub(super) batches: &'a [usize],
}

/// Rows of the policies' table at most.
const OWN_ROWS: usize = 6;
/// Rows of every other table at most.
const INNER_ROWS: usize = 3;
/// Rows that are inserted one by one.
const CANDIDATES: usize = 2;

impl Plan<'_> {
    pub(super) fn world(&self, number: usize, pattern: &Pattern) -> World {
        let mut dice = Dice::of_world(self.seed, number);
        let favourites = self.pools.favourites(&mut dice);
        let own = favourites.of_identity();
        let identity = self.draws.identity(pattern, &own, &mut dice);
        let mut made = Made {
            plan: self,
            favourites,
            rows: Vec::new(),
            fresh: 0,
        };
        for (at, shape) in self.shapes.iter().enumerate() {
            made.rows.push(Vec::new());
            let count = match (at == self.subject, dice.below(4)) {
                (true, 0) => 1,
                (true, 1) => 2,
                (true, _) => OWN_ROWS,
                (false, _) if !self.is_required(at) && dice.percent(12) => 0,
                (false, _) => 1 + dice.below(INNER_ROWS),
            };
            for _ in 0..count {
                let row = made.row(at, shape, &mut dice);
                if let Some(rows) = made.rows.get_mut(at) {
                    rows.push(row);
                }
            }
        }
        made.finish(number, identity, &mut dice)
    }

    /// Whether a row of another table cannot be without one of this.
    fn is_required(&self, table: usize) -> bool {
        self.shapes.iter().enumerate().any(|(at, shape)| {
            let columns = |p: &super::shape::Parent| p.columns.clone();
            let pointing = shape
                .parents
                .iter()
                .filter(|p| p.table == table && at != table);
            pointing
                .flat_map(columns)
                .any(|c| shape.columns.get(c).is_some_and(|c| c.not_null))
        })
    }
}

/// A world in the making.
struct Made<'a> {
    plan: &'a Plan<'a>,
    favourites: Favourites,
    rows: Vec<Vec<Row>>,
    /// Values given so far that no pool holds.
    fresh: usize,
}

impl Made<'_> {
    fn finish(mut self, number: usize, identity: Identity, dice: &mut Dice) -> World {
        let at = self.plan.subject;
        let mut candidates = Vec::new();
        let (mut batches, mut assignments) = (Vec::new(), Vec::new());
        if let Some(shape) = self.plan.shapes.get(at) {
            for _ in 0..CANDIDATES {
                candidates.push(self.row(at, shape, dice));
            }
            for size in self.plan.batches {
                let model = dice.pick(&candidates).cloned().unwrap_or_default();
                let copies = (0..*size).map(|_| self.renewed(shape, &model));
                batches.push(copies.collect());
            }
            let read: Vec<usize> = (0..shape.columns.len())
                .filter(|c| shape.columns.get(*c).is_some_and(|c| c.read))
                .collect();
            for _ in 0..2 {
                if let Some(column) = dice.pick(&read).copied() {
                    let cell = self.cell(shape, column, dice);
                    assignments.push((column, cell));
                }
            }
        }
        World {
            number,
            identity,
            rows: self.rows,
            candidates,
            batches,
            assignments,
        }
    }

    /// A row: often one that is there already, or differs from it in one column or two.
    fn row(&mut self, at: usize, shape: &Shape, dice: &mut Dice) -> Row {
        let there = self.rows.get(at).and_then(|rows| dice.pick(rows)).cloned();
        let mut row = match (there, dice.below(100)) {
            (Some(row), 0..25) => row,
            (Some(mut row), 25..60) => {
                for _ in 0..=dice.below(2) {
                    let column = dice.below(row.len());
                    let cell = self.cell(shape, column, dice);
                    if let Some(old) = row.get_mut(column) {
                        *old = cell;
                    }
                }
                row
            }
            _ => (0..shape.columns.len())
                .map(|column| self.cell(shape, column, dice))
                .collect(),
        };
        self.point(at, shape, &mut row, dice);
        self.keep_keys(at, shape, &mut row, dice);
        row
    }

    fn cell(&mut self, shape: &Shape, column: usize, dice: &mut Dice) -> Cell {
        let Some(column) = shape.columns.get(column) else {
            return Cell::Null;
        };
        if !column.read && column.constant_default {
            return Cell::Default;
        }
        if !column.not_null && (!column.read || dice.percent(12)) {
            return Cell::Null;
        }
        let drawn = self
            .plan
            .pools
            .draw(&column.kind, &column.name, &self.favourites, dice);
        match drawn {
            Some(text) => Cell::Text(text),
            None if column.not_null => Cell::Default,
            None => Cell::Null,
        }
    }

    /// Foreign keys: to a row that is there.
    fn point(&self, at: usize, shape: &Shape, row: &mut Row, dice: &mut Dice) {
        for parent in &shape.parents {
            let rows = self.rows.get(parent.table).map_or(&[][..], Vec::as_slice);
            let target = dice.pick(rows);
            let target = target.filter(|_| parent.table != at || dice.percent(50));
            for (own, referenced) in parent.columns.iter().zip(&parent.referenced) {
                let value = target.and_then(|t| t.get(*referenced)).cloned();
                let optional = shape.columns.get(*own).is_some_and(|c| !c.not_null);
                let value = match value {
                    Some(_) if optional && dice.percent(10) => Cell::Null,
                    Some(value) => value,
                    None if optional => Cell::Null,
                    None => continue,
                };
                if let Some(cell) = row.get_mut(*own) {
                    *cell = value;
                }
            }
        }
    }

    /// Draws again what would break a key; in the end takes a value that no row has.
    fn keep_keys(&mut self, at: usize, shape: &Shape, row: &mut Row, dice: &mut Dice) {
        for key in &shape.keys {
            for attempt in 0..8 {
                let mine: Vec<_> = key.iter().map(|c| row.get(*c).cloned()).collect();
                let is_null = mine.contains(&Some(Cell::Null));
                let rows = self.rows.get(at).map_or(&[][..], Vec::as_slice);
                let taken = rows.iter().any(|other| {
                    key.iter()
                        .zip(&mine)
                        .all(|(c, mine)| other.get(*c) == mine.as_ref())
                });
                let Some(column) = dice.pick(key).copied().filter(|_| taken && !is_null) else {
                    break;
                };
                let pointing = shape.parents.iter().any(|p| p.columns.contains(&column));
                let cell = if attempt < 4 || pointing {
                    self.cell(shape, column, dice)
                } else {
                    self.another(shape, column)
                };
                if let Some(old) = row.get_mut(column).filter(|_| !pointing) {
                    *old = cell;
                }
            }
        }
    }

    fn another(&mut self, shape: &Shape, column: usize) -> Cell {
        self.fresh += 1;
        let kind = shape.columns.get(column).map(|c| &c.kind);
        kind.and_then(|kind| fresh(kind, self.fresh))
            .map_or(Cell::Default, Cell::Text)
    }

    /// The row with a key of its own.
    fn renewed(&mut self, shape: &Shape, row: &Row) -> Row {
        let mut row = row.clone();
        let pointing = |c: usize| shape.parents.iter().any(|p| p.columns.contains(&c));
        for column in (0..row.len()).filter(|c| shape.is_key(*c) && !pointing(*c)) {
            let cell = self.another(shape, column);
            if let Some(old) = row.get_mut(column) {
                *old = cell;
            }
        }
        row
    }
}
